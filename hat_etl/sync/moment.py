"""One moment of the ERP for all that a run reads, and a new one for all of it where the ERP cannot keep the first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from hat_etl.source.reader import Snapshot, Source
from hat_etl.source.refusals import SnapshotExpired
from hat_etl.sync.run import Progress

T = TypeVar("T")

MOMENTS = 5
"""How many moments a run tries before it gives up."""


def at_one_moment(source: Source, progress: Progress, read: Callable[[Snapshot], T], expected_rows: int = 0) -> T:
    """What ``read`` gives. It is called again, with a snapshot of a new moment, when the last one has expired.

    ``read`` must then begin anew, for rows of two moments do not go together. Raises SnapshotExpired in
    the end. ``expected_rows`` is Source.snapshot's.
    """
    for moment in count(1):
        try:
            with source.snapshot(expected_rows) as snapshot:
                return read(snapshot)
        except SnapshotExpired:
            if moment == MOMENTS:
                raise
            progress.phase("beginning anew: the ERP can no longer show the moment that was read")
    raise AssertionError("unreachable")
