"""One table under reconciliation: its ranges, and what the readings of both sides add up to."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np

from hat_etl.entities.model import Entity
from hat_etl.source.reader import Range, Recnos, ViewShape
from hat_etl.sync.differences import NOT_GOOD, UNKNOWN, Finding, Kind
from hat_etl.sync.ranges import parts_of
from hat_etl.target.reconciliations import Bucket, Comparison
from hat_etl.target.rowhash import Hashes
from hat_etl.target.rows import Exceptions, Quarantine
from hat_etl.transform import Transformer

BUCKET_BREADTH = 1 << 16
"""Recnos of one bucket at the least: what counts are given for where tables differ."""
MAX_BUCKETS = 1 << 12
SHOWN = 20
"""Keys of each kind that are shown and kept in the ledger, per table."""


@dataclass
class ComparedTable:
    """One table under comparison: what is known beforehand, and what the ranges have found out."""

    shape: ViewShape
    horizon: datetime
    today: date
    exceptions: Exceptions
    quarantine: Quarantine
    bounds: Range | None
    live: int = 0
    hat: int = 0
    equal: int = 0
    quarantined: int = 0
    unstamped: int = 0
    """Rows without a stamp: what the ERP has changed in them cannot be told from a mismatch."""
    began: float = math.inf
    ended: float = 0.0
    """Moments of the first and the last work on the table."""
    suspects: list[Recnos] = field(default_factory=list)
    states: list[Hashes] = field(default_factory=list)
    found: Counter[Kind] = field(default_factory=Counter)
    """What the suspicious rows turned out to be."""
    wrong: list[Recnos] = field(default_factory=list)
    """The Recnos that mend the mismatches."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held to add to the counts."""

    def __post_init__(self) -> None:
        low, high = (0, 0) if self.bounds is None else (self.bounds.low, self.bounds.high)
        self.breadth = max(BUCKET_BREADTH, -(-(high - low + 1) // MAX_BUCKETS))
        self.low, self.high = low, high
        count = (high - low) // self.breadth + 1
        self.in_erp, self.in_hat = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.look_anew()

    def look_anew(self) -> None:
        """Forget what a second look has found, for it begins."""
        self.found.clear()
        self.wrong.clear()
        self._comparison = Comparison(self.entity.table, buckets=self.in_erp.size)
        self._buckets: dict[int, Bucket] = {}

    @property
    def entity(self) -> Entity:
        return self.shape.entity

    def transformer(self) -> Transformer:
        return Transformer(self.entity, run=0, today=self.today)

    def bucket(self, recnos: Recnos) -> Recnos:
        """The bucket of each Recno; what lies outside of the view's bounds belongs to the first or the last."""
        places: Recnos = (np.clip(recnos, self.low, self.high) - self.low) // self.breadth
        return places

    def ranges(self, connections: int) -> list[Range | None]:
        return [None] if self.bounds is None else [*self.bounds.split(parts_of(self.shape, connections))]

    def suspicious(self) -> tuple[Recnos, Hashes]:
        """The suspicious Recnos, each once, with their states at the first reading."""
        if not self.suspects:
            return np.array([], dtype=np.int64), np.array([], dtype=np.uint64)
        recnos, states = np.concatenate(self.suspects), np.concatenate(self.states)
        order = np.lexsort((states == NOT_GOOD, states == UNKNOWN, recnos))  # what was seen of a row goes first
        recnos, states = recnos[order], states[order]
        first = np.ones(recnos.size, dtype=bool)
        first[1:] = recnos[1:] != recnos[:-1]
        return recnos[first], states[first]

    def worked(self, began: float) -> None:
        """Note that there was work on the table from ``began`` until now."""
        self.began, self.ended = min(self.began, began), time.monotonic()

    def note(self, findings: Sequence[Finding]) -> None:
        """Take in what a second look has found."""
        self.found.update(finding.kind for finding in findings)
        wrong = [finding for finding in findings if finding.kind.is_mismatch]
        if not wrong:
            return
        self.wrong.append(np.array([recno for finding in wrong for recno in finding.recnos], dtype=np.int64))
        places = self.bucket(np.array([finding.recnos[0] for finding in wrong], dtype=np.int64)).tolist()
        for finding, place in zip(wrong, places, strict=True):
            if place not in self._buckets:
                low = self.low + place * self.breadth
                rows = int(self.in_erp[place]), int(self.in_hat[place])
                self._buckets[place] = Bucket(low, min(low + self.breadth - 1, self.high), *rows)
            self._comparison.add(finding.kind.value, finding.columns, self._buckets[place])
        for kind in Kind:
            entries = [(f.recnos[0], f.key, f.columns) for f in wrong if f.kind is kind]
            if entries:
                self._comparison.show(kind.value, entries, SHOWN)

    def outcome(self) -> Comparison:
        found, comparison = self.found, self._comparison
        comparison.source_rows = self.live
        comparison.kept = int(np.count_nonzero(self.exceptions.kept))
        comparison.hat_rows = self.hat + comparison.kept
        comparison.compared = self.equal + found[Kind.EQUAL] + found[Kind.DIFFERING]
        comparison.in_flight = found[Kind.IN_FLIGHT]
        comparison.quarantined = self.quarantined + found[Kind.QUARANTINED]
        comparison.differing_buckets = [bucket for _, bucket in sorted(self._buckets.items())]
        comparison.seconds = max(0.0, self.ended - self.began)
        return comparison
