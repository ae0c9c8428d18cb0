"""Staging: the new tables of a load, filled range by range, each range committed together with its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Self

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

from hat_etl.entities import BY_TABLE
from hat_etl.entities.model import Entity
from hat_etl.source.reader import WORD, Fingerprint, Range
from hat_etl.target.database import Connection
from hat_etl.target.ledger import TableOutcome
from hat_etl.target.schema import STAGE_SCHEMA, create_rejected_table, create_stage_table, rejected_table
from hat_etl.transform import ISSUES, Transformed, rejected_schema

SPILL_ROWS = 20_000
"""Rejected rows and issues that a range holds in memory before it writes them."""


@dataclass(frozen=True)
class Stage:
    """An unfinished load: which run made it, for which tables, and whether its integrity work is done."""

    run: int
    tables: tuple[str, ...]
    complete: bool
    reference_day: date
    version: str
    """Of the hat_etl that made it."""

    @property
    def entities(self) -> tuple[Entity, ...]:
        return tuple(BY_TABLE[table] for table in self.tables)


@dataclass
class RangeCounts:
    """What became of the rows of a range."""

    read: int = 0
    good: int = 0
    rejected: int = 0
    deleted: int = 0
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    live_recnos: int = 0
    """Sum of the Recnos of live rows, modulo 2**64."""

    def add(self, raw: pa.RecordBatch, out: Transformed) -> None:
        self.read += out.read
        self.good += out.good.num_rows
        self.rejected += out.rejected.num_rows
        self.deleted += out.deleted
        self.fingerprint += Fingerprint.of(raw)
        self.live_recnos = (self.live_recnos + recno_sum(out.good) + recno_sum(out.rejected)) % WORD


def recno_sum(batch: pa.RecordBatch) -> int:
    """Sum of the Recnos of a batch, modulo 2**64."""
    return int(batch.column("source_recno").to_numpy(zero_copy_only=False).sum()) % WORD


@dataclass(frozen=True)
class Checkpoint:
    """A range that is staged and committed."""

    table: str
    range: Range
    counts: RangeCounts
    seconds: float
    definition: str
    """Digest of the text of the view that it was read through; empty when the ERP did not tell it."""


def create(connection: Connection, run: int, entities: Sequence[Entity]) -> None:
    """Make the staging schema and the empty tables of a load, in one transaction."""
    with connection.transaction():
        connection.execute(f"CREATE SCHEMA {STAGE_SCHEMA}")
        connection.execute(
            f"CREATE TABLE {STAGE_SCHEMA}.load (run bigint NOT NULL, tables jsonb NOT NULL, complete boolean NOT NULL,"
            " outcomes jsonb)"
        )
        connection.execute(
            f"INSERT INTO {STAGE_SCHEMA}.load VALUES (%s, %s, false, NULL)",
            (run, json.dumps([entity.table for entity in entities])),
        )
        connection.execute(
            f'CREATE TABLE {STAGE_SCHEMA}.issues ("table" text NOT NULL, recno bigint NOT NULL, key text,'
            ' "column" text, rule text NOT NULL, severity text NOT NULL, reason text NOT NULL, value text)'
        )
        for entity in entities:
            connection.execute(create_stage_table(entity))
            connection.execute(create_rejected_table(entity, rejected_schema(entity)))


def drop(connection: Connection) -> None:
    """Remove the staging schema and the checkpoints, whatever they hold."""
    with connection.transaction():
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(f"DROP SCHEMA IF EXISTS {STAGE_SCHEMA} CASCADE")
        connection.execute("DELETE FROM hat_etl.checkpoints")


def find(connection: Connection) -> Stage | None:
    """The unfinished load, if there is one."""
    if connection.execute("SELECT to_regclass(%s)", (f"{STAGE_SCHEMA}.load",)).fetchone() == (None,):
        return None
    row = connection.execute(
        f"SELECT l.run, l.tables, l.complete, r.reference_day, r.version"
        f" FROM {STAGE_SCHEMA}.load l JOIN hat_etl.runs r USING (run)"
    ).fetchone()
    if row is None:
        return None
    run, tables, complete, day, version = row
    return Stage(int(run), tuple(tables), bool(complete), day, str(version))


def checkpoints(connection: Connection, run: int) -> Iterator[Checkpoint]:
    """The ranges that are already staged."""
    rows = connection.execute(
        'SELECT "table", low, high, read, good, rejected, deleted, recnos, stamps, unstamped, live_recnos, seconds,'
        ' definition FROM hat_etl.checkpoints WHERE run = %s ORDER BY "table", low',
        (run,),
    ).fetchall()
    for table, low, high, read, good, rejected, deleted, recnos, stamps, unstamped, live, seconds, definition in rows:
        fingerprint = Fingerprint(int(read), int(recnos), int(stamps), int(unstamped))
        counts = RangeCounts(read, good, rejected, deleted, fingerprint, int(live))
        yield Checkpoint(str(table), Range(int(low), int(high)), counts, float(seconds), str(definition))


def forget(connection: Connection, run: int, checkpoint: Checkpoint) -> None:
    """Take a staged range out again, for its rows may be others by now."""
    entity, bounds = BY_TABLE[checkpoint.table], (checkpoint.range.low, checkpoint.range.high)
    with connection.transaction():
        for table in (entity.table, rejected_table(entity)):
            connection.execute(f"DELETE FROM {STAGE_SCHEMA}.{table} WHERE source_recno BETWEEN %s AND %s", bounds)
        connection.execute(
            f'DELETE FROM {STAGE_SCHEMA}.issues WHERE "table" = %s AND recno BETWEEN %s AND %s', (entity.table, *bounds)
        )
        connection.execute(
            'DELETE FROM hat_etl.checkpoints WHERE run = %s AND "table" = %s AND low = %s',
            (run, entity.table, bounds[0]),
        )


def count_warnings(connection: Connection, outcomes: Sequence[TableOutcome]) -> None:
    """Fill in how many warnings each table has."""
    rows = connection.execute(
        f'SELECT "table", count(*) FROM {STAGE_SCHEMA}.issues WHERE severity = \'warning\' GROUP BY "table"'
    ).fetchall()
    counts = {str(table): int(count) for table, count in rows}
    for outcome in outcomes:
        outcome.warnings = counts.get(outcome.table, 0)


def complete(connection: Connection, outcomes: Sequence[TableOutcome]) -> None:
    """Mark the staged tables as coherent and keep what was judged, for a load that is broken off before the swap."""
    connection.execute(
        f"UPDATE {STAGE_SCHEMA}.load SET complete = true, outcomes = %s",
        (json.dumps([asdict(outcome) for outcome in outcomes]),),
    )


def outcomes(connection: Connection) -> list[TableOutcome]:
    """What was judged of a complete stage."""
    row = connection.execute(f"SELECT outcomes FROM {STAGE_SCHEMA}.load").fetchone()
    assert row is not None
    return [TableOutcome(**outcome) for outcome in row[0]]


class RangeWriter:
    """Writes one range of one table inside one transaction of ``connection``.

    Good rows stream through a binary COPY. Rejected rows and issues wait in memory, at most ``SPILL_ROWS`` of them,
    and are written in between, for a connection carries one COPY at a time.
    """

    def __init__(self, connection: Connection, entity: Entity) -> None:
        self.counts = RangeCounts()
        self._connection = connection
        self._entity = entity
        self._good = _Copy(connection, entity.table, entity.schema)
        self._rejected: list[pa.RecordBatch] = []
        self._issues: list[pa.RecordBatch] = []
        self._waiting = 0

    def write(self, raw: pa.RecordBatch, out: Transformed) -> None:
        self.counts.add(raw, out)
        self._good.write(out.good)
        for batch, waiting in ((out.rejected, self._rejected), (out.issues, self._issues)):
            if batch.num_rows:
                waiting.append(batch)
                self._waiting += batch.num_rows
        if self._waiting > SPILL_ROWS:
            self._spill()

    def close(self, run: int, range_: Range, seconds: float, definition: str) -> Checkpoint:
        """Write what waits and the checkpoint; the caller commits."""
        self._spill()
        counts, print_ = self.counts, self.counts.fingerprint
        self._connection.execute(
            "INSERT INTO hat_etl.checkpoints VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (run, self._entity.table, range_.low, range_.high,
             counts.read, counts.good, counts.rejected, counts.deleted,
             print_.recnos, print_.stamps, counts.live_recnos, print_.unstamped, seconds, definition),
        )  # fmt: skip
        return Checkpoint(self._entity.table, range_, counts, seconds, definition)

    def abandon(self) -> None:
        """Leave an open COPY so that the connection can roll back."""
        self._good.abandon()

    def _spill(self) -> None:
        self._good.finish()
        with _Copy(self._connection, rejected_table(self._entity), rejected_schema(self._entity)) as copy:
            for batch in self._rejected:
                copy.write(batch)
        names = pa.field("table", pa.string(), nullable=False)
        with _Copy(self._connection, "issues", pa.schema([names, *ISSUES])) as copy:
            for batch in self._issues:
                copy.write(batch.add_column(0, names, pa.repeat(self._entity.table, batch.num_rows)))
        self._rejected, self._issues, self._waiting = [], [], 0


class _Copy:
    """A binary COPY into a stage table, opened at the first row.

    It holds the connection's lock until it is finished or abandoned: who comes next would wait for ever.
    """

    def __init__(self, connection: Connection, table: str, schema: pa.Schema) -> None:
        self._connection = connection
        columns = ", ".join(f'"{field.name}"' for field in schema)
        self._statement = f"COPY {STAGE_SCHEMA}.{table} ({columns}) FROM STDIN (FORMAT BINARY)"
        self._schema = schema
        self._encoder: ArrowToPostgresBinaryEncoder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()

    def write(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        if self._encoder is None:
            self._encoder = ArrowToPostgresBinaryEncoder(self._schema)
            self._context = self._connection.cursor().copy(self._statement)
            self._copy = self._context.__enter__()
            self._copy.write(self._encoder.write_header())
        self._copy.write(self._encoder.write_batch(batch))

    def finish(self) -> None:
        if self._encoder is not None:
            self._copy.write(self._encoder.finish())
            self._encoder = None
            self._context.__exit__(None, None, None)

    def abandon(self) -> None:
        if self._encoder is not None:
            self._encoder = None
            failure = RuntimeError("range given up")
            self._context.__exit__(type(failure), failure, None)
