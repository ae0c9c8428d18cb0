"""HAT and the operator of the sandbox as processes that outlive who started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Service:
    """A process that serves ``url``; ``started`` tells it from another one that has its number by now."""

    pid: int
    url: str
    started: float

    @property
    def is_running(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def stop(self) -> None:
        """End it."""
        if not self.is_running:
            return
        process = psutil.Process(self.pid)
        os.kill(self.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()


def start(module: str, arguments: Sequence[str]) -> Service:
    """Run ``python -m module`` and wait for the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        raise RuntimeError(f"{module} did not start: exit code {process.wait()}")
    return Service(process.pid, url, psutil.Process(process.pid).create_time())


def remember(file: Path, services: dict[str, Service]) -> None:
    """Write down which services run."""
    file.write_text(json.dumps({name: asdict(service) for name, service in services.items()}), encoding="utf-8")


def remembered(file: Path) -> dict[str, Service]:
    """The services that were written down, running or not."""
    if not file.exists():
        return {}
    return {name: Service(**fields) for name, fields in json.loads(file.read_text(encoding="utf-8")).items()}
