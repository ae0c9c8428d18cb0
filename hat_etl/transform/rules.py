"""The contract's checks of values: each takes a column and tells which rows fail. NULL passes every check."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow.compute as pc

from hat_etl.transform import check_digits
from hat_etl.transform.convert import Values
from hat_etl.transform.texts import Mask, Matrix, Texts
from hat_etl.transform.vocabulary import Vocabulary

STATES = Vocabulary((
    "AC", "AL", "AP", "AM", "BA", "CE", "DF", "ES", "GO", "MA", "MT", "MS", "MG", "PA",
    "PB", "PR", "PE", "PI", "RJ", "RN", "RS", "RO", "RR", "SC", "SP", "SE", "TO",
))  # fmt: skip

_EMAIL = r"^[^@ ]+@[^@ ]*\.[^@ ]*$"


def digits(texts: Texts) -> Mask:
    if texts.lowest >= ord("0") and texts.highest <= ord("9"):
        return np.zeros(len(texts), dtype=bool)
    return texts.filled & ~_true(pc.ascii_is_decimal(texts.array))


def ans_registry(texts: Texts) -> Mask:
    return digits(texts) | _not_of_length(texts, 6)


def cnes(texts: Texts) -> Mask:
    return digits(texts) | _not_of_length(texts, 7)


def cep(texts: Texts) -> Mask:
    return digits(texts) | _not_of_length(texts, 8) | _true(pc.equal(texts.array, "00000000"))


def uf(texts: Texts) -> Mask:
    return STATES.unlisted(texts)


def email(texts: Texts) -> Mask:
    return texts.filled & ~_true(pc.match_substring_regex(texts.array, _EMAIL))


def cpf(texts: Texts) -> Mask:
    return _document(texts, check_digits.CPF_WIDTH, check_digits.cpf)


def cnpj(texts: Texts) -> Mask:
    return _document(texts, check_digits.CNPJ_WIDTH, check_digits.cnpj)


def cpf_or_cnpj(texts: Texts) -> Mask:
    return cpf(texts) & cnpj(texts)  # each fails what has not its own length


def cns(texts: Texts) -> Mask:
    return _document(texts, check_digits.CNS_WIDTH, check_digits.cns)


def card(texts: Texts) -> Mask:
    return _document(texts, check_digits.CARD_WIDTH, check_digits.card)


TEXT_CHECKS: Mapping[str, Callable[[Texts], Mask]] = {
    "digits": digits,
    "ans_registry": ans_registry,
    "cnes": cnes,
    "cep": cep,
    "uf": uf,
    "email": email,
    "cpf": cpf,
    "cnpj": cnpj,
    "cpf_or_cnpj": cpf_or_cnpj,
    "cns": cns,
    "check_digit:card": card,
}
"""Checks of a text as stored (upper-cased, cut), by token without the mark of rejecting."""


def positive(values: Values) -> Mask:
    failed: Mask = values.filled & (values.numbers <= 0)
    return failed


def non_negative(values: Values) -> Mask:
    failed: Mask = values.filled & (values.numbers < 0)
    return failed


NUMBER_CHECKS: Mapping[str, Callable[[Values], Mask]] = {"positive": positive, "non_negative": non_negative}
"""Checks of a number as stored (rounded)."""


def not_future(values: Values, today: int) -> Mask:
    """``today`` is the day number of the run."""
    failed: Mask = values.filled & (values.numbers > today)
    return failed


def not_before(values: Values, other: Values) -> Mask:
    failed: Mask = values.filled & other.filled & (values.numbers < other.numbers)
    return failed


def _not_of_length(texts: Texts, length: int) -> Mask:
    wrong: Mask = texts.filled & (texts.lengths != length)
    return wrong


def _document(texts: Texts, width: int, good: Callable[[Matrix], Mask]) -> Mask:
    """Fails every text that is not ``width`` bytes long, or whose bytes are not ``good``."""
    rows, matrix = texts.matrix(width)
    failed = texts.filled.copy()
    failed[rows] = ~good(matrix)
    return failed


def _true(answers: object) -> Mask:
    """An Arrow boolean column as a mask; NULL is not true."""
    mask: Mask = pc.fill_null(answers, False).to_numpy(zero_copy_only=False)
    return mask
