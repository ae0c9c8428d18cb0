"""What every ERP reader offers, whatever the database behind it: describe, snapshot, bounds, stream.

A snapshot is one moment of the ERP. All tables and all connections of a run read that moment.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from hat_etl.entities import ENTITIES, billing
from hat_etl.entities.model import Entity
from hat_etl.source.live_column import LiveColumn

BUCKET = 2_048
"""Recnos of one bucket, when live rows are counted part by part."""
WORD = 1 << 64
"""Sums of Recnos and stamps are kept modulo this."""

Buckets = dict[int, tuple[int, int]]
"""Number of a bucket to the rows in it and the sum of their Recnos modulo 2^64."""


ALIASES: tuple[str, ...] = tuple(sorted({alias for entity in ENTITIES for alias in entity.reads}))
"""Every Protheus table that the views of HAT tables read."""
EVERY_ALIAS: tuple[str, ...] = tuple(sorted({*ALIASES, *(alias for entity in billing.VIEWS for alias in entity.reads)}))
"""The same with those that billing may read."""

EVERY_VIEW: tuple[Entity, ...] = (*ENTITIES, *billing.VIEWS)

Tables = Mapping[str, Mapping[str, LiveColumn]]
"""Alias to its fields by their names in upper case."""

TablesRead = Collection[tuple[str, str]]
"""Schemas and names, as the database spells them, of tables and views."""


def quote(identifier: str) -> str:
    """A name as SQL takes it exactly."""
    return '"' + identifier.replace('"', '""') + '"'


Recnos = np.ndarray[Any, np.dtype[np.int64]]
"""Recnos as a numpy array."""


@dataclass(frozen=True)
class Range:
    """Rows whose Recno lies between ``low`` and ``high``, both included."""

    low: int
    high: int

    def split(self, parts: int) -> list[Range]:
        """At most ``parts`` ranges of about the same breadth that cover this one."""
        breadth = self.high - self.low + 1
        parts = max(1, min(parts, breadth))
        edges = [self.low + breadth * i // parts for i in range(parts + 1)]
        return [Range(low, high - 1) for low, high in pairwise(edges)]


@dataclass(frozen=True)
class Fingerprint:
    """What a range held when it was read: equal fingerprints mean that no row came, went or changed.

    It rests on stamps, which only grow: sums of Recno and of Carimbo in microseconds (both modulo 2**64). A range
    with a row that has no stamp proves nothing.
    """

    rows: int = 0
    recnos: int = 0
    stamps: int = 0
    unstamped: int = 0

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(
            self.rows + other.rows,
            (self.recnos + other.recnos) % WORD,
            (self.stamps + other.stamps) % WORD,
            self.unstamped + other.unstamped,
        )

    def proves_unchanged(self, now: Fingerprint) -> bool:
        return self.unstamped == 0 and self == now

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Fingerprint:
        """Fingerprint of one raw batch as the source yields it."""
        recnos = batch.column("source_recno").to_numpy(zero_copy_only=False)
        stamps = batch.column("source_stamp").cast(pa.timestamp("us"), safe=False)
        known = stamps.drop_null().cast(pa.int64()).to_numpy(zero_copy_only=False)
        return cls(batch.num_rows, int(recnos.sum()) % WORD, int(known.sum()) % WORD, stamps.null_count)


def recnos_of(batch: pa.RecordBatch) -> Recnos:
    """A copy of the Recnos of a raw batch, to be kept: any part of a batch from a driver keeps all of it in memory."""
    recnos: Recnos = batch.column("source_recno").to_numpy(zero_copy_only=False).copy()
    return recnos


@dataclass(frozen=True)
class ViewShape:
    """A view as the ERP describes it."""

    entity: Entity
    columns: tuple[LiveColumn, ...]
    estimated_rows: int
    relation: tuple[str, str]
    """Schema and name as the database spells them."""
    definition: str = ""
    """Digest of the view's text; empty where the database does not tell it, or was not asked."""

    def named(self, alias: str) -> LiveColumn | None:
        """The live column of an alias, whatever its case."""
        return next((column for column in self.columns if column.name.lower() == alias.lower()), None)

    def column(self, alias: str) -> LiveColumn:
        """The live column of an alias that must be there, for views are compared with the contract before."""
        live = self.named(alias)
        assert live is not None, f"{self.entity.view} has no column {alias}"
        return live


@dataclass(frozen=True)
class SourceHealth:
    """What the doctor asks of an ERP server."""

    server: str
    login: str
    encoding: str
    now: datetime
    """The server's clock, with its zone."""
    free_connections: int | None
    """What the login may open beside the one that asks; None where the server does not tell."""


