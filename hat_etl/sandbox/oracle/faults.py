"""What can be made to go wrong while a statement is answered, and at which of its rows."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


class Reset(Exception):
    """The connection is torn down at once (TCP RST)."""


class HangUp(Exception):
    """The connection is closed in good order, in the middle of the call."""


class CutOff(Exception):
    """The answer breaks off within a row."""


class Silence(Exception):
    """Nothing is answered any more, and the connection stays."""


class EndEarly(Exception):
    """The rows end, and the server says that they are complete."""


@dataclass(frozen=True)
class Overwrite:
    """One value of the row is another: what PostgreSQL would write, or None for NULL."""

    column: int
    value: bytes | None


@dataclass(frozen=True)
class Hold:
    """The rows stop here until somebody lets them go on."""

    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class Fault:
    """``what`` happens at row ``row`` (from 0) of the statements that hold the text ``on``, so many ``times``.

    Several at one row happen in the order in which they were planted.
    """

    on: str
    row: int
    what: Exception | Overwrite | Hold
    times: int = 1


class Faults:
    """The faults that are planted in one server."""

    def __init__(self) -> None:
        self._planted: list[Fault] = []
        self._lock = threading.Lock()

    def plant(self, fault: Fault) -> None:
        with self._lock:
            self._planted.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._planted.clear()

    def of(self, sql: str) -> list[Fault]:
        """Those that concern a statement."""
        with self._lock:
            return [fault for fault in self._planted if fault.on.upper() in sql.upper()]

    def strike(self, fault: Fault) -> bool:
        """Whether the fault happens now; each time is used up."""
        with self._lock:
            if fault.times <= 0:
                return False
            fault.times -= 1
            return True

    def strike_at_once(self, sql: str) -> None:
        """Let happen what is planted for a statement that has no rows."""
        for fault in self.of(sql):
            if not isinstance(fault.what, Overwrite) and self.strike(fault):
                happen(fault.what)


def happen(what: Exception | Hold) -> None:
    """Raise it, or wait until it lets go."""
    if isinstance(what, Exception):
        raise what
    what.reached.set()
    what.go_on.wait()
