"""Texts and doubles of the ERP to the days, numbers and flags of HAT."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hat_etl.entities.model import Column, Kind
from hat_etl.transform.texts import Mask, Rows, Texts
from hat_etl.transform.vocabulary import Vocabulary


@dataclass(frozen=True)
class Values:
    """A converted column. Where not ``filled`` the value is NULL, and ``numbers`` holds nothing of meaning."""

    numbers: NDArray[np.int64]
    """Days since 1970-01-01, or whole numbers in units of the last decimal place."""
    filled: Mask
    unreadable: Mask
    """Rows that bring something which is no value of the type."""

    def array(self, kind: pa.DataType) -> pa.Array:
        """The values as Arrow."""
        if pa.types.is_decimal(kind):
            data = np.empty((len(self.numbers), 2), dtype=np.int64)  # 128 bits, the low half first
            data[:, 0] = self.numbers
            data[:, 1] = self.numbers >> 63
        else:
            data = self.numbers.astype(f"i{kind.bit_width // 8}")
        return pa.Array.from_buffers(kind, len(self.numbers), [_validity(self.filled), pa.py_buffer(data)])


# Days ----------------------------------------------------------------------------------------------------------------

_FIRST_YEAR, _LAST_YEAR = 1900, 2199
_NO_DAY = -(10**9)


def day_number(day: datetime.date) -> int:
    """Days since 1970-01-01."""
    return (day - datetime.date(1970, 1, 1)).days


def _calendar() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Day number of each year's 1 January, and days to add by month and day, for leap years in the second half.

    The first is found by the year (0 to 9999), the second by ``month * 100 + day``, plus 10000 in a leap year.
    What is no year or day of ours holds a number so low that no sum with it is a day.
    """
    years = np.full(10_000, _NO_DAY, dtype=np.int32)
    for year in range(_FIRST_YEAR, _LAST_YEAR + 1):
        years[year] = day_number(datetime.date(year, 1, 1))
    days = np.full(20_000, _NO_DAY, dtype=np.int32)
    for base, year in ((0, 2001), (10_000, 2000)):
        start = datetime.date(year, 1, 1)
        for add in range(366 if base else 365):
            day = start + datetime.timedelta(days=add)
            days[base + day.month * 100 + day.day] = add
    return years, days


_YEARS, _DAYS = _calendar()
_LEAP = np.array([10_000 * (y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)) for y in range(10_000)], dtype=np.int32)
_FIRST_DAY = day_number(datetime.date(_FIRST_YEAR, 1, 1))


def days(texts: Texts, blank: datetime.date | None = None) -> Values:
    """``YYYYMMDD`` to days; blanks and zeros are empty, or the day ``blank`` when one is given."""
    rows, matrix = texts.matrix(8)
    year, month_day, digits = _year_and_day(matrix)
    found = _YEARS[year] + _DAYS[_LEAP[year] + month_day]
    good = digits & (found >= _FIRST_DAY)

    numbers = np.zeros(len(texts), dtype=np.int64)
    numbers[rows] = found
    filled = np.zeros(len(texts), dtype=bool)
    filled[rows] = good
    unreadable = texts.filled & ~filled
    if unreadable.any():
        doubtful = np.flatnonzero(unreadable)
        zeros = pc.match_substring_regex(texts.take(doubtful), "^0+$").to_numpy(zero_copy_only=False)
        unreadable[doubtful[zeros]] = False
    if blank is not None:
        empty = ~filled & ~unreadable
        numbers[empty] = day_number(blank)
        filled |= empty
    return Values(numbers, filled, unreadable)


