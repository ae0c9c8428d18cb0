"""HAT's rows as a comparison with the ERP wants them: hashes of ranges, and the contents of some rows.

Each row stands for the live row of the view whose Recno is its ``source_recno``, unless ``hat_etl.backing`` names
another (``backing`` below); the last good version of a row that is rejected now stands for none.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError
from numpy.typing import NDArray

from hat_etl.entities.model import Column, Entity, Kind
from hat_etl.errors import TargetError
from hat_etl.source.adbc import Session
from hat_etl.source.reader import Recnos
from hat_etl.target import rowhash
from hat_etl.target.database import NOTICE_LOST_CLIENT, TenantDatabase
from hat_etl.target.integrity import key_array, plain
from hat_etl.target.rowhash import Hashes
from hat_etl.target.sink import RULE
from hat_etl.transform.texts import Mask

BACKING, STAMP = "backing_recno", "source_stamp"
"""Names of the columns that hold the Recno of the live row behind a row of HAT, and the stamp it was brought with."""


@dataclass(frozen=True)
class Span:
    """Rows by ``source_recno``, both ends included; None is no end."""

    low: int | None
    high: int | None

    @property
    def condition(self) -> str:
        ends = ((self.low, ">="), (self.high, "<="))
        return " AND ".join(f"h.source_recno {sign} {end}" for end, sign in ends if end is not None) or "true"


@dataclass(frozen=True)
class Listed:
    """Rows by ``source_recno``, one by one."""

    recnos: Recnos

    @property
    def condition(self) -> str:
        return f"h.source_recno = ANY ('{{{','.join(map(str, self.recnos.tolist()))}}}'::int8[])"


@dataclass(frozen=True)
class Quarantine:
    """Recnos that are not in HAT by right, ascending; ``aside`` marks the good rows among them (held, duplicate)."""

    recnos: Recnos
    aside: Mask

    def has(self, recnos: Recnos) -> Mask:
        return among(recnos, self.recnos)

    def sets_aside(self, recnos: Recnos) -> Mask:
        return among(recnos, self.recnos[self.aside])


@dataclass(frozen=True)
class Exceptions:
    """Rows that ``hat_etl.backing`` speaks of: their ``source_recno``, their hash, and the live row behind them."""

    recnos: Recnos
    hashes: Hashes
    backing: Recnos
    """Means nothing where ``kept``."""
    kept: Mask
    """No live row is behind the row: it is a last good version."""


def among(recnos: Recnos, known: Recnos) -> Mask:
    """Which of ``recnos`` are among the ``known`` ones, which are sorted."""
    if not known.size:
        return np.zeros(recnos.size, dtype=bool)
    places = np.minimum(np.searchsorted(known, recnos), known.size - 1)
    found: Mask = known[places] == recnos
    return found


class HatRows:
    """One connection that reads HAT's tables. Not to be used from two threads at once. Raises TargetError."""

    def __init__(self, database: TenantDatabase, command: str) -> None:
        self._tenant, self._schema, self._command = database.tenant.name, database.schema, command
        try:
            self._session = Session(database.dsn)
        except AdbcError as error:
            raise database.unreachable(error, command) from None
        with self._told():
            self._hashes_there = self._probe()

    def _probe(self) -> bool:
        """Whether the server hashes as we do. Where it does not, rows are read and hashed here."""
        (version,) = self._session.row("SELECT current_setting('server_version_num')::int8")
        if version < 140000:
            return False
        self._session.run(NOTICE_LOST_CLIENT)
        if version >= 170000:  # its transaction lasts as long as the ERP is read
            self._session.run("SET transaction_timeout = 0")
        return bool(self._session.row(rowhash.PROBE) == (rowhash.probed(),))

    def close(self) -> None:
        self._session.close()

    def hashes(self, entity: Entity, which: Span | Listed) -> tuple[Recnos, Hashes]:
        """``source_recno`` and hash of some rows, by ``source_recno``."""
        what = rowhash.expression(entity.columns, "h") if self._hashes_there else _columns(entity)
        recnos, hashes = [], []
        query = f"SELECT h.source_recno, {what} FROM {self._hat(entity)} h WHERE {which.condition}"
        for batch in self._batches(entity, query):
            recnos.append(_numbers(batch.column(0)))
            hashes.append(self._hashed(batch.columns[1:]))
        found, hashed = _joined(recnos, np.int64), _joined(hashes, np.uint64)
        order = np.argsort(found, kind="stable")  # nearly in order already, as a rule
        return found[order], hashed[order]

    def _hashed(self, columns: list[pa.Array]) -> Hashes:
        return _numbers(columns[0]).view(np.uint64) if self._hashes_there else rowhash.row_hashes(columns)

    def exceptions(self, entity: Entity) -> Exceptions:
        """The rows whose ``source_recno`` is not the Recno of the live row behind them."""
        what = rowhash.expression(entity.columns, "h") if self._hashes_there else _columns(entity)
        query = (
            f"SELECT h.source_recno, b.recno, {what} FROM hat_etl.backing b"
            f" JOIN {self._hat(entity)} h ON {_keyed(entity)} WHERE b.\"table\" = '{entity.table}'"
        )
        recnos, hashes, backing, kept = [], [], [], []
        for batch in self._batches(entity, query):
            recnos.append(_numbers(batch.column(0)))
            kept.append(batch.column(1).is_null().to_numpy(zero_copy_only=False))
            backing.append(_numbers(batch.column(1).fill_null(0)))
            hashes.append(self._hashed(batch.columns[2:]))
        return Exceptions(
            _joined(recnos, np.int64), _joined(hashes, np.uint64), _joined(backing, np.int64), _joined(kept, np.bool_)
        )

    def quarantine(self, entity: Entity) -> Quarantine:
        """The rows of the view that are in quarantine."""
        query = (
            f"SELECT recno, bool_or(rule IN ('duplicate_key', '{RULE}') OR severity = 'held') FROM hat_etl.rejects"
            f" WHERE \"table\" = '{entity.table}' AND severity <> 'warning' GROUP BY recno ORDER BY recno"
        )
        recnos, aside = [], []
        for batch in self._batches(entity, query):
            recnos.append(_numbers(batch.column(0)))
            aside.append(batch.column(1).to_numpy(zero_copy_only=False))
        return Quarantine(_joined(recnos, np.int64), _joined(aside, np.bool_))

    def doubtful(self, entity: Entity) -> Recnos:
        """Recnos of the rows that quarantine (warnings too) or ``hat_etl.backing`` speaks of, ascending.

        Of these, the columns of HAT's row do not tell whether there is nothing to do. They do where no more is said
        than that a soft parent is missing: of that a merge takes care, whatever was read.
        """
        query = (
            f"SELECT recno FROM hat_etl.rejects WHERE \"table\" = '{entity.table}'"
            " AND (severity <> 'warning' OR rule <> 'parent_missing')"
            f" UNION SELECT recno FROM hat_etl.backing WHERE \"table\" = '{entity.table}' AND recno IS NOT NULL"
            f" UNION SELECT h.source_recno FROM hat_etl.backing b JOIN {self._hat(entity)} h ON {_keyed(entity)}"
            f" WHERE b.\"table\" = '{entity.table}' ORDER BY 1"
        )
        return _joined([_numbers(batch.column(0)) for batch in self._batches(entity, query)], np.int64)

    def rows(self, entity: Entity, recnos: Recnos) -> pa.Table:
        """The rows behind which live rows with these Recnos stand: ``BACKING``, ``STAMP``, the columns.

        Amounts come as text.
        """
        asked = f"(SELECT unnest('{{{','.join(map(str, recnos))}}}'::int8[]) AS recno)"
        query = (
            f"WITH asked AS MATERIALIZED {asked}, found AS ("
            f"SELECT h.* FROM {self._hat(entity)} h JOIN asked a ON a.recno = h.source_recno UNION"
            f" SELECT h.* FROM hat_etl.backing b JOIN asked a ON a.recno = b.recno JOIN {self._hat(entity)} h"
            f" ON {_keyed(entity)} WHERE b.\"table\" = '{entity.table}')"
            f" SELECT e.recno AS {BACKING}, h.{STAMP} AT TIME ZONE 'UTC' AS {STAMP}, {_columns(entity)} FROM found h"
            f" LEFT JOIN hat_etl.backing b ON b.\"table\" = '{entity.table}' AND b.key = {key_array(entity, 'h')}"
            " CROSS JOIN LATERAL (SELECT CASE WHEN b.key IS NULL THEN h.source_recno ELSE b.recno END AS recno) e"
            " JOIN asked a ON a.recno = e.recno"
        )
        technical = pa.field(BACKING, pa.int64()), pa.field(STAMP, pa.timestamp("us"))
        schema = pa.schema([*technical, *(pa.field(c.name, _arrow(c)) for c in entity.columns)])
        batches = [
            pa.RecordBatch.from_arrays([c.cast(f.type) for c, f in zip(b.columns, schema, strict=True)], schema=schema)
            for b in self._batches(entity, query)
        ]
        return pa.Table.from_batches(batches, schema)

    def _hat(self, entity: Entity) -> str:
        return f"{self._schema}.{entity.table}"

    def _batches(self, entity: Entity, query: str) -> Iterator[pa.RecordBatch]:
        with self._told(entity.table), closing(self._session.batches(query)) as batches:
            yield from batches

    @contextmanager
    def _told(self, table: str | None = None) -> Iterator[None]:
        """Turn driver errors into TargetError: SQLSTATE and kind only, for a driver's text may quote values."""
        try:
            yield
        except (AdbcError, OSError) as error:
            state = getattr(error, "sqlstate", None)
            raise TargetError(
                f"Reading the tenant database failed ({type(error).__name__}{f', SQLSTATE {state}' if state else ''}).",
                f"See that it is up and that its login may read HAT's tables (hat-etl doctor {self._tenant}), then run"
                f" again: hat-etl {self._command} {self._tenant}",
                tenant=self._tenant,
                table=table,
            ) from None


