"""The ledger: runs, what each did to each table, watermarks and the quarantine, in the tenant's own database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from hat_etl import __version__
from hat_etl.entities import BY_TABLE
from hat_etl.target.database import Connection, TenantDatabase, errors, target_failed
from hat_etl.target.integrity import key_array
from hat_etl.target.schema import STAGE_SCHEMA, rejects, run_tables, runs, watermarks

PARENT_RELOADED = "parent reloaded"
"""Strategy of a table that was not read: rows of it are held because their parents have gone."""

COMMITTED = ("succeeded", "partial")
"""States of runs whose changes are in HAT."""


@dataclass
class TableOutcome:
    """What a run did to one table, in rows (``warnings``: in warnings). ``read`` includes deleted rows."""

    table: str
    strategy: str
    read: int = 0
    loaded: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: int = 0
    held: int = 0
    warnings: int = 0
    seconds: float = 0.0
    kept: int = 0
    """Rejected rows whose last good version stays in HAT."""

    def as_dict(self) -> dict[str, str | int | float]:
        """The outcome as it stands in ``--json`` output."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def start(connection: Connection, mode: str, reference_day: date) -> int:
    """Open a run in the ledger; returns its number."""
    row = connection.execute(
        "INSERT INTO hat_etl.runs (mode, state, reference_day, version) VALUES (%s, 'running', %s, %s) RETURNING run",
        (mode, reference_day, __version__),
    ).fetchone()
    assert row is not None
    return int(row[0])


def resume(connection: Connection, run: int) -> None:
    """Open an unfinished run again."""
    connection.execute(
        "UPDATE hat_etl.runs SET state = 'running', resumed = resumed + 1, error = NULL, finished_at = NULL"
        " WHERE run = %s",
        (run,),
    )


def abandon_unfinished(connection: Connection, *, decided: bool = True) -> None:
    """Close runs that nobody drives any more; the caller holds the tenant's lock.

    ``decided``: the new run takes the place of one that waits for a decision.
    """
    stopped = " OR state = 'stopped'" if decided else ""
    connection.execute(
        f"UPDATE hat_etl.runs SET state = 'abandoned', finished_at = now() WHERE finished_at IS NULL{stopped}"
    )


def fix_horizon(connection: Connection, run: int, horizon: datetime) -> None:
    """Note the moment of the ERP that the run reads."""
    connection.execute("UPDATE hat_etl.runs SET horizon = %s WHERE run = %s", (horizon, run))


def fail(connection: Connection, run: int, state: str, error: str) -> None:
    """Close a run that did not commit: state ``failed`` or ``stopped`` (waits for a decision).

    One that was told to stop while it committed may have succeeded all the same; that stands.
    """
    connection.execute(
        "UPDATE hat_etl.runs SET state = %s, error = %s, finished_at = now() WHERE run = %s AND state = 'running'",
        (state, error, run),
    )


@dataclass(frozen=True)
class CommittedLoad:
    """A load that has succeeded, as the ledger tells of it."""

    run: int
    horizon: datetime
    tables: tuple[TableOutcome, ...]


def last_load(connection: Connection) -> int | None:
    """Run of the latest load, if it has succeeded. For a ledger of any version."""
    row = connection.execute(
        "SELECT run, state FROM hat_etl.runs WHERE mode = 'load' ORDER BY run DESC LIMIT 1"
    ).fetchone()
    return None if row is None or row[1] not in COMMITTED else int(row[0])


def committed_load(connection: Connection) -> CommittedLoad | None:
    """The latest load, if it has succeeded."""
    run = last_load(connection)
    if run is None:
        return None
    ((horizon,),) = connection.execute("SELECT horizon FROM hat_etl.runs WHERE run = %s", (run,)).fetchall()
    names = ", ".join(f'"{field.name}"' for field in fields(TableOutcome))
    found = connection.execute(f"SELECT {names} FROM hat_etl.run_tables WHERE run = %s", (run,)).fetchall()
    outcomes = {str(values[0]): TableOutcome(*values) for values in found}
    return CommittedLoad(run, horizon, tuple(outcomes[table] for table in BY_TABLE if table in outcomes))


