"""How a sync reads the views: several ranges at once, and what they bring taken by the caller's thread."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.parallel import taken
from hat_etl.source.reader import Range, Recnos, Snapshot, ViewShape, recnos_of
from hat_etl.sync.hat_side import HatSide
from hat_etl.sync.plan import FULL, WINDOW
from hat_etl.sync.ranges import parts_of, span_of
from hat_etl.sync.unchanged import Unchanged
from hat_etl.target import known
from hat_etl.target.rows import HatConnections, Listed, Span, among
from hat_etl.transform import Transformed, Transformer

REPAIR = "repair"
"""Mode of a run, and strategy of a table, that reads some rows only, and the quarantine."""

MANY_UNSTAMPED = 1_000
"""Rows without a stamp in one batch of a window from which on HAT is asked whether it shows them already."""

_BATCHES_AHEAD = 4
_NONE: Recnos = np.array([], dtype=np.int64)


@dataclass
class Reading:
    """What a worker found out about one view."""

    shape: ViewShape
    strategy: str
    live: known.Live | None
    """None where every row was read, and where only some were asked for."""
    top: tuple[int, datetime] | None
    went_back: bool | None
    """Whether the row that was the latest has an older stamp now; None when it is gone, and nothing newer is there."""
    seconds: float
    top_deleted: bool = False
    """Whether the row that was the latest is deleted now, and nothing newer is there."""


@dataclass(frozen=True)
class Batch:
    table: str
    raw: pa.RecordBatch
    out: Transformed
    unchanged: Recnos
    """Further rows, which HAT shows as they are."""
    repeats: bool = False
    """Rows of quarantine that have not changed since the last run judged them."""


@dataclass(frozen=True)
class Absent:
    table: str
    recnos: Recnos


Item = Batch | Absent | Reading
"""What a reader hands over; a Reading is the last of its view."""
Offer = Callable[[Item], bool]
"""Takes an item; false when nobody wants more."""


@dataclass
class ViewReader:
    """Reads one view: what has changed, all of it in several ranges at the same time, or some rows (``REPAIR``)."""

    snapshot: Snapshot
    shape: ViewShape
    strategy: str
    run: int
    today: date
    since: datetime
    """Where its window begins."""
    before: tuple[int, datetime] | None
    """The row that was the latest one at the last sync, and its stamp then."""
    again: Recnos
    """Rows to be judged anew, whatever tells that they have not changed; ascending."""
    connections: int
    settled: bool
    """Whether the last run judged all of quarantine, today."""
    hat: HatConnections
    recnos: list[Recnos] = field(default_factory=list)
    """What was read; of a view read whole, those that are to be judged anew."""
    top: tuple[int, datetime] | None = None
    began: float = math.inf
    unread: int = 1
    """Ranges that are not read yet."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tasks(self) -> list[Callable[[Offer], None]]:
        """What is to be done, each in a thread of its own; the last to be done offers the Reading."""
        if self.strategy == REPAIR:
            return [self._end]
        if self.strategy == WINDOW:
            parts = [self._window]
        else:
            bounds = self.snapshot.bounds(self.shape)
            ranges = [None] if bounds is None else [*bounds.split(parts_of(self.shape, self.connections))]
            self.again = self._doubtful
            parts = [partial(self._whole, range_, span_of(range_, bounds)) for range_ in ranges]
        self.unread = len(parts)
        return [partial(self._read, part) for part in parts]

    @cached_property
    def _doubtful(self) -> Recnos:
        """Rows of which equal columns in HAT do not tell that nothing is to be done; ascending."""
        with self.hat.lent() as rows:
            return np.union1d(self.again, rows.doubtful(self.shape.entity))

    def _read(self, part: Callable[[], Iterator[Item]], offer: Offer) -> None:
        self.began = min(self.began, time.monotonic())
        for item in part():
            if not offer(item):
                return
        with self.lock:
            self.unread -= 1
            last = not self.unread
        if last:
            self._end(offer)

    def _end(self, offer: Offer) -> None:
        """What is left when all ranges are read."""
        shape, began = self.shape, min(self.began, time.monotonic())
        if self.strategy == FULL:
            again = np.setdiff1d(self.again, np.concatenate([_NONE, *self.recnos]))
            if not offer(Absent(shape.entity.table, again)):
                return
        elif not self._read_again(offer):
            return
        reading = Reading(shape, self.strategy, None, self.top, went_back=False, seconds=0.0)
        if self.strategy != REPAIR:
            reading.went_back, reading.top_deleted = self._latest_before()
        if self.strategy == WINDOW:
            reading.live = known.Live(*self.snapshot.live(shape))
        reading.seconds = time.monotonic() - began
        offer(reading)

    def _window(self) -> Iterator[Item]:
        transform = self._transformer()
        for raw in self.snapshot.changed(self.shape, self.since):
            self.recnos.append(recnos_of(raw))
            self._note_top(raw)
            yield Batch(self.shape.entity.table, *self._changed(raw, transform(raw)))

    def _changed(self, raw: pa.RecordBatch, out: Transformed) -> tuple[pa.RecordBatch, Transformed, Recnos]:
        """Rows of a window less those without a stamp that HAT shows as they are, where these are worth asking for.

        What was there before the ERP began to stamp its rows is read with every sync.
        """
        stamps = raw.column("source_stamp")
        if stamps.null_count < MANY_UNSTAMPED:
            return raw, out, _NONE
        entity, unstamped = self.shape.entity, stamps.is_null().to_numpy(zero_copy_only=False)
        with self.hat.lent() as rows:
            side = HatSide(*rows.hashes(entity, Listed(recnos_of(raw)[unstamped])))
        return Unchanged(entity, side, self._doubtful).take_out(raw, out)

    def _whole(self, range_: Range | None, span: Span) -> Iterator[Item]:
        """The rows of a range that HAT does not show as they are, and the Recnos of what is no more."""
        entity, transform = self.shape.entity, self._transformer()
        with self.hat.lent() as rows:
            unchanged = Unchanged(entity, HatSide(*rows.hashes(entity, span)), self.again)
        for raw in () if range_ is None else self.snapshot.stream(self.shape, range_):
            recnos = recnos_of(raw)
            self.recnos.append(recnos[among(recnos, self.again)])
            self._note_top(raw)
            yield Batch(entity.table, *unchanged.take_out(raw, transform(raw)))
        yield Absent(entity.table, unchanged.gone())

    def _transformer(self) -> Transformer:
        return Transformer(self.shape.entity, run=self.run, today=self.today)

    def _read_again(self, offer: Offer) -> bool:
        """Rows of quarantine that the window did not bring."""
        again = np.setdiff1d(self.again, np.concatenate([_NONE, *self.recnos]))
        if not again.size:
            return True
        found, transform = [_NONE], self._transformer()
        for raw in self.snapshot.rows(self.shape, again):
            found.append(recnos_of(raw))
            if not offer(Batch(self.shape.entity.table, raw, transform(raw), _NONE, repeats=self.settled)):
                return False
        absent = np.setdiff1d(again, np.concatenate(found))
        return offer(Absent(self.shape.entity.table, absent)) if absent.size else True

    def _note_top(self, raw: pa.RecordBatch) -> None:
        """Remember the live row with the latest stamp that is not in the future.

        Deleted rows are purged now and then.
        """
        stamps = raw.column("source_stamp").cast(pa.timestamp("us"), safe=False)
        past = pc.less_equal(stamps, pa.scalar(_naive(self.snapshot.clock), stamps.type))
        usual = pc.if_else(pc.and_(past, pc.not_equal(raw.column("deleted"), 1)), stamps, None)
        latest = pc.max(usual).as_py()
        if latest is not None:
            stamp = latest.replace(tzinfo=UTC)
            place = pc.index(usual, pa.scalar(latest, stamps.type)).as_py()
            with self.lock:
                if self.top is None or stamp > self.top[1]:
                    self.top = (int(raw.column("source_recno")[place].as_py()), stamp)

    def _latest_before(self) -> tuple[bool | None, bool]:
        """Whether the row that was the latest now has an older stamp, and whether it is deleted.

        With an older stamp, a backup was restored. None: the row is gone.
        """
        before = self.before
        if len(self.shape.entity.reads) > 1:
            return False, False  # the stamp of a joined row goes when that row is deleted
        if before is None or (self.top is not None and self.top[1] >= before[1]):
            return False, False
        now = row_now(self.snapshot, self.shape, before[0])
        if now is None:
            return None, False
        stamp, deleted = now
        return stamp is not None and stamp < before[1], deleted


