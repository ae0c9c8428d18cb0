"""Runs that stand still at a named step, for as long as a test wants: what happens then, happens at that step."""

from __future__ import annotations

import importlib
import os
from contextlib import nullcontext

from .commands import DEADLINE, FORKS


class Phase:
    """Stops a run where it tells that it begins the step ``name``: give it to ``Ground.start`` as ``prepare``."""

    def __init__(self, name: str, command: str = "sync") -> None:
        self.name, self._command = name, command
        self._reached, self._go_on = FORKS.Event(), FORKS.Event()

    def await_reached(self) -> None:
        assert self._reached.wait(DEADLINE), f"the {self._command} never came to {self.name!r}"

    def go_on(self) -> None:
        self._go_on.set()

    def __call__(self) -> None:
        """In the process of the run: stand where it tells its progress."""
        module = importlib.import_module(f"hat_etl.cli.{self._command}")
        module.watching = lambda *, quiet: nullcontext(_Standing(self))  # type: ignore[attr-defined]

    def stand(self) -> None:
        """In the process of the run, which ends with the test that forgot it."""
        self._reached.set()
        if not self._go_on.wait(DEADLINE):
            os._exit(99)


class _Standing:
    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def planned(self, table: str, estimated_rows: int) -> None: ...

    def advanced(self, table: str, rows: int) -> None: ...

    def phase(self, name: str) -> None:
        if name == self._phase.name:
            self._phase.stand()
