"""The incremental sync: HAT is brought to the state of the ERP at one moment, at a cost that follows the changes.

Each view is read from behind its watermark (``window``), or whole where it has no stamp (``full``), and then compared
with HAT by hashes; the rows in quarantine are read again. After a window, the number of live rows and the sum of their
Recnos tell whether rows have come or gone that no stamp shows, and all Recnos are compared where they have. One
transaction merges everything, with quarantine, watermarks and ledger: a run that is broken off before its commit has
changed nothing, and the next one begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import psycopg

from hat_etl import memory
from hat_etl.entities import ENTITIES
from hat_etl.entities.model import STAMP
from hat_etl.errors import DecisionNeeded, TargetError
from hat_etl.source.erp import open_source
from hat_etl.source.reader import Buckets, Recnos, Snapshot, Source, ViewShape
from hat_etl.sync import lost_commit
from hat_etl.sync.brake import check_share, clock_behind, gone_back, latest_rows_older
from hat_etl.sync.by_api import ByApi, by_api, refuse_open_calls, strategy_of
from hat_etl.sync.drift import columns_of, stop, survey
from hat_etl.sync.moment import at_one_moment
from hat_etl.sync.plan import FULL, WINDOW, select
from hat_etl.sync.run import Problem, Progress, RunReport, Silent, close_ledger
from hat_etl.sync.view_reader import REPAIR, Absent, Batch, Item, Reading, ViewReader, read_side_by_side
from hat_etl.sync.window import keep_to
from hat_etl.target import known, ledger, staging, swap
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.intake import Intake
from hat_etl.target.ledger import TableOutcome, Watermark
from hat_etl.target.merge import BY_INDEX, Merged, Merger
from hat_etl.target.rows import HatConnections
from hat_etl.target.sink import Sink
from hat_etl.tenants.config import Tenant, Via
from hat_etl.transform import Transformer

AND_KEYS = " + keys"
"""Added to a strategy when all Recnos had to be compared."""
PARENT_CHANGED = "parent changed"
"""Strategy of a table that was not read and lost or regained rows by another one."""

NEVER = datetime.min.replace(tzinfo=UTC)
_MANY_RANGES = 200
"""From so many ranges of differing Recnos on, all Recnos are compared."""


@dataclass(frozen=True)
class SyncRequest:
    """What a person or a schedule asks of a sync. ``only``: HAT table names, empty for all that were loaded."""

    only: tuple[str, ...] = ()
    full: bool = False
    """Read every view whole: finds also what moves no stamp, such as a deleted joined row."""
    accept: bool = False
    """Go on where the brake would stop."""
    recnos: Mapping[str, Recnos] | None = None
    """Repair: read just these rows of these tables, and the quarantine, and leave the watermarks where they are."""
    outside_windows: bool = False
    """Read the ERP whatever the hour."""
    via: Via | None = None
    """How the changes reach HAT; None: as the tenant's file says."""

    @property
    def mode(self) -> str:
        return "sync" if self.recnos is None else REPAIR

    def command(self, tenant: str) -> str:
        """The command that asks the same of ``tenant``."""
        via = f" --via {self.via}" if self.via is not None else ""
        return f"hat-etl sync {tenant}{via}" if self.recnos is None else f"hat-etl reconcile {tenant} --repair"


def sync(tenant: Tenant, request: SyncRequest, progress: Progress | None = None) -> RunReport:
    """Bring the tenant's HAT database to the state of its ERP.

    Raises ConfigurationError, SourceError, TargetError, DataError, HatApiError, DecisionNeeded (nothing is loaded yet,
    a load is unfinished, the ERP's windows are closed, or the brake stops) or Busy.
    Whatever it raises, HAT is unchanged, except where the answer to the commit was lost: then the error says so; and
    by HAT's API, where HAT keeps what it has accepted and the next such run goes on from there.
    """
    started = time.monotonic()
    select(request.only)
    progress = progress or Silent()
    if not request.outside_windows:
        progress = keep_to(tenant, progress, request.command(tenant.name))
    source, database = open_source(tenant, "sync"), TenantDatabase(tenant)
    with closing(source), database.claim("sync") as control:
        marks = watermarks(control, tenant)
        ledger.abandon_unfinished(control)
        today = datetime.now(ZoneInfo(tenant.erp.timezone)).date()
        run = ledger.start(control, request.mode, today)
        work = _Sync(tenant, request, source, database, control, run, today, marks, progress)
        try:
            with ExitStack() as stack:
                if (request.via or tenant.sync.via) == "api":
                    progress.phase("asking HAT about earlier calls")
                    work.api = stack.enter_context(by_api(tenant, database, run))
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
        horizon=work.horizon,
    )


