"""Where runs live, for ``dagster.yaml`` has no conditionals; and how the daemon finds out that one is gone.

Dagster's own launcher of processes leaves that to the code server that has started the process. Where that is killed,
too, or has lost Dagster's database for a moment, nobody would notice: the run would seem to go on for ever, and its
tenant to be busy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil
from dagster import DagsterRun
from dagster._config.config_schema import UserConfigSchema
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData

BROKER_VARIABLE = "HAT_ETL_BROKER"
"""Address of the Redis or Valkey through which workers are told of runs."""
_SLACK = 5.0
"""Seconds by which the clock that dates processes may differ from that which dates events."""


class HatLauncher(RunLauncher, ConfigurableClass):
    """Runs on workers when HAT_ETL_BROKER is set, else as processes of the code server.

    Never itself an instance: Dagster asks the class for the launcher that its settings stand for.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # the base promises an instance of the class itself
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> RunLauncher:
        if broker := os.environ.get(BROKER_VARIABLE):
            from hat_etl.orchestration.workers import WorkerLauncher

            return WorkerLauncher.to(broker, inst_data)
        return LocalRunLauncher(inst_data)


class LocalRunLauncher(DefaultRunLauncher):
    """Looks for the process of a run. The daemon must see the code server's processes: same machine, same container."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING as long as a process may be that of the run, else NOT_FOUND, on which the daemon fails the run."""
        for entry in reversed(self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)):
            if (pid := _process_of(entry.dagster_event)) is not None:
                return CheckRunHealthResult(*_look(pid, entry.timestamp))
        return CheckRunHealthResult(WorkerStatus.RUNNING, "Its process has not said its number yet.")


def _process_of(event: DagsterEvent | None) -> int | None:
    """The number of the process that the event tells of, where it tells of one."""
    data = event.event_specific_data if event is not None else None
    told = data.metadata.get("pid") if isinstance(data, EngineEventData) else None
    return int(str(told.value)) if told is not None else None


def _look(pid: int, told_at: float) -> tuple[WorkerStatus, str]:
    """Whether the process that has told its number at ``told_at`` (seconds since 1970) is still there."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # One that began later has the number of one that is gone.
        if process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= told_at + _SLACK:
            return WorkerStatus.RUNNING, f"Process {pid} goes on."
    return WorkerStatus.NOT_FOUND, f"Process {pid} is gone: it was killed, or its machine was started again."
