"""The daemon with its code server as a service: a process that is started again when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import dagster as dg
import psutil
from dagster import RunsFilter
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from hat_etl.definitions import defs
from hat_etl_tests.orchestration.conftest import ROOT

DEADLINE = 300.0
MODULE = "hat_etl.definitions"


class Daemon:
    """``kill`` is what a crash of the machine does: daemon, code server and runs are gone, all at once."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __enter__(self) -> Self:
        self._process = self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait as the service manager would: a daemon that has ended is started again."""
        end = time.monotonic() + DEADLINE
        while not condition():
            if self._process.poll() is not None:
                self._process = self._start()
            assert time.monotonic() < end, f"not in {DEADLINE:.0f} s: {what}\n{self.log.read_text()[-5000:]}"
            time.sleep(0.05)

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def launch(instance: dg.DagsterInstance, job: str, tenant: str | None = None) -> str:
    """Queue a run for the daemon, as if a person had launched it; gives its id."""
    return queue(instance, job, {"dagster/partition": tenant} if tenant else {}).run_id


def queue(
    instance: dg.DagsterInstance,
    job: str,
    tags: Mapping[str, str],
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.QUEUED,
) -> dg.DagsterRun:
    """A run that the daemon can launch; made without a code server, which would take ten seconds of a core."""
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name=MODULE), location_name="hat_etl")
    code = RepositoryPythonOrigin(
        sys.executable, ModuleCodePointer(MODULE, "defs"), entry_point=[sys.executable, "-m", "dagster"]
    )
    return instance.create_run_for_job(
        defs.resolve_job_def(job),
        tags=tags,
        status=status,
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job),
        job_code_origin=JobPythonOrigin(job, code),
    )


def run_process(instance: dg.DagsterInstance) -> psutil.Process | None:
    """The process of the run that goes on, if there is one."""
    return next(iter(run_processes(instance).values()), None)


def run_processes(instance: dg.DagsterInstance) -> dict[str, psutil.Process]:
    """Run to its process, of all that go on."""
    found = {}
    for run in instance.get_runs(RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            message = entry.dagster_event.message if entry.dagster_event is not None else None
            if message and message.startswith("Started process for run (pid: "):
                found[run.run_id] = psutil.Process(int(message.partition("pid: ")[2].partition(")")[0]))
    return found
