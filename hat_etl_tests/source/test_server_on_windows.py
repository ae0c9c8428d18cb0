"""PostgreSQL on Windows, as far as it can be had here: a server that calls itself one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from hat_etl.sandbox.server import HAT, LOADER, PLS, READER
from hat_etl.source.postgresql import PostgresSource
from hat_etl.target.database import TenantDatabase
from hat_etl.tenants import store
from hat_etl.tenants.config import Tenant
from hat_etl_tests.orchestration.conftest import Demo, new_demo

ON_WINDOWS = (
    "PostgreSQL 16.4, compiled by Visual C++ build 1940, 64-bit",
    "PostgreSQL 17.2 on x86_64-windows, compiled by msvc-19.42.34435, 64-bit",
)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with new_demo() as made:
        yield made


@pytest.fixture
def tenant(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
    return store.load("demo")


def call(demo: Demo, version: str) -> None:
    """Let both databases say that they are of this version."""
    for database, role in ((PLS, READER), (HAT, LOADER)):
        with psycopg.connect(demo.sandbox.url(database, "postgres")) as admin:
            admin.execute(
                f"""
                CREATE SCHEMA IF NOT EXISTS said;
                GRANT USAGE ON SCHEMA said TO {role};
                CREATE OR REPLACE FUNCTION said.version() RETURNS text LANGUAGE sql AS $$SELECT '{version}'$$;
                ALTER ROLE {role} IN DATABASE {database} SET search_path = said, pg_catalog;
                """.encode()
            )


def interval(tenant: Tenant) -> tuple[str, str]:
    """How often a session at the ERP, and one at the tenant database, look for their client."""
    setting = "SELECT current_setting('client_connection_check_interval')"
    with closing(PostgresSource(tenant, "again")) as source, source.snapshot() as snapshot:
        (erp,) = snapshot.sessions[0].row(setting)
    with TenantDatabase(tenant).connect() as connection:
        ((hat,),) = connection.execute(setting.encode()).fetchall()
    return str(erp), hat


def test_a_server_that_can_looks_for_its_clients(tenant: Tenant) -> None:
    assert interval(tenant) == ("1s", "1s")


@pytest.mark.parametrize("version", ON_WINDOWS)
def test_a_server_on_windows_is_not_asked_to_look_for_its_clients(demo: Demo, tenant: Tenant, version: str) -> None:
    """It refuses the setting (must be set to 0 on this platform): no load and no sync could begin."""
    call(demo, version)
    assert interval(tenant) == ("0", "0")
