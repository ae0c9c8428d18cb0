"""A session of Oracle through python-oracledb: rows come as Arrow batches, numbers exactly.

Every query asks for its types: left to itself the driver makes a double of a NUMBER without precision, which is what
Protheus has everywhere, and a moment bound as it is loses what is finer than a second.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

import oracledb
import pyarrow as pa

from hat_etl.source.encoding import ODD_BYTES
from hat_etl.source.oracle_login import OracleLogin

BindValue = int | str | Decimal | datetime
Binds = Mapping[str, BindValue]

CALL_MILLISECONDS = 30 * 60_000
"""How long one round trip may take; the first of a query includes whatever the server sorts and joins before."""

ROWS_AT_ONCE = 2_000
"""Rows of one round trip where a query has few columns: the catalogue tells of some 10,000 fields of the PLS tables."""

_SETTINGS = ("ALTER SESSION SET TIME_ZONE = 'UTC'", "ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,'")

EXACT = pa.decimal256(76, 38)
"""Holds every NUMBER of up to 38 digits before the point and 38 behind it."""
WHOLE = pa.decimal128(38, 0)
"""Fails on a fraction, where an integer type would cut it."""


class OracleSession:
    """One connection. Every method raises oracledb.Error or OSError. Not to be used from two threads at once."""

    def __init__(self, login: OracleLogin) -> None:
        self._login = login
        self.connection = self._connect()

    def _connect(self) -> oracledb.Connection:
        connection = self._login.connect()
        try:
            connection.call_timeout = CALL_MILLISECONDS
            connection.module = "hat_etl"
            connection.clientinfo = self._login.tenant
            with connection.cursor() as cursor:
                for setting in _SETTINGS:
                    cursor.execute(setting)
        except BaseException:
            connection.close()
            raise
        return connection

    def reconnect(self) -> None:
        """Log in anew where the connection is lost."""
        self.close()
        self.connection = self._connect()

    def run(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    def row(self, query: str, binds: Binds | None = None) -> tuple[Any, ...]:
        """The only row of a query. Whole numbers come as int, whatever their size."""
        (row,) = self.rows(query, binds)
        return row

    def rows(self, query: str, binds: Binds | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query that has few."""
        with self.connection.cursor() as cursor:
            cursor.arraysize = ROWS_AT_ONCE
            cursor.outputtypehandler = _text_as_it_is
            cursor.execute(query, self._bound(cursor, binds))
            return list(cursor.fetchall())

    def columns(self, query: str) -> list[oracledb.FetchInfo]:
        """What the columns of a query are."""
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.description or ())

    def batches(
        self, query: str, binds: Binds, types: Sequence[pa.DataType], size: int
    ) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a query, ``size`` at a time, as columns of these types. Closing the iterator gives up the rest.

        The query names its columns C0, C1 and so on.
        """
        with self.connection.cursor() as cursor:
            frames = self.connection.fetch_df_batches(
                query, dict(self._bound(cursor, binds)), size=size, requested_schema=fetched_schema(types)
            )
            for frame in frames:
                for batch in pa.table(frame).combine_chunks().to_batches():
                    if batch.num_rows:
                        yield batch

    @staticmethod
    def _bound(cursor: oracledb.Cursor, binds: Binds | None) -> dict[str, Any]:
        bound: dict[str, Any] = {}
        for name, value in (binds or {}).items():
            if isinstance(value, datetime):
                moment = cursor.var(oracledb.DB_TYPE_TIMESTAMP)
                moment.setvalue(0, value)
                bound[name] = moment
            else:
                bound[name] = value
        return bound

    def close(self) -> None:
        with suppress(oracledb.Error, OSError):  # it may be lost already
            self.connection.close()


def _text_as_it_is(cursor: oracledb.Cursor, column: oracledb.FetchInfo) -> oracledb.Var | None:
    """Where a text goes that may hold bytes which are no UTF-8; for other columns, what the driver takes itself."""
    if column.type_code != oracledb.STRING:
        return None
    return cursor.var(column.type_code, arraysize=cursor.arraysize, encoding_errors=ODD_BYTES)


def fetched_schema(types: Sequence[pa.DataType]) -> pa.Schema:
    """What the batches of a query look like: columns C0, C1 and so on."""
    return pa.schema([pa.field(f"C{place}", kind) for place, kind in enumerate(types)])
