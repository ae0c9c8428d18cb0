"""Valid document numbers and card digits, made rather than checked: the validators must find them right."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hat_etl.sandbox.arrays import Codes, Integers, digit_matrix, texts

_ZERO = ord("0")


def cpf(numbers: Integers) -> pa.Array:
    """A CPF for each number; different numbers below 10^9 give different CPFs."""
    # Nine equal digits would give eleven equal digits, which no CPF is.
    base = np.asarray(numbers, np.int64) % 1_000_000_000
    base = np.where(base % 111_111_111 == 0, base + 1, base)
    digits = digit_matrix(base, 9)
    for weights in (np.arange(10, 1, -1), np.arange(11, 1, -1)):
        remainder = digits @ weights % 11
        digits = np.column_stack([digits, np.where(remainder < 2, 0, 11 - remainder)])
    return texts(digits + _ZERO)


def cnpj(numbers: Integers, branch: int = 1, letters: bool = False) -> pa.Array:
    """A CNPJ for each number; with ``letters`` in the alphanumeric form of 2026."""
    root = digit_matrix(np.asarray(numbers, np.int64) % 100_000_000, 8) + _ZERO
    if letters:
        # Letters count by their character code minus that of 0, as digits do.
        root[:, :2] += ord("A") - _ZERO
    base = np.column_stack([root, np.broadcast_to(digit_matrix(np.array([branch]), 4) + _ZERO, (len(root), 4))])
    for _ in range(2):
        weights = np.array([2 + place % 8 for place in range(base.shape[1])])[::-1]
        remainder = (base - _ZERO) @ weights % 11
        base = np.column_stack([base, np.where(remainder < 2, 0, 11 - remainder) + _ZERO])
    return texts(base)


def cns(numbers: Integers) -> pa.Array:
    """A (provisional) national health card number for each number below 10^12."""
    seven = np.full((len(numbers), 1), 7)
    digits = np.column_stack([seven, digit_matrix(np.asarray(numbers, np.int64), 12)])
    total = digits @ np.arange(15, 2, -1)
    last = -total % 11
    # The last digit has weight 1 and cannot be 10: then a one before it (weight 2) leaves 8 to make up.
    ten = last == 10
    return texts(np.column_stack([digits, np.where(ten, 1, 0), np.where(ten, 8, last)]) + _ZERO)


def card_digit(card: Codes | Integers) -> Integers:
    """Check digit of each card of 16 digits, given as a matrix of digits."""
    weights = np.array([2 + place % 8 for place in range(16)])[::-1]
    digit = 11 - np.asarray(card, np.int64) @ weights % 11
    return np.where(digit > 9, 0, digit)
