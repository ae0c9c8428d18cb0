"""What a sync brings from the ERP at one moment: rows that have changed, and Recnos that have come or gone.

Rows go into intakes, tables of the run's own; HAT is only looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from hat_etl.entities.model import STAMP
from hat_etl.errors import DecisionNeeded
from hat_etl.parallel import result_of
from hat_etl.source.reader import Buckets, Recnos, Snapshot, ViewShape, recnos_of
from hat_etl.sync.brake import clock_behind, gone_back, latest_rows_older
from hat_etl.sync.by_api import ByApi
from hat_etl.sync.plan import FULL, WINDOW
from hat_etl.sync.request import SyncRequest
from hat_etl.sync.run import Progress
from hat_etl.sync.view_reader import REPAIR, Absent, Batch, Item, Reading, ViewReader, read_side_by_side, row_now
from hat_etl.target import known, ledger
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.intake import Intake
from hat_etl.target.ledger import Watermark
from hat_etl.target.rows import HatConnections
from hat_etl.tenants.config import Tenant
from hat_etl.transform import Transformer
from hat_etl.transform.findings import key_texts

AND_KEYS = " + keys"
"""Added to a strategy when all Recnos had to be compared."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_MANY_RANGES = 200
"""From so many ranges of differing Recnos on, all Recnos are compared."""


