"""Schema ``hat_etl`` of a tenant database: made where it is missing, and brought to this code's version."""

from __future__ import annotations

from functools import cache
from io import StringIO
from pathlib import Path
from threading import Lock

import psycopg

from hat_etl.errors import TargetError
from hat_etl.target.schema import TECHNICAL_SCHEMA

VERSION_TABLE = "schema_version"
MIGRATIONS = Path(__file__).parent / "migrations"

_ALEMBIC = Lock()
"""Alembic keeps the migration that is going on in globals, and several tenants may start side by side."""


@cache
def latest(migrations: Path = MIGRATIONS) -> str:
    """The version that this code needs, as ``0001``: found without Alembic, for every run asks."""
    return max(module.name[1:5] for module in (migrations / "versions").glob("v[0-9]*.py"))


def bring_up_to_date(connection: psycopg.Connection, tenant: str, migrations: Path = MIGRATIONS) -> None:
    """Take the steps that the database has not seen, in the transaction that the caller has begun.

    Raises TargetError when a later hat_etl has been here.
    """
    found = version(connection, tenant, migrations)
    if found == latest(migrations):
        return
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {TECHNICAL_SCHEMA}".encode())
    connection.execute(_steps(found, migrations).encode())


def version(connection: psycopg.Connection, tenant: str, migrations: Path = MIGRATIONS) -> str | None:
    """The version of the tables that are there, if any are.

    Raises TargetError when a later hat_etl has been here: it may keep what this one would overlook.
    """
    name = f"{TECHNICAL_SCHEMA}.{VERSION_TABLE}"
    if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() == (None,):
        return None
    row = connection.execute(f"SELECT version_num FROM {name}".encode()).fetchone()
    found = None if row is None else str(row[0])
    if found is not None and found > latest(migrations):
        raise TargetError(
            f"A later version of hat_etl keeps this database (tables of schema hat_etl: {found}; this one knows"
            f" {latest(migrations)}). Nothing was changed.",
            "Install the later version on this machine, too.",
            tenant=tenant,
        )
    return found


def _steps(found: str | None, migrations: Path) -> str:
    """SQL of the steps from the version ``found`` to the latest one."""
    from alembic import command
    from alembic.config import Config

    steps = StringIO()
    config = Config(output_buffer=steps)
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with _ALEMBIC:
        command.upgrade(config, f"{found or 'base'}:head", sql=True)
    return steps.getvalue()
