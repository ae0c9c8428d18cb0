"""The initial load: one snapshot of the ERP into new tables, made coherent, then swapped in all at once.

Phases: ranges are staged in parallel, each committed with its checkpoint; indexes are built; one transaction judges
duplicates and references; one transaction swaps, and writes ledger, watermarks and quarantine. A load that was
broken off before the swap has changed nothing in HAT and can be resumed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from zoneinfo import ZoneInfo

from hat_etl import memory
from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.errors import ConfigurationError, DecisionNeeded
from hat_etl.parallel import in_parallel
from hat_etl.source.erp import open_source
from hat_etl.source.reader import WORD, Range, Snapshot, Source, ViewShape
from hat_etl.sync.drift import to_be_known
from hat_etl.sync.lost_commit import settled_by_ledger
from hat_etl.sync.moment import at_one_moment
from hat_etl.sync.plan import INITIAL, describe, select
from hat_etl.sync.prefetch import prefetch
from hat_etl.sync.ranges import unstaged
from hat_etl.sync.request import LoadRequest
from hat_etl.sync.run import Progress, RunReport, Silent, close_ledger
from hat_etl.sync.unfinished import take_up
from hat_etl.sync.view_texts import made_anew, made_anew_since, refusal
from hat_etl.sync.window import keep_to
from hat_etl.target import condition, indexing, integrity, ledger, staging, swap
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.ledger import CommittedLoad, TableOutcome, Watermark
from hat_etl.target.staging import Checkpoint, RangeWriter, Stage
from hat_etl.tenants.config import Tenant
from hat_etl.transform import Transformer

_MEMORY = ("SET LOCAL maintenance_work_mem = '256MB'", "SET LOCAL work_mem = '64MB'")


def load(tenant: Tenant, request: LoadRequest, progress: Progress | None = None) -> RunReport:
    """Load the tenant's HAT database from its ERP.

    Raises ConfigurationError, SourceError, TargetError, DataError, DecisionNeeded (an unfinished load is there and
    neither resume nor restart was asked; a view has shrunk; the ERP's windows are closed) or Busy.
    Whatever it raises, HAT's tables are unchanged, except where the answer to the commit was lost: then the error says
    so.
    """
    started = time.monotonic()
    if request.resume and request.restart:
        raise ConfigurationError("A load cannot be resumed and restarted at once.", "Give one of the two.")
    select(request.only, tenant.name)  # refuse unknown names before anything is touched
    progress, again = progress or Silent(), request.command(tenant.name, resume=True)
    if not request.outside_windows:
        progress = keep_to(tenant, progress, request.command(tenant.name, resume=request.resume), again)
    source, database = open_source(tenant, again), TenantDatabase(tenant)
    with database.claim(again) as control:
        stage = take_up(control, tenant, request)
        if stage is None and request.resume and (done := ledger.committed_load(control)) is not None:
            return _told_again(tenant, done, started)
        if stage is None:
            ledger.abandon_unfinished(control)
            today = datetime.now(ZoneInfo(tenant.erp.timezone)).date()
            run = ledger.start(control, "load", today)
            entities = select(request.only)
        else:
            run, today, entities = stage.run, stage.reference_day, stage.entities
            ledger.resume(control, run)
        try:
            with closing(source):
                work = _Load(tenant, source, database, control, run, today, entities, again, progress)
                outcomes, rewritten = work.carry_out(stage, accept_shrink=request.accept_shrink)
        except BaseException as error:
            close_ledger(control, run, error)
            raise
    return RunReport(
        tenant=tenant.name,
        run=run,
        mode="load",
        state="succeeded",
        seconds=time.monotonic() - started,
        peak_mib=memory.peak_mib(),
        tables=tuple(outcomes),
        rewritten=tuple(rewritten),
        horizon=work.horizon,
    )


def _told_again(tenant: Tenant, done: CommittedLoad, started: float) -> RunReport:
    """The report of the last load, for somebody who asks to go on with it and need not."""
    return RunReport(
        tenant=tenant.name,
        run=done.run,
        mode="load",
        state="succeeded",
        seconds=time.monotonic() - started,
        peak_mib=memory.peak_mib(),
        tables=done.tables,
        remarks=(f"Nothing was left to be done: load {done.run} has succeeded, and none is unfinished.",),
        horizon=done.horizon,
    )


@dataclass
class _Timing:
    """Wall-clock seconds in which a table had work going on."""

    first: float | None = None
    last: float = 0.0
    settling: float = 0.0

    def touch(self) -> None:
        now = time.monotonic()
        self.first, self.last = now if self.first is None else self.first, now

    @property
    def seconds(self) -> float:
        return (self.last - self.first if self.first is not None else 0.0) + self.settling


@dataclass
class _Load:
    tenant: Tenant
    source: Source
    database: TenantDatabase
    control: Connection
    run: int
    today: date
    entities: Sequence[Entity]
    again: str
    """The command that goes on with it."""
    progress: Progress
    horizon: datetime | None = None
    done: list[Checkpoint] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    timings: dict[str, _Timing] = field(default_factory=dict)
    begun: bool = False
    """Whether an earlier moment was read, and part of it may be staged."""
    suspects: set[str] = field(default_factory=set)
    """Tables outside the load that are known to have rows which lose their parents by it."""

    def carry_out(self, stage: Stage | None, *, accept_shrink: bool) -> tuple[list[TableOutcome], list[str]]:
        self.timings = {entity.table: _Timing() for entity in self.entities}
        condition.refuse_retyped(self.control, self.database.schema, BY_TABLE, self.again)
        self.progress.phase("looking at the views")
        shapes = describe(self.source, self.tenant, self.entities)
        for shape in shapes:
            self.progress.planned(shape.entity.table, shape.estimated_rows)
        stage, horizon = at_one_moment(
            self.source,
            self.progress,
            lambda moment: self._read(moment, stage, shapes),
            expected_rows=sum(shape.estimated_rows for shape in shapes),
        )
        if changed := made_anew_since(self.source, shapes):
            self._forget(changed, stage)
            raise refusal(changed, self.tenant.name, self.again)
        with errors(self.tenant.name, again=self.again):
            self._check_shrink(accept=accept_shrink)
            outcomes = self._settle(stage)
            return outcomes, self._swap(horizon, shapes, outcomes)

    def _read(
        self, snapshot: Snapshot, stage: Stage | None, shapes: Sequence[ViewShape]
    ) -> tuple[Stage | None, datetime]:
        """Stage what is not staged yet; gives the stage that is complete already, if any, and the horizon."""
        self.stop.clear()
        horizon = self.horizon = snapshot.horizon
        ledger.fix_horizon(self.control, self.run, horizon)
        with errors(self.tenant.name, again=self.again):
            if self.begun:
                stage = staging.find(self.control)
            stage = self._reconcile_stage(stage, snapshot, shapes)
            if stage is None:
                staging.create(self.control, self.run, self.entities)
        self.begun = True
        self.progress.phase("reading")
        self._stage_ranges(snapshot, shapes)
        return stage, horizon

    # -- staging -----------------------------------------------------------------------------------------------------

    def _reconcile_stage(self, stage: Stage | None, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> Stage | None:
        """Keep of an unfinished load what still shows the snapshot's moment; None when nothing can be kept."""
        self.done.clear()
        if stage is None:
            return None
        self.progress.phase("checking what is staged")
        by_table, stale = {shape.entity.table: shape for shape in shapes}, False
        for checkpoint in list(staging.checkpoints(self.control, self.run)):
            shape = by_table[checkpoint.table]
            if not made_anew(shape, checkpoint.definition) and checkpoint.counts.fingerprint.proves_unchanged(
                snapshot.fingerprint(shape, checkpoint.range)
            ):
                self.done.append(checkpoint)
            elif stage.complete:
                stale = True  # all of its rows may have been purged, which leaves no gap
            else:
                staging.forget(self.control, self.run, checkpoint)
        if stage.complete and (stale or self._gaps(snapshot, shapes)):
            # Duplicates and orphans are already judged on rows that have changed since: begin anew.
            self.done.clear()
            staging.drop(self.control)
            return None
        return stage

    def _forget(self, changed: Sequence[ViewShape], stage: Stage | None) -> None:
        """Take out what was read of these views: it may be of the new text, and is said to be of the one before."""
        if stage is not None and stage.complete:
            return  # nothing was read
        tables = {shape.entity.table for shape in changed}
        with errors(self.tenant.name, again=self.again):
            for checkpoint in self.done:
                if checkpoint.table in tables:
                    staging.forget(self.control, self.run, checkpoint)

    def _gaps(self, snapshot: Snapshot, shapes: Iterable[ViewShape]) -> list[tuple[ViewShape, Range]]:
        """Ranges that are not staged yet, the largest tables first so that no connection idles at the end."""
        gaps = []
        for shape in shapes:
            staged = [checkpoint.range for checkpoint in self.done if checkpoint.table == shape.entity.table]
            unread = unstaged(shape, snapshot.bounds(shape), staged, self.tenant.erp.connections)
            gaps += [(shape, part) for part in unread]
        return sorted(gaps, key=lambda task: -task[0].estimated_rows)

    def _stage_ranges(self, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> None:
        for checkpoint in self.done:
            self.progress.advanced(checkpoint.table, checkpoint.counts.read)
        tasks = self._gaps(snapshot, shapes)
        if tasks:
            # A load that was broken off later has left them; rows that double a key must be staged all the same.
            indexing.drop(self.control)
        workers, holder = min(self.tenant.erp.connections, len(tasks)), self.control.info.backend_pid
        idle = [self.database.connect() for _ in range(workers)]
        try:
            stagings = [partial(self._stage_range, snapshot, shape, part, idle, holder) for shape, part in tasks]
            in_parallel(stagings, workers, self.stop.set, "range")
        finally:
            for connection in idle:
                connection.close()

    def _stage_range(
        self, snapshot: Snapshot, shape: ViewShape, range_: Range, idle: list[Connection], holder: int
    ) -> None:
        """Stage one range on an ``idle`` connection; ``holder`` is the server process that has the tenant's lock."""
        entity, started = shape.entity, time.monotonic()
        if self.stop.is_set():
            return
        transform = Transformer(entity, run=self.run, today=self.today)
        connection = idle.pop()
        self.timings[entity.table].touch()
        try:
            with errors(self.tenant.name, entity.table, again=self.again), connection.transaction():
                writer = RangeWriter(connection, entity)
                try:
                    with closing(prefetch(lambda: snapshot.stream(shape, range_))) as batches:
                        for raw in batches:
                            if self.stop.is_set():
                                raise _Stopped
                            writer.write(raw, transform(raw))
                            self.progress.advanced(entity.table, raw.num_rows)
                    checkpoint = writer.close(self.run, range_, time.monotonic() - started, shape.definition)
                    self.database.assert_claimed(connection, holder, self.again)
                except BaseException:
                    writer.abandon()
                    raise
        except _Stopped:
            return
        finally:
            self.timings[entity.table].touch()
            idle.append(connection)
        self.done.append(checkpoint)

    # -- judging -----------------------------------------------------------------------------------------------------

    def _counts(self, table: str) -> tuple[int, int, int, int]:
        counts = [checkpoint.counts for checkpoint in self.done if checkpoint.table == table]
        return (
            sum(c.read for c in counts),
            sum(c.good for c in counts),
            sum(c.rejected for c in counts),
            sum(c.deleted for c in counts),
        )

    def _watermarks(self, horizon: datetime) -> dict[str, Watermark]:
        marks = {}
        for entity in self.entities:
            counts = [checkpoint.counts for checkpoint in self.done if checkpoint.table == entity.table]
            live = sum(c.read - c.deleted for c in counts)
            marks[entity.table] = Watermark(horizon, live, sum(c.live_recnos for c in counts) % WORD)
        return marks

    def _check_shrink(self, *, accept: bool) -> None:
        before = ledger.rows_before(self.control)
        shrunk = []
        for entity in self.entities:
            read, _, _, deleted = self._counts(entity.table)
            if 2 * (read - deleted) < before.get(entity.table, 0):
                shrunk.append(
                    f"{entity.table} ({entity.view}): {before[entity.table]} rows before, {read - deleted} now"
                )
        if shrunk and not accept:
            raise DecisionNeeded(
                f"Views show less than half of the rows that they had at the last load or sync: {'; '.join(shrunk)}.",
                "See with the operator whether that is right (wrong company, a view that filters, a restored backup?)."
                f" If it is: hat-etl load {self.tenant.name} --resume --accept-shrink",
                tenant=self.tenant.name,
                table=", ".join(text.partition(" ")[0] for text in shrunk),
            )

    def _settle(self, stage: Stage | None) -> list[TableOutcome]:
        """Index what is staged; judge duplicates and references in one transaction. Gives each table's outcome."""
        self.progress.phase("keys and references")
        schema = self.database.schema
        if stage is not None and stage.complete:
            return staging.outcomes(self.control)
        # The largest first, so that no connection idles at the end.
        doubled = indexing.build(
            self.database, sorted(self.entities, key=lambda e: -self._counts(e.table)[1]), self.again
        )
        outcomes = []
        with self.control.transaction():
            for setting in (*_MEMORY, integrity.IN_ONE_PASS):
                self.control.execute(setting)
            places = integrity.Places(
                schema,
                staged=frozenset(entity.table for entity in self.entities),
                live=frozenset(swap.existing(self.control, schema)),
            )
            looked_up = integrity.looked_up(places.staged)
            for entity in ENTITIES:
                if entity.table in looked_up:
                    places = integrity.without_orphans(self.control, entity, places)
                if entity.table not in places.staged:
                    continue
                began = time.monotonic()
                settled = integrity.settle(self.control, entity, self.run, places, doubled=entity.table in doubled)
                self.timings[entity.table].settling = time.monotonic() - began
                read, good, rejected, deleted = self._counts(entity.table)
                outcomes.append(
                    TableOutcome(
                        entity.table,
                        INITIAL,
                        read=read,
                        loaded=good - settled.duplicates - settled.held,
                        deleted=deleted,
                        rejected=rejected + settled.duplicates,
                        held=settled.held,
                        kept=settled.kept,
                        seconds=self.timings[entity.table].seconds,
                    )
                )
            self.suspects = set(places.shown)
            staging.count_warnings(self.control, outcomes)
            staging.complete(self.control, outcomes)
        return outcomes

    def _swap(self, horizon: datetime, shapes: Sequence[ViewShape], outcomes: list[TableOutcome]) -> list[str]:
        self.progress.phase("swapping")
        schema, loaded = self.database.schema, {entity.table for entity in self.entities}
        swap.wait_for_old_snapshots(self.control, self.tenant.name)
        with settled_by_ledger(self.database, self.control, self.run, self.again):
            for setting in _MEMORY:
                self.control.execute(setting)
            live = swap.existing(self.control, schema)
            swap.lock(self.control, schema, sorted(live), self.tenant.name)
            ledger.commit_load(self.control, self.run, self._watermarks(horizon), outcomes)
            for shape in shapes:
                ledger.note_view(self.control, self.run, shape.entity.table, to_be_known(shape, whole=True))
            rewritten = swap.replace(
                self.control, self.entities, schema, live, partial(errors, self.tenant.name, again=self.again)
            )
            held = swap.reconnect(self.control, loaded, schema, self.run, self.suspects)
            swap.warn_anew(self.control, loaded, set(held), schema, self.run)
            staging.drop(self.control)
            also = [TableOutcome(table, ledger.PARENT_RELOADED, held=rows) for table, rows in held.items()]
            ledger.record_tables(self.control, self.run, also)
        outcomes += also
        return rewritten


class _Stopped(Exception):
    """Another range has failed: this one gives up."""
