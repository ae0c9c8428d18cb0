"""How badly the sandbox's operator behaves, by parameter and in the same way each time."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from enum import StrEnum


class Mishap(StrEnum):
    """What goes wrong with one request."""

    NONE = "none"
    FAIL = "fail"
    """HTTP 503 of a gateway, without having acted."""
    FAULT = "fault"
    """A SOAP fault ErroInesperadoServidor, without having acted."""
    LOSE_REPLY = "lose_reply"
    """Acts, then cuts the connection without an answer."""
    CUT_REPLY = "cut_reply"
    """Acts, then cuts the connection in the middle of the answer."""
    GARBLE_REPLY = "garble_reply"
    """Acts, and answers with a page that is no message of the standard."""
    BLACK_HOLE = "black_hole"
    """Takes the request and never answers, without having acted."""


@dataclass(frozen=True)
class Odds:
    """Shares of requests, each from 0 to 1, that go wrong; ``delay`` in seconds is added to all."""

    fail: float = 0.0
    fault: float = 0.0
    lose_reply: float = 0.0
    cut_reply: float = 0.0
    garble_reply: float = 0.0
    black_hole: float = 0.0
    delay: float = 0.0


class Behaviour:
    """Decides what goes wrong: first what was planned, then by the odds."""

    def __init__(self, odds: Odds | None = None, seed: int = 1) -> None:
        self.odds = odds or Odds()
        self._planned: list[Mishap] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def plan(self, *mishaps: Mishap) -> None:
        """What happens to the next requests, in this order."""
        with self._lock:
            self._planned += mishaps

    def next(self) -> Mishap:
        """What happens to the request that came now."""
        with self._lock:
            if self._planned:
                return self._planned.pop(0)
            drawn = self._random.random()
        for mishap in Mishap:
            if mishap is not Mishap.NONE:
                drawn -= getattr(self.odds, mishap.value)
                if drawn < 0:
                    return mishap
        return Mishap.NONE
