"""A run whose process is gone is found out, and one whose process goes on is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.dagster_run import DagsterRunStatus

from hat_etl.definitions import defs


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be killed."""
    made = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield made
    made.kill()
    made.wait()


def run_in(instance: dg.DagsterInstance, pid: int, said: float | None = None) -> dg.DagsterRun:
    """A run whose process has said its number, now or in the second ``said``."""
    job = defs.resolve_job_def("incremental_sync")
    run = instance.create_run_for_job(job, tags={"dagster/partition": "acme"}, status=DagsterRunStatus.STARTED)
    number = dg.DagsterEvent("ENGINE_EVENT", run.job_name, event_specific_data=EngineEventData.in_process(pid))
    instance.report_dagster_event(number, run.run_id, timestamp=said)
    instance.report_engine_event("Something else.", run)
    return run


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    assert instance.run_launcher.supports_check_run_worker_health
    return instance.run_launcher.check_run_worker_health(run).status


def test_a_run_goes_on_as_long_as_its_process(instance: dg.DagsterInstance, process: subprocess.Popen[bytes]) -> None:
    run = run_in(instance, process.pid)
    assert health(instance, run) == WorkerStatus.RUNNING
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert health(instance, run) == WorkerStatus.NOT_FOUND, "dead, though its parent has not taken notice yet"
    process.wait()
    assert health(instance, run) == WorkerStatus.NOT_FOUND


def test_a_later_process_with_the_same_number_is_another_one(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    run = run_in(instance, process.pid, said=time.time() - 3600)
    assert health(instance, run) == WorkerStatus.NOT_FOUND


def test_a_run_that_has_not_said_its_number_is_left_alone(instance: dg.DagsterInstance) -> None:
    job = defs.resolve_job_def("incremental_sync")
    run = instance.create_run_for_job(job, tags={"dagster/partition": "acme"}, status=DagsterRunStatus.STARTED)
    assert health(instance, run) == WorkerStatus.RUNNING
