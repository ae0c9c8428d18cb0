"""The moment that an exported snapshot of PostgreSQL shows: queries on the connections that share it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError

from hat_etl.entities.model import DELETED, RECNO, STAMP, Column, Kind
from hat_etl.errors import SourceError
from hat_etl.parallel import taken
from hat_etl.source import refusals
from hat_etl.source.adbc import Session
from hat_etl.source.encoding import from_cp1252
from hat_etl.source.reader import BUCKET, WORD, Fingerprint, Range, Recnos, ViewShape, quote

RECNOS_AT_ONCE = 10_000
"""Rows asked for by Recno in one query."""

_UNTRUSTED_ENCODINGS = frozenset({"SQL_ASCII", "LATIN1", "WIN1252"})
"""Read as bytes: the server would not convert, would get CP1252 wrong, or would refuse its undefined bytes."""

_LOCK_NOT_AVAILABLE = "55P03"

_CONTROLS, _MORE_CONTROLS = (*range(1, 0x20), 0x7F), tuple(range(0x80, 0xA0))
"""Numbers of the characters that the transform takes for blanks: of ASCII, and of Unicode beside."""


def read_failed(tenant: str, table: str | None, error: AdbcError | psycopg.Error | OSError, again: str) -> SourceError:
    """The error for a read that broke: the SQLSTATE and kind only, for a driver's text may quote values.

    ``again`` is the command that goes on.
    """
    state = getattr(error, "sqlstate", None)
    if state == _LOCK_NOT_AVAILABLE:
        return refusals.locked(tenant, table, again)
    what = f"{type(error).__name__}{f', SQLSTATE {state}' if state else ''}"
    return refusals.read_failed(tenant, table, what, again)


@dataclass
class PostgresSnapshot:
    """The exported snapshot and its sessions, lent to one range at a time."""

    tenant: str
    again: str
    clock: datetime
    horizon: datetime
    sessions: list[Session]
    encoding: str

    def __post_init__(self) -> None:
        self._free: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for session in self.sessions:
            self._free.put(session)

    @contextmanager
    def _session(self, table: str) -> Iterator[Session]:
        session = taken(self._free)
        try:
            yield session
        except (AdbcError, OSError) as error:  # Arrow makes an OSError of what it does not understand itself
            raise read_failed(self.tenant, table, error, self.again) from None
        finally:
            self._free.put(session)

    def bounds(self, shape: ViewShape) -> Range | None:
        recno = _name(shape, RECNO)
        with self._session(shape.entity.table) as session:
            low, high = session.row(f"SELECT min({recno})::int8, max({recno})::int8 FROM {relation(shape)}")
        return None if low is None else Range(low, high)

    def fingerprint(self, shape: ViewShape, range_: Range) -> Fingerprint:
        recno, stamped = _name(shape, RECNO), stamp(shape)
        micros = (
            f"(extract(epoch FROM date_trunc('second', {stamped}))::int8 * 1000000"
            f" + extract(microseconds FROM {stamped})::int8 % 1000000)::numeric"
        )
        with self._session(shape.entity.table) as session:
            sums = session.row(
                f"SELECT count(*)::text, coalesce(sum({recno}), 0)::text, coalesce(sum({micros}), 0)::text,"
                f" (count(*) - count({stamped}))::text"
                f" FROM {relation(shape)} WHERE {recno} BETWEEN {range_.low} AND {range_.high}"
            )
            rows, recnos, stamps, unstamped = (int(value) for value in sums)
        return Fingerprint(rows, 0, 0, unstamped) + Fingerprint(0, recnos, stamps, 0)

    def stream(self, shape: ViewShape, range_: Range) -> Iterator[pa.RecordBatch]:
        yield from self._select(shape, f"{_name(shape, RECNO)} BETWEEN {range_.low} AND {range_.high}")

    def changed(self, shape: ViewShape, since: datetime) -> Iterator[pa.RecordBatch]:
        live = shape.column(STAMP)
        # The column as it is, compared with a value of its own type: so that an index on it is used.
        zoned = live.type_name == "timestamptz"
        moment = since.astimezone(UTC).isoformat(sep=" ") if zoned else f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
        name = quote(live.name)
        yield from self._select(shape, f"{name} >= {live.type_name} '{moment}' OR {name} IS NULL")

    def rows(self, shape: ViewShape, recnos: Recnos) -> Iterator[pa.RecordBatch]:
        for start in range(0, recnos.size, RECNOS_AT_ONCE):
            listed = ",".join(map(str, recnos[start : start + RECNOS_AT_ONCE]))
            yield from self._select(shape, f"{_name(shape, RECNO)} = ANY ('{{{listed}}}'::int8[])")

    def matching(self, shape: ViewShape, key: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        conditions = (self._may_be(shape, shape.entity[name], text) for name, text in key.items())
        yield from self._select(shape, " AND ".join(conditions))

    def live(self, shape: ViewShape) -> tuple[int, int]:
        with self._session(shape.entity.table) as session:
            rows, recnos = session.row(
                f"SELECT count(*)::text, coalesce(sum({_name(shape, RECNO)}), 0)::text"
                f" FROM {relation(shape)} WHERE {_is_live(shape)}"
            )
        return int(rows), int(recnos) % WORD

    def live_by_bucket(self, shape: ViewShape) -> dict[int, tuple[int, int]]:
        recno = f"{_name(shape, RECNO)}::int8"
        query = (
            f"SELECT {recno} / {BUCKET}, count(*), sum({recno})::text FROM {relation(shape)}"
            f" WHERE {_is_live(shape)} GROUP BY 1"
        )
        found: dict[int, tuple[int, int]] = {}
        with self._session(shape.entity.table) as session, closing(session.batches(query)) as batches:
            for batch in batches:
                for bucket, rows, recnos in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    found[bucket] = (rows, int(recnos) % WORD)
        return found

    def live_recnos(self, shape: ViewShape, ranges: Sequence[Range]) -> Generator[pa.Array, None, None]:
        recno = _name(shape, RECNO)
        among = " OR ".join(f"{recno} BETWEEN {range_.low} AND {range_.high}" for range_ in ranges) or "true"
        query = f"SELECT {recno}::int8 FROM {relation(shape)} WHERE {_is_live(shape)} AND ({among})"
        with self._session(shape.entity.table) as session, closing(session.batches(query)) as batches:
            for batch in batches:
                yield batch.column(0)

    def _may_be(self, shape: ViewShape, column: Column, text: str) -> str:
        """SQL that is true where the view's value can become ``text``, a value of ``column`` as HAT writes it."""
        name = _name(shape, column.alias)
        if column.numeric_source:
            return f"{name}::float8 BETWEEN {float(text) - 1!r} AND {float(text) + 1!r}"  # before it is rounded
        if column.kind not in (Kind.TEXT, Kind.DATE):
            return "true"
        constant = column.source.constant
        if column.kind is Kind.DATE:
            text = text.replace("-", "")
            if text == constant:
                return "true"  # blanks and zeros in many spellings
        controls = _CONTROLS + (_MORE_CONTROLS if self.encoding == "UTF8" else ())
        listed = "".join(f"\\u{number:04x}" for number in controls)
        shown = f"btrim(translate({name}::text, E'{listed}', '{' ' * len(controls)}'))"
        if column.rule("upper"):
            shown = f"upper({shown})"
        same = f"{shown} = {_literal(text)}"
        return f"({same} OR {shown} = '' OR {name} IS NULL)" if text == constant else same

    def _select(self, shape: ViewShape, where: str) -> Iterator[pa.RecordBatch]:
        decode = self._decoder(shape)
        select = ", ".join(
            [
                f"{_name(shape, RECNO)}::int8 AS source_recno",
                f"{_deleted(shape)} AS deleted",
                f"{stamp(shape)} AS source_stamp",
                *(f"{self._cast(shape, column)} AS {quote(column.name)}" for column in shape.entity.columns),
            ]
        )
        query = f"SELECT {select} FROM {relation(shape)} WHERE {where}"
        with self._session(shape.entity.table) as session, closing(session.batches(query)) as batches:
            for batch in batches:
                yield decode(batch)

    def _cast(self, shape: ViewShape, column: Column) -> str:
        live = shape.column(column.alias)
        name = quote(live.name)
        if not column.numeric_source:
            # The cast drops the blanks that pad a char(n), on the server: less to send and to trim.
            text = f"{name}::text"
            return f"convert_to({text}, '{self.encoding}')" if self.encoding in _UNTRUSTED_ENCODINGS else text
        if live.type_name in ("float4", "float8"):
            return f"{name}::float8"
        return f"{name}::int8" if live.type_name.startswith("int") else f"{name}::text"

    def _decoder(self, shape: ViewShape) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        if self.encoding not in _UNTRUSTED_ENCODINGS:
            return lambda batch: batch

        def decode(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = [from_cp1252(c) if pa.types.is_binary(c.type) else c for c in batch.columns]
            return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

        return decode


def relation(shape: ViewShape) -> str:
    """The view's name as SQL takes it."""
    return ".".join(quote(part) for part in shape.relation)


def _name(shape: ViewShape, alias: str) -> str:
    return quote(shape.column(alias).name)


def _literal(text: str) -> str:
    """A text in SQL, whatever the server takes a backslash for."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _deleted(shape: ViewShape) -> str:
    """1 for a deleted row, and never nothing: a view that tells only of these may show the others so."""
    return f"coalesce({_name(shape, DELETED)}, 0)::int4" if shape.named(DELETED) else "0::int4"


def _is_live(shape: ViewShape) -> str:
    return f"{_deleted(shape)} <> 1"


def stamp(shape: ViewShape) -> str:
    """The stamp in UTC without a zone; none for what is no moment of the years 1 to 9999, such as infinity."""
    live = shape.named(STAMP)
    if live is None:
        return "NULL::timestamp"
    moment = f"({quote(live.name)} AT TIME ZONE 'UTC')" if live.type_name == "timestamptz" else quote(live.name)
    return f"CASE WHEN {moment} >= '0001-01-01' AND {moment} < '10000-01-01' THEN {moment} END"
