"""Runs on workers: processes that wait for them on one machine or many, with all code loaded (``worker.py``).

Dagster's own launcher for Celery brings them there. Two things it leaves to others. Celery believes a worker that was
killed to be at work for ever; so the process of a run holds a lock in Dagster's database, which PostgreSQL takes back
when that process is gone, on whatever machine it was. And a run that nobody wants any more ends itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dagster import DagsterInstance, DagsterRun
from dagster._core.execution.run_cancellation_thread import start_run_cancellation_thread
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher

from hat_etl.errors import ConfigurationError
from hat_etl.orchestration.postgresql import connections
from hat_etl.orchestration.storage import URL_VARIABLE, psycopg2_url

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

QUEUE = "dagster"
NO_RESULTS = "disabled://"
"""Celery need not keep what came of a run: Dagster does."""
_LOCK = "pg_try_advisory_{}lock(hashtextextended(:run, 0))"


class WorkerLauncher(CeleryRunLauncher):
    """Knows by its lock whether a run goes on."""

    @classmethod
    def to(cls, broker: str, inst_data: ConfigurableClassData | None) -> WorkerLauncher:
        """A launcher to the workers of that broker."""
        return cls(default_queue=QUEUE, broker=broker, backend=NO_RESULTS, inst_data=inst_data)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING as long as a process holds the run, else NOT_FOUND, on which the daemon fails the run."""
        if is_held(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING, "Its process goes on.")
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "Its process is gone: it was killed, or has lost its machine or Dagster's database."
        )

    def terminate(self, run_id: str) -> bool:
        """Ask the run to end; it looks every few seconds whether it is still wanted."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Nothing: Celery keeps no results here."""
        return None


@contextmanager
def held(run_id: str) -> Iterator[bool]:
    """Holds the run until the end of the block or of the process; False when another process does."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    with _database().connect() as connection:
        connection.detach()  # so that it is closed at the end, and the lock with it
        statement = text(f"SELECT {_LOCK.format('')}")
        is_ours = bool(connection.execute(statement, {"run": run_id}).scalar_one())
        try:
            yield is_ours
        finally:
            if is_ours:  # at once, where the server is there: it takes a moment to see that a connection is closed
                with suppress(DBAPIError):
                    connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:run, 0))"), {"run": run_id})


def is_held(run_id: str) -> bool:
    """Whether the process of the run is there."""
    from sqlalchemy import text

    with _database().connect() as connection:
        # Taken for this one statement only.
        return not connection.execute(text(f"SELECT {_LOCK.format('xact_')}"), {"run": run_id}).scalar_one()


@contextmanager
def ended_when_unwanted(run_id: str) -> Iterator[None]:
    """Interrupts the block when the run is to end, or was given up."""
    with DagsterInstance.get() as instance:
        thread, end = start_run_cancellation_thread(instance, run_id)
        try:
            yield
        finally:
            end.set()
            thread.join()


def _database() -> Engine:
    if not (url := os.environ.get(URL_VARIABLE)):
        raise ConfigurationError(
            f"{URL_VARIABLE} is not set, and workers need Dagster's runs in PostgreSQL.",
            f"Set {URL_VARIABLE} for the daemon and all workers.",
        )
    return connections(psycopg2_url(url))
