"""HAT's side of a reconciled range: the rows that are there, and which of them the ERP's rows have met."""

from __future__ import annotations

import numpy as np

from hat_etl.source.reader import Recnos
from hat_etl.sync.differences import NOT_GOOD, UNKNOWN
from hat_etl.target.rowhash import Hashes
from hat_etl.target.rows import Exceptions, Span
from hat_etl.transform.texts import Mask


class HatSide:
    """The rows of HAT of one range, by ascending Recno, with their hashes."""

    def __init__(self, recnos: Recnos, hashes: Hashes) -> None:
        self.recnos, self._hashes = recnos, hashes
        self._seen = np.zeros(recnos.size, dtype=bool)

    @classmethod
    def with_exceptions(cls, found: tuple[Recnos, Hashes], exceptions: Exceptions, span: Span) -> HatSide:
        """The rows by the Recno of the live row behind them."""
        recnos, hashes = found
        if exceptions.recnos.size:
            usual = ~_places(recnos, exceptions.recnos[_within(exceptions.recnos, span)])
            moved = _within(exceptions.backing, span) & ~exceptions.kept
            recnos = np.concatenate([recnos[usual], exceptions.backing[moved]])
            hashes = np.concatenate([hashes[usual], exceptions.hashes[moved]])
            order = np.argsort(recnos, kind="stable")
            recnos, hashes = recnos[order], hashes[order]
        return cls(recnos, hashes)

    def look_up(self, recnos: Recnos, hashes: Hashes) -> tuple[Mask, Mask]:
        """Which of the ERP's rows are there, and which are equal."""
        places, there = self._find(recnos)
        self._seen[places[there]] = True
        if not self.recnos.size:
            return there, there
        return there, there & (self._hashes[places] == hashes)

    def meet(self, recnos: Recnos) -> bool:
        """Note that the ERP shows these rows; False when it has shown one of them before."""
        places, there = self._find(recnos)
        met = places[there]
        new = not self._seen[met].any() and np.unique(met).size == met.size
        self._seen[met] = True
        return new

    def _find(self, recnos: Recnos) -> tuple[Recnos, Mask]:
        """The place of each Recno, and whether it is there."""
        if not self.recnos.size:
            return np.zeros(recnos.size, dtype=np.int64), np.zeros(recnos.size, dtype=bool)
        places = np.minimum(np.searchsorted(self.recnos, recnos), self.recnos.size - 1)
        there: Mask = self.recnos[places] == recnos
        return places, there

    def unseen(self) -> tuple[Recnos, Hashes]:
        """Rows that nobody looked up; a row of the ERP that has met another one of its Recno may be good."""
        recnos = self.recnos[~self._seen]
        had = self._seen[np.searchsorted(self.recnos, recnos)]
        return recnos, np.where(had, UNKNOWN, NOT_GOOD)


def _within(recnos: Recnos, span: Span) -> Mask:
    inside = np.ones(recnos.size, dtype=bool)
    if span.low is not None:
        inside &= recnos >= span.low
    if span.high is not None:
        inside &= recnos <= span.high
    return inside


def _places(recnos: Recnos, wanted: Recnos) -> Mask:
    """Where the ``wanted`` stand among sorted ``recnos``, each at a place of its own.

    Which one of several rows with one ``source_recno`` that is does not matter: the second look tells them apart.
    """
    wanted = np.sort(wanted)
    places = np.searchsorted(recnos, wanted) + np.arange(wanted.size) - np.searchsorted(wanted, wanted)
    inside = places < recnos.size
    places, wanted = places[inside], wanted[inside]
    found = np.zeros(recnos.size, dtype=bool)
    found[places[recnos[places] == wanted]] = True
    return found
