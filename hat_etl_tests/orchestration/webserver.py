"""What ``make ui`` opens: web server and daemon in processes of their own.

SIGINT is given back to its default in the child: started with SIGINT ignored, as shells start background jobs,
``dagster dev`` would copy that to SIGTERM and could not be stopped.
"""

from __future__ import annotations

import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import IO, Any

from hat_etl_tests.orchestration.conftest import ROOT

DEADLINE = 300.0


@dataclass
class Ui:
    """A running ``dagster dev``, whose lines of output are waited for."""

    process: subprocess.Popen[str]
    lines: queue.Queue[str]
    address: str = ""
    seen: list[str] = field(default_factory=list)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of output, old or to come, that holds ``pattern``."""
        end = time.monotonic() + DEADLINE
        for number in count():
            if number == len(self.seen):
                try:
                    self.seen.append(self.lines.get(timeout=max(0, end - time.monotonic())))
                except queue.Empty:
                    break
            if found := re.search(pattern, self.seen[number]):
                return found
        raise AssertionError(f"no line with {pattern!r} in:\n{''.join(self.seen)}")

    def wait_until_it_listens(self) -> None:
        """The web server announces its address a moment before it is there."""
        host, port = self.address.removeprefix("http://").split(":")
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection((host, int(port))).close()
                return
            except ConnectionRefusedError:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.05)
        raise AssertionError(f"nobody listens on {self.address}")

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            document = json.load(answer)
        assert "errors" not in document, document
        return document["data"]


@contextmanager
def opened() -> Iterator[Ui]:
    """With the settings and tenants of the environment."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_pass_on, args=(process.stdout, lines))
    reader.start()
    try:
        ui = Ui(process, lines)
        ui.address = ui.wait_for(r"Serving dagster-webserver on (http://127\.0\.0\.1:\d+)")[1]
        ui.wait_until_it_listens()
        yield ui
    finally:
        process.terminate()
        process.wait(DEADLINE)
        reader.join(DEADLINE)


def _pass_on(output: IO[str], lines: queue.Queue[str]) -> None:
    for line in output:
        lines.put(line)
