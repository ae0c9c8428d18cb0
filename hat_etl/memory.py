"""How much memory a run has taken."""

from __future__ import annotations

import resource
from pathlib import Path

_helpers: list[float] = []


def peak_mib() -> float:
    """The most memory that this process has held, and beside it the largest of its helpers, in MiB."""
    own = _high_water_mark("self")
    if own is None:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return own + max(_helpers, default=0.0)


def note_helper(pid: int) -> None:
    """Remember what a process, which works for this one and is about to end, has held."""
    _helpers.append(_high_water_mark(str(pid)) or 0.0)


def _high_water_mark(process: str) -> float | None:
    """Linux's own, of the address space: the one that getrusage tells begins with the parent's size."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return None