def rows_before(connection: Connection) -> dict[str, int]:
    """Live rows of each table's view at its last load, or at its last run where these were more.

    That is what a shrinking view is measured by.
    """
    rows = connection.execute(
        'SELECT "table", max(live) FROM ('
        '(SELECT DISTINCT ON (t."table") t."table", t.loaded + t.rejected + t.held AS live FROM hat_etl.run_tables t'
        " JOIN hat_etl.runs r USING (run) WHERE r.state = 'succeeded' AND r.mode = 'load' AND t.strategy <> %s"
        ' ORDER BY t."table", t.run DESC)'
        ' UNION ALL SELECT "table", live_rows FROM hat_etl.watermarks WHERE live_rows IS NOT NULL'
        ') b GROUP BY "table"',
        (PARENT_RELOADED,),
    ).fetchall()
    return {str(table): int(count) for table, count in rows}


@dataclass(frozen=True)
class Watermark:
    """What a table shows of the ERP: all of its rows up to ``horizon``.

    ``live_rows`` and ``live_recnos`` (a sum modulo 2**64) tell of the live rows of the view that are in HAT or in
    quarantine; None when that is not known. ``top`` is Recno and Carimbo of the latest row that a sync has seen.
    """

    horizon: datetime
    live_rows: int | None = None
    live_recnos: int | None = None
    top: tuple[int, datetime] | None = None
    run: int | None = None
    """The run that wrote it; None for one that is yet to be written."""

    @property
    def wants_all(self) -> bool:
        """Whether the next sync is to read the table whole: so an undo leaves it."""
        return self.live_rows is None or self.live_recnos is None


def set_watermark(connection: Connection, run: int, table: str, mark: Watermark) -> None:
    """Write the watermark of a table; the caller's transaction holds the rows that it speaks of."""
    values = (table, mark.horizon, run, mark.live_rows, mark.live_recnos, *(mark.top or (None, None)))
    connection.execute(
        "INSERT INTO hat_etl.watermarks VALUES (%s, %s, %s, %s, %s, %s, %s)"
        ' ON CONFLICT ("table") DO UPDATE SET horizon = excluded.horizon, run = excluded.run,'
        " live_rows = excluded.live_rows, live_recnos = excluded.live_recnos,"
        " top_recno = excluded.top_recno, top_stamp = excluded.top_stamp",
        values,
    )


def read_watermarks(connection: Connection) -> dict[str, Watermark]:
    """The watermark of every table that was ever loaded."""
    rows = connection.execute(
        'SELECT "table", horizon, live_rows, live_recnos, top_recno, top_stamp, run FROM hat_etl.watermarks'
    ).fetchall()
    return {
        str(table): Watermark(
            horizon,
            None if live_rows is None else int(live_rows),
            None if live_recnos is None else int(live_recnos),
            None if top_recno is None else (int(top_recno), top_stamp),
            int(run),
        )
        for table, horizon, live_rows, live_recnos, top_recno, top_stamp, run in rows
    }


def loaded(connection: Connection) -> list[str]:
    """The tables that were ever loaded. For a ledger of any version, and none."""
    if connection.execute("SELECT to_regclass('hat_etl.watermarks')").fetchone() == (None,):
        return []
    return [str(table) for (table,) in connection.execute('SELECT "table" FROM hat_etl.watermarks ORDER BY 1')]


def commit_sync(
    connection: Connection,
    run: int,
    marks: Mapping[str, Watermark],
    outcomes: Sequence[TableOutcome],
    state: str,
    error: str | None,
) -> None:
    """Write ledger and watermarks of a sync; the caller's transaction also holds the merge."""
    for table, mark in marks.items():
        connection.execute(
            "INSERT INTO hat_etl.changes SELECT %s, %s, 'watermark', ARRAY[]::text[], to_jsonb(w)"
            ' FROM hat_etl.watermarks w WHERE w."table" = %s',
            (run, table, table),
        )
        set_watermark(connection, run, table, mark)
    record_tables(connection, run, outcomes)
    connection.execute(
        "UPDATE hat_etl.runs SET state = %s, finished_at = now(), error = %s WHERE run = %s", (state, error, run)
    )


