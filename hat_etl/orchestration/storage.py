"""Where Dagster keeps runs and events: ``dagster.yaml`` has no conditionals, so the choice is made here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from hat_etl.errors import ConfigurationError

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
            from hat_etl.orchestration.postgresql import storage_on

            return storage_on(psycopg2_url(url), inst_data)
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise ConfigurationError(
                f"Neither {URL_VARIABLE} nor DAGSTER_HOME is set: Dagster has nowhere to keep its runs.",
                "Set DAGSTER_HOME to a folder that holds dagster.yaml.",
            )
        return DagsterSqliteStorage(str(Path(home) / "storage"), inst_data=inst_data)


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