def _year_and_day(
    matrix: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], Mask]:
    """Year, month * 100 + day, and whether all is digits, of eight bytes each.

    The eight digits are read as one 64-bit number and joined in pairs, then the pairs in fours.
    """
    eight = np.ascontiguousarray(matrix).view("<u8")[:, 0] ^ np.uint64(0x3030303030303030)
    over_nine = (eight + np.uint64(0x0606060606060606)) | eight
    digits = (over_nine & np.uint64(0xF0F0F0F0F0F0F0F0)) == 0
    eight = ((eight & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561)) >> np.uint64(8)
    eight = ((eight & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    eight = np.where(digits, eight, np.uint64(0))
    year = (eight & np.uint64(0xFFFF)).astype(np.int64)
    month_day = ((eight >> np.uint64(32)) & np.uint64(0xFFFF)).astype(np.int64)
    return year, month_day, digits


# Numbers -------------------------------------------------------------------------------------------------------------

_EXACT = 10.0**14
"""Below this many units a decimal and its half have at most 15 digits, and doubles tell all of those apart."""
_DECIMAL = r"^(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?$"
_WHOLE = r"^(?P<sign>[+-]?)(?P<whole>[0-9]+)(?P<fraction>)$"
_SCIENTIFIC = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"


def numbers(array: pa.Array, column: Column) -> Values:
    """Doubles or whole numbers to the type of ``column``: rounded half away from zero, and in range."""
    low, high = _range(column)
    filled: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(array.type):
        plain = array.cast(pa.int64()).fill_null(0).to_numpy()
        power = 10**column.scale
        good = filled & (plain >= -(-low // power)) & (plain <= high // power)
        return Values(np.where(good, plain, 0) * power, good, filled & ~good)
    if not pa.types.is_floating(array.type):
        raise TypeError(f"{column.name}: a number is expected and {array.type} arrives")
    doubles = array.cast(pa.float64()).fill_null(0.0).to_numpy()
    usable = np.isfinite(doubles) & (np.abs(doubles) < 10.0 ** (len(str(high)) - column.scale))
    units = _round(np.where(usable, doubles, 0.0), column.scale)
    good = filled & usable & (units >= low) & (units <= high)
    return Values(units, good, filled & ~good)


def _round(doubles: NDArray[np.float64], scale: int) -> NDArray[np.int64]:
    """Units of the last place, half away from zero, of the shortest decimal that reads back as the double.

    The product with the power of ten may be off by a hair, which matters only next to a half. So the guess is set
    against the halves on either side, each divided back: the shortest decimal lies at or above a half exactly when
    its double is at or above the double of that half, as long as both have no more than 15 digits.
    """
    power = 10.0**scale
    sizes = np.abs(doubles)
    units = np.floor(sizes * power + 0.5)
    units += sizes >= (units + 0.5) / power
    units -= sizes < (units - 0.5) / power
    rounded = np.copysign(units, doubles).astype(np.int64)
    large = np.flatnonzero(units >= _EXACT)
    if large.size:
        unique, places = np.unique(doubles[large], return_inverse=True)
        rounded[large] = np.array([_exact_units(repr(double), scale) for double in unique.tolist()])[places]
    return rounded


def _exact_units(text: str, scale: int) -> int:
    moved = Context(prec=len(text) + 1).scaleb(Decimal(text), scale)  # the precision keeps every digit
    return int(moved.to_integral_value(ROUND_HALF_UP))


def decimals(texts: Texts, column: Column) -> Values:
    """Decimal text to the type of ``column``, rounded half away from zero; text fields hold whole numbers only."""
    low, high = _range(column)
    parts = pc.extract_regex(texts.array, _DECIMAL if column.numeric_source else _WHOLE)
    sign, whole, fraction = (parts.field(name).fill_null("") for name in ("sign", "whole", "fraction"))
    short = parts.is_valid().to_numpy(zero_copy_only=False)
    short &= _lengths(whole) <= 17 - column.scale  # the digits we compute with fit 64 bits
    short &= _lengths(whole) + _lengths(fraction) > 0
    if not short.all():
        keep = pa.array(short)
        whole, fraction = (pc.if_else(keep, part, "") for part in (whole, fraction))
    # One place more than we keep decides about rounding.
    fraction = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, column.scale + 1, "0"), 0, column.scale + 1)
    tenths = pc.binary_join_element_wise(whole, fraction, "").cast(pa.int64()).to_numpy()
    units = (tenths + 5) // 10
    units = np.where(pc.equal(sign, "-").to_numpy(zero_copy_only=False), -units, units)
    readable = short
    if column.numeric_source and (unusual := np.flatnonzero(texts.filled & ~short)).size:
        readable = short.copy()
        units[unusual], readable[unusual] = _unusual(texts, unusual, column.scale, (low, high))
    good = readable & (units >= low) & (units <= high)
    return Values(units, good, texts.filled & ~good)


def _unusual(texts: Texts, rows: Rows, scale: int, limits: tuple[int, int]) -> tuple[NDArray[np.int64], Mask]:
    """Units of numbers written with an exponent or very many digits, and which of these rows are numbers in range."""
    encoded = texts.take(rows).dictionary_encode()
    units, good = [], []
    for text, is_number in zip(
        encoded.dictionary.to_pylist(),
        pc.match_substring_regex(encoded.dictionary, _SCIENTIFIC).to_pylist(),
        strict=True,
    ):
        # The exponent tells when a number cannot be in range, before its digits are written out.
        value = Decimal(text) if is_number else Decimal(0)
        near = value.is_zero() or value.adjusted() <= len(str(limits[1]))
        exact = _exact_units(text, scale) if is_number and near and value else 0
        inside = is_number and near and limits[0] <= exact <= limits[1]
        units.append(exact if inside else 0)
        good.append(inside)
    places = encoded.indices.to_numpy()
    return np.array(units, dtype=np.int64)[places], np.array(good, dtype=bool)[places]


def _lengths(texts: pa.Array) -> NDArray[np.int32]:
    lengths: NDArray[np.int32] = pc.binary_length(texts).to_numpy()
    return lengths


def _range(column: Column) -> tuple[int, int]:
    """Least and greatest units the type of ``column`` holds."""
    match column.kind:
        case Kind.SMALLINT:
            return -(2**15), 2**15 - 1
        case Kind.INTEGER:
            return -(2**31), 2**31 - 1
        case Kind.AMOUNT:
            return -(10**column.width) + 1, 10**column.width - 1
        case _:
            raise ValueError(f"{column.name} is no number")


# Flags ---------------------------------------------------------------------------------------------------------------


def flags(texts: Texts, codes: Vocabulary, stored: Sequence[bool]) -> tuple[pa.Array, Mask]:
    """Codes to booleans (``stored`` tells what each code stands for); also the rows whose code is not listed."""
    places = codes.places(texts)
    known = places >= 0
    values = np.array([*stored, False])[places]  # place -1 is the last: no matter, it is NULL
    array = pa.Array.from_buffers(
        pa.bool_(), len(texts), [_validity(known), pa.py_buffer(np.packbits(values, bitorder="little"))]
    )
    return array, texts.filled & ~known


def _validity(filled: Mask) -> pa.Buffer | None:
    return None if filled.all() else pa.py_buffer(np.packbits(filled, bitorder="little"))
