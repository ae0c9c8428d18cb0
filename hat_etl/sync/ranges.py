"""Ranges of Recno in which a view is read: how many, and what part of a HAT table belongs to each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hat_etl.source.reader import Range, ViewShape
from hat_etl.target.rows import Span

RANGE_ROWS = 1_000_000
"""Rows of one range, about: for each of them, the hash of HAT's row is in memory while the range is read."""
JOINED_RANGE_ROWS = 4_000_000
"""The same for a view that reads its second table whole for every range."""
SPLIT_ROWS = 100_000
"""Rows from which on a view is read whole on all connections at once."""

STAGED_BREADTH = 250_000
"""Recnos that a range of a load covers at the least: what a broken load repeats at the most, per connection."""
MOST_STAGED = 400
"""Ranges of a load, per table."""


def parts_of(shape: ViewShape, connections: int) -> int:
    """In how many ranges a view is read whole."""
    rows = JOINED_RANGE_ROWS if len(shape.entity.reads) > 1 else RANGE_ROWS
    together = connections if shape.estimated_rows >= SPLIT_ROWS else 1
    return max(-(-shape.estimated_rows // rows), together)


def span_of(range_: Range | None, bounds: Range | None) -> Span:
    """HAT's side of a range: the first and the last one reach to the end of all numbers."""
    if range_ is None or bounds is None:
        return Span(None, None)
    return Span(
        None if range_.low == bounds.low else range_.low,
        None if range_.high == bounds.high else range_.high,
    )


def unstaged(shape: ViewShape, bounds: Range | None, staged: Sequence[Range], connections: int) -> list[Range]:
    """The ranges in which a load has yet to read a view, of which it has the ``staged`` ones."""
    found = []
    for gap in _uncovered(bounds, sorted(staged, key=lambda range_: range_.low)):
        parts = min(MOST_STAGED, -(-(gap.high - gap.low + 1) // STAGED_BREADTH))
        if len(shape.entity.reads) > 1:
            # A joined view reads its second table whole for every range: no more ranges than connections.
            parts = min(parts, connections)
        found += gap.split(parts)
    return found


def _uncovered(bounds: Range | None, staged: Sequence[Range]) -> Iterator[Range]:
    """The parts of ``bounds`` outside the ``staged`` ranges, which are sorted and do not overlap."""
    if bounds is None:
        return
    low = bounds.low
    for range_ in staged:
        if range_.low > bounds.high:
            break
        if range_.low > low:
            yield Range(low, range_.low - 1)
        low = max(low, range_.high + 1)
    if low <= bounds.high:
        yield Range(low, bounds.high)
