"""The model itself, by the examples that the contract gives."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from hat_etl.entities import BY_TABLE
from hat_etl_tests.conformance import model


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (model.cpf, "52998224725", "52998224724"),
        (model.cpf, "00000000191", "00000000000"),
        (model.cnpj, "12ABC34501DE35", "12ABC34501DE53"),
        (model.cnpj, "11222333000181", "11222333000118"),
        (model.cns, "700000000001249", "700000000001248"),
        (model.cns, "100000000000007", "300000000000003"),
        (model.email, "a@b.c", "a@bc"),
        (model.TEXT_RULES["cep"], "01310100", "00000000"),
        (model.TEXT_RULES["check_digit"], "00010002000035026", "00010002000035020"),
        (model.TEXT_RULES["check_digit"], "00010001000001000", "0001000100000100"),
    ],
)  # fmt: skip
def test_documents_and_check_digits(check: object, good: str, bad: str) -> None:
    assert callable(check)
    assert check(good)
    assert not check(bad)


@pytest.mark.parametrize(
    ("table", "column", "double", "stored"),
    [
        ("batch_authorizations", "value", 1.005, Decimal("1.01")),
        ("batch_authorizations", "value", -2.675, Decimal("-2.68")),
        ("batch_authorizations", "value", -0.004, Decimal("0.00")),
        ("procedures", "waiting_period", 2.5, 3),
        ("procedures", "waiting_period", -0.5, -1),
        ("procedures", "waiting_period", 32767.4, 32767),
        ("product_copayment_rules", "quantity_up_to", 32767.5, 32768),
    ],
)
def test_numbers_round_half_away_from_zero(table: str, column: str, double: float, stored: object) -> None:
    assert model.number(BY_TABLE[table][column], double) == stored


@pytest.mark.parametrize("double", [float("nan"), float("inf"), 32767.5, -32768.5, 1e300])
def test_a_number_beyond_its_type_is_unreadable(double: float) -> None:
    with pytest.raises(model.Unreadable, match="invalid_number"):
        model.number(BY_TABLE["procedures"]["waiting_period"], double)


@pytest.mark.parametrize(
    ("text", "stored"),
    [("20240229", date(2024, 2, 29)), ("19000101", date(1900, 1, 1)), ("21991231", date(2199, 12, 31)),
     ("00000000", None), ("000", None)],
)  # fmt: skip
def test_days(text: str, stored: date | None) -> None:
    assert model.day(text) == stored


@pytest.mark.parametrize("text", ["20230229", "18991231", "22000101", "2024-1-1", "202401011", "2024011"])
def test_what_is_no_day_is_unreadable(text: str) -> None:
    with pytest.raises(model.Unreadable, match="invalid_date"):
        model.day(text)
