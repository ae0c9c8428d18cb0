"""Dagster's storage on PostgreSQL, with the connections of this process, for a server that may go away for a moment.

By itself, Dagster opens a connection for every query and looks for its tables whenever it is opened, which is at every
tick of a sensor and costs more than the tick. It waits for six seconds when the server is away, and gives up what it
was just writing: a load of an hour would end because Dagster's database was started again.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from dagster import EventLogEntry
from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.scheduler.instigation import InstigatorState
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresScheduleStorage
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError

PATIENCE = 10.0
"""Seconds for which a server that takes no connections is waited for: a restart, or another one that takes over.

Dagster tries six times before it gives up, so that it is a minute in all.
"""
_PAUSE = 0.5
_HOPELESS = ("authentication failed", "does not exist", "no password supplied", "could not translate host name")
"""What is said where waiting does not help. Other servers' languages wait in vain, and then tell the same."""

_seen: set[str] = set()
"""Databases that this process knows to have Dagster's tables."""


def storage_on(url: str, inst_data: ConfigurableClassData | None) -> DagsterStorage:
    """Dagster's storage in the database at ``url`` (SQLAlchemy's, for psycopg2)."""
    storage = DagsterPostgresStorage(url, should_autocreate_tables=url not in _seen, inst_data=inst_data)
    _seen.add(url)
    storage._event_log_storage = Events(url, should_autocreate_tables=False)
    storage._schedule_storage = Schedules(url, should_autocreate_tables=False)
    parts: tuple[Any, ...] = (storage.run_storage, storage.event_log_storage, storage.schedule_storage)
    for part in parts:
        part._engine = connections(url)
    return storage


@cache
def connections(url: str) -> Engine:
    """The connections of this process. Each is tried before it is used: a database that was started again is no error.

    Few are kept, for processes are many; Dagster uses one per thread, for a moment.
    """
    engine = create_engine(
        url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, pool_size=2, max_overflow=50, pool_recycle=300
    )
    event.listen(engine, "do_connect", _connect_patiently)
    return engine


def _connect_patiently(dialect: Dialect, _record: Any, args: Any, options: Any) -> DBAPIConnection:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return dialect.connect(*args, **options)
        except dialect.loaded_dbapi.OperationalError as error:
            if time.monotonic() > end or any(words in str(error) for words in _HOPELESS):
                raise
        time.sleep(_PAUSE)


class Events(PostgresEventLogStorage):
    """An event whose writing was broken off is written again: better one twice than a run that ends for it."""

    def store_event(self, event: EventLogEntry) -> None:
        """Keep what a run tells."""
        store = super().store_event
        try:
            store(event)
        except OperationalError as error:
            if not error.connection_invalidated:
                raise
            store(event)


class Schedules(PostgresScheduleStorage):
    """A sensor that is known by halves is made known by the other half.

    Dagster tells of a sensor in two tables, one statement and one commit after the other. When its database went away
    in between, it found the sensor in the one and not in the other from then on: each round of the daemon ended there,
    and the sensors behind it were not looked at any more.
    """

    def add_instigator_state(self, state: InstigatorState) -> InstigatorState:
        """Make a sensor or schedule known."""
        try:
            return super().add_instigator_state(state)
        except DagsterInvariantViolationError:
            with self.connect() as connection:
                self._add_or_update_instigators_table(connection, state)
            return state