def forget_changes(connection: Connection, days: int) -> None:
    """Drop the before-images of runs that ended more than so many days ago."""
    connection.execute(
        "DELETE FROM hat_etl.changes c USING hat_etl.runs r"
        " WHERE r.run = c.run AND r.finished_at < now() - make_interval(days => %s)",
        (days,),
    )


def last_writer(connection: Connection) -> tuple[str, str, date] | None:
    """Mode, state and reference day of the last run that may have changed HAT."""
    row = connection.execute(
        "SELECT mode, state, reference_day FROM hat_etl.runs"
        " WHERE mode <> 'reconcile' AND state NOT IN ('running', 'failed', 'stopped', 'abandoned')"
        " ORDER BY run DESC LIMIT 1"
    ).fetchone()
    return None if row is None else (str(row[0]), str(row[1]), row[2])


def state_of(connection: Connection, run: int) -> str | None:
    """State of a run, or None when the ledger does not know it."""
    row = connection.execute("SELECT state FROM hat_etl.runs WHERE run = %s", (run,)).fetchone()
    return None if row is None else str(row[0])


@dataclass(frozen=True)
class KnownView:
    """What is known of a view: name, type and width of each column as the last run found them, and its digest.

    ``definition``: of the view's text when the table was last read whole; empty when that is not known.
    """

    columns: Sequence[Sequence[Any]]
    definition: str = ""


def known_views(connection: Connection) -> dict[str, KnownView]:
    """What is known of the view of each HAT table."""
    rows = connection.execute('SELECT "table", columns, definition FROM hat_etl.shapes').fetchall()
    return {str(table): KnownView(columns, str(definition)) for table, columns, definition in rows}


def note_view(connection: Connection, run: int, table: str, view: KnownView) -> None:
    """Keep what a view is for comparison with what the next run finds; a digest that is known stays without another."""
    connection.execute(
        'INSERT INTO hat_etl.shapes AS s VALUES (%s, %s, %s, %s) ON CONFLICT ("table")'
        " DO UPDATE SET columns = excluded.columns, run = excluded.run,"
        " definition = coalesce(nullif(excluded.definition, ''), s.definition)",
        (table, json.dumps([list(column) for column in view.columns]), run, view.definition),
    )


def commit_load(
    connection: Connection, run: int, marks: Mapping[str, Watermark], outcomes: Sequence[TableOutcome]
) -> None:
    """Write ledger, watermarks and quarantine of a load; the caller's transaction also holds the swap."""
    tables = [outcome.table for outcome in outcomes]
    connection.execute('DELETE FROM hat_etl.rejects WHERE "table" = ANY (%s)', (tables,))
    connection.execute(
        'INSERT INTO hat_etl.rejects (run, "table", recno, key, "column", rule, severity, reason, value)'
        f' SELECT %s, "table", recno, key, "column", rule, severity, reason, value FROM {STAGE_SCHEMA}.issues'
        ' ORDER BY "table", recno',
        (run,),
    )
    record_tables(connection, run, outcomes)
    for table, mark in marks.items():
        set_watermark(connection, run, table, mark)
    connection.execute('DELETE FROM hat_etl.backing WHERE "table" = ANY (%s)', (tables,))
    for outcome in outcomes:
        if outcome.kept:
            connection.execute(
                "INSERT INTO hat_etl.backing"
                f" SELECT %s, {key_array(BY_TABLE[outcome.table], 's')}, NULL"
                f" FROM {STAGE_SCHEMA}.{outcome.table} s WHERE s.loaded_run <> %s",
                (outcome.table, run),
            )
    connection.execute("DELETE FROM hat_etl.checkpoints WHERE run = %s", (run,))
    connection.execute(
        "UPDATE hat_etl.runs SET state = 'succeeded', finished_at = now(), error = NULL WHERE run = %s", (run,)
    )


