"""Commands as processes of their own, forked from one that has the imports done: that is all it saves.

Each is a real process with a number of its own, which a test can kill; its output goes to files.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE = 120.0
STACKS = 2.0

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "hat_etl.cli.main", *(
    f"hat_etl.cli.{name}" for name in ("load", "sync", "ledger", "doctor", "views", "tenant", "sandbox")
)])  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a command left: exit code (negative: killed by that signal) and output."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON that the command printed."""
        return json.loads(self.out)


class Command:
    """A ``hat-etl`` command that runs. ``prepare`` is called in its process before it begins."""

    def __init__(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], prepare: Callable[[], None] | None = None
    ) -> None:
        self.arguments = arguments
        self._folder = tempfile.TemporaryDirectory(prefix="command")
        self._process = FORKS.Process(target=_run, args=(arguments, dict(environment), self._folder.name, prepare))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Result:
        """Its result, when it has ended."""
        self._process.join(DEADLINE)
        if self._process.is_alive():
            self.signal(signal.SIGUSR2)  # where it stands
            self._process.join(STACKS)
            self._process.kill()
            self._process.join()
            raise AssertionError(f"{self.arguments} did not end:\n{self._read('err')}")
        result = Result(self._process.exitcode or 0, self._read("out"), self._read("err"))
        self._folder.cleanup()
        return result

    def _read(self, name: str) -> str:
        path = Path(self._folder.name) / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


def without_room(*descriptors: int) -> None:
    """Give it to ``Command`` as ``prepare``: what it writes to these descriptors finds a full disk."""
    for descriptor in descriptors:
        os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)


def without_reader(*descriptors: int) -> None:
    """Give it to ``Command`` as ``prepare``: nobody reads the pipe that these descriptors lead to."""
    reader, writer = os.pipe()
    os.close(reader)
    for descriptor in descriptors:
        os.dup2(writer, descriptor)


def _run(
    arguments: tuple[str, ...], environment: dict[str, str], folder: str, prepare: Callable[[], None] | None
) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    faulthandler.register(signal.SIGUSR2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["hat-etl", *arguments]
    from hat_etl.cli.main import main

    if prepare is not None:
        prepare()
    main()
