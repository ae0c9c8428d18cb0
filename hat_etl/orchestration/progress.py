"""Progress of a load in the log of a Dagster run: every line is an event written to storage, so they are few."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class LogProgress:
    """Says each phase, and what was read at most once in ``every`` seconds.

    A line is said by the thread that has just taken a batch in; the others do not wait for it.
    """

    def __init__(
        self, say: Callable[[str], None], every: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._every, self._clock = say, every, clock
        self._lock = threading.Lock()
        self._estimated: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._started = self._last = clock()

    def planned(self, table: str, estimated_rows: int) -> None:
        self._estimated[table] = estimated_rows

    def advanced(self, table: str, rows: int) -> None:
        with self._lock:
            self._read[table] = self._read.get(table, 0) + rows
            now = self._clock()
            if now - self._last < self._every:
                return
            self._last = now
            line = self._line(table, now - self._started)
        self._say(line)

    def phase(self, name: str) -> None:
        self._say(f"Now: {name}.")

    def _line(self, table: str, seconds: float) -> str:
        read, estimated = sum(self._read.values()), sum(self._estimated.values())
        rate = read / seconds
        left = f", about {max(0, estimated - read) / rate:.0f} s left" if rate else ""
        share = f" ({min(100, 100 * read / estimated):.0f} %)" if estimated else ""
        return (
            f"{read:,} of about {estimated:,} rows read{share}, {rate:,.0f} rows/s{left};"
            f" in {table} {self._read[table]:,} of about {self._estimated.get(table, 0):,}."
        )
