"""Rows of the ERP against rows of HAT, aligned by key: what is missing, extra or differs, and in which columns.

Pure functions on Arrow; the rows are the few that a first comparison found suspicious.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.entities.model import Entity
from hat_etl.source.reader import Recnos
from hat_etl.target.rowhash import Hashes, row_hashes
from hat_etl.target.rows import BACKING, STAMP, Quarantine, comparable
from hat_etl.transform import Transformed
from hat_etl.transform.findings import key_texts

RECNO_COLUMN = "source_recno"

NOT_GOOD = np.uint64(0)
"""State of a row that the ERP does not show, or shows as deleted, or that is rejected; that of others is their hash."""
UNKNOWN = np.uint64(1)
"""State of a row that was not looked at."""


class Kind(Enum):
    """What became of a suspicious row."""

    EQUAL = "equal"
    MISSING = "missing"
    EXTRA = "extra"
    DIFFERING = "differing"
    IN_FLIGHT = "in_flight"
    QUARANTINED = "quarantined"

    @property
    def is_mismatch(self) -> bool:
        return self in (Kind.MISSING, Kind.EXTRA, Kind.DIFFERING)


@dataclass(frozen=True)
class Finding:
    """One row or pair of rows: the Recnos to read again to mend it, the key as reports show it, columns that differ."""

    kind: Kind
    recnos: tuple[int, ...]
    key: str
    columns: tuple[str, ...] = ()


@dataclass
class ErpRows:
    """Suspicious rows as the ERP shows them at a later moment."""

    entity: Entity
    good: list[pa.RecordBatch] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    """Recno of each rejected row, to its key."""
    faults: dict[int, list[str]] = field(default_factory=dict)
    """Recno of each rejected row, to the columns for which it is rejected."""
    late: dict[int, datetime] = field(default_factory=dict)
    """Stamp of the rows, deleted ones too, that have one after the moment up to which HAT is current."""
    states: dict[int, int] = field(default_factory=dict)

    def add(self, raw: pa.RecordBatch, out: Transformed, horizon: datetime, now: datetime) -> None:
        """Take in a batch of which all rows are suspicious. A stamp after ``now`` tells nothing."""
        stamps = raw.column("source_stamp").cast(pa.timestamp("us"), safe=False)
        low, high = (pa.scalar(moment.astimezone(UTC).replace(tzinfo=None), stamps.type) for moment in (horizon, now))
        late = pc.and_(pc.greater(stamps, low), pc.less_equal(stamps, high)).fill_null(False)
        recnos = raw.column(RECNO_COLUMN).filter(late).to_pylist()
        self.late.update(zip(recnos, stamps.filter(late).to_pylist(), strict=True))
        if out.good.num_rows:
            self.good.append(out.good)
            hashes = row_hashes(out.good.columns[: len(self.entity.columns)])
            self.states.update(zip(_recnos(out.good), hashes.tolist(), strict=True))
        if out.rejected.num_rows:
            keys = key_texts([out.rejected.column(name) for name in self.entity.key]).to_pylist()
            self.rejected.update(zip(_recnos(out.rejected), (key or "" for key in keys), strict=True))
            bad = out.issues.filter(pc.equal(out.issues.column("severity"), "reject"))
            for recno, column in zip(bad.column("recno").to_pylist(), bad.column("column").to_pylist(), strict=True):
                self.faults.setdefault(recno, []).append(column)


def compare(erp: ErpRows, hat: pa.Table, quarantine: Quarantine, suspects: Recnos, states: Hashes) -> list[Finding]:
    """What the suspicious rows are; ``states`` are those of the ``suspects`` at the first reading."""
    return _Comparison(erp, hat, quarantine, dict(zip(suspects.tolist(), states.tolist(), strict=True))).carry_out()


class _Comparison:
    def __init__(self, erp: ErpRows, hat: pa.Table, quarantine: Quarantine, before: Mapping[int, int]) -> None:
        self._erp, self._entity, self._before = erp, erp.entity, before
        self._hat = hat.combine_chunks()
        self._good = pa.Table.from_batches(erp.good, self._entity.schema).combine_chunks()
        self._hat_keys, self._good_keys = self._keys(self._hat), self._keys(self._good)
        self._hat_texts, self._good_texts = self._texts(self._hat), self._texts(self._good)
        self._backing, self._stamps = self._hat.column(BACKING).to_pylist(), self._hat.column(STAMP).to_pylist()
        self._recnos = self._good.column(RECNO_COLUMN).to_pylist()
        recnos = np.array([*self._recnos, *erp.rejected], dtype=np.int64)
        self._aside = set(recnos[quarantine.sets_aside(recnos)].tolist())
        self._quarantined = set(recnos[quarantine.has(recnos)].tolist())

    def _keys(self, rows: pa.Table) -> list[tuple[Any, ...]]:
        return list(zip(*(rows.column(name).to_pylist() for name in self._entity.key), strict=True))

    def _texts(self, rows: pa.Table) -> list[str]:
        """The keys as reports show them."""
        if not rows.num_rows:
            return []
        return [str(key) for key in key_texts([_whole(rows.column(c)) for c in self._entity.key]).to_pylist()]

    def carry_out(self) -> list[Finding]:
        pairs, alone_good, alone_hat = self._align()
        found = self._judge_pairs(pairs)
        rejected_behind = {}
        for place in alone_hat:
            recno = self._backing[place]
            if recno in self._erp.rejected and recno not in rejected_behind:
                rejected_behind[recno] = place
            else:
                found.append(self._finding(Kind.EXTRA, (recno,), self._hat_texts[place], place=place))
        for place in alone_good:
            recno = self._recnos[place]
            kind = Kind.QUARANTINED if recno in self._aside else Kind.MISSING
            found.append(self._finding(kind, (recno,), self._good_texts[place]))
        for recno, key in self._erp.rejected.items():
            if recno in rejected_behind:
                place = rejected_behind[recno]
                columns = self._erp.faults.get(recno, ())
                found.append(self._finding(Kind.DIFFERING, (recno,), self._hat_texts[place], columns, place))
            else:
                kind = Kind.QUARANTINED if recno in self._quarantined else Kind.MISSING
                found.append(self._finding(kind, (recno,), key))
        return found

    def _align(self) -> tuple[list[tuple[int, int]], list[int], list[int]]:
        """Pairs of places with one key, and the places in ERP and HAT that are left; the same Recno goes first.

        A row in quarantine is set against a row of HAT of its own Recno only, and after all others.
        """
        of_key = {key: place for place, key in enumerate(self._hat_keys)}
        aside = [place for place, recno in enumerate(self._recnos) if recno in self._aside]
        rest = [place for place, recno in enumerate(self._recnos) if recno not in self._aside]
        pairs = list[tuple[int, int]]()

        def pair(places: Iterable[int], *, same_recno: bool) -> list[int]:
            alone = []
            for place in places:
                partner = of_key.get(self._good_keys[place])
                if partner is None or (same_recno and self._backing[partner] != self._recnos[place]):
                    alone.append(place)
                else:
                    pairs.append((place, of_key.pop(self._good_keys[place])))
            return alone

        rest = pair(pair(rest, same_recno=True), same_recno=False)
        return pairs, rest + pair(aside, same_recno=True), sorted(of_key.values())

    def _judge_pairs(self, pairs: Sequence[tuple[int, int]]) -> list[Finding]:
        if not pairs:
            return []
        ours, theirs = (pa.array(places, pa.int64()) for places in zip(*pairs, strict=True))
        differing: dict[int, list[str]] = {}
        for column in self._entity.columns:
            left = comparable(column, _whole(self._good.column(column.name)).take(ours))
            right = _whole(self._hat.column(column.name)).take(theirs)
            for pair in np.flatnonzero(_differ(left, right)).tolist():
                differing.setdefault(pair, []).append(column.name)
        found = []
        for number, (place, partner) in enumerate(pairs):
            recno, behind = self._recnos[place], self._backing[partner]
            columns = differing.get(number, []) + ([RECNO_COLUMN] if recno != behind else [])
            recnos = (recno,) if recno == behind else (recno, behind)
            kind = Kind.DIFFERING if columns else Kind.EQUAL
            found.append(self._finding(kind, recnos, self._good_texts[place], columns, partner))
        return found

    def _finding(
        self, kind: Kind, recnos: tuple[int, ...], key: str, columns: Iterable[str] = (), place: int | None = None
    ) -> Finding:
        """``place``: of the row of HAT, where there is one."""
        stamp = None if place is None else self._stamps[place]
        if kind.is_mismatch and any(self._is_late(recno, stamp) or self._has_changed(recno) for recno in recnos):
            kind = Kind.IN_FLIGHT
        return Finding(kind, recnos, key, tuple(dict.fromkeys(columns)))

    def _is_late(self, recno: int, stamp: datetime | None) -> bool:
        """Whether the ERP has changed a row since; not if HAT's row was brought with the very ``stamp`` it has."""
        return recno in self._erp.late and self._erp.late[recno] != stamp

    def _has_changed(self, recno: int) -> bool:
        """Whether a row is another than at the first reading."""
        before = self._before.get(recno, int(UNKNOWN))
        return before not in (int(UNKNOWN), self._erp.states.get(recno, int(NOT_GOOD)))


def _differ(left: pa.Array, right: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    unequal = pc.not_equal(left, right).fill_null(False)
    one_empty = pc.xor(left.is_null(), right.is_null())
    differ: np.ndarray[tuple[int], np.dtype[np.bool_]] = pc.or_(unequal, one_empty).to_numpy(zero_copy_only=False)
    return differ


def _recnos(rows: pa.RecordBatch) -> list[int]:
    recnos: list[int] = rows.column(RECNO_COLUMN).to_pylist()
    return recnos


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
