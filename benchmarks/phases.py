"""A sync of tenant ``demo`` that prints its seconds, and how many of them the tenant database took."""

from __future__ import annotations

import gc

gc.disable()  # while modules are imported, as the command line does

import argparse  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402

from hat_etl.sync.incremental import sync  # noqa: E402
from hat_etl.sync.request import SyncRequest  # noqa: E402
from hat_etl.tenants import store  # noqa: E402

gc.freeze()
gc.enable()


class Clock:
    """Watches a run and notes when each phase begins."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, float]] = []

    def planned(self, table: str, estimated_rows: int) -> None: ...

    def advanced(self, table: str, rows: int) -> None: ...

    def phase(self, name: str) -> None:
        self.phases.append((name, time.monotonic()))

    def between(self, first: str, last: str) -> float:
        """Seconds from the beginning of one phase to that of another."""
        began = dict(reversed(self.phases))
        return began[last] - began[first]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    clock = Clock()
    report = sync(store.load("demo"), SyncRequest(tuple(arguments.only), arguments.full, accept=True), clock)
    target = clock.between("merging", "committed")
    print(json.dumps({"seconds": report.seconds, "target": target, "peak_mib": report.peak_mib}))
