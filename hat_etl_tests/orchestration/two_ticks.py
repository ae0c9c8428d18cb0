"""Two ticks of each sensor as the daemon makes them, in a process of its own that may kill itself half-way.

``python -m hat_etl_tests.orchestration.two_ticks [MOMENT]``: one of those that Dagster's own tests know.
"""

from __future__ import annotations

import logging
import signal
import sys
import time

import dagster as dg
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from hat_etl.orchestration.schedules import NAME

TARGET = ModuleTarget("hat_etl.definitions", attribute=None, working_directory=None, location_name="hat_etl")


def main() -> None:
    deadly = {NAME: {sys.argv[1]: signal.SIGKILL.value}} if sys.argv[1:] else None
    with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, TARGET) as workspace:
        for _ in range(2):
            half_a_minute_later(instance)
            for error in execute_sensor_iteration(workspace, logging.getLogger("tick"), None, None, None, deadly):
                assert error is None, error


def half_a_minute_later(instance: dg.DagsterInstance) -> None:
    """The sensors may tick again: they remember when they last did."""
    for state in instance.all_instigator_state():
        data = state.instigator_data
        assert isinstance(data, SensorInstigatorData)
        instance.update_instigator_state(
            state.with_data(data._replace(last_tick_start_timestamp=time.time() - 100, last_tick_timestamp=None))
        )


if __name__ == "__main__":
    main()
