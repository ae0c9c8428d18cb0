"""Results of PostgreSQL as results of Oracle: what the columns are, and rows encoded as they are fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import errors, pq

from hat_etl.sandbox.oracle.codec import ENCODERS, NULL_VALUE, OracleType
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.faults import Fault, Faults, Overwrite, happen
from hat_etl.sandbox.oracle.messages import ResultColumn, row, row_after

Raw = list[bytes | None]
"""One row as PostgreSQL writes it."""

_FETCHED = 2_000
"""Rows taken from PostgreSQL at once."""
_VARYING = 4_000
_CURSOR = "oracle_rows"

_SIMPLE = {
    "bool": OracleType.NUMBER, "int2": OracleType.NUMBER, "int4": OracleType.NUMBER, "int8": OracleType.NUMBER,
    "float4": OracleType.NUMBER, "float8": OracleType.NUMBER, "numeric": OracleType.NUMBER,
    "bpchar": OracleType.CHAR, "varchar": OracleType.VARCHAR2, "text": OracleType.VARCHAR2,
    "unknown": OracleType.VARCHAR2, "timestamp": OracleType.TIMESTAMP, "timestamptz": OracleType.TIMESTAMP_TZ,
    "bytea": OracleType.RAW,
}  # fmt: skip


def told(error: psycopg.Error) -> OracleError:
    """What Oracle would say of an error of PostgreSQL."""
    match error:
        case errors.UndefinedTable() | errors.InsufficientPrivilege() | errors.InvalidSchemaName():
            return OracleError(942)
        case errors.UndefinedColumn():
            return OracleError(904, '"COLUMN"')
        case errors.QueryCanceled():
            return OracleError(1013)
        case errors.DivisionByZero():
            return OracleError(1476)
        case errors.DataError():
            return OracleError(1722)
        case psycopg.OperationalError():
            return OracleError(3113)
        case _:
            return OracleError(600, str(error.sqlstate))


class Rows:
    """The result of one query, open in the transaction of a connection."""

    def __init__(self, connection: psycopg.Connection, sql: str, faults: Faults, asked: str) -> None:
        """``asked`` is the statement as the client wrote it. Raises psycopg.Error."""
        self.connection = connection
        self._faults = faults
        self._mine: dict[int, list[Fault]] = {}
        for fault in faults.of(asked):
            self._mine.setdefault(fault.row, []).append(fault)
        connection.execute(f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {sql}".encode())
        result = connection.execute(f"FETCH 0 FROM {_CURSOR}").pgresult
        assert result is not None
        self.columns = tuple(_column(connection, result, place) for place in range(result.nfields))
        self._encoders = [ENCODERS[column.type] for column in self.columns]
        self._number = 0
        """Of the next row."""

    def fetch(self) -> list[Raw]:
        """The next rows as PostgreSQL writes them; none at the end. To be called from a thread that may wait."""
        result = self.connection.execute(f"FETCH {_FETCHED} FROM {_CURSOR}").pgresult
        assert result is not None
        width = range(result.nfields)
        return [[result.get_value(number, place) for place in width] for number in range(result.ntuples)]

    def messages(self, fetch: Callable[[Rows], list[Raw]]) -> Iterator[bytes]:
        """The rows, each as the message that it travels in. ``fetch`` calls this object's own.

        Raises what the planted faults say.
        """
        before: Sequence[bytes] | None = None
        while rows := fetch(self):
            for raw in rows:
                if self._mine:
                    self._strike(raw)
                self._number += 1
                values = [
                    NULL_VALUE if value is None else encode(value)
                    for value, encode in zip(raw, self._encoders, strict=True)
                ]
                # Values equal to those of the row before are not sent again.
                yield row(values) if before is None else row_after(values, before)
                before = values

    def _strike(self, row: Raw) -> None:
        for fault in self._mine.get(self._number, ()):
            if not self._faults.strike(fault):
                continue
            if isinstance(fault.what, Overwrite):
                row[fault.what.column] = fault.what.value
            else:
                happen(fault.what)


def _column(connection: psycopg.Connection, result: pq.abc.PGresult, place: int) -> ResultColumn:
    name = (result.fname(place) or b"").decode().upper()
    info = connection.adapters.types.get(result.ftype(place))
    if info is None or info.name not in _SIMPLE:
        raise OracleError(600, "type")
    kind, modifier = _SIMPLE[info.name], result.fmod(place)
    match kind:
        case OracleType.NUMBER if info.name == "numeric" and modifier > 0:
            return ResultColumn(name, kind, (modifier - 4) >> 16, (modifier - 4) & 0x7FF)
        case OracleType.NUMBER:
            return ResultColumn(name, kind, 0, -127)
        case OracleType.TIMESTAMP if modifier == 0:
            return ResultColumn(name, OracleType.DATE)
        case OracleType.TIMESTAMP | OracleType.TIMESTAMP_TZ:
            return ResultColumn(name, kind, 0, 6 if modifier < 0 else modifier)
        case _:
            return ResultColumn(name, kind, size=modifier - 4 if modifier > 4 else _VARYING)
