"""The side of the workers: ``celery -A hat_etl.orchestration.worker worker -Q dagster`` executes runs.

Everything that a run needs is imported once, here; each run is a fork of this process and has one of its own, so that
none finds what an earlier one has left, and a run that dies takes nothing with it.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Task
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import unpack_value
from dagster._utils.interrupts import capture_interrupts
from dagster_celery.config import DEFAULT_CONFIG
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task

from hat_etl.errors import ConfigurationError
from hat_etl.orchestration.launcher import BROKER_VARIABLE
from hat_etl.orchestration.workers import NO_RESULTS, ended_when_unwanted, held

PRELOADED = (
    "hat_etl.billing.deliver",
    "hat_etl.billing.poll",
    "hat_etl.billing.pull",
    "hat_etl.billing.push",
    "hat_etl.definitions",
    "hat_etl.source.postgresql",
    "hat_etl.sync.incremental",
    "hat_etl.sync.load",
    "hat_etl.sync.reconcile",
    "hat_etl.sync.undo",
    "hat_etl.target.standing",
)


class Run(Task):  # type: ignore[misc]  # Celery has no types
    """The execution of one run, once."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        run_id = unpack_value(settings["execute_job_args_packed"], as_type=ExecuteRunArgs).run_id
        with capture_interrupts(), held(run_id) as is_ours:
            # The broker brings a run again that takes longer than an hour.
            if is_ours:
                with ended_when_unwanted(run_id):
                    return super().__call__(*arguments, **settings)
        return None


def _broker() -> str:
    if not (url := os.environ.get(BROKER_VARIABLE)):
        raise ConfigurationError(
            f"{BROKER_VARIABLE} is not set: this worker does not know where runs come from.",
            f"Set {BROKER_VARIABLE} to redis://host:6379/0.",
        )
    return url


app = make_app({  # type: ignore[no-untyped-call]
    "broker": _broker(),
    "backend": NO_RESULTS,
    "config_source": {
        **DEFAULT_CONFIG,
        "imports": PRELOADED,
        # Whoever is at work takes no second run: it would wait here while other workers are idle.
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "worker_max_tasks_per_child": 1,
        "worker_redirect_stdouts": False,
        "broker_connection_retry_on_startup": True,
    },
})  # fmt: skip
execute_job = create_execute_job_task(app, base=Run)  # type: ignore[arg-type]  # its type forgets classes
