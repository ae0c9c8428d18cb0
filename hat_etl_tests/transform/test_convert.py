"""Days, numbers and flags come out as the contract says, or are unreadable."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hat_etl.entities.model import Column, Kind, number
from hat_etl.transform import clean, convert
from hat_etl.transform.texts import Texts
from hat_etl.transform.vocabulary import Vocabulary
from hat_etl_tests.transform import reference

COLUMNS = [
    number("n", Kind.SMALLINT, "N", "BA1_N", "A small number."),
    number("n", Kind.INTEGER, "N", "BA1_N", "A number."),
    number("n", Kind.AMOUNT, "N", "BA1_N", "An amount.", scale=2),
    number("n", Kind.AMOUNT, "N", "BA1_N", "A finer amount.", scale=4),
]
CENTS = COLUMNS[2]
FROM_TEXT = number("n", Kind.SMALLINT, "N", "BA1_N", "A number in a text field.", from_text=True)
columns = st.sampled_from(COLUMNS)


def texts(*values: str | None) -> Texts:
    return clean.clean(pa.array(values, pa.string()))[0]


def units(values: convert.Values) -> list[int | None]:
    return [int(n) if filled else None for n, filled in zip(values.numbers, values.filled, strict=True)]


date_texts = (
    st.dates(datetime.date(1880, 1, 1), datetime.date(2220, 12, 31)).map("{:%Y%m%d}".format)
    | st.integers(0, 99999999).map("{:08d}".format)
    | st.builds("{:04d}{:02d}{:02d}".format, st.sampled_from([1899, 1900, 2000, 2023, 2024, 2100, 2199, 2200]),
                st.integers(0, 13), st.integers(0, 32))
    | st.text("0129 /-x", max_size=10)
    | st.text("0", max_size=10)
    | st.sampled_from(["2024022é", "٢٠٢٤٠٢٢٩", "2024:229", "2024/229", "        "])
)  # fmt: skip


@given(st.lists(st.none() | date_texts, max_size=10))
def test_days_are_real_days_of_1900_to_2199_in_eight_digits(values: list[str | None]) -> None:
    source = texts(*values)
    read = convert.days(source)
    given_texts = source.array.to_pylist()
    assert read.array(pa.date32()).to_pylist() == [reference.day(text) if text else None for text in given_texts]
    expected = [bool(text) and set(text) != {"0"} and reference.day(text) is None for text in given_texts]
    assert read.unreadable.tolist() == expected


@pytest.mark.parametrize(
    "text", ["18991231", "22000101", "19000229", "20230229", "20231301", "20230100", "2023010", "202301010"]
)
def test_what_is_no_day_is_unreadable(text: str) -> None:
    read = convert.days(texts(text, "20240229"))
    assert read.unreadable.tolist() == [True, False]
    assert read.filled.tolist() == [False, True]


@pytest.mark.parametrize("text", [" ", "0", "00000000", "000000000", None])
def test_blanks_and_zeros_are_no_date(text: str | None) -> None:
    read = convert.days(texts(text))
    assert (read.filled.any(), read.unreadable.any()) == (False, False)


@pytest.mark.parametrize("year", [1900, 1904, 1999, 2000, 2023, 2024, 2100, 2199])
def test_every_day_of_a_year_is_read(year: int) -> None:
    first = datetime.date(year, 1, 1)
    every = [first + datetime.timedelta(days=add) for add in range((datetime.date(year + 1, 1, 1) - first).days)]
    read = convert.days(texts(*(f"{day:%Y%m%d}" for day in every)))
    assert read.array(pa.date32()).to_pylist() == every


@given(st.lists(st.none() | date_texts, max_size=10))
def test_a_day_with_a_constant_takes_it_where_blank_or_zero(values: list[str | None]) -> None:
    source = texts(*values)
    read = convert.days(source, datetime.date(1900, 1, 1))
    plain = convert.days(source)
    expected = [
        datetime.date(1900, 1, 1) if day is None and not unreadable else day
        for day, unreadable in zip(plain.array(pa.date32()).to_pylist(), plain.unreadable, strict=True)
    ]
    assert read.array(pa.date32()).to_pylist() == expected
    assert read.unreadable.tolist() == plain.unreadable.tolist()


# Halves and their neighbours, in the middle of the range and where doubles stop to tell decimals apart.
halves = st.builds(
    lambda whole, scale, step: float(np.nextafter(float(Decimal(2 * whole + 1) / 2 / 10**scale), step)),
    st.integers(-(10**15), 10**15) | st.integers(-100_000, 100_000),
    st.sampled_from([0, 2, 4]),
    st.sampled_from([-np.inf, 0.0, np.inf]),
) | st.builds(
    lambda whole, scale: (2 * whole + 1) / 2 / 10**scale, st.integers(-(10**9), 10**9), st.sampled_from([0, 2, 4])
)
doubles = halves | st.floats() | st.floats(-1e5, 1e5) | st.sampled_from([32767.5, -32768.5, 99999999999999.99])


@given(columns, st.lists(st.none() | doubles, max_size=10))
@example(CENTS, [1.005, -1.005, 2.675, 0.005, -0.005, 0.0049999999999999996, 8.5, 1e12 + 0.005])
def test_doubles_are_rounded_half_away_from_zero_on_their_shortest_decimal(
    column: Column, values: list[float | None]
) -> None:
    read = convert.numbers(pa.array(values, pa.float64()), column)
    expected = [None if value is None else reference.units(value, column) for value in values]
    assert units(read) == expected
    assert read.unreadable.tolist() == [v is not None and e is None for v, e in zip(values, expected, strict=True)]


@pytest.mark.parametrize("value", [90106012127733.95, 45897607701713.164, 76462254487715.81, 99999999999999.98])
def test_amounts_beyond_what_doubles_tell_apart_are_rounded_exactly(value: float) -> None:
    assert units(convert.numbers(pa.array([value, -value, 1.0]), CENTS))[:2] == [
        reference.units(value, CENTS),
        reference.units(-value, CENTS),
    ]


def test_the_contract_s_example_of_rounding() -> None:
    array = convert.numbers(pa.array([1.005]), CENTS).array(CENTS.arrow_type)
    assert array.to_pylist() == [Decimal("1.01")]


@given(columns, st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-40000, 40000), max_size=10))
@example(CENTS, [10**14 - 1, 10**14, -(10**14) + 1, -(10**14), 10**15, -(10**15)])
def test_whole_numbers_keep_their_value_or_are_out_of_range(column: Column, values: list[int | None]) -> None:
    read = convert.numbers(pa.array(values, pa.int64()), column)
    expected = [None if value is None else reference.units(value, column) for value in values]
    assert units(read) == expected
    assert read.unreadable.tolist() == [v is not None and e is None for v, e in zip(values, expected, strict=True)]


decimal_texts = (
    st.from_regex(r"[+-]?[0-9]{0,17}(\.[0-9]{0,6})?", fullmatch=True, alphabet=st.sampled_from("+-.0123456789"))
    | st.from_regex(r"[+-]?[0-9]{0,3}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True,
                    alphabet=st.sampled_from("+-.eE0123456789"))
    | doubles.map(repr)
    | st.sampled_from(["", " 7 ", "1,5", "NaN", "inf", "1_000", "٣", "0x1", "+", ".", "-.5", "5.", "0e9999", "1e-9999",
                       "32767.4999999999999999999999999999999999", "0.00499999999999999999999999999999999999", "1 2"])
)  # fmt: skip


@given(columns | st.just(FROM_TEXT), st.lists(st.none() | decimal_texts, max_size=10))
def test_decimal_text_is_rounded_exactly_or_unreadable(column: Column, values: list[str | None]) -> None:
    source = texts(*values)
    given_texts = source.array.to_pylist()
    read = convert.decimals(source, column)
    expected = [reference.units(text, column) if text else None for text in given_texts]
    assert units(read) == expected
    assert read.unreadable.tolist() == [bool(t) and e is None for t, e in zip(given_texts, expected, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.005", 101), ("-1.005", -101), ("+.5", 50), ("5.", 500), ("1e2", 10000), ("0e9999", 0), ("-0.004", 0),
        ("0" * 40 + "1.5", 150), ("0.00499" + "9" * 40, 0), ("0.00499" + "9" * 40 + "e0", 0),
        ("99999999999999.99", 10**16 - 1), ("99999999999999.995", None), ("1" * 15, None), ("1" * 19, None),
        ("9" * 40, None), ("1e9999", None), (".", None), ("+", None), ("1,5", None), ("NaN", None), ("1_0", None),
        ("1 0", None), ("٣", None),
    ],
)  # fmt: skip
def test_decimal_text_at_its_edges(text: str, expected: int | None) -> None:
    assert units(convert.decimals(texts(text, "1"), CENTS)) == [expected, 100]


@given(columns, st.lists(st.none() | st.integers(-(10**16) + 1, 10**16 - 1), max_size=10))
def test_units_become_arrow_numbers_of_the_type(column: Column, values: list[int | None]) -> None:
    kind = column.arrow_type
    limit = 10**16 if pa.types.is_decimal(kind) else 2 ** (kind.bit_width - 1)
    values = [value and (abs(value) % limit) * (1 if value > 0 else -1) for value in values]
    numbers = np.array([value or 0 for value in values], dtype=np.int64)
    filled = np.array([value is not None for value in values], dtype=bool)
    array = convert.Values(numbers, filled, ~filled).array(kind)
    array.validate(full=True)
    assert array.type == kind
    assert [a if a is None else Fraction(a) for a in array.to_pylist()] == [
        v if v is None else Fraction(v, 10**column.scale) for v in values
    ]


MAPPING = {"1": True, "0": False, "S": True}


@given(st.lists(st.none() | st.sampled_from(["1", "0", "S", "X", "é", "10", "", " 1", "s"]), max_size=10))
def test_flags_are_what_their_code_stands_for(values: list[str | None]) -> None:
    source = texts(*values)
    array, unlisted = convert.flags(source, Vocabulary(MAPPING), tuple(MAPPING.values()))
    array.validate(full=True)
    given_texts = source.array.to_pylist()
    assert array.to_pylist() == [MAPPING.get(text) for text in given_texts]
    assert unlisted.tolist() == [text is not None and text not in MAPPING for text in given_texts]
