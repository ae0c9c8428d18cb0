"""What a real daemon lets in: one run of a tenant at a time, and nothing while its ERP may not be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster import DagsterRunStatus, RunsFilter

from hat_etl.sandbox.server import PLS
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import Demo, new_demo
from hat_etl_tests.orchestration.daemon import Daemon, launch
from hat_etl_tests.orchestration.neighbours import MISSED, add_tenant
from hat_etl_tests.servers import Server

SUCCESS = DagsterRunStatus.SUCCESS


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """It is loaded."""
    with new_demo() as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(made.tenants))
        load(store.load("demo"), LoadRequest())
        yield made


@pytest.fixture
def instance(home: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("HAT_DAGSTER_URL", postgres.url(postgres.create_database("queue")))
    with dg.DagsterInstance.get() as opened:
        yield opened


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_second_run_of_a_tenant_waits_until_the_first_has_ended(
    demo: Demo, instance: dg.DagsterInstance, home: Path
) -> None:
    instance.add_dynamic_partitions("tenant", ["demo"])
    with Daemon(home / "daemon.log") as daemon:
        with psycopg.connect(demo.sandbox.url(PLS, "postgres")) as erp:
            # The first run does not end: nobody can read this table.
            erp.execute("LOCK TABLE protheus.bts010 IN ACCESS EXCLUSIVE MODE")
            first = launch(instance, "incremental_sync", "demo")
            daemon.wait_for(lambda: status(instance, first) == DagsterRunStatus.STARTED, "the first run goes on")
            second, of_nobody = launch(instance, "reconcile", "demo"), launch(instance, "housekeeping")
            # It came last: when it is let in, the daemon has looked at the second run, too.
            daemon.wait_for(lambda: status(instance, of_nobody) == SUCCESS, "a run of no tenant has ended")
            assert status(instance, first) == DagsterRunStatus.STARTED
            assert status(instance, second) == DagsterRunStatus.QUEUED
        daemon.wait_for(lambda: status(instance, second) == SUCCESS, "the second run has ended")
    records = {record.dagster_run.run_id: record for record in instance.get_run_records()}
    assert records[first].dagster_run.status == SUCCESS
    ended, started = records[first].end_time, records[second].start_time
    assert ended is not None
    assert started is not None
    assert ended <= started


def hours(begin: timedelta, end: timedelta) -> str:
    now = datetime.now(UTC)
    return f'windows = ["{now + begin:%H:%M}-{now + end:%H:%M}"]\ntimezone = "UTC"'


def test_a_tenant_that_is_due_is_not_launched_before_its_window_opens(
    demo: Demo, instance: dg.DagsterInstance, home: Path
) -> None:
    closed, open_ = hours(timedelta(hours=2), timedelta(hours=3)), hours(-timedelta(hours=1), timedelta(hours=2))
    add_tenant(demo, "closed", erp=closed, schedule=MISSED)
    add_tenant(demo, "open", erp=open_, schedule=MISSED)
    instance.add_dynamic_partitions("tenant", ["closed", "open"])

    def runs(tenant: str) -> list[dg.DagsterRun]:
        return list(instance.get_runs(RunsFilter(tags={"dagster/partition": tenant})))

    with Daemon(home / "daemon.log") as daemon:
        # One tick looks at both.
        daemon.wait_for(lambda: [run.status for run in runs("open")] == [SUCCESS], "the run of the open one")
        assert runs("closed") == []
        file = demo.tenants / "closed.toml"
        file.write_text(file.read_text(encoding="utf-8").replace(closed, open_), encoding="utf-8")
        daemon.wait_for(lambda: [run.status for run in runs("closed")] == [SUCCESS], "the run of the other")
