"""The reconciliation: every row of the ERP at one moment against every row of HAT.

The views are read whole and transformed as a load does it; HAT's server gives a hash per row. Rows whose hashes differ,
and rows that only one side has, are suspicious: they alone are read again, from a later moment of the ERP and with
their contents from HAT, and set against each other key by key and column by column. What the ERP has changed since the
last sync is in flight and no mismatch. A repair reads the mismatches' rows through the sync's own merge.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from hat_etl import memory
from hat_etl.entities.model import Entity
from hat_etl.errors import DecisionNeeded, HatEtlError
from hat_etl.parallel import in_parallel
from hat_etl.source.erp import open_source
from hat_etl.source.reader import Range, Recnos, Snapshot, Source, ViewShape
from hat_etl.sync.compared_table import ComparedTable
from hat_etl.sync.differences import NOT_GOOD, ErpRows, compare
from hat_etl.sync.drift import stop, survey
from hat_etl.sync.hat_side import HatSide
from hat_etl.sync.incremental import sync, watermarks
from hat_etl.sync.moment import at_one_moment
from hat_etl.sync.plan import select
from hat_etl.sync.prefetch import prefetch
from hat_etl.sync.ranges import span_of
from hat_etl.sync.request import SyncRequest
from hat_etl.sync.run import Problem, Progress, RunReport, Silent, close_ledger
from hat_etl.sync.window import keep_to
from hat_etl.target import ledger, reconciliations
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.ledger import Watermark
from hat_etl.target.reconciliations import Comparison
from hat_etl.target.rowhash import Hashes, row_hashes
from hat_etl.target.rows import HatConnections
from hat_etl.tenants.config import Tenant
from hat_etl.transform import Transformed

MODE = "reconcile"

CHUNK = 20_000
"""Suspicious rows that are looked at together."""
CHUNKS = 2
"""Of these, at most so many are in memory at once."""


@dataclass(frozen=True)
class ReconcileRequest:
    """What a person asks of a reconciliation. ``tables``: HAT table names, empty for all that were loaded."""

    tables: tuple[str, ...] = ()
    repair: bool = False
    """Read the rows that are missing, extra or differ again, and merge them."""
    accept: bool = False
    """Repair where the brake would stop."""
    outside_windows: bool = False
    """Read the ERP whatever the hour."""

    def command(self, tenant: str) -> str:
        """The command that asks the same of ``tenant``."""
        options = [f"--table {table}" for table in self.tables]
        options += ["--repair"] * self.repair + ["--accept"] * self.accept
        options += ["--outside-windows"] * self.outside_windows
        return " ".join(["hat-etl reconcile", tenant, *options])


@dataclass(frozen=True)
class ReconcileReport:
    """What a reconciliation found: the object that ``--json`` prints."""

    tenant: str
    run: int
    state: str
    seconds: float
    peak_mib: float
    tables: tuple[Comparison, ...]
    problems: tuple[Problem, ...] = ()
    """Tables that were left out, and why."""
    remarks: tuple[str, ...] = ()
    repair: RunReport | None = None
    after: tuple[Comparison, ...] = ()
    """The tables concerned, compared again after the repair."""

    @property
    def is_clean(self) -> bool:
        """Whether HAT now shows what the ERP shows, as far as could be compared."""
        return not self.problems and not any(table.mismatches for table in (self.after or self.tables))

    def as_dict(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "run": self.run,
            "mode": MODE,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "peak_mib": round(self.peak_mib, 1),
            "tables": [table.as_dict() for table in self.tables],
            "problems": [problem.as_dict() for problem in self.problems],
            "remarks": list(self.remarks),
            "repair": None if self.repair is None else self.repair.as_dict(),
            "after": [table.as_dict() for table in self.after],
        }


def reconcile(tenant: Tenant, request: ReconcileRequest, progress: Progress | None = None) -> ReconcileReport:
    """Compare the tenant's ERP with its HAT database and, if asked, repair what differs.

    Raises ConfigurationError, SourceError, TargetError, DataError, DecisionNeeded (nothing or a table that is named is
    not loaded yet, a load is unfinished, the ERP's windows are closed, or the brake stops the repair) or Busy.
    Mismatches raise nothing: the report tells them.
    """
    started, progress, again = time.monotonic(), progress or Silent(), request.command(tenant.name)
    if not request.outside_windows:
        progress = keep_to(tenant, progress, again)
    work = _compare(tenant, request.tables, again, progress)
    repaired, after = None, tuple[Comparison, ...]()
    if request.repair and work.wrong:
        try:
            # Its windows are watched already.
            asked = SyncRequest(accept=request.accept, recnos=work.wrong, outside_windows=True, repair=again)
            repaired = sync(tenant, asked, progress)
        except DecisionNeeded as error:
            error.cause += f" Reconciliation {work.run} has found {_told(work.comparisons)}."
            raise
        concerned = set(work.wrong).union(t.table for t in repaired.tables if t.loaded or t.updated or t.deleted)
        try:
            after = tuple(_compare(tenant, tuple(concerned), again, progress, work.problems).comparisons)
        except HatEtlError as error:  # the repair is in HAT, and must be told
            work.remarks.append(f"The repair is done, and could not be compared: {error.cause} Next step: {again}")
    return ReconcileReport(
        tenant=tenant.name,
        run=work.run,
        state=work.state,
        seconds=time.monotonic() - started,
        peak_mib=memory.peak_mib(),
        tables=tuple(work.comparisons),
        problems=tuple(work.problems),
        remarks=tuple(work.remarks),
        repair=repaired,
        after=after,
    )


def _compare(
    tenant: Tenant, tables: Sequence[str], again: str, progress: Progress, left_out: Sequence[Problem] = ()
) -> _Reconciliation:
    """Compare the tables named, or all that are loaded; ``again`` is the command that errors tell to go on with.

    ``left_out``: what an earlier comparison, which this one follows, could not compare.
    """
    entities = select(tables, tenant.name)
    source, database = open_source(tenant, again), TenantDatabase(tenant)
    with closing(source), database.claim(again) as control:
        marks = watermarks(control, tenant, tables, again)
        ledger.abandon_unfinished(control, decided=False)
        today = datetime.now(ZoneInfo(tenant.erp.timezone)).date()
        run = ledger.start(control, MODE, today)
        work = _Reconciliation(tenant, source, database, control, run, today, marks, again, progress)
        try:
            work.carry_out([entity for entity in entities if entity.table in marks], left_out)
        except BaseException as error:
            close_ledger(control, run, error)
            raise
    return work


def _told(comparisons: Iterable[Comparison]) -> str:
    """The mismatches in a few words."""
    return "; ".join(
        f"{c.table}: {c.missing:,} missing, {c.extra:,} extra, {c.differing:,} differing"
        for c in comparisons
        if c.mismatches
    )


@dataclass
class _Reconciliation:
    tenant: Tenant
    source: Source
    database: TenantDatabase
    control: Connection
    run: int
    today: date
    marks: dict[str, Watermark]
    again: str
    progress: Progress
    comparisons: list[Comparison] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    wrong: dict[str, Recnos] = field(default_factory=dict)
    """Table to the Recnos that mend its mismatches."""
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def state(self) -> str:
        if self.problems:
            return "partial"
        return "differs" if self.wrong else "succeeded"

    def carry_out(self, entities: Sequence[Entity], left_out: Sequence[Problem]) -> None:
        self.progress.phase("looking at the views")
        known, sync = ledger.known_views(self.control), f"hat-etl sync {self.tenant.name}"
        found = survey(self.source, self.tenant, entities, known, accept=False, sync=sync)
        self.problems, self.remarks = [*left_out, *found.problems], found.remarks
        if found.problems and not found.shapes:
            raise stop(self.tenant.name, found.problems)
        workers = self.tenant.erp.connections
        with closing(HatConnections(self.database, MODE)) as hat:
            tables = at_one_moment(
                self.source, self.progress, lambda moment: self._compare_all(moment, found.shapes, hat, workers)
            )
            if any(recnos.size for table in tables for recnos in table.suspects):
                self.progress.phase("looking again at what differs")
                at_one_moment(self.source, self.progress, lambda moment: self._look_again(moment, tables, hat, workers))
        self.comparisons = [table.outcome() for table in tables]
        self.wrong = {table.entity.table: np.unique(np.concatenate(table.wrong)) for table in tables if table.wrong}
        self._remark_on_stamps(tables)
        with errors(self.tenant.name, again=self.again), self.control.transaction():
            told = "; ".join([*(f"{p.table}: {p.message}" for p in self.problems), _told(self.comparisons)])
            reconciliations.record(self.control, self.run, self.comparisons, self.state, told.strip("; ") or None)

    def _prepare(self, snapshot: Snapshot, shapes: Sequence[ViewShape], hat: HatConnections) -> list[ComparedTable]:
        tables = []
        with hat.lent() as rows:
            for shape in shapes:
                entity = shape.entity
                self.progress.planned(entity.table, shape.estimated_rows)
                tables.append(
                    ComparedTable(
                        shape,
                        self.marks[entity.table].horizon,
                        self.today,
                        rows.exceptions(entity),
                        rows.quarantine(entity),
                        snapshot.bounds(shape),
                    )
                )
        return tables

    # -- the first reading: everything -------------------------------------------------------------------------------

    def _compare_all(
        self, snapshot: Snapshot, shapes: Sequence[ViewShape], hat: HatConnections, workers: int
    ) -> list[ComparedTable]:
        self.stopped.clear()
        ledger.fix_horizon(self.control, self.run, snapshot.horizon)
        tables = self._prepare(snapshot, shapes, hat)
        self.progress.phase("comparing")
        # The largest first, so that no connection idles at the end.
        ordered = sorted(tables, key=lambda table: -table.shape.estimated_rows)

        def task(table: ComparedTable, range_: Range | None) -> Callable[[], None]:
            return lambda: self._compare_range(snapshot, table, range_, hat)

        parts = [task(table, part) for table in ordered for part in table.ranges(workers)]
        in_parallel(parts, workers, self.stopped.set, MODE)
        return tables

    def _compare_range(
        self, snapshot: Snapshot, table: ComparedTable, range_: Range | None, hat: HatConnections
    ) -> None:
        if self.stopped.is_set():
            return
        began, span, transform = time.monotonic(), span_of(range_, table.bounds), table.transformer()

        def read() -> Iterator[pa.RecordBatch]:
            return iter(()) if range_ is None else snapshot.stream(table.shape, range_)

        with closing(prefetch(read)) as batches:
            # The ERP's server begins its work while HAT's answers.
            with hat.lent() as rows:
                side = HatSide.with_exceptions(rows.hashes(table.entity, span), table.exceptions, span)
            for raw in batches:
                if self.stopped.is_set():
                    return
                self._compare_batch(table, raw, transform(raw), side)
                self.progress.advanced(table.entity.table, raw.num_rows)
        unseen, states = side.unseen()
        with table.lock:
            table.hat += side.recnos.size
            table.in_hat += np.bincount(table.bucket(side.recnos), minlength=table.in_hat.size)
            table.suspects.append(unseen)
            table.states.append(states)
            table.worked(began)

    @staticmethod
    def _compare_batch(table: ComparedTable, raw: pa.RecordBatch, out: Transformed, side: HatSide) -> None:
        recnos = out.good.column("source_recno").to_numpy(zero_copy_only=False)
        hashes = row_hashes(out.good.columns[: len(table.entity.columns)])
        there, equal = side.look_up(recnos, hashes)
        rejected = out.rejected.column("source_recno").to_numpy(zero_copy_only=False)
        known = table.quarantine.has(rejected)
        aside = table.quarantine.sets_aside(recnos) & ~there
        wrong = ~equal & ~aside
        with table.lock:
            table.live += recnos.size + rejected.size
            table.unstamped += raw.column("source_stamp").null_count
            table.in_erp += np.bincount(table.bucket(np.concatenate([recnos, rejected])), minlength=table.in_erp.size)
            table.equal += int(np.count_nonzero(equal))
            table.quarantined += int(np.count_nonzero(aside)) + int(np.count_nonzero(known))
            table.suspects += [recnos[wrong], rejected[~known]]
            table.states += [hashes[wrong], np.full(rejected.size - int(np.count_nonzero(known)), NOT_GOOD)]

    # -- the second reading: what was suspicious ---------------------------------------------------------------------

    def _look_again(
        self, snapshot: Snapshot, tables: Sequence[ComparedTable], hat: HatConnections, workers: int
    ) -> None:
        self.stopped.clear()
        chunks = []
        for table in tables:
            table.look_anew()
            recnos, states = table.suspicious()
            chunks += [
                (table, recnos[start : start + CHUNK], states[start : start + CHUNK])
                for start in range(0, recnos.size, CHUNK)
            ]
        lookback = timedelta(minutes=self.tenant.sync.lookback_minutes)

        def task(table: ComparedTable, recnos: Recnos, states: Hashes) -> Callable[[], None]:
            def look() -> None:
                if self.stopped.is_set():
                    return
                began = time.monotonic()
                erp = self._erp_rows(snapshot, table, recnos, snapshot.clock + lookback)
                with hat.lent() as rows:
                    found = compare(erp, rows.rows(table.entity, recnos), table.quarantine, recnos, states)
                with table.lock:
                    table.note(found)
                    table.worked(began)

            return look

        in_parallel([task(*chunk) for chunk in chunks], min(workers, CHUNKS), self.stopped.set, MODE)

    @staticmethod
    def _erp_rows(snapshot: Snapshot, table: ComparedTable, recnos: Recnos, now: datetime) -> ErpRows:
        found, transform = ErpRows(table.entity), table.transformer()
        span = Range(int(recnos[0]), int(recnos[-1]))
        dense = span.high - span.low < 4 * recnos.size
        for raw in snapshot.stream(table.shape, span) if dense else snapshot.rows(table.shape, recnos):
            if dense:
                raw = raw.filter(pa.array(np.isin(raw.column("source_recno").to_numpy(zero_copy_only=False), recnos)))
            found.add(raw, transform(raw), table.horizon, now)
        return found

    def _remark_on_stamps(self, tables: Sequence[ComparedTable]) -> None:
        doubtful = [
            f"{table.entity.table} ({table.unstamped:,} rows)"
            for table in tables
            if table.unstamped and table.entity.table in self.wrong
        ]
        if doubtful:
            self.remarks.append(
                f"Rows without a Carimbo in {', '.join(doubtful)}: what the ERP has changed in them since the last"
                " sync counts as a mismatch. A sync brings it, too."
            )
