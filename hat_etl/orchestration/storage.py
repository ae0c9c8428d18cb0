"""Where Dagster keeps runs and events: ``dagster.yaml`` has no conditionals, so the choice is made here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from hat_etl.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

URL_VARIABLE = "HAT_DAGSTER_URL"


class HatStorage(DagsterStorage, ConfigurableClass):
    """PostgreSQL when HAT_DAGSTER_URL is set, else SQLite files under DAGSTER_HOME.

    Never itself an instance: Dagster asks the class for the storage that its settings stand for.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # the base promises an instance of the class itself
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterStorage:
        if url := os.environ.get(URL_VARIABLE):
            return _on_postgresql(psycopg2_url(url), inst_data)
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise ConfigurationError(
                f"Neither {URL_VARIABLE} nor DAGSTER_HOME is set: Dagster has nowhere to keep its runs.",
                "Set DAGSTER_HOME to a folder that holds dagster.yaml.",
            )
        return DagsterSqliteStorage(str(Path(home) / "storage"), inst_data=inst_data)


def _on_postgresql(url: str, inst_data: ConfigurableClassData | None) -> DagsterStorage:
    """Dagster's storage with the connections of this process.

    By itself, it opens a connection for every query and looks for its tables whenever it is opened, which is at every
    tick of a sensor and costs more than the tick.
    """
    from dagster_postgres import DagsterPostgresStorage

    storage = DagsterPostgresStorage(url, should_autocreate_tables=url not in _seen, inst_data=inst_data)
    _seen.add(url)
    parts: tuple[Any, ...] = (storage.run_storage, storage.event_log_storage, storage.schedule_storage)
    for part in parts:
        part._engine = connections(url)
    return storage


_seen: set[str] = set()
"""Databases that this process knows to have Dagster's tables."""


@cache
def connections(url: str) -> Engine:
    """The connections of this process. Each is tried before it is used: a database that was started again is no error.

    Few are kept, for processes are many; Dagster uses one per thread, for a moment.
    """
    from sqlalchemy import create_engine

    return create_engine(
        url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, pool_size=2, max_overflow=50, pool_recycle=300
    )


def psycopg2_url(url: str) -> str:
    """The address with the driver that Dagster's own SQL is written for, whatever driver it names."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            f"{URL_VARIABLE} does not hold the address of a database.", "Set it to postgresql://user@host/database."
        ) from None
