"""The incremental sync: HAT is brought to the state of the ERP at one moment, at a cost that follows the changes.

Each view is read from behind its watermark (``window``), or whole where it has no stamp (``full``); the rows in
quarantine are read again. The number of live rows and the sum of their Recnos then tell whether rows have come or
gone that no stamp shows, and all Recnos are compared where they have. One transaction merges everything, with
quarantine, watermarks and ledger: a run that is broken off before its commit has changed nothing, and the next one
begins anew.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import STAMP
from hat_etl.errors import DecisionNeeded, TargetError
from hat_etl.source.erp import open_source
from hat_etl.source.reader import Range, Recnos, Snapshot, Source, ViewShape
from hat_etl.sync.drift import columns_of, stop, survey
from hat_etl.sync.moment import at_one_moment
from hat_etl.sync.plan import FULL, WINDOW, select
from hat_etl.sync.run import Problem, Progress, RunReport, Silent, close_ledger, peak_memory
from hat_etl.sync.window import keep_to
from hat_etl.target import known, ledger, staging, swap
from hat_etl.target.database import Connection, TenantDatabase, errors, target_failed
from hat_etl.target.intake import Intake
from hat_etl.target.ledger import TableOutcome, Watermark
from hat_etl.target.merge import Merged, Merger
from hat_etl.tenants.config import Tenant
from hat_etl.transform import Transformed, Transformer

AND_KEYS = " + keys"
"""Added to a strategy when all Recnos had to be compared."""
REPAIR = "repair"
"""Mode of a run, and strategy of a table, that reads some rows only, and the quarantine."""
PARENT_CHANGED = "parent changed"
"""Strategy of a table that was not read and lost or regained rows by another one."""

NEVER = datetime.min.replace(tzinfo=UTC)
_BATCHES_AHEAD = 4
_MANY_RANGES = 200
"""From so many ranges of differing Recnos on, all Recnos are compared."""
_COMMIT_QUESTIONS = 20


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

    @property
    def mode(self) -> str:
        return "sync" if self.recnos is None else REPAIR

    def command(self, tenant: str) -> str:
        """The command that asks the same of ``tenant``."""
        return f"hat-etl sync {tenant}" if self.recnos is None else f"hat-etl reconcile {tenant} --repair"


@dataclass
class _Reading:
    """What a worker found out about one view."""

    shape: ViewShape
    strategy: str
    live: known.Live | None
    """None when every row was read."""
    top: tuple[int, datetime] | None
    went_back: bool | None
    """Whether the row that was the latest has an older stamp now; None when it is gone, and nothing newer is there."""
    seconds: float


@dataclass(frozen=True)
class _Batch:
    table: str
    raw: pa.RecordBatch
    out: Transformed
    repeats: bool
    """Rows of quarantine that have not changed since the last run judged them."""


@dataclass(frozen=True)
class _Absent:
    table: str
    recnos: Recnos


def sync(tenant: Tenant, request: SyncRequest, progress: Progress | None = None) -> RunReport:
    """Bring the tenant's HAT database to the state of its ERP.

    Raises ConfigurationError, SourceError, TargetError, DataError, DecisionNeeded (nothing is loaded yet, a load is
    unfinished, the ERP's windows are closed, or the brake stops) or Busy.
    Whatever it raises, HAT is unchanged, except where the answer to the commit was lost: then the error says so.
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
        peak_mib=peak_memory(),
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
    readings: dict[str, _Reading] = field(default_factory=dict)
    horizon: datetime = NEVER
    rewound: bool = False
    """Whether the ERP has gone back in time and HAT shall follow."""

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
            self._read(snapshot, shapes, full=self.request.recnos is None and full)
            if not self.rewound and (again := self._to_read_whole(shapes)):
                self.progress.phase("reading everything")
                self._read(snapshot, again, full=True)
            self.progress.phase("comparing keys")
            for reading in self.readings.values():
                with errors(self.tenant.name, reading.shape.entity.table, "sync"):
                    self._compare(snapshot, reading)

    # -- has the ERP gone back in time? ------------------------------------------------------------------------------

    def _clock_went_back(self, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> bool:
        lookback = timedelta(minutes=self.tenant.sync.lookback_minutes)
        ahead = max(self.marks[shape.entity.table].horizon for shape in shapes)
        if snapshot.clock >= ahead - lookback:
            return False
        if not self.request.accept:
            raise self._brake(
                f"The ERP's clock shows {snapshot.clock:%Y-%m-%d %H:%M:%S} UTC, and this tenant is synchronised up to"
                f" {ahead:%Y-%m-%d %H:%M:%S} UTC."
            )
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
                raise self._brake(
                    f"The row changed last in {', '.join(back + gone)} has an older stamp than at the last run"
                    f"{' or is gone' if gone else ''}.",
                    table=", ".join(back + gone),
                )
            self.rewound = True
        return [
            shape
            for shape in shapes
            if (self.rewound or shape.entity.table in gone) and self.readings[shape.entity.table].strategy != FULL
        ]

    def _brake(self, seen: str, table: str | None = None) -> DecisionNeeded:
        return DecisionNeeded(
            f"The ERP seems to have gone back in time: {seen}",
            "See with the operator whether a backup was restored or a clock set back. If HAT shall follow:"
            f" {self.request.command(self.tenant.name)} --accept"
            f"{' (reads every row)' if self.request.recnos is None else ''}. Nothing was changed.",
            tenant=self.tenant.name,
            table=table,
        )

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
        # The widest windows first, so that no connection idles at the end.
        tasks = [
            _Reader(
                snapshot,
                shape,
                Transformer(shape.entity, run=self.run, today=self.today),
                self.marks[shape.entity.table],
                self._again(shape),
                timedelta(minutes=self.tenant.sync.lookback_minutes),
                whole=full or shape.named(STAMP) is None,
                repair=self.request.recnos is not None,
                settled=settled,
            )
            for shape in sorted(shapes, key=lambda s: -s.estimated_rows)
        ]
        ready: queue.Queue[_Batch | _Absent | _Reading | BaseException] = queue.Queue(_BATCHES_AHEAD)
        stopped = threading.Event()

        def offer(item: _Batch | _Absent | _Reading | BaseException) -> bool:
            while not stopped.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False

        def work(task: _Reader) -> None:
            try:
                if not stopped.is_set():
                    task.read(offer)
            except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
                offer(error)

        with ThreadPoolExecutor(min(self.tenant.erp.connections, len(tasks)), "view") as pool:
            for task in tasks:
                pool.submit(work, task)
            try:
                while any(shape.entity.table not in self.readings for shape in shapes):
                    self._take(ready.get())
            finally:
                stopped.set()

    def _again(self, shape: ViewShape) -> Recnos:
        """The rows to be read whatever their stamps say."""
        waiting, asked = known.waiting(self.control, shape.entity), (self.request.recnos or {}).get(shape.entity.table)
        return waiting if asked is None else np.union1d(waiting, asked)

    def _is_settled(self) -> bool:
        """Whether the last run judged all of quarantine, today: then it is as it was, unless something moves."""
        last = ledger.last_writer(self.control)
        judged = [(mode, "succeeded", self.today) for mode in ("load", "sync")]
        return last in judged and len({mark.run for mark in self.marks.values()}) == 1

    def _take(self, item: _Batch | _Absent | _Reading | BaseException) -> None:
        match item:
            case _Batch():
                with errors(self.tenant.name, item.table, "sync"):
                    self.intakes[item.table].write(item.raw, item.out, repeats=item.repeats)
                self.progress.advanced(item.table, item.raw.num_rows)
            case _Absent():
                self.intakes[item.table].absent(item.recnos)
            case _Reading():
                self.readings[item.shape.entity.table] = item
            case _:
                raise item

    def _compare(self, snapshot: Snapshot, reading: _Reading) -> None:
        """Find rows that came or went without a stamp, and take them in."""
        table, shape = reading.shape.entity.table, reading.shape
        intake, mark, schema = self.intakes[table], self.marks[table], self.database.schema
        if not intake.empty:
            intake.seal()
        if self.request.recnos is not None:
            return
        ranges: list[Range] = []
        if reading.live is None:
            intake.make()
            intake.all_from_seen()
        else:
            if mark.live_rows is not None and mark.live_recnos is not None:
                expected = known.Live(mark.live_rows, mark.live_recnos)
                if not intake.empty:
                    before = known.known_before(self.control, intake, schema)
                    expected = expected - before + known.live_now(self.control, intake)
                if expected == reading.live:
                    return
            intake.make()
            intake.make_all()
            with ThreadPoolExecutor(1, "buckets") as pool:  # both servers go through the whole table, at once
                found = pool.submit(snapshot.live_by_bucket, shape)
                expected_by_bucket = known.by_bucket(self.control, intake, schema)
                ranges = known.differing(expected_by_bucket, found.result())
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
            self._settle_lost_commit(session)
        self.progress.phase("committed")

    def _merge(self) -> None:
        control, schema = self.control, self.database.schema
        control.execute(f"SET LOCAL lock_timeout = '{self.tenant.sync.lock_wait_seconds}s'")
        control.execute("SET CONSTRAINTS ALL DEFERRED")
        self.progress.phase("merging")
        present = frozenset(swap.existing(control, schema))
        merger = Merger(control, schema, self.run, present, repaired=frozenset(self.request.recnos or ()))
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
            if not intake.empty:
                self.progress.phase(f"merged {entity.table}")
            changed[entity.table] = merged
            self.outcomes.append(
                TableOutcome(
                    entity.table,
                    PARENT_CHANGED if reading is None else reading.strategy,
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
        if not self.request.accept:
            self._check_brake(changed)
        moved = self.readings if self.request.recnos is None else {}
        marks = {table: self._next_mark(reading) for table, reading in moved.items()}
        told = "; ".join(f"{problem.table}: {problem.message}" for problem in self.problems) or None
        with control.pipeline():
            ledger.commit_sync(control, self.run, marks, self.outcomes, self.state, told)
            for table, reading in self.readings.items():
                ledger.note_shape(control, self.run, table, columns_of(reading.shape))
            ledger.forget_changes(control, self.tenant.sync.undo_days)

    def _next_mark(self, reading: _Reading) -> Watermark:
        table = reading.shape.entity.table
        before, live = self.marks[table], reading.live
        if live is None:
            live = known.live_now(self.control, self.intakes[table])
        top = reading.top
        if reading.live is not None and before.top is not None and (top is None or top[1] < before.top[1]):
            top = before.top  # the window was empty
        horizon = self.horizon if self.rewound else max(self.horizon, before.horizon)
        return Watermark(horizon, live.rows, live.recnos, top)

    def _check_brake(self, changed: dict[str, Merged]) -> None:
        settings, too_much = self.tenant.sync, []
        for table, merged in changed.items():
            rows = self.marks[table].live_rows if table in self.marks else None
            touched = merged.updated + merged.left
            if rows is not None and touched > max(settings.brake_rows, settings.brake_share * rows):
                too_much.append(f"{table}: {merged.updated:,} of {rows:,} rows change and {merged.left:,} leave HAT")
        if too_much:
            raise DecisionNeeded(
                f"This run would change an unusual part of HAT: {'; '.join(too_much)}.",
                "See with the operator whether that is right (a mass update, a purge, a wrong view?). If it is:"
                f" {self.request.command(self.tenant.name)} --accept. Nothing was changed.",
                tenant=self.tenant.name,
                table=", ".join(text.partition(":")[0] for text in too_much),
            )

    def _settle_lost_commit(self, session: int) -> None:
        """The connection broke while it committed: the ledger, written by the same transaction, tells the outcome."""
        for _ in range(_COMMIT_QUESTIONS):
            committed = self._ask_ledger(session)
            if committed:
                return
            if committed is False:
                raise target_failed(self.tenant.name, None, psycopg.OperationalError(), "sync")
            threading.Event().wait(0.5)
        raise TargetError(
            "The connection was lost while the run committed, and the tenant database does not answer: whether the"
            " changes are in HAT is not known yet.",
            f"When it is up again, hat-etl status {self.tenant.name} tells; a new hat-etl sync {self.tenant.name} is"
            " right in either case.",
            tenant=self.tenant.name,
        ) from None

    def _ask_ledger(self, session: int) -> bool | None:
        """Whether the transaction of that session is committed; None while nobody can tell."""
        try:
            with self.database.connect() as asking, errors(self.tenant.name, command="sync"):
                if not self.database.end_session(asking, session):
                    return None
                if ledger.state_of(asking, self.run) == self.state:
                    return True
                ledger.fail(asking, self.run, "failed", "the connection was lost and the commit did not happen")
                return False
        except TargetError:
            return None


@dataclass
class _Reader:
    """Reads one view in a thread of its own."""

    snapshot: Snapshot
    shape: ViewShape
    transform: Transformer
    mark: Watermark
    waiting: Recnos
    lookback: timedelta
    whole: bool
    repair: bool
    settled: bool
    recnos: list[Recnos] = field(default_factory=list)
    top: tuple[int, datetime] | None = None

    def read(self, offer: Callable[[Any], bool]) -> None:
        began, snapshot, shape = time.monotonic(), self.snapshot, self.shape
        if self.repair:
            if self._read_again(offer):
                offer(_Reading(shape, REPAIR, None, None, went_back=False, seconds=time.monotonic() - began))
            return
        if self.whole:
            bounds = snapshot.bounds(shape)
            batches = iter(()) if bounds is None else snapshot.stream(shape, bounds)
        else:
            batches = snapshot.changed(shape, self.mark.horizon - self.lookback)
        for raw in batches:
            self._note(raw)
            if not offer(_Batch(shape.entity.table, raw, self.transform(raw), repeats=False)):
                return
        live = None
        if not self.whole:
            if not self._read_again(offer):
                return
            live = known.Live(*snapshot.live(shape))
        strategy = FULL if self.whole else WINDOW
        offer(_Reading(shape, strategy, live, self.top, self._went_back(), time.monotonic() - began))

    def _read_again(self, offer: Callable[[Any], bool]) -> bool:
        """Rows of quarantine that the window did not bring."""
        seen = np.concatenate(self.recnos) if self.recnos else np.array([], dtype=np.int64)
        again = np.setdiff1d(self.waiting, seen)
        if not again.size:
            return True
        found = []
        for raw in self.snapshot.rows(self.shape, again):
            found.append(raw.column("source_recno").to_numpy(zero_copy_only=False))
            if not offer(_Batch(self.shape.entity.table, raw, self.transform(raw), repeats=self.settled)):
                return False
        absent = np.setdiff1d(again, np.concatenate(found)) if found else again
        return offer(_Absent(self.shape.entity.table, absent)) if absent.size else True

    def _note(self, raw: pa.RecordBatch) -> None:
        """Remember what was read, and the live row with the latest stamp that is not in the future.

        Deleted rows are purged now and then.
        """
        self.recnos.append(raw.column("source_recno").to_numpy(zero_copy_only=False))
        stamps = raw.column("source_stamp").cast(pa.timestamp("us"), safe=False)
        past = pc.less_equal(stamps, pa.scalar(_naive(self.snapshot.clock), stamps.type))
        usual = pc.if_else(pc.and_(past, pc.not_equal(raw.column("deleted"), 1)), stamps, None)
        latest = pc.max(usual).as_py()
        if latest is not None:
            stamp = latest.replace(tzinfo=UTC)
            if self.top is None or stamp > self.top[1]:
                place = pc.index(usual, pa.scalar(latest, stamps.type)).as_py()
                self.top = (int(raw.column("source_recno")[place].as_py()), stamp)

    def _went_back(self) -> bool | None:
        """Whether the row that was the latest now has an older stamp: then a backup was restored. None: it is gone."""
        before = self.mark.top
        if len(self.shape.entity.reads) > 1:
            return False  # the stamp of a joined row goes when that row is deleted
        if before is None or (self.top is not None and self.top[1] >= before[1]):
            return False
        for raw in self.snapshot.rows(self.shape, np.array([before[0]], dtype=np.int64)):
            stamps = raw.column("source_stamp").cast(pa.timestamp("us"), safe=False).drop_null()
            return bool(len(stamps)) and stamps[0].as_py().replace(tzinfo=UTC) < before[1]
        return None


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
