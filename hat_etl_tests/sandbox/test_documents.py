"""The generated numbers are judged by the plain check-digit formulas of plain_contract."""

from __future__ import annotations

import numpy as np
import pytest

from hat_etl.sandbox import documents
from hat_etl_tests.sandbox import plain_contract

NUMBERS = np.concatenate([np.arange(30), np.arange(99_999_990, 100_000_010), 111_111_111 * np.arange(1, 9)])


def test_cpfs_are_valid_and_differ() -> None:
    made = documents.cpf(NUMBERS[:40]).to_pylist()
    assert len(set(made)) >= 39  # 0 gives way to 1
    assert all(plain_contract.is_cpf(text) for text in documents.cpf(NUMBERS).to_pylist())


@pytest.mark.parametrize("letters", [False, True])
def test_cnpjs_are_valid_with_and_without_letters(letters: bool) -> None:
    made = documents.cnpj(NUMBERS, branch=1, letters=letters).to_pylist()
    assert all(plain_contract.is_cnpj(text) for text in made)
    assert all(text[:2].isalpha() == letters for text in made)


def test_national_health_card_numbers_are_valid() -> None:
    assert all(plain_contract.is_cns(text) for text in documents.cns(NUMBERS).to_pylist())


@pytest.mark.parametrize(("card", "digit"), [("0001000200003502", 6), ("0001000100000100", 0)])
def test_the_digit_of_a_card_is_that_of_the_contract(card: str, digit: int) -> None:
    assert documents.card_digit(np.array([[int(c) for c in card]])).tolist() == [digit]


@pytest.mark.parametrize("text", ["11222333000181", "12ABC34501DE35"])
def test_the_yardstick_knows_good_cnpjs(text: str) -> None:
    assert plain_contract.is_cnpj(text)


def test_the_yardstick_knows_a_good_national_health_card() -> None:
    assert plain_contract.is_cns("700000000001249")
    assert not plain_contract.is_cns("700000000001240")
