"""How a sync reads the views: each by one thread, several at once, and what they bring taken by the caller's thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.source.reader import Recnos, Snapshot, ViewShape
from hat_etl.sync.hat_side import HatSide, parts_of, span_of
from hat_etl.sync.plan import FULL, WINDOW
from hat_etl.sync.unchanged import Unchanged
from hat_etl.target import known
from hat_etl.target.ledger import Watermark
from hat_etl.target.rows import HatConnections, among
from hat_etl.transform import Transformed, Transformer

REPAIR = "repair"
"""Mode of a run, and strategy of a table, that reads some rows only, and the quarantine."""

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


@dataclass
class ViewReader:
    """Reads one view in a thread of its own."""

    snapshot: Snapshot
    shape: ViewShape
    transform: Transformer
    mark: Watermark
    again: Recnos
    """Rows to be judged anew, whatever tells that they have not changed."""
    lookback: timedelta
    whole: bool
    repair: bool
    settled: bool
    hat: HatConnections
    recnos: list[Recnos] = field(default_factory=list)
    top: tuple[int, datetime] | None = None

    def read(self, offer: Callable[[Item], bool]) -> None:
        began, snapshot, shape = time.monotonic(), self.snapshot, self.shape
        if self.repair:
            if self._read_again(offer):
                offer(Reading(shape, REPAIR, None, None, went_back=False, seconds=time.monotonic() - began))
            return
        for item in self._whole() if self.whole else self._window():
            if not offer(item):
                return
        live = None
        if not self.whole:
            if not self._read_again(offer):
                return
            live = known.Live(*snapshot.live(shape))
        strategy = FULL if self.whole else WINDOW
        offer(Reading(shape, strategy, live, self.top, self._went_back(), time.monotonic() - began))

    def _window(self) -> Iterator[Item]:
        for raw in self.snapshot.changed(self.shape, self.mark.horizon - self.lookback):
            self._note(raw)
            yield Batch(self.shape.entity.table, raw, self.transform(raw), _NONE)

    def _whole(self) -> Iterator[Item]:
        """The rows that HAT does not show as they are, and the Recnos of what is no more."""
        entity, bounds = self.shape.entity, self.snapshot.bounds(self.shape)
        found = []
        for range_ in [None] if bounds is None else bounds.split(parts_of(self.shape)):
            with self.hat.lent() as rows:
                side = HatSide(*rows.hashes(entity, span_of(range_, bounds)))
            unchanged = Unchanged(entity, side, self.again)
            for raw in () if range_ is None else self.snapshot.stream(self.shape, range_):
                self._note(raw)
                recnos = _recnos(raw)
                found.append(recnos[among(recnos, self.again)])
                yield Batch(entity.table, *unchanged.take_out(raw, self.transform(raw)))
            yield Absent(entity.table, unchanged.gone())
        yield Absent(entity.table, np.setdiff1d(self.again, np.concatenate(found)) if found else self.again)

    def _read_again(self, offer: Callable[[Item], bool]) -> bool:
        """Rows of quarantine that the window did not bring."""
        seen = np.concatenate(self.recnos) if self.recnos else np.array([], dtype=np.int64)
        again = np.setdiff1d(self.again, seen)
        if not again.size:
            return True
        found = []
        for raw in self.snapshot.rows(self.shape, again):
            found.append(_recnos(raw))
            if not offer(Batch(self.shape.entity.table, raw, self.transform(raw), _NONE, repeats=self.settled)):
                return False
        absent = np.setdiff1d(again, np.concatenate(found)) if found else again
        return offer(Absent(self.shape.entity.table, absent)) if absent.size else True

    def _note(self, raw: pa.RecordBatch) -> None:
        """Remember what was read, and the live row with the latest stamp that is not in the future.

        Deleted rows are purged now and then.
        """
        if not self.whole:
            self.recnos.append(_recnos(raw))
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


def _recnos(raw: pa.RecordBatch) -> Recnos:
    """A copy: any part of a batch that a driver has made keeps all of it in memory."""
    recnos: Recnos = raw.column("source_recno").to_numpy(zero_copy_only=False).copy()
    return recnos


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

    def work(reader: ViewReader) -> None:
        try:
            if not stopped.is_set():
                reader.read(offer)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            offer(error)

    with ThreadPoolExecutor(min(connections, len(readers)), "view") as pool:
        for reader in readers:
            pool.submit(work, reader)
        try:
            unread = len(readers)
            while unread:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                unread -= isinstance(item, Reading)
                yield item
        finally:
            stopped.set()
