"""The incremental sync: HAT is brought to the state of the ERP at one moment, at a cost that follows the changes.

Each view is read from behind its watermark (``window``), or whole where it has no stamp (``full``), and then compared
with HAT by hashes; the rows in quarantine are read again. After a window, the number of live rows and the sum of their
Recnos tell whether rows have come or gone that no stamp shows, and all Recnos are compared where they have. One
transaction merges everything, with quarantine, watermarks and ledger: a run that is broken off before its commit has
changed nothing, and the next one begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import psycopg

from hat_etl import memory
from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.errors import DecisionNeeded
from hat_etl.source.erp import open_source
from hat_etl.source.reader import Source
from hat_etl.sync.brake import check_share
from hat_etl.sync.by_api import ByApi, by_api, refuse_open_calls, strategy_of
from hat_etl.sync.drift import stop, survey, to_be_known
from hat_etl.sync.inflow import Inflow
from hat_etl.sync.lost_commit import settled_by_ledger
from hat_etl.sync.moment import at_one_moment
from hat_etl.sync.plan import refuse_unloaded, select
from hat_etl.sync.request import SyncRequest
from hat_etl.sync.run import Problem, Progress, RunReport, Silent, close_ledger
from hat_etl.sync.view_texts import made_anew_since, refusal
from hat_etl.sync.window import keep_to
from hat_etl.target import condition, ledger, staging, swap
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.intake import Intake
from hat_etl.target.ledger import TableOutcome, Watermark
from hat_etl.target.merge import BY_INDEX, Merged, Merger
from hat_etl.target.sink import Sink
from hat_etl.tenants.config import Tenant

PARENT_CHANGED = "parent changed"
"""Strategy of a table that was not read and lost or regained rows by another one."""

_FOR_MANY_CHANGES = ("SET work_mem = '64MB'", "SET temp_buffers = '32MB'", "SET default_statistics_target = 10")
"""For the run's session: what is read stays in memory, and ANALYZE of it looks at 3,000 rows, which tell enough."""


def sync(tenant: Tenant, request: SyncRequest, progress: Progress | None = None) -> RunReport:
    """Bring the tenant's HAT database to the state of its ERP.

    Raises ConfigurationError, SourceError, TargetError, DataError, HatApiError, DecisionNeeded (nothing is loaded yet,
    a load is unfinished, the ERP's windows are closed, or the brake stops) or Busy.
    Whatever it raises, HAT is unchanged, except where the answer to the commit was lost: then the error says so; and
    by HAT's API, where HAT keeps what it has accepted and the next such run goes on from there.
    """
    started = time.monotonic()
    select(request.only, tenant.name)
    progress = progress or Silent()
    if not request.outside_windows:
        progress = keep_to(tenant, progress, request.command(tenant.name))
    source, database = open_source(tenant, request.command(tenant.name)), TenantDatabase(tenant)
    with closing(source), database.claim(request.command(tenant.name)) as control:
        marks = watermarks(control, tenant, request.only, request.command(tenant.name))
        ledger.abandon_unfinished(control)
        today = datetime.now(ZoneInfo(tenant.erp.timezone)).date()
        run = ledger.start(control, request.mode, today)
        inflow = Inflow(tenant, request, database, control, run, today, marks, progress)
        work = _Sync(tenant, request, source, database, control, run, progress, inflow)
        try:
            with ExitStack() as stack:
                if (request.via or tenant.sync.via) == "api":
                    progress.phase("asking HAT about earlier calls")
                    inflow.api = stack.enter_context(by_api(tenant, database, run, request.command(tenant.name)))
                else:
                    refuse_open_calls(control, tenant)
                work.carry_out()
        except BaseException as error:
            close_ledger(control, run, error)
            raise
    return RunReport(
        tenant=tenant.name,
        run=run,
        mode=request.mode,
        state=work.state,
        seconds=time.monotonic() - started,
        peak_mib=memory.peak_mib(),
        tables=tuple(work.outcomes),
        problems=tuple(work.problems),
        remarks=tuple(work.remarks),
        horizon=inflow.horizon,
    )


def watermarks(control: Connection, tenant: Tenant, asked: Iterable[str], again: str) -> dict[str, Watermark]:
    """What each table shows.

    Raises DecisionNeeded when nothing, or a table that was ``asked`` for by its name, is not loaded yet or a load is
    unfinished; and TargetError when HAT's tables are not as they were loaded. ``again`` is the command to go on with.
    """
    stage = staging.find(control)
    if stage is not None:
        raise DecisionNeeded(
            f"Load {stage.run} of this tenant was broken off and is not finished.",
            f"Finish it: hat-etl load {tenant.name} --resume (or begin anew with --restart). Then sync.",
            tenant=tenant.name,
        )
    marks = ledger.read_watermarks(control)
    refuse_unloaded(tenant.name, asked, marks)
    condition.refuse_lacking(control, tenant.hat.schema_name, marks, tenant.name, again)
    condition.refuse_retyped(control, tenant.hat.schema_name, marks, again)
    return marks


