"""What python-oracledb's errors mean for a run.

Drivers quote values and addresses; only the codes in their messages are used.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"\b(?:ORA|DPY|DPI|TNS)-\d{4,5}\b")

_CLOSED = "DPY-4011"
"""The driver's word for a connection that is gone, in front of the server's own where that has said why."""
_DEAD = {
    _CLOSED, "DPY-1001", "ORA-00028", "ORA-01012", "ORA-02396", "ORA-02399", "ORA-03113", "ORA-03114", "ORA-03135",
    "ORA-12537", "ORA-12547", "ORA-12570", "ORA-25401", "ORA-25408",
}  # fmt: skip
_EXPIRED = {"ORA-01555", "ORA-08176", "ORA-08180", "ORA-08181"}
NO_FLASHBACK = frozenset({"ORA-01031", "ORA-00942", "ORA-00904", "ORA-06550", "ORA-12850", "ORA-41900"})
"""Codes by which a server refuses to tell or to show a moment of the past."""
CHANGED = "ORA-01466"
"""A table or view was redefined since the moment that is asked for."""
TIMED_OUT = "DPY-4024"

_SHORT = {
    TIMED_OUT, "ORA-00018", "ORA-00020", "ORA-00040", "ORA-00054", "ORA-00376", "ORA-01000", "ORA-01013", "ORA-01033",
    "ORA-01034", "ORA-01090", "ORA-01115", "ORA-01219", "ORA-01652", "ORA-02392", "ORA-02393", "ORA-02394", "ORA-02395",
    "ORA-04020", "ORA-04021", "ORA-04030", "ORA-04031", "ORA-04036", "ORA-07455", *_EXPIRED,
}  # fmt: skip
"""Codes by which a server says that it lacks something, or ends a statement that takes too much of it."""

_LOCKED_OUT = {"ORA-01017", "ORA-01045", "ORA-28000", "ORA-28001", "ORA-28150"}

TOO_LARGE = "DPY-4042"
"""A number does not fit the decimal that was asked for."""


def codes(error: Exception) -> list[str]:
    """The codes in an error's message, the driver's own first."""
    return list(dict.fromkeys(_CODE.findall(str(error))))


def told(error: Exception) -> list[str]:
    """The codes by which an error may be told: that a connection is gone only where the server has not said why."""
    found = codes(error)
    return [name for name in found if name != _CLOSED] if any(name.startswith("ORA-") for name in found) else found


def code(error: Exception) -> str:
    """The code by which an error is told: the server's where there is one."""
    found = told(error)
    return found[0] if found else type(error).__name__


def cause(error: Exception) -> str:
    """The code of an error, and what it means where that is the driver's own word."""
    found = code(error)
    return f"{found}: no answer within the time for one call" if found == TIMED_OUT else found


def is_dead(error: Exception) -> bool:
    """Whether the connection is gone, and another one could go on in its place."""
    return isinstance(error, OSError) or not _DEAD.isdisjoint(codes(error))


def is_locked_out(error: Exception) -> bool:
    """Whether the login itself is refused, as it would be again: some servers count that, and lock the account."""
    return not _LOCKED_OUT.isdisjoint(codes(error))


def is_short(error: Exception) -> bool:
    """Whether the server lacks time, room or memory, or is closing down, whatever it was asked."""
    return not _SHORT.isdisjoint(codes(error))


def is_expired(error: Exception) -> bool:
    """Whether the moment that was asked for can no longer be shown."""
    return not _EXPIRED.isdisjoint(codes(error))
