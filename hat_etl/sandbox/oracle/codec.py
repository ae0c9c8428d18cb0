"""How numbers, texts and moments travel in Oracle's network protocol: reading requests, writing answers.

The layouts are those that the open-source thin driver (python-oracledb) reads and writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache

_CHUNK = 32_767
_LONGEST_SHORT = 252
_CHUNKED = 0xFE
_NULLS = (0, 0xFF)


class OracleType(IntEnum):
    """Numbers of the data types, as describes and binds give them."""

    VARCHAR2 = 1
    NUMBER = 2
    LONG = 8
    DATE = 12
    RAW = 23
    CHAR = 96
    BINARY_DOUBLE = 101
    TIMESTAMP = 180
    TIMESTAMP_TZ = 181


class Incomplete(Exception):
    """The message goes on in the next packet."""


class Reader:
    """Takes a message apart from the front. Raises Incomplete where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._place : self._place + count]
        if len(piece) < count:
            raise Incomplete
        self._place += count
        return piece

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._place)

    @property
    def is_at_end(self) -> bool:
        return self._place == len(self._data)

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """An unsigned number with its length in front, whatever its declared width."""
        size = self.byte() & 0x7F
        return int.from_bytes(self.take(size), "big")

    def skip_numbers(self, count: int) -> None:
        for _ in range(count):
            self.number()

    def octets(self) -> bytes:
        """Bytes with a length of one byte, or in chunks."""
        size = self.byte()
        if size in _NULLS:
            return b""
        if size != _CHUNKED:
            return self.take(size)
        chunks = []
        while size := self.number():
            chunks.append(self.take(size))
        return b"".join(chunks)

    def sized_octets(self) -> bytes:
        """Bytes behind a number that is zero when there are none."""
        return self.octets() if self.number() else b""


def number(value: int) -> bytes:
    """The inverse of Reader.number."""
    if value == 0:
        return b"\0"
    size = next(size for size in (1, 2, 4, 8) if value < 1 << 8 * size)
    return bytes((size,)) + value.to_bytes(size, "big")


ZERO = number(0)


def octets(data: bytes) -> bytes:
    """The inverse of Reader.octets."""
    if len(data) <= _LONGEST_SHORT:
        return bytes((len(data),)) + data
    chunks = (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))
    return b"".join([b"\xfe", *(number(len(chunk)) + chunk for chunk in chunks), b"\0"])


def sized_octets(data: bytes) -> bytes:
    """The inverse of Reader.sized_octets."""
    return number(len(data)) + (octets(data) if data else b"")


def oracle_number(value: Decimal) -> bytes:
    """NUMBER: an exponent in excess of 193, then digits to the base 100, each plus 1.

    Negative numbers are complemented, and end with 102 unless they take all 21 bytes.
    """
    if not value:
        return b"\x80"
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "NUMBER has no infinities"
    text = "".join(map(str, digits)).lstrip("0")
    bare = text.rstrip("0")
    exponent += len(text) - len(bare)
    if exponent % 2:
        bare, exponent = bare + "0", exponent - 1
    if len(bare) % 2:
        bare = "0" + bare
    pairs = [int(bare[i : i + 2]) for i in range(0, len(bare), 2)]
    power = 192 + len(pairs) + exponent // 2
    if not sign:
        return bytes((power, *(pair + 1 for pair in pairs)))
    complement = bytes((~power & 0xFF, *(101 - pair for pair in pairs)))
    return complement if len(pairs) >= 20 else complement + b"\x66"


def read_oracle_number(data: bytes) -> Decimal:
    """The inverse of ``oracle_number``."""
    if data == b"\x80":
        return Decimal(0)
    if data[0] & 0x80:
        power, pairs = data[0], [byte - 1 for byte in data[1:]]
    else:
        power, pairs = ~data[0] & 0xFF, [101 - byte for byte in data[1:].removesuffix(b"\x66")]
    whole = int("".join(f"{pair:02d}" for pair in pairs))
    size = Decimal((0, tuple(map(int, str(whole))), 2 * (power - 192 - len(pairs))))
    return size if data[0] & 0x80 else size.copy_negate()  # a minus sign would round it