@dataclass
class _Sync:
    """One run, from the look at the views to the commit."""

    tenant: Tenant
    request: SyncRequest
    source: Source
    database: TenantDatabase
    control: Connection
    run: int
    progress: Progress
    inflow: Inflow
    outcomes: list[TableOutcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        return "partial" if self.problems else "succeeded"

    def carry_out(self) -> None:
        for setting in _FOR_MANY_CHANGES:
            self.control.execute(setting)
        entities = [entity for entity in select(self.request.only) if entity.table in self.inflow.marks]
        self.progress.phase("looking at the views")
        command = self.request.command(self.tenant.name)
        known = ledger.known_views(self.control)
        found = survey(self.source, self.tenant, entities, known, accept=self.request.accept, sync=command)
        self.problems, self.remarks = found.problems, found.remarks
        if self.inflow.api is not None:
            self.remarks += self.inflow.api.remarks
        if found.problems and (self.tenant.sync.drift == "stop-run" or not found.shapes):
            raise stop(self.tenant.name, found.problems)
        self.inflow.made_anew = found.made_anew
        at_one_moment(self.source, self.progress, lambda moment: self.inflow.bring(moment, found.shapes))
        self.remarks += [
            f"{BY_TABLE[table].view}: Rows have come with a Carimbo of before the last run ({rows:,}; the latest is"
            f" of {stamp:%Y-%m-%d %H:%M:%S}). Their Recnos told of them; of changes with such stamps nothing tells. See"
            f" that S_T_A_M_P_ is in UTC and nobody sets it back, and that nobody takes rows out of HAT; then:"
            f" hat-etl sync {self.tenant.name} --full"
            for table, (rows, stamp) in self.inflow.backdated.items()
        ]
        self.remarks += [
            f"{shape.entity.view}: Rows have other R_E_C_N_O_ than before, as after a copy or a packing of"
            f" {shape.entity.reads[0]}; it was read whole."
            for shape in self.inflow.renumbered
        ]
        if changed := made_anew_since(self.source, found.shapes):
            raise refusal(changed, self.tenant.name, command)
        self._commit()

    def _commit(self) -> None:
        with settled_by_ledger(self.database, self.control, self.run, self.request.command(self.tenant.name)):
            self._merge()
            self.progress.phase("committing")
        self.progress.phase("committed")

    def _merge(self) -> None:
        control = self.control
        control.execute(f"SET LOCAL lock_timeout = '{self.tenant.sync.lock_wait_seconds}s'")
        control.execute("SET CONSTRAINTS ALL DEFERRED")
        control.execute(BY_INDEX)
        self.progress.phase("merging")
        if (api := self.inflow.api) is None:
            changed = self._merge_tables(None, set())
            if not self.request.accept:
                self._check_share(changed)
        else:
            self._merge_and_send(api)
        readings = self.inflow.readings
        moved = readings if self.request.recnos is None else {}
        marks = {table: self.inflow.next_mark(reading) for table, reading in moved.items()}
        told = "; ".join(f"{problem.table}: {problem.message}" for problem in self.problems) or None
        with control.pipeline():
            ledger.commit_sync(control, self.run, marks, self.outcomes, self.state, told)
            for table, reading in readings.items():
                whole = self.request.recnos is None  # a window is of the text that is known
                ledger.note_view(control, self.run, table, to_be_known(reading.shape, whole=whole))
            ledger.forget_changes(control, self.tenant.sync.undo_days)

    def _merge_and_send(self, api: ByApi) -> None:
        """Merge by HAT's API: first without it, so that the brake is asked before anything leaves."""
        intakes = list(self.inflow.intakes.values())
        if not self.request.accept:
            empty = [intake for intake in intakes if intake.empty]
            with self.control.transaction():
                self._check_share(self._merge_tables(None, api.show_accepted(self.control, intakes), told=False))
                raise psycopg.Rollback
            self.outcomes.clear()
            for intake in empty:
                intake.empty = True  # tables that the trial has made are gone with it
        self.progress.phase("sending")
        self._merge_tables(api.sink, api.show_accepted(self.control, intakes))
        api.settle(self.control, intakes)

    def _merge_tables(self, sink: Sink | None, arrived: set[str], *, told: bool = True) -> dict[str, Merged]:
        """Merge table by table; gives what was done to each. ``arrived``: tables to which rows have come already."""
        control, schema = self.control, self.database.schema
        present = frozenset(swap.existing(control, schema))
        repaired = frozenset(self.request.recnos or ())
        merger = Merger(control, schema, self.run, present, arrived=arrived, repaired=repaired, sink=sink)
        changed: dict[str, Merged] = {}
        for entity in ENTITIES:
            if entity.table not in present:
                continue
            began = time.monotonic()
            intake = self.inflow.intakes.get(entity.table) or Intake(control, entity)
            with errors(self.tenant.name, entity.table, again=self.request.command(self.tenant.name)):
                merged = merger.merge(intake)
            reading = self.inflow.readings.get(entity.table)
            if reading is None and merged == Merged():
                continue
            if told and not intake.empty:
                self.progress.phase(f"merged {entity.table}")
            changed[entity.table] = merged
            self.outcomes.append(
                TableOutcome(
                    entity.table,
                    strategy_of(
                        entity.table,
                        PARENT_CHANGED if reading is None else reading.strategy,
                        via_api=self.inflow.api is not None,
                    ),
                    read=intake.read,
                    loaded=merged.inserted,
                    updated=merged.updated,
                    deleted=merged.left,
                    rejected=merged.rejected,
                    held=merged.held,
                    warnings=merged.warnings,
                    seconds=time.monotonic() - began + (0.0 if reading is None else reading.seconds),
                    kept=merged.kept,
                )
            )
        return changed

    def _check_share(self, changed: Mapping[str, Merged]) -> None:
        command = self.request.command(self.tenant.name)
        marks, anew = self.inflow.marks, self.inflow.made_anew
        check_share(changed, marks, self.tenant.sync, anew, tenant=self.tenant.name, command=command)
