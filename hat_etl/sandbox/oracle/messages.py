"""Messages inside data packets (TTC): what the client asks, and how results and errors are told."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from hat_etl.sandbox.oracle.codec import (
    ZERO,
    OracleType,
    Reader,
    number,
    octets,
    oracle_date,
    read_oracle_number,
    read_oracle_timestamp,
    sized_octets,
)
from hat_etl.sandbox.oracle.profiles import Profile

Bind = str | Decimal | datetime | None
"""A value that came with a statement."""

NO_DATA = 1403
_UTF8, _TEXT_FORM = 873, 1
_FETCH_WITH_EXECUTE = 0x40
_BANNER = b"x86_64/Linux 2.4.xx"


class Message(IntEnum):
    """First byte of a message."""

    PROTOCOL = 1
    DATA_TYPES = 2
    FUNCTION = 3
    ERROR = 4
    ROW_HEADER = 6
    ROW = 7
    PARAMETERS = 8
    DESCRIBE = 16
    PIGGYBACK = 17
    BIT_VECTOR = 21


class Function(IntEnum):
    """What a function message or a piggyback asks for."""

    REEXECUTE = 4
    FETCH = 5
    LOGOFF = 9
    COMMIT = 14
    ROLLBACK = 15
    REEXECUTE_AND_FETCH = 78
    EXECUTE = 94
    CLOSE_CURSORS = 105
    LOGIN_PROOF = 115
    LOGIN = 118
    END_TO_END = 135
    PING = 147
    SET_SCHEMA = 152
    SESSION_STATE = 176


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result. NUMBER without precision, Protheus' own, has precision 0 and scale -127."""

    name: str
    type: OracleType
    precision: int = 0
    scale: int = 0
    size: int = 0
    """Characters of a text."""


@dataclass(frozen=True)
class Execute:
    """A request to run a statement: ``sql``, or None to run the cursor again."""

    sql: str | None
    cursor: int
    bind_types: tuple[OracleType, ...]
    binds: tuple[Bind, ...]
    defines: tuple[OracleType, ...]
    """Types in which the client wants the columns of an open cursor; empty when it takes them as they are."""
    fetches: bool
    rows: int


def read_execute(reader: Reader, profile: Profile) -> Execute:
    """Take apart the body of an execute."""
    options, cursor = reader.number(), reader.number()
    reader.byte(), reader.number()  # statement: pointer and length
    reader.byte(), reader.number()  # options of the statement, likewise
    reader.take(2), reader.number()  # prefetch buffer
    rows = reader.number()
    reader.number(), reader.byte()  # longest LONG; pointer to the binds
    bind_count = reader.number()
    reader.take(5)
    has_defines, define_count = reader.byte(), reader.number()
    reader.number(), reader.take(3), reader.number(), reader.byte()  # change notification
    reader.skip_numbers(2)
    reader.byte(), reader.number(), reader.byte()
    if profile.has_12_2:
        for _ in range(2):
            reader.byte(), reader.number()
        reader.byte()
        if profile.has_12_2_ext:
            reader.byte(), reader.number()
    sql = None if cursor else reader.octets().decode()
    reader.skip_numbers(13)
    defines: tuple[OracleType, ...] = ()
    bind_types: tuple[OracleType, ...] = ()
    binds: tuple[Bind, ...] = ()
    if has_defines:
        defines = tuple(_read_type(reader, profile) for _ in range(define_count))
    elif bind_count:
        bind_types = tuple(_read_type(reader, profile) for _ in range(bind_count))
        binds = _read_row(reader, bind_types)
    return Execute(sql, cursor, bind_types, binds, defines, bool(options & _FETCH_WITH_EXECUTE), rows)


def read_again(reader: Reader, bind_types: Sequence[OracleType]) -> tuple[Bind, ...]:
    """The rest of a request to run a cursor again: other values for binds of the types that it had before."""
    reader.skip_numbers(2)  # options
    return _read_row(reader, bind_types) if bind_types else ()


def _read_type(reader: Reader, profile: Profile) -> OracleType:
    kind = OracleType(reader.byte())
    reader.take(3)
    reader.skip_numbers(3)
    reader.sized_octets()
    reader.skip_numbers(2)
    reader.byte(), reader.number()
    if profile.has_12_2:
        reader.number()
    return kind


def _read_row(reader: Reader, types: Sequence[OracleType]) -> tuple[Bind, ...]:
    if reader.byte() != Message.ROW:
        raise ValueError("binds come as a row")
    return tuple(_read_bind(kind, reader.octets()) for kind in types)


def _read_bind(kind: OracleType, data: bytes) -> Bind:
    if not data:
        return None
    match kind:
        case OracleType.VARCHAR2 | OracleType.CHAR | OracleType.LONG:
            return data.decode()
        case OracleType.NUMBER:
            return read_oracle_number(data)
        case OracleType.DATE | OracleType.TIMESTAMP:
            return read_oracle_timestamp(data)
        case _:
            raise ValueError(f"binds of type {kind.name} are not understood")


def read_login(reader: Reader) -> tuple[str, dict[str, str]]:
    """User and named values of either half of a login."""
    reader.byte()
    reader.skip_numbers(2)
    reader.byte()
    count = reader.number()
    reader.take(2)
    user = reader.octets().decode()
    values = {}
    for _ in range(count):
        name = reader.sized_octets().decode()
        values[name] = reader.sized_octets().decode(errors="replace")
        reader.number()
    return user, values


def read_closed_cursors(reader: Reader) -> list[int]:
    reader.byte()
    return [reader.number() for _ in range(reader.number())]


