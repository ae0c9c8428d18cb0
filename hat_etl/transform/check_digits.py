"""Brazilian documents and the beneficiary card: their check digits, computed column-wise on the bytes.

Every function takes a matrix of bytes (a row per text, all of the document's width) and tells which rows are good.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hat_etl.transform.texts import Mask, Matrix

CPF_WIDTH, CNPJ_WIDTH, CNS_WIDTH, CARD_WIDTH = 11, 14, 15, 17

_CPF = range(11, 1, -1)
_CNPJ = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
_CNS = range(15, 0, -1)
_CARD = (9, 8, 7, 6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def cpf(matrix: Matrix) -> Mask:
    """Eleven digits, the last two following from the others; not eleven equal ones."""
    values = _values(matrix)
    return _all_digits(values) & _ends_with(values, _CPF) & ~_all_equal(matrix)


def cnpj(matrix: Matrix) -> Mask:
    """Twelve digits or capital letters (valued ASCII code less 48) and two check digits; not fourteen equal digits."""
    values = _values(matrix)
    capitals = (matrix[:, :12] >= ord("A")) & (matrix[:, :12] <= ord("Z"))
    readable: Mask = ((values[:, :12] <= 9) | capitals).all(axis=1) & _all_digits(values[:, 12:])
    return readable & _ends_with(values, _CNPJ) & ~_all_equal(matrix)


def cns(matrix: Matrix) -> Mask:
    """Fifteen digits that begin with 1, 2, 7, 8 or 9 and whose weighted sum is a multiple of 11."""
    values = _values(matrix)
    good: Mask = np.isin(values[:, 0], (1, 2, 7, 8, 9)) & (_weighted(values, _CNS) % 11 == 0)
    return good & _all_digits(values)


def card(matrix: Matrix) -> Mask:
    """Seventeen digits, the last following from the first sixteen."""
    values = _values(matrix)
    good: Mask = values[:, 16] == _digit(_weighted(values, _CARD))
    return good & _all_digits(values)


def _values(matrix: Matrix) -> Matrix:
    """ASCII codes less 48: digits become 0 to 9; what stands before them in ASCII wraps to large values."""
    return matrix - np.uint8(ord("0"))


def _all_digits(values: Matrix) -> Mask:
    if values.max(initial=0) <= 9:
        return np.ones(len(values), dtype=bool)
    good: Mask = np.logical_and.reduce(values <= 9, axis=1)
    return good


def _all_equal(matrix: Matrix) -> Mask:
    """Rows of one repeated byte. Few rows begin with two equal bytes, so each next column is asked of fewer rows."""
    rows = np.flatnonzero(matrix[:, 0] == matrix[:, 1])
    for column in range(2, matrix.shape[1]):
        rows = rows[matrix[rows, column] == matrix[rows, 0]]
    equal = np.zeros(len(matrix), dtype=bool)
    equal[rows] = True
    return equal


def _weighted(values: Matrix, weights: Sequence[int]) -> NDArray[np.uint16]:
    """Sum of the first ``len(weights)`` values, each times its weight."""
    total = np.zeros(len(values), dtype=np.uint16)
    for column, weight in enumerate(weights):
        total += values[:, column] * np.uint16(weight)
    return total


def _digit(total: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The digit modulo 11; 10 and 11 give 0."""
    digit = np.uint16(11) - total % np.uint16(11)
    return np.where(digit >= 10, np.uint16(0), digit)


def _ends_with(values: Matrix, weights: Sequence[int]) -> Mask:
    """Whether both last values are check digits: the second counts the first in, so its ``weights`` are one more."""
    first, second = values.shape[1] - 2, values.shape[1] - 1
    good: Mask = values[:, first] == _digit(_weighted(values, weights[1:]))
    good &= values[:, second] == _digit(_weighted(values, weights))
    return good