@dataclass(frozen=True)
class UnindexedStamp:
    """A PLS table with stamps and no index on them."""

    table: str
    rows: int
    """By the server's own estimate."""
    ddl: str
    """The statement that makes the index."""


@dataclass(frozen=True)
class OneMoment:
    """How all reads of a run are made to show the same moment."""

    how: str
    drawback: str = ""
    """What is slower or weaker about it than it could be; empty when nothing is."""
    mend: str = ""


class Snapshot(Protocol):
    """One moment of the ERP; safe to use from several threads at once."""

    clock: datetime
    """The ERP's clock just before that moment, in UTC."""
    horizon: datetime
    """All rows with a stamp up to here are final, in UTC: ``clock``, or the start of a transaction open then."""

    def bounds(self, shape: ViewShape) -> Range | None:
        """Lowest and highest Recno that the view shows, or None when it is empty."""

    def fingerprint(self, shape: ViewShape, range_: Range) -> Fingerprint:
        """Fingerprint of a range as it is at this moment, counted by the ERP."""

    def stream(self, shape: ViewShape, range_: Range) -> Iterator[pa.RecordBatch]:
        """The rows of a range as raw batches of bounded size.

        A raw batch holds ``source_recno`` (int64), ``deleted`` (int32, 1 = deleted), ``source_stamp`` (timestamp in
        UTC, may be null), then one column per column of the entity under the entity's name: text, or for numbers
        float64, int64 or exact decimal text.
        """

    def changed(self, shape: ViewShape, since: datetime) -> Iterator[pa.RecordBatch]:
        """The rows stamped at ``since`` or later and those without a stamp, as ``stream`` yields them."""

    def rows(self, shape: ViewShape, recnos: Recnos) -> Iterator[pa.RecordBatch]:
        """The rows with these Recnos, as far as the view shows them, as ``stream`` yields them."""

    def matching(self, shape: ViewShape, key: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """The rows that may have this natural key (column of HAT to its text there), as ``stream`` yields them.

        Some of them may turn out to have another key once they are transformed. Looks through the whole view.
        """

    def live(self, shape: ViewShape) -> tuple[int, int]:
        """Number of live rows and the sum of their Recnos modulo 2**64, counted by the ERP."""

    def live_by_bucket(self, shape: ViewShape) -> Buckets:
        """The same for each bucket of ``BUCKET`` Recnos: bucket n holds those from n * BUCKET on."""

    def live_recnos(self, shape: ViewShape, ranges: Sequence[Range]) -> Generator[pa.Array, None, None]:
        """Recnos (int64) of the live rows in these ranges, or of all live rows where there are none; in batches."""


class Source(Protocol):
    """An ERP that can be read."""

    def describe(self, entity: Entity) -> ViewShape:
        """The view of ``entity`` as it is now. Raises SourceError when it is not there."""

    def tables_read(self, shape: ViewShape) -> TablesRead:
        """What a view reads, as far as the catalogue tells; of all views it is asked once."""

    def snapshot(self, expected_rows: int = 0) -> AbstractContextManager[Snapshot]:
        """Fix one moment, with as many connections as the tenant allows. Raises SourceError.

        ``expected_rows``: about how many will be streamed, for those that prepare when they are many.
        """

    def health(self) -> SourceHealth:
        """Facts about the server. Raises SourceError."""

    def sample_stamps(self, shape: ViewShape) -> tuple[int, int]:
        """Rows looked at (some thousands at the most), and how many of them have a Carimbo."""

    def unindexed_stamps(self) -> list[UnindexedStamp] | None:
        """PLS tables whose S_T_A_M_P_ begins no index, so that every sync looks at all of their rows.

        None when the login is not shown the tables below the views.
        """

    def one_moment(self) -> OneMoment:
        """How a run of the views described so far would get its one moment."""

    def sees_transactions(self) -> bool:
        """Whether the login is told when transactions of others began: what the horizon is held behind."""

    @property
    def unseen_transactions(self) -> str:
        """What it means for syncs that the login is not told."""

    def transactions_grant(self, login: str) -> str:
        """What lets ``login`` be told: a statement, where there is one."""

    def fields(self) -> Tables:
        """The PLS tables that the login is shown, with their fields; asked once."""

    def place(self) -> str:
        """What tells the database from another one with the same views, such as its copy for tests; asked once."""

    def definitions(self, shapes: Sequence[ViewShape]) -> dict[str, str]:
        """HAT table to the text of its view as the database keeps it now; without those that it does not tell."""

    def close(self) -> None:
        """Give back what the questions above used."""
