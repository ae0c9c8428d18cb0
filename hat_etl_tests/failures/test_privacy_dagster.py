"""No value of a personal field and no secret reaches Dagster: its storage, its logs, its output, or who is told."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from hat_etl.definitions import defs
from hat_etl.orchestration import lateness, notifications
from hat_etl.tenants import store
from hat_etl_tests import servers
from hat_etl_tests.orchestration.conftest import received as received

from .ground import Ground
from .test_privacy import CANARIES, CANARY, break_address, break_passwords, break_trigger, break_view
from .test_privacy import canaries as canaries
from .test_privacy import soiled as soiled

ROOT = Path(__file__).parents[2]

JOBS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("initial_load", "load_tenant", {"mode": "restart"}),
    ("incremental_sync", "sync_tenant", {"full": True, "accept": True}),
    ("incremental_sync", "sync_tenant", {"dry_run": True}),
    ("reconcile", "reconcile_tenant", {}),
    ("reconcile", "reconcile_tenant", {"repair": True, "accept": True}),
    ("undo", "undo_run", {"run": 1}),
)


@pytest.fixture(params=[False, True], ids=["files", "postgresql"])
def database(request: pytest.FixtureRequest, postgres: servers.Server, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The address of Dagster's database, where it has one."""
    if not request.param:
        monkeypatch.delenv("HAT_DAGSTER_URL", raising=False)
        return None
    url = postgres.url(postgres.create_database("privacy"))
    monkeypatch.setenv("HAT_DAGSTER_URL", url)
    return url


@pytest.fixture
def instance(
    database: str | None, soiled: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster, and a tenant that is full of canaries."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(soiled.folder))
    with dg.DagsterInstance.get() as opened:
        opened.add_dynamic_partitions("tenant", [soiled.name])
        yield opened


def run_everything(instance: dg.DagsterInstance, tenant: str) -> list[bool]:
    """Every job, and the sensors that tell of them; gives whether each run has succeeded."""
    succeeded = []
    for job, op, config in JOBS:
        result = defs.resolve_job_def(job).execute_in_process(
            partition_key=tenant,
            instance=instance,
            run_config={"ops": {op: {"config": config}}},
            raise_on_error=False,
        )
        succeeded.append(result.success)
        if not result.success:
            context = dg.build_run_status_sensor_context(
                "tell_failures", result.get_run_failure_event(), instance, result.dagster_run
            )
            notifications.tell_failures(context.for_run_failure())
    lateness.tenant_files.cache_clear()
    lateness.late_tenants(dg.build_sensor_context(instance=instance))
    return succeeded


def kept(home: Path, database: str | None) -> Iterator[str]:
    """All that Dagster keeps: the rows of its databases and its files."""
    if database is not None:
        with psycopg.connect(database) as connection:
            yield from in_tables(connection, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for file in filter(Path.is_file, home.rglob("*")):
        if file.suffix == ".db":
            with closing(sqlite3.connect(file)) as connection:
                yield from in_tables(connection, "SELECT name FROM sqlite_master WHERE type = 'table'")
        else:
            yield file.read_bytes().decode(errors="replace")


def in_tables(connection: psycopg.Connection | sqlite3.Connection, names: str) -> Iterator[str]:
    """Every value of the tables that the query ``names`` gives; snapshots are compressed there."""
    for (name,) in connection.execute(names).fetchall():
        for row in connection.execute(f'SELECT * FROM "{name}"'):
            for value in row:
                if isinstance(value, bytes):
                    with suppress(zlib.error):
                        value = zlib.decompress(value)
                    value = value.decode(errors="replace")
                yield str(value)


def assert_silent(
    home: Path, database: str | None, received: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    captured, stored = capfd.readouterr(), list(kept(home, database))
    assert any("incremental_sync" in text for text in stored), "there is something to look through"
    assert (database is None) == bool(list(home.rglob("*.db")))
    everything = [*stored, *map(str, received), captured.out, captured.err]
    assert [text for text in everything if any(canary in text for canary in CANARIES)] == []


def make_late(ground: Ground) -> None:
    """A schedule whose last moment is long past for what HAT shows."""
    ground.extra = '[schedule]\nincremental = "* * * * *"\n[alerts]\nlate_minutes = 1'
    ground.write()
    with ground.in_hat() as connection:
        connection.execute("UPDATE hat_etl.watermarks SET horizon = horizon - interval '1 day'")


def test_runs_that_succeed_leave_no_value_and_no_secret(
    instance: dg.DagsterInstance,
    database: str | None,
    soiled: Ground,
    received: list[dict[str, Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_late(soiled)
    assert run_everything(instance, soiled.name) == [True, True, True, True, True, False], "a load cannot be undone"
    with soiled.in_hat() as connection:
        (met,) = connection.execute("SELECT count(*) FROM hat_etl.rejects WHERE value LIKE %s", (f"%{CANARY}%",))
    assert met[0] > 0
    assert_silent(Path(instance.root_directory), database, received, capfd)


@pytest.mark.parametrize("broken", [break_view, break_trigger, break_passwords, break_address])
def test_runs_that_fail_leave_no_value_and_no_secret(
    broken: Callable[[Ground], None],
    instance: dg.DagsterInstance,
    database: str | None,
    soiled: Ground,
    received: list[dict[str, Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_late(soiled)
    broken(soiled)
    soiled.write()
    assert not run_everything(instance, soiled.name)[0]
    assert received
    assert_silent(Path(instance.root_directory), database, received, capfd)