def watermarks(control: Connection, tenant: Tenant) -> dict[str, Watermark]:
    """What each table shows. Raises DecisionNeeded when nothing is loaded yet or a load is unfinished."""
    stage = staging.find(control)
    if stage is not None:
        raise DecisionNeeded(
            f"Load {stage.run} of this tenant was broken off and is not finished.",
            f"Finish it: hat-etl load {tenant.name} --resume (or begin anew with --restart). Then sync.",
            tenant=tenant.name,
        )
    marks = ledger.read_watermarks(control)
    if not marks:
        raise DecisionNeeded(
            "Nothing is loaded yet: there is nothing to keep current.",
            f"Load first: hat-etl load {tenant.name}",
            tenant=tenant.name,
        )
    return marks


@dataclass
class _Sync:
    tenant: Tenant
    request: SyncRequest
    source: Source
    database: TenantDatabase
    control: Connection
    run: int
    today: date
    marks: dict[str, Watermark]
    progress: Progress
    outcomes: list[TableOutcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    intakes: dict[str, Intake] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    horizon: datetime = NEVER
    rewound: bool = False
    """Whether the ERP has gone back in time and HAT shall follow."""
    api: ByApi | None = None
    """HAT's API, where it is what takes the changes."""

    @property
    def state(self) -> str:
        return "partial" if self.problems else "succeeded"

    def carry_out(self) -> None:
        self.control.execute("SET work_mem = '64MB'")
        entities = [entity for entity in select(self.request.only) if entity.table in self.marks]
        self.progress.phase("looking at the views")
        found = survey(self.source, self.tenant.name, entities, ledger.shapes(self.control), accept=self.request.accept)
        self.problems, self.remarks = found.problems, found.remarks
        if found.problems and (self.tenant.sync.drift == "stop-run" or not found.shapes):
            raise stop(self.tenant.name, found.problems)
        at_one_moment(self.source, self.progress, lambda moment: self._read_at(moment, found.shapes))
        self._commit()

    def _read_at(self, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> None:
        """Bring what changed up to the snapshot's moment; what an earlier one brought is forgotten."""
        with errors(self.tenant.name, command="sync"):
            self.horizon = snapshot.horizon
            ledger.fix_horizon(self.control, self.run, snapshot.horizon)
            self._look_up_latest(snapshot, shapes)
            self.rewound = self._clock_went_back(snapshot, shapes)
            self.progress.phase("reading")
            full = self.request.full or self.rewound
            self._read(snapshot, shapes, full=full)
            if not self.rewound and (again := self._to_read_whole(shapes)):
                self.progress.phase("reading everything")
                self._read(snapshot, again, full=True)
            self.progress.phase("comparing keys")
            self._compare(snapshot)

    # -- has the ERP gone back in time? ------------------------------------------------------------------------------

    def _clock_went_back(self, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> bool:
        lookback = timedelta(minutes=self.tenant.sync.lookback_minutes)
        ahead = max(self.marks[shape.entity.table].horizon for shape in shapes)
        if snapshot.clock >= ahead - lookback:
            return False
        if not self.request.accept:
            raise self._gone_back(clock_behind(snapshot.clock, ahead))
        return True

    def _look_up_latest(self, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> None:
        """After a load, HAT itself tells which row was the latest."""
        for shape in shapes:
            mark = self.marks[shape.entity.table]
            if mark.top is None and shape.named(STAMP) is not None:
                top = known.latest(self.control, shape.entity, self.database.schema, snapshot.clock)
                self.marks[shape.entity.table] = replace(mark, top=top)

    def _to_read_whole(self, shapes: Sequence[ViewShape]) -> list[ViewShape]:
        """The views to read once more, for windows do not show how they have changed.

        One row that is gone may have been purged. Several, each the latest of its table, are a restored backup.
        """
        back = [table for table, reading in self.readings.items() if reading.went_back]
        gone = [table for table, reading in self.readings.items() if reading.went_back is None]
        if back or len(gone) > 1:
            if not self.request.accept:
                raise self._gone_back(latest_rows_older(back + gone, gone=bool(gone)), ", ".join(back + gone))
            self.rewound = True
        return [
            shape
            for shape in shapes
            if (self.rewound or shape.entity.table in gone) and self.readings[shape.entity.table].strategy != FULL
        ]

    def _gone_back(self, seen: str, table: str | None = None) -> DecisionNeeded:
        command, reads_all = self.request.command(self.tenant.name), self.request.recnos is None
        return gone_back(seen, tenant=self.tenant.name, command=command, reads_all=reads_all, table=table)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read(self, snapshot: Snapshot, shapes: Sequence[ViewShape], *, full: bool) -> None:
        """Read all views on the tenant's connections; what they bring is written by this thread alone."""
        for shape in shapes:
            table = shape.entity.table
            if table in self.intakes:
                self.intakes[table].drop()
            self.intakes[table] = Intake(self.control, shape.entity)
            self.readings.pop(table, None)
            self.progress.planned(table, 0)
        settled = self.request.recnos is None and self._is_settled()
        hat, connections = HatConnections(self.database, "sync"), self.tenant.erp.connections
        # The widest windows first, so that no connection idles at the end.
        readers = [
            ViewReader(
                snapshot,
                shape,
                self._strategy(shape, full=full),
                self.run,
                self.today,
                self.marks[shape.entity.table].horizon - timedelta(minutes=self.tenant.sync.lookback_minutes),
                self.marks[shape.entity.table].top,
                self._again(shape),
                connections,
                settled,
                hat,
            )
            for shape in sorted(shapes, key=lambda s: -s.estimated_rows)
        ]
        with closing(hat), closing(read_side_by_side(readers, connections)) as items:
            for item in items:
                self._take(item)

    def _strategy(self, shape: ViewShape, *, full: bool) -> str:
        if self.request.recnos is not None:
            return REPAIR
        return FULL if full or shape.named(STAMP) is None else WINDOW

    def _again(self, shape: ViewShape) -> Recnos:
        """The rows to be judged anew, whatever tells that they have not changed."""
        parts = [known.waiting(self.control, shape.entity)]
        if self.api is not None:
            parts.append(self.api.again(self.control, shape.entity))
        if asked := self.request.recnos:
            parts.append(asked.get(shape.entity.table, parts[0][:0]))
        return np.unique(np.concatenate(parts))

    def _is_settled(self) -> bool:
        """Whether the last run judged all of quarantine, today: then it is as it was, unless something moves."""
        if self.api is not None:
            return False  # what HAT has refused may be good by now
        last = ledger.last_writer(self.control)
        judged = [(mode, "succeeded", self.today) for mode in ("load", "sync")]
        return last in judged and len({mark.run for mark in self.marks.values()}) == 1

    def _take(self, item: Item) -> None:
        match item:
            case Batch():
                with errors(self.tenant.name, item.table, "sync"):
                    self.intakes[item.table].write(item.raw, item.out, repeats=item.repeats)
                    self.intakes[item.table].leave(item.unchanged)
                self.progress.advanced(item.table, item.raw.num_rows + item.unchanged.size)
            case Absent():
                self.intakes[item.table].absent(item.recnos)
            case Reading():
                self.readings[item.shape.entity.table] = item

    def _compare(self, snapshot: Snapshot) -> None:
        """Find rows that came or went without a stamp, and take them in."""
        doubtful = []
        for reading in sorted(self.readings.values(), key=lambda r: -r.shape.estimated_rows):
            with errors(self.tenant.name, reading.shape.entity.table, "sync"):
                if self._is_doubtful(reading):
                    doubtful.append(reading)
        pool = ThreadPoolExecutor(self.tenant.erp.connections, "buckets")
        try:  # both servers go through whole tables, at the same time
            counts = [pool.submit(snapshot.live_by_bucket, reading.shape) for reading in doubtful]
            for reading, count in zip(doubtful, counts, strict=True):
                with errors(self.tenant.name, reading.shape.entity.table, "sync"):
                    self._compare_keys(snapshot, reading, count)
        finally:
            pool.shutdown(cancel_futures=True)

    def _is_doubtful(self, reading: Reading) -> bool:
        """Whether the live rows of a view are others than those that were known, and those that were read."""
        table = reading.shape.entity.table
        intake, mark = self.intakes[table], self.marks[table]
        intake.seal()
        if reading.live is None:
            return False
        if mark.live_rows is None or mark.live_recnos is None:
            return True
        expected = known.Live(mark.live_rows, mark.live_recnos)
        if not intake.empty:
            before = known.known_before(self.control, intake, self.database.schema)
            expected = expected - before + known.live_now(self.control, intake)
        return expected != reading.live

    def _compare_keys(self, snapshot: Snapshot, reading: Reading, count: Future[Buckets]) -> None:
        """Set all Recnos of the view against those of HAT, or those of the buckets whose count differs."""
        shape, schema = reading.shape, self.database.schema
        intake = self.intakes[shape.entity.table]
        intake.make()
        intake.make_all()
        ranges = known.differing(known.by_bucket(self.control, intake, schema), count.result())
        if len(ranges) > _MANY_RANGES:
            ranges = []
        with closing(snapshot.live_recnos(shape, ranges)) as batches:
            for recnos in batches:
                intake.write_all(recnos)
        reading.strategy += AND_KEYS
        gone, unseen = known.compare_all(self.control, intake, schema, ranges)
        intake.absent(gone)
        if unseen.size:
            transform = Transformer(shape.entity, run=self.run, today=self.today)
            for raw in snapshot.rows(shape, unseen):
                intake.write(raw, transform(raw))

    # -- merging -----------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        committing, session = False, self.control.info.backend_pid
        try:
            with errors(self.tenant.name, command="sync"), self.control.transaction():
                self._merge()
                self.progress.phase("committing")
                committing = True
        except TargetError:
            if not (committing and (self.control.closed or self.control.broken)):
                raise
            lost_commit.settle(self.database, self.tenant.name, self.run, session, self.state)
        self.progress.phase("committed")

    def _merge(self) -> None:
        control = self.control
        control.execute(f"SET LOCAL lock_timeout = '{self.tenant.sync.lock_wait_seconds}s'")
        control.execute("SET CONSTRAINTS ALL DEFERRED")
        control.execute(BY_INDEX)
        self.progress.phase("merging")
        if self.api is None:
            changed = self._merge_tables(None, set())
            if not self.request.accept:
                self._check_share(changed)
        else:
            self._merge_and_send(self.api)
        moved = self.readings if self.request.recnos is None else {}
        marks = {table: self._next_mark(reading) for table, reading in moved.items()}
        told = "; ".join(f"{problem.table}: {problem.message}" for problem in self.problems) or None
        with control.pipeline():
            ledger.commit_sync(control, self.run, marks, self.outcomes, self.state, told)
            for table, reading in self.readings.items():
                ledger.note_shape(control, self.run, table, columns_of(reading.shape))
            ledger.forget_changes(control, self.tenant.sync.undo_days)

    def _merge_and_send(self, api: ByApi) -> None:
        """Merge by HAT's API: first without it, so that the brake is asked before anything leaves."""
        intakes = list(self.intakes.values())
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
            intake = self.intakes.get(entity.table) or Intake(control, entity)
            with errors(self.tenant.name, entity.table, "sync"):
                merged = merger.merge(intake)
            reading = self.readings.get(entity.table)
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
                        via_api=self.api is not None,
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
        check_share(changed, self.marks, self.tenant.sync, tenant=self.tenant.name, command=command)

    def _next_mark(self, reading: Reading) -> Watermark:
        table = reading.shape.entity.table
        before, live = self.marks[table], reading.live
        if live is None:
            intake = self.intakes[table]  # and it is the whole view
            live = known.Live(*intake.unchanged)
            if not intake.empty:
                live += known.live_now(self.control, intake)
        top = reading.top
        if reading.live is not None and before.top is not None and (top is None or top[1] < before.top[1]):
            top = before.top  # the window was empty
        horizon = self.horizon if self.rewound else max(self.horizon, before.horizon)
        return Watermark(horizon, live.rows, live.recnos, top)
