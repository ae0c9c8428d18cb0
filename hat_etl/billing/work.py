"""Many lots at a time, and what a stage of the loop reports."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from hat_etl.errors import HatApiError, HatEtlError, OperatorError
from hat_etl.hat_api.bodies import ItemT, Page

WorkT = TypeVar("WorkT")

_DOWN_AFTER = 3


@dataclass
class StageReport:
    """What a stage did, in lots; ``problems`` keep no other lot from going on. Threads may share it."""

    tenant: str
    stage: str
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[HatEtlError] = field(default_factory=list)
    seconds: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)
    _begun: float = field(default_factory=time.monotonic, repr=False)

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def problem(self, error: HatEtlError) -> None:
        with self._lock:
            self.problems.append(error)

    def finish(self) -> StageReport:
        self.seconds = time.monotonic() - self._begun
        return self

    def as_dict(self) -> dict[str, Any]:
        """The report as it stands in ``--json`` output."""
        return {
            "tenant": self.tenant,
            "stage": self.stage,
            "counts": dict(sorted(self.counts.items())),
            "problems": [problem.as_dict() for problem in self.problems],
            "seconds": round(self.seconds, 3),
        }


class Breaker:
    """Notices that a server is down, so that a stage does not try it for every lot."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures = 0
        self.why = ""
        """What was met last."""

    @property
    def is_open(self) -> bool:
        """Whether the stage should leave the rest for later."""
        return self._failures >= _DOWN_AFTER

    def note(self, *, down: bool, why: str = "") -> None:
        with self._lock:
            self._failures = self._failures + 1 if down else 0
            if down:
                self.why = why or self.why

    def problem(self, tenant: str) -> OperatorError:
        """What is to be told of it."""
        return OperatorError(
            f"The operator's service cannot be reached, or takes nothing ({self.why}); the rest waits for a later run.",
            f"See that it is up, and that addresses and login are right: hat-etl doctor {tenant}",
            tenant,
        )


def each(items: Iterable[WorkT], work: Callable[[WorkT], None], workers: int) -> None:
    """Do ``work`` on every item, so many at a time; an error lets no more begin, and is raised when all have ended."""
    with ThreadPoolExecutor(workers) as pool:
        going: set[Future[None]] = set()
        try:
            for item in items:
                if len(going) >= 2 * workers:
                    ended, going = wait(going, return_when=FIRST_COMPLETED)
                    for future in ended:
                        future.result()
                going.add(pool.submit(work, item))
            for future in going:
                future.result()
        except BaseException:
            for future in going:
                future.cancel()
            raise


def waiting(
    listed: Callable[[int], Page[ItemT]], name: Callable[[ItemT], Hashable], report: StageReport, broken: str
) -> Iterator[list[ItemT]]:
    """What waits in HAT, the new items of a page at a time, each to be taken before the next are asked for.

    What is taken leaves the list, so that the next items move up to the page that was read: it is read again until it
    brings nothing new. ``broken`` tells what its unreadable items are; they are reported and hide no other.
    """
    page, seen = 1, set[Hashable]()
    while True:
        found = listed(page)
        new = [item for item in found.items if name(item) not in seen]
        seen.update(map(name, new))
        if new:
            yield new
            continue
        if found.broken:
            report.problem(
                HatApiError(
                    f"HAT lists {found.broken} {broken} on page {page}.",
                    "Have them mended in HAT; they cannot be taken as they are.",
                    report.tenant,
                )
            )
        if not found.has_next or not (found.items or found.broken):
            return
        page += 1