def oracle_date(moment: datetime) -> bytes:
    """DATE in seven bytes: century and year of it plus 100, month, day, then hour, minute and second plus 1."""
    century, year = divmod(moment.year, 100)
    return bytes(
        (century + 100, year + 100, moment.month, moment.day, moment.hour + 1, moment.minute + 1, moment.second + 1)
    )


def oracle_timestamp(moment: datetime) -> bytes:
    """TIMESTAMP: a DATE, then nanoseconds where there are any."""
    return oracle_date(moment) + (struct.pack(">I", moment.microsecond * 1000) if moment.microsecond else b"")


def oracle_timestamp_tz(moment: datetime) -> bytes:
    """TIMESTAMP WITH TIME ZONE: the moment in UTC, then the offset, its hours plus 20 and its minutes plus 60."""
    utc = moment.astimezone(UTC)
    minutes = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    hours, rest = int(minutes / 60), abs(minutes) % 60 * (1 if minutes >= 0 else -1)
    return oracle_date(utc) + struct.pack(">I", utc.microsecond * 1000) + bytes((hours + 20, rest + 60))


def read_oracle_timestamp(data: bytes) -> datetime:
    """DATE or TIMESTAMP of a bind. Digits beyond microseconds are refused, for they cannot be kept."""
    moment = datetime((data[0] - 100) * 100 + data[1] - 100, data[2], data[3], data[4] - 1, data[5] - 1, data[6] - 1)
    nanoseconds = int.from_bytes(data[7:11], "big")
    if nanoseconds % 1000:
        raise ValueError("a bind has more than microseconds")
    return moment.replace(microsecond=nanoseconds // 1000)


def binary_double(value: float) -> bytes:
    """BINARY_DOUBLE: IEEE 754 with its bits turned so that the bytes sort as the numbers do."""
    raw = struct.pack(">d", value)
    if raw[0] & 0x80:
        return bytes(byte ^ 0xFF for byte in raw)
    return bytes((raw[0] | 0x80,)) + raw[1:]


# Texts of PostgreSQL to values on the wire ---------------------------------------------------------------------------

NULL_VALUE = b"\0"


_LARGEST = Decimal("9.9999999999999999999999999999999999999E125")
_SMALLEST = Decimal("1E-130")


@lru_cache(1 << 16)
def _number_of(text: bytes) -> bytes:
    """What a NUMBER cannot hold (not a number, infinities, huge doubles) becomes the largest that it can.

    What is smaller than the smallest becomes 0.
    """
    value = Decimal(text.decode("ascii"))
    if not value.is_finite() or value.adjusted() > _LARGEST.adjusted():
        value = _LARGEST.copy_sign(value)
    elif value.adjusted() < _SMALLEST.adjusted():
        value = Decimal(0)
    return octets(oracle_number(value))


@lru_cache(1 << 12)
def _timestamp_of(text: bytes) -> bytes:
    return octets(oracle_timestamp(datetime.fromisoformat(text.decode("ascii"))))


@lru_cache(1 << 12)
def _date_of(text: bytes) -> bytes:
    return octets(oracle_date(datetime.fromisoformat(text.decode("ascii"))))


_LOCAL = timezone(timedelta(hours=-3))
"""Offset with which moments that have one are shown."""


@lru_cache(1 << 12)
def _timestamp_tz_of(text: bytes) -> bytes:
    return octets(oracle_timestamp_tz(datetime.fromisoformat(text.decode("ascii")).astimezone(_LOCAL)))


def _double_of(text: bytes) -> bytes:
    return octets(binary_double(float(text)))


def _text_of(text: bytes) -> bytes:
    return octets(text)  # an empty one comes out as NULL, which is what Oracle makes of it


def _raw_of(text: bytes) -> bytes:
    return octets(bytes.fromhex(text.removeprefix(b"\\x").decode("ascii")))


ENCODERS: dict[OracleType, Callable[[bytes], bytes]] = {
    OracleType.VARCHAR2: _text_of,
    OracleType.CHAR: _text_of,
    OracleType.NUMBER: _number_of,
    OracleType.DATE: _date_of,
    OracleType.TIMESTAMP: _timestamp_of,
    OracleType.TIMESTAMP_TZ: _timestamp_tz_of,
    OracleType.RAW: _raw_of,
    OracleType.BINARY_DOUBLE: _double_of,
}
"""Type to the function that encodes a value given as PostgreSQL writes it."""