def record_tables(connection: Connection, run: int, outcomes: Sequence[TableOutcome]) -> None:
    """Write what a run did to each table."""
    for outcome in outcomes:
        values = asdict(outcome)
        names = ", ".join(f'"{name}"' for name in values)
        connection.execute(
            f"INSERT INTO hat_etl.run_tables (run, {names}) VALUES (%s, {', '.join(['%s'] * len(values))})"
            ' ON CONFLICT (run, "table") DO UPDATE SET ' + ", ".join(f'"{n}" = excluded."{n}"' for n in values),
            (run, *values.values()),
        )


class LedgerReader:
    """Questions to the ledger, for reports and the doors; reads only. ``again`` is the command that asks them."""

    def __init__(self, database: TenantDatabase, again: str) -> None:
        self._database, self._again = database, again
        self._engine = sa.create_engine(
            "postgresql+psycopg://", creator=database.connect, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT"
        )

    @contextmanager
    def _asking(self) -> Iterator[sa.Connection | None]:
        """A connection to ask on, or None while no run has touched the database.

        Raises TargetError when the database is another tenant's, cannot be reached or refuses.
        """
        tenant = self._database.tenant.name
        with errors(tenant, again=self._again), self._database.connect() as connection:
            is_there = self._database.check_identity(connection)
        try:
            with self._engine.connect() if is_there else nullcontext() as asking:
                yield asking
        except sa.exc.DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise target_failed(tenant, None, error.orig, self._again) from None
            raise

    def runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """The latest runs, newest first, with the tables of each."""
        with self._asking() as connection:
            if connection is None:
                return []
            latest = connection.execute(sa.select(runs).order_by(runs.c.run.desc()).limit(limit)).mappings().all()
            numbers = [row["run"] for row in latest]
            # One array, for a statement takes 65,535 parameters.
            among = run_tables.c.run == sa.any_(sa.literal(numbers, ARRAY(sa.BigInteger)))
            tables = connection.execute(sa.select(run_tables).where(among).order_by(run_tables.c.table)).mappings()
            by_run: dict[int, list[dict[str, Any]]] = {number: [] for number in numbers}
            for row in tables:
                by_run[row["run"]].append({name: value for name, value in row.items() if name != "run"})
        return [{**row, "tables": by_run[row["run"]]} for row in latest]

    def is_held(self) -> bool:
        """Whether a run holds the tenant's lock."""
        tenant = self._database.tenant.name
        with errors(tenant, again=self._again), self._database.connect() as connection:
            return bool(self._database.holders(connection))

    def watermarks(self) -> dict[str, datetime]:
        """Moment of the ERP that each table shows."""
        with self._asking() as connection:
            if connection is None:
                return {}
            return {row.table: row.horizon for row in connection.execute(sa.select(watermarks))}

    def to_be_read_whole(self) -> set[str]:
        """Tables that an undo has touched and no sync has read since."""
        with self._asking() as connection:
            if connection is None:
                return set()
            unknown = watermarks.c.live_rows.is_(None) | watermarks.c.live_recnos.is_(None)
            return set(connection.scalars(sa.select(watermarks.c.table).where(unknown)))

    def known_views(self) -> dict[str, KnownView]:
        """What is known of the view of each HAT table."""
        with self._asking() as connection:
            if connection is None:
                return {}
            # Nobody has brought the ledger of an older hat_etl up yet: that knows of no digest.
            found = connection.execute(
                sa.text("SELECT \"table\", columns, coalesce(to_jsonb(s) ->> 'definition', '') FROM hat_etl.shapes s")
            )
            return {str(table): KnownView(columns, str(definition)) for table, columns, definition in found}

    def rejects(self, table: str | None = None) -> list[dict[str, Any]]:
        """The quarantine without the values: table, recno, key, column, rule, severity, reason."""
        c = rejects.c
        query = sa.select(c.table, c.recno, c.key, c.column, c.rule, c.severity, c.reason).order_by(c.id)
        if table is not None:
            query = query.where(c.table == table)
        with self._asking() as connection:
            if connection is None:
                return []
            return [dict(row) for row in connection.execute(query).mappings()]
