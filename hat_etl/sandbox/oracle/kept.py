"""Results that were sent once and are kept as they travelled: sent again they cost next to nothing.

For measuring clients: what takes time is then theirs. A kept result is that of the first moment it was asked of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hat_etl.sandbox.oracle.messages import ResultColumn
from hat_etl.sandbox.oracle.translation import Query


@dataclass
class Result:
    """What the columns of a query are, and its rows, each as the message that it travels in."""

    columns: tuple[ResultColumn, ...]
    messages: list[bytes] = field(default_factory=list)


class Results:
    """What is kept, by query without its moment."""

    def __init__(self) -> None:
        self._results: dict[str, Result] = {}

    def find(self, query: Query) -> Result | None:
        return self._results.get(query.sql)

    def keeping(self, query: Query, columns: tuple[ResultColumn, ...], messages: Iterator[bytes]) -> Iterator[bytes]:
        """The same messages, which are kept when the last one has been taken."""
        result = Result(columns)
        for message in messages:
            result.messages.append(message)
            yield message
        self._results[query.sql] = result
