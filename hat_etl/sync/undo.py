"""Undo: what a run changed is put back, from the before-images it left, in one transaction.

A run is taken back whole or not at all, and only while nothing that came later rests on it. The undo is a run of its
own, with before-images, so that it can be undone in turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hat_etl.entities import BY_TABLE
from hat_etl.errors import ConfigurationError, DecisionNeeded
from hat_etl.sync.lost_commit import settled_by_ledger
from hat_etl.sync.run import close_ledger
from hat_etl.target import calls, history, ledger, staging, swap
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.history import UNDO, Hindrance, Past, PuttingBack, Touched
from hat_etl.target.ledger import TableOutcome
from hat_etl.tenants.config import Tenant

_AFTERWARDS = (
    "The next sync brings the state of the ERP again: mend the ERP or the view first. It reads the tables concerned"
    " whole."
)


@dataclass(frozen=True)
class UndoReport:
    """What an undo does (``run`` None: would do) to take the run ``undoes`` back: the object that ``--json`` prints."""

    tenant: str
    undoes: int
    tables: tuple[Touched, ...]
    run: int | None = None
    seconds: float = 0.0

    @property
    def state(self) -> str:
        return "planned" if self.run is None else "succeeded"

    @property
    def remarks(self) -> tuple[str, ...]:
        return (_AFTERWARDS,)

    def as_dict(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "run": self.run,
            "mode": UNDO,
            "state": self.state,
            "undoes": self.undoes,
            "seconds": round(self.seconds, 3),
            "tables": [asdict(table) for table in self.tables],
            "remarks": list(self.remarks),
        }


def plan(tenant: Tenant, run: int) -> UndoReport:
    """What taking ``run`` back would do. Changes nothing; raises as ``undo`` does, but never Busy."""
    database = TenantDatabase(tenant)
    with errors(tenant.name, again=_command(tenant, run)), database.connect() as connection:
        if not database.check_identity(connection):
            raise _unknown(tenant, run)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            _, tables = _judge(connection, tenant, database.schema, run)
    return UndoReport(tenant.name, run, tuple(tables))


def undo(tenant: Tenant, run: int) -> UndoReport:
    """Take ``run`` back.

    Raises ConfigurationError (no such run), DecisionNeeded (it cannot be taken back now: the cause says why),
    TargetError or Busy. Whatever it raises, HAT is unchanged, except where the answer to the commit was lost: then
    asking again is right, for a run that is undone already is not undone twice.
    """
    started = time.monotonic()
    database = TenantDatabase(tenant)
    again = f"{_command(tenant, run)} --yes"
    with database.claim(again) as control:
        control.execute("ANALYZE hat_etl.changes")
        past, tables = _judge(control, tenant, database.schema, run)
        ledger.abandon_unfinished(control)
        mine = ledger.start(control, UNDO, datetime.now(ZoneInfo(tenant.erp.timezone)).date())
        try:
            with settled_by_ledger(database, control, mine, again):
                control.execute(f"SET LOCAL lock_timeout = '{tenant.sync.lock_wait_seconds}s'")
                control.execute("SET CONSTRAINTS ALL DEFERRED")
                _put_back(control, tenant, PuttingBack(control, database.schema, run, mine), tables, again)
                history.close_undo(control, past, mine)
        except BaseException as error:
            close_ledger(control, mine, error)
            raise
    return UndoReport(tenant.name, run, tuple(tables), mine, time.monotonic() - started)


def _put_back(control: Connection, tenant: Tenant, work: PuttingBack, tables: Iterable[Touched], again: str) -> None:
    outcomes = {table.table: TableOutcome(table.table, UNDO) for table in tables}
    for name in reversed(outcomes):
        with errors(tenant.name, name, again=again):
            outcomes[name].deleted = work.remove(BY_TABLE[name])
    for name, outcome in outcomes.items():
        began = time.monotonic()
        with errors(tenant.name, name, again=again):
            outcome.updated, outcome.loaded = work.restore(BY_TABLE[name])
            work.restore_quarantine(name)
            work.restore_backing(name)
            work.turn_back_watermark(name)
        outcome.seconds = time.monotonic() - began
    ledger.record_tables(control, work.undo, list(outcomes.values()))


def _command(tenant: Tenant, run: int) -> str:
    return f"hat-etl {UNDO} {tenant.name} {run}"


# -- may it be taken back? ---------------------------------------------------------------------------------------------


def _judge(connection: Connection, tenant: Tenant, schema: str, run: int) -> tuple[Past, list[Touched]]:
    """The run and what it changed. Raises ConfigurationError or DecisionNeeded when it cannot be taken back."""
    past = history.find(connection, run)
    if past is None:
        raise _unknown(tenant, run)
    _judge_run(connection, tenant, past)
    tables = history.touched(connection, run)
    if not tables:
        raise _no(tenant, f"Run {run} changed no row of HAT and no entry of quarantine.", "There is nothing to undo.")
    _judge_later(connection, tenant, run, [table.table for table in tables])
    _judge_rows(connection, tenant, schema, run, {table.table for table in tables})
    return past, tables


def _judge_run(connection: Connection, tenant: Tenant, past: Past) -> None:
    run, name = past.run, tenant.name
    stage = staging.find(connection)
    if stage is not None:
        raise _no(
            tenant,
            f"Load {stage.run} of this tenant was broken off and is not finished.",
            f"Finish it: hat-etl load {name} --resume (or begin anew with --restart). What it replaces cannot be undone"
            " afterwards.",
        )
    if calls.of_run(connection, run):
        raise _no(
            tenant,
            f"Run {run} went to HAT by its API: what HAT has taken cannot be taken back from here.",
            f"Mend the ERP or the view, then: hat-etl sync {name} --via api",
        )
    if past.state not in ("succeeded", "partial"):
        raise _no(
            tenant,
            f"Run {run} did not succeed (it is {past.state}): it has changed nothing.",
            f"hat-etl runs {name} shows the runs that succeeded.",
        )
    if past.mode == "load":
        raise _no(
            tenant,
            f"Run {run} is a load: it replaced whole tables and kept no before-images.",
            f"Mend the ERP or the views, then load again: hat-etl load {name} (--only TABLE for some). The rows of"
            " before are in a backup of the tenant database alone.",
        )
    if past.undone_by is not None:
        raise _no(
            tenant,
            f"Run {run} is undone already, by run {past.undone_by}.",
            f"To have its changes back: hat-etl sync {name}, or hat-etl undo {name} {past.undone_by}",
        )
    if history.images_are_gone(connection, past, tenant.sync.undo_days):
        ended = f", and it ended on {past.finished_at:%Y-%m-%d}" if past.finished_at else ""
        raise _no(
            tenant,
            f"The before-images of run {run} are gone: they are kept for {tenant.sync.undo_days} days"
            f" ([sync] undo_days){ended}.",
            f"Mend the ERP or the view, then: hat-etl sync {name} --full. The rows of before are in a backup of the"
            " tenant database alone.",
        )


def _judge_later(connection: Connection, tenant: Tenant, run: int, tables: list[str]) -> None:
    """Has anything that came later changed the same rows?"""
    loads = history.loaded_again(connection, run, tables)
    if loads:
        told = ", ".join(f"{load.table} (run {load.run})" for load in loads)
        raise _no(
            tenant,
            f"Loads have since replaced tables that run {run} changed: {told}.",
            f"HAT shows the ERP of that load. Mend the ERP or the views, then: hat-etl sync {tenant.name} --full",
            loads,
        )
    again = history.touched_again(connection, run)
    if again:
        told = "; ".join(
            f"run {later}: " + ", ".join(f"{found.table} ({found.rows:,})" for found in again if found.run == later)
            for later in _runs(again)
        )
        raise _no(
            tenant,
            f"Later runs have changed the same rows as run {run} (rows or entries by table): {told}.",
            _undo_first(tenant, again),
            again,
        )


def _judge_rows(connection: Connection, tenant: Tenant, schema: str, run: int, tables: set[str]) -> None:
    """Would HAT hold together?"""
    present = swap.existing(connection, schema)
    gone = sorted(tables - present)
    strayed = [Hindrance(table, 0, None) for table in gone]
    for table in sorted(tables & present):
        history.take_out(connection, schema, run, BY_TABLE[table])
        rows = history.strayed(connection, schema, BY_TABLE[table])
        strayed += [Hindrance(table, rows, None)] if rows else []
    if strayed:
        told = ", ".join(f"{found.table} ({_rows(found)})" for found in strayed)
        raise _no(
            tenant,
            f"Something other than hat_etl has removed or added rows that run {run} changed: {told}.",
            f"See who writes into HAT's tables. hat-etl sync {tenant.name} --full brings the state of the ERP.",
            strayed,
        )
    rivals = [found for table in tables for found in history.rivals(connection, schema, run, BY_TABLE[table])]
    if rivals:
        told = ", ".join(f"{found.table} ({_rows(found)}{_by(found)})" for found in rivals)
        raise _no(
            tenant,
            f"Rows that came later hold alternate keys which rows to be put back by undoing run {run} had: {told}.",
            _undo_first(tenant, rivals),
            rivals,
        )
    orphans = history.orphans(connection, schema, run, tables, present)
    if orphans:
        told = ", ".join(f"{found.table} ({_rows(found)} without {found.other}{_by(found)})" for found in orphans)
        raise _no(
            tenant,
            f"Undoing run {run} would leave rows whose parent is not in HAT: {told}.",
            _undo_first(tenant, orphans),
            orphans,
        )


def _rows(found: Hindrance) -> str:
    return "1 row" if found.rows == 1 else f"{found.rows:,} rows"


def _by(found: Hindrance) -> str:
    return "" if found.run is None else f"; run {found.run}"


def _runs(found: Iterable[Hindrance]) -> list[int]:
    """The runs named, latest first."""
    return sorted({hindrance.run for hindrance in found if hindrance.run is not None}, reverse=True)


def _undo_first(tenant: Tenant, found: Iterable[Hindrance]) -> str:
    commands = "; ".join(f"hat-etl undo {tenant.name} {run} --yes" for run in _runs(found))
    bring = f"mend the ERP or the view and let hat-etl sync {tenant.name} bring its state"
    return f"Undo what came later first, latest first: {commands}. Or {bring}." if commands else f"Rather {bring}."


def _unknown(tenant: Tenant, run: int) -> ConfigurationError:
    return ConfigurationError(
        f"The ledger has no run {run}.", f"hat-etl runs {tenant.name} shows the runs.", tenant=tenant.name
    )


def _no(tenant: Tenant, cause: str, step: str, found: Iterable[Hindrance] = ()) -> DecisionNeeded:
    tables = ", ".join(dict.fromkeys(hindrance.table for hindrance in found)) or None
    return DecisionNeeded(f"{cause} Nothing was changed.", step, tenant=tenant.name, table=tables)