def skip_end_to_end(reader: Reader) -> None:
    """Module, action and such, which only a DBA would look at."""
    reader.take(2), reader.number()
    present = []
    for _ in range(3):
        given, length = reader.byte(), reader.number()
        present.append(given and length)
    reader.byte(), reader.number(), reader.byte(), reader.number()
    given, length = reader.byte(), reader.number()
    present.append(given and length)
    for _ in range(2):
        reader.byte(), reader.number()
    given, length = reader.byte(), reader.number()
    present.append(given and length)
    for there in present:
        if there:
            reader.octets()


def protocol(profile: Profile, charset: int) -> bytes:
    """Answer to the protocol negotiation: banner, character set, capabilities at compile and run time."""
    compiled = bytearray(55)
    compiled[0], compiled[4], compiled[7], compiled[15], compiled[23], compiled[37] = (
        6, 0xEA, profile.fields, 0x29, 0xCF, 0x20,
    )  # fmt: skip
    running = bytearray(11)
    running[0], running[6] = 2, 4
    national = bytes(9) + struct.pack(">H", 2000)
    return (
        bytes((Message.PROTOCOL, 6, 0)) + _BANNER + b"\0"
        + struct.pack("<H", charset) + b"\1" + struct.pack("<H", 0)
        + struct.pack(">H", len(national)) + national
        + octets(bytes(compiled)) + octets(bytes(running))
    )  # fmt: skip


DATA_TYPES = bytes((Message.DATA_TYPES, 0, 0))
"""Answer to the negotiation of data types: nothing beyond the usual."""


def named_values(values: Mapping[str, tuple[str, int]]) -> bytes:
    """Named values with their flags, as a login's answers are."""
    parts = [bytes((Message.PARAMETERS,)), number(len(values))]
    for name, (value, flags) in values.items():
        parts += [sized_octets(name.encode()), sized_octets(value.encode()), number(flags)]
    return b"".join(parts)


def describe(columns: Sequence[ResultColumn], profile: Profile) -> bytes:
    """What the columns of a result are."""
    parts = [bytes((Message.DESCRIBE,)), octets(bytes(7)), number(1000), number(len(columns))]
    if columns:
        parts.append(b"\0")
    for place, column in enumerate(columns, 1):
        parts.append(_described(column, place, profile))
    parts += [number(7), octets(oracle_date(datetime(2026, 11, 23))), ZERO * 5]
    return b"".join(parts)


_SIZES = {
    OracleType.NUMBER: 22,
    OracleType.DATE: 7,
    OracleType.TIMESTAMP: 11,
    OracleType.TIMESTAMP_TZ: 13,
    OracleType.BINARY_DOUBLE: 8,
}


def _described(column: ResultColumn, place: int, profile: Profile) -> bytes:
    text = column.type in (OracleType.VARCHAR2, OracleType.CHAR)
    size = 4 * column.size if text else _SIZES.get(column.type, column.size)
    parts = [
        bytes((column.type, 0, column.precision & 0xFF, column.scale & 0xFF)),
        number(size),
        ZERO * 4,
        number(_UTF8 if text else 0),
        bytes((_TEXT_FORM if text else 0,)),
        number(column.size if text else 0),
    ]
    if profile.has_12_2:
        parts.append(ZERO)
    name = column.name.encode()
    parts += [bytes((1, len(name))), sized_octets(name), ZERO * 2, number(place), ZERO]
    if profile.has_23_1:
        parts.append(ZERO * 2)
    if profile.has_23_1_domains:
        parts.append(ZERO)
    if profile.has_23_4:
        parts.append(ZERO + b"\0\0")
    return b"".join(parts)


ROW_HEADER = bytes((Message.ROW_HEADER, 0)) + number(1) * 2 + ZERO * 4
PARAMETERS = bytes((Message.PARAMETERS,)) + ZERO * 4
"""What stands between the rows and the closing status: no parameters."""


def row(values: Sequence[bytes]) -> bytes:
    """A row with all of its values."""
    return bytes((Message.ROW,)) + b"".join(values)


def row_after(values: Sequence[bytes], before: Sequence[bytes]) -> bytes:
    """A row of which only those values travel that differ from the row before; a bit vector tells which."""
    differs = [value != old for value, old in zip(values, before, strict=True)]
    if all(differs):
        return row(values)
    bits = bytearray((len(values) + 7) // 8)
    for place, there in enumerate(differs):
        if there:
            bits[place // 8] |= 1 << place % 8
    sent = [value for value, there in zip(values, differs, strict=True) if there]
    return bytes((Message.BIT_VECTOR,)) + number(len(sent)) + bits + row(sent)


def status(profile: Profile, sequence: int, code: int = 0, text: str = "", *, cursor: int = 0, rows: int = 0) -> bytes:
    """How a call ended: 0 is well, ``NO_DATA`` the end of the rows. ``rows`` are those sent of the cursor so far."""
    parts = [
        bytes((Message.ERROR,)), ZERO, number(sequence), ZERO, number(code & 0xFFFF), ZERO * 2, number(cursor), ZERO,
        bytes(6),
        ZERO * 2, b"\0", ZERO * 2,  # row identifier
        ZERO, b"\0\0", ZERO * 3,
        ZERO * 3,  # batch errors: none
        number(code), number(rows),
    ]  # fmt: skip
    if profile.has_20_1:
        parts.append(ZERO * 2)
    if code:
        parts.append(octets(f"{text}\n".encode()))
    return b"".join(parts)