class HatConnections:
    """Connections that read HAT's tables, each lent to one thread at a time and opened when none is free.

    ``command``: what a person runs again when the reading has failed.
    """

    def __init__(self, database: TenantDatabase, command: str) -> None:
        self._database, self._command = database, command
        self._opened: list[HatRows] = []
        self._free: queue.SimpleQueue[HatRows] = queue.SimpleQueue()

    @contextmanager
    def lent(self) -> Iterator[HatRows]:
        try:
            rows = self._free.get_nowait()
        except queue.Empty:
            rows = HatRows(self._database, self._command)
            self._opened.append(rows)
        try:
            yield rows
        finally:
            self._free.put(rows)

    def close(self) -> None:
        for rows in self._opened:
            rows.close()


def comparable(column: Column, array: pa.Array) -> pa.Array:
    """A column of transformed rows in the form that ``HatRows.rows`` gives it."""
    return array.cast(pa.string()) if column.kind is Kind.AMOUNT else array


def _arrow(column: Column) -> pa.DataType:
    return pa.string() if column.kind is Kind.AMOUNT else column.arrow_type


def _columns(entity: Entity) -> str:
    return ", ".join(f"h.{plain(c)}" + ("::text" if c.kind is Kind.AMOUNT else "") for c in entity.columns)


def _keyed(entity: Entity) -> str:
    """SQL that finds the row of HAT that an entry of ``hat_etl.backing`` speaks of, by the key's index."""
    return " AND ".join(f'h."{c}" = (b.key[{n}])::{entity[c].sql_type}' for n, c in enumerate(entity.key, 1))


def _numbers(array: pa.Array) -> Recnos:
    numbers: Recnos = array.to_numpy(zero_copy_only=False)
    return numbers


def _joined(parts: list[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.array([], dtype=kind)