def row_now(snapshot: Snapshot, shape: ViewShape, recno: int) -> tuple[datetime | None, bool] | None:
    """The stamp of a row, and whether it is deleted; None where the view does not show it."""
    for raw in snapshot.rows(shape, np.array([recno], dtype=np.int64)):
        stamp = raw.column("source_stamp").cast(pa.timestamp("us"), safe=False)[0].as_py()
        return stamp and stamp.replace(tzinfo=UTC), raw.column("deleted")[0].as_py() == 1
    return None


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def read_side_by_side(readers: Sequence[ViewReader], connections: int) -> Generator[Item, None, None]:
    """What all readers bring, at most ``connections`` of them at work at once. Raises the first error of any."""
    ready: queue.Queue[Item | BaseException] = queue.Queue(_BATCHES_AHEAD)
    stopped = threading.Event()

    def offer(item: Item | BaseException) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work(task: Callable[[Offer], None]) -> None:
        try:
            if not stopped.is_set():
                task(offer)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            offer(error)

    tasks = [task for reader in readers for task in reader.tasks()]
    with ThreadPoolExecutor(min(connections, len(tasks)), "view") as pool:
        for task in tasks:
            pool.submit(work, task)
        try:
            unread = len(readers)
            while unread:
                item = taken(ready)
                if isinstance(item, BaseException):
                    raise item
                unread -= isinstance(item, Reading)
                yield item
        finally:
            stopped.set()
