"""Progress of a load on a terminal: bars per table when somebody watches, plain lines otherwise."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from hat_etl.sync.run import Progress as LoadProgress
from hat_etl.sync.run import Silent

LINE_EVERY = 10.0
"""Seconds between plain progress lines."""


class _Unfailing:
    """A stream for whoever watches: what it cannot take is lost, for a full disk or a closed pipe ends no run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} rows/s")


class _Bars:
    """One bar a table and one for all; a table's bar goes when its estimate is reached."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._all = bars.add_task("all tables", total=0)

    def planned(self, table: str, estimated_rows: int) -> None:
        self._tasks[table] = self._bars.add_task(table, total=estimated_rows, visible=False)
        self._bars.update(self._all, total=(self._bars.tasks[self._all].total or 0) + estimated_rows)

    def advanced(self, table: str, rows: int) -> None:
        task = self._tasks[table]
        self._bars.update(task, advance=rows, visible=True)
        self._bars.update(self._all, advance=rows)

    def phase(self, name: str) -> None:
        self._bars.update(self._all, description=name)


class _Lines:
    """A line for each phase, and one every ten seconds with what was read."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._estimated = 0
        self._read: dict[str, int] = {}
        self._started = self._last = time.monotonic()

    def planned(self, table: str, estimated_rows: int) -> None:
        self._estimated += estimated_rows

    def advanced(self, table: str, rows: int) -> None:
        with self._lock:
            self._read[table] = self._read.get(table, 0) + rows
            now = time.monotonic()
            if now - self._last < LINE_EVERY:
                return
            self._last = now
            total = sum(self._read.values())
            rate = total / (now - self._started)
            left = max(0, self._estimated - total) / rate if rate else 0
        share = 100 * total / self._estimated if self._estimated else 100
        self._say(f"{total:,} rows read ({share:.0f} %), {rate:,.0f} rows/s, about {left:.0f} s left; now {table}")

    def phase(self, name: str) -> None:
        self._say(name)

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


@contextmanager
def watching(*, quiet: bool) -> Iterator[LoadProgress]:
    """The progress that fits stderr: nothing, bars, or lines."""
    if quiet or sys.stderr is None:
        yield Silent()
        return
    stream = cast(TextIO, _Unfailing(sys.stderr))
    console = Console(file=stream)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} rows"))
        with Progress(*columns, _Rate(), TimeRemainingColumn(), console=console, transient=True) as bars:
            yield _Bars(bars)
    else:
        yield _Lines(stream)