@dataclass
class Inflow:
    """Reads the views of one run: ``bring`` fills ``intakes``, ``readings`` and what is below them."""

    tenant: Tenant
    request: SyncRequest
    database: TenantDatabase
    control: Connection
    run: int
    today: date
    marks: dict[str, Watermark]
    progress: Progress
    api: ByApi | None = None
    """HAT's API, where it is what takes the changes."""
    intakes: dict[str, Intake] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    horizon: datetime = _NEVER
    rewound: bool = False
    """Whether the ERP has gone back in time and HAT shall follow."""
    made_anew: set[str] = field(default_factory=set)
    """Tables to be read whole, for their views have another text than before."""
    renumbered: list[ViewShape] = field(default_factory=list)
    """Views that were read whole, for rows that no stamp told of have other Recnos than before."""
    backdated: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Tables to which rows have come with stamps of before their windows: how many, and the latest such stamp."""

    def bring(self, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> None:
        """Bring what changed up to the snapshot's moment; what an earlier one brought is forgotten."""
        with errors(self.tenant.name, again=self.request.command(self.tenant.name)):
            self.horizon = snapshot.horizon
            self.backdated.clear()
            ledger.fix_horizon(self.control, self.run, snapshot.horizon)
            self._look_up_latest(snapshot, shapes)
            self.rewound = self._clock_went_back(snapshot, shapes)
            self.progress.phase("reading")
            full = self.request.full or self.rewound
            self._read(snapshot, shapes, full=full)
            if not self.rewound and (again := self._to_read_whole(snapshot, shapes)):
                self.progress.phase("reading everything")
                self._read(snapshot, again, full=True)
            self.progress.phase("comparing keys")
            self._compare(snapshot)
            self.renumbered = [
                reading.shape for reading in self.readings.values() if self._is_renumbered(snapshot, reading)
            ]
            if self.renumbered:
                self.progress.phase("reading everything")
                self._read(snapshot, self.renumbered, full=True)
            for shape in self.renumbered:
                self.backdated.pop(shape.entity.table, None)

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

    def _to_read_whole(self, snapshot: Snapshot, shapes: Sequence[ViewShape]) -> list[ViewShape]:
        """The views to read once more, for windows do not show how they have changed.

        One row that is gone may have been purged. Several, each the latest of its table, are a restored backup.
        """
        back = [table for table, reading in self.readings.items() if reading.went_back]
        gone = [table for table, reading in self.readings.items() if reading.went_back is None]
        lost = self._lost(snapshot, gone) if len(gone) > 1 else []
        if back or len(lost) > 1:
            if not self.request.accept:
                raise self._gone_back(latest_rows_older(back + lost, gone=bool(lost)), ", ".join(back + lost))
            self.rewound = True
        return [
            shape
            for shape in shapes
            if (self.rewound or shape.entity.table in gone) and self.readings[shape.entity.table].strategy != FULL
        ]

    def _lost(self, snapshot: Snapshot, gone: Sequence[str]) -> list[str]:
        """Those of the tables that may have lost their latest row to a restored backup.

        A backup brings nothing that is later than what it takes away: where a row is as it was, those that were
        changed before it are purged. And a filter hides rows for reasons of its own.
        """
        tops = {table: top for table in self.readings if (top := self.marks[table].top) is not None}
        shapes = {table: reading.shape for table, reading in self.readings.items()}
        kept = _NEVER
        for table in sorted(tops.keys() - set(gone), key=lambda table: tops[table][1], reverse=True):
            recno, stamp = tops[table]
            now = row_now(snapshot, shapes[table], recno) if len(shapes[table].entity.reads) == 1 else None
            if now is not None and now[0] == stamp:
                kept = stamp
                break
        return [table for table in gone if not shapes[table].entity.row_filter and tops[table][1] > kept]

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
        table = shape.entity.table
        whole = full or table in self.made_anew or self.marks[table].wants_all or shape.named(STAMP) is None
        return FULL if whole else WINDOW

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
                with errors(self.tenant.name, item.table, again=self.request.command(self.tenant.name)):
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
            with errors(self.tenant.name, reading.shape.entity.table, again=self.request.command(self.tenant.name)):
                if self._is_doubtful(reading):
                    doubtful.append(reading)
        pool = ThreadPoolExecutor(self.tenant.erp.connections, "buckets")
        try:  # both servers go through whole tables, at the same time
            counts = [pool.submit(snapshot.live_by_bucket, reading.shape) for reading in doubtful]
            for reading, count in zip(doubtful, counts, strict=True):
                with errors(self.tenant.name, reading.shape.entity.table, again=self.request.command(self.tenant.name)):
                    self._compare_keys(snapshot, reading, count)
        finally:
            pool.shutdown(cancel_futures=True)

    def _is_doubtful(self, reading: Reading) -> bool:
        """Whether the live rows of a view are others than those that were known, and those that were read."""
        table = reading.shape.entity.table
        intake, mark = self.intakes[table], self.marks[table]
        intake.seal()
        if reading.live is None or mark.live_rows is None or mark.live_recnos is None:
            return False  # it was read whole
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
        ranges = known.differing(known.by_bucket(self.control, intake, schema), result_of(count))
        if len(ranges) > _MANY_RANGES:
            ranges = []
        with closing(snapshot.live_recnos(shape, ranges)) as batches:
            for recnos in batches:
                intake.write_all(recnos)
        reading.strategy += AND_KEYS
        gone, unseen = known.compare_all(self.control, intake, schema, ranges)
        intake.absent(gone)
        if unseen.size:
            transform, stamps = Transformer(shape.entity, run=self.run, today=self.today), set[datetime]()
            for raw in snapshot.rows(shape, unseen):
                intake.write(raw, transform(raw))
                stamps |= set(raw.column("source_stamp").cast(pa.timestamp("us"), safe=False).drop_null().to_pylist())
            if stamps and not shape.entity.row_filter:  # a filter shows rows for reasons of its own
                self.backdated[shape.entity.table] = unseen.size, max(stamps)

    def _is_renumbered(self, snapshot: Snapshot, reading: Reading) -> bool:
        """Whether rows have taken the Recnos of others, as when a table was copied or packed without new stamps.

        What HAT knows of its rows by their Recnos is wrong then, and would make rows leave that are there. Looked for
        where all Recnos had to be compared: numbers that are dealt anew rarely come to the same sum.
        """
        if not reading.strategy.endswith(AND_KEYS):
            return False
        entity = reading.shape.entity
        with errors(self.tenant.name, entity.table, again=self.request.command(self.tenant.name)):
            expected = known.standing(self.control, self.intakes[entity.table], self.database.schema)
            if not expected:
                return False
            transform = Transformer(entity, run=self.run, today=self.today)
            found: dict[int, str] = {}
            for raw in snapshot.rows(reading.shape, np.array(sorted(expected), dtype=np.int64)):
                out = transform(raw)
                for rows in (out.good, out.rejected):
                    keys = key_texts([rows.column(name) for name in entity.key])
                    found.update(zip(recnos_of(rows).tolist(), keys.to_pylist(), strict=True))
            return found != expected

    # -- what is known from then on ------------------------------------------------------------------------------------

    def next_mark(self, reading: Reading) -> Watermark:
        """What a table shows once this is merged; to be asked when its intake is as it was merged."""
        table = reading.shape.entity.table
        before, live = self.marks[table], reading.live
        if live is None:
            intake = self.intakes[table]  # and it is the whole view
            live = known.Live(*intake.unchanged)
            if not intake.empty:
                live += known.live_now(self.control, intake)
        top = reading.top
        older = before.top is not None and (top is None or top[1] < before.top[1])
        if reading.live is not None and older and not reading.top_deleted:
            top = before.top  # the window was empty
        horizon = self.horizon if self.rewound else max(self.horizon, before.horizon)
        return Watermark(horizon, live.rows, live.recnos, top)
