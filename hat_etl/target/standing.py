"""Where a tenant stands, as its ledger tells: what checks and reports judge by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.history import UNDO


@dataclass(frozen=True)
class Quarantined:
    """Rows of one view: those that are not in HAT as they are in the ERP, and all live ones (None: not known)."""

    rejected: int
    held: int
    live: int | None

    @property
    def share(self) -> float:
        """Part of the live rows that is rejected or held, from 0 to 1."""
        waiting = self.rejected + self.held
        return waiting / max(self.live or 0, waiting, 1)


@dataclass(frozen=True)
class LastRun:
    """The last run of a kind: ``error`` is what the ledger keeps of it."""

    run: int
    mode: str
    state: str
    error: str | None


@dataclass(frozen=True)
class Differing:
    """A table in which the last reconciliation that compared it has found mismatches, in rows."""

    table: str
    run: int
    mismatches: int


@dataclass(frozen=True)
class Standing:
    """``fresh_until``: when that table was read which was read longest ago; None before the first load.

    It is not the horizon, which a transaction that stays open in the ERP holds back however often HAT is
    synchronised. A table that an undo has put back shows what it did then: there the horizon counts.
    """

    fresh_until: datetime | None
    last_run: LastRun | None
    last_reconciliation: LastRun | None
    differing: tuple[Differing, ...]
    quarantine: dict[str, Quarantined]


def standing(database: TenantDatabase) -> Standing:
    """Ask the tenant database. Raises TargetError."""
    with errors(database.tenant.name, again=f"hat-etl status {database.tenant.name}"), database.connect() as connection:
        if not database.check_identity(connection):
            return Standing(None, None, None, (), {})
        return Standing(
            connection.execute(
                f"SELECT min(CASE WHEN r.mode = '{UNDO}' THEN w.horizon ELSE greatest(w.horizon, r.started_at) END)"
                " FROM hat_etl.watermarks w LEFT JOIN hat_etl.runs r USING (run)"
            ).fetchall()[0][0],
            _last(connection, "mode <> 'reconcile' AND state <> 'running'"),
            _last(connection, "mode = 'reconcile' AND state NOT IN ('running', 'failed', 'abandoned', 'stopped')"),
            _differing(connection),
            _quarantine(connection),
        )


def _last(connection: Connection, which: str) -> LastRun | None:
    row = connection.execute(
        f"SELECT run, mode, state, error FROM hat_etl.runs WHERE {which} ORDER BY run DESC LIMIT 1"
    ).fetchone()
    return None if row is None else LastRun(int(row[0]), str(row[1]), str(row[2]), row[3])


def _differing(connection: Connection) -> tuple[Differing, ...]:
    rows = connection.execute(
        'SELECT "table", run, mismatches FROM (SELECT DISTINCT ON ("table") "table", run,'
        " missing + extra + differing AS mismatches FROM hat_etl.reconciliations"
        ' ORDER BY "table", run DESC) latest WHERE mismatches > 0 ORDER BY "table"'
    ).fetchall()
    return tuple(Differing(str(table), int(run), int(mismatches)) for table, run, mismatches in rows)


def _quarantine(connection: Connection) -> dict[str, Quarantined]:
    rows = connection.execute(
        "SELECT r.\"table\", count(DISTINCT recno) FILTER (WHERE severity = 'reject'),"
        " count(DISTINCT recno) FILTER (WHERE severity = 'held'), max(w.live_rows)"
        ' FROM hat_etl.rejects r LEFT JOIN hat_etl.watermarks w USING ("table")'
        " WHERE severity <> 'warning' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {
        str(table): Quarantined(int(rejected), int(held), None if live is None else int(live))
        for table, rejected, held, live in rows
    }
