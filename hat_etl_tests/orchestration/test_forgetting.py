"""Old runs are forgotten, with their events and logs; what goes on, is recent, or stands last on the board stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from hat_etl.definitions import defs
from hat_etl.orchestration import forgetting
from hat_etl.orchestration.forgetting import forget, nightly


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


def made(instance: dg.DagsterInstance, tenant: str, status: DagsterRunStatus = DagsterRunStatus.SUCCESS) -> str:
    job = defs.resolve_job_def("incremental_sync")
    run = instance.create_run_for_job(job, tags={"dagster/partition": tenant}, status=status)
    instance.report_engine_event("Something.", run)
    return run.run_id


def aged(instance: dg.DagsterInstance, run_id: str, days: int) -> str:
    """The same run, made so many days ago."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.delete_run(run_id)
    created = (datetime.now(UTC) - timedelta(days=days)).replace(tzinfo=None)
    return instance.run_storage.add_historical_run(run, created).run_id


def test_old_runs_are_forgotten_and_the_last_of_each_tenant_stays(instance: dg.DagsterInstance) -> None:
    first, failed, last = (
        made(instance, "acme"),
        made(instance, "acme", DagsterRunStatus.FAILURE),
        made(instance, "acme"),
    )
    going_on, other = made(instance, "slow", DagsterRunStatus.STARTED), made(instance, "slow")
    assert forget(instance, datetime.now(UTC) - timedelta(days=1)) == 0
    assert forget(instance, datetime.now(UTC) + timedelta(days=1)) == 2
    assert {run.run_id for run in instance.get_runs()} == {last, going_on, other}
    for run in (first, failed):
        assert instance.all_logs(run) == []
    assert instance.all_logs(last) != []


def test_the_last_runs_of_many_tenants_keep_no_other_from_being_forgotten(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than the oldest 5,000 runs were looked at: with as many that stay, nothing was forgotten any more."""
    monkeypatch.setattr(forgetting, "AT_ONCE", 2)
    stay = {made(instance, tenant) for tenant in ("acme", "other", "third")}
    old = [made(instance, "slow") for _ in range(4)]
    assert forget(instance, datetime.now(UTC) + timedelta(days=1)) == 3
    assert {run.run_id for run in instance.get_runs()} == {*stay, old[-1]}


def test_the_logs_of_a_forgotten_run_are_gone(instance: dg.DagsterInstance, home: Path) -> None:
    old = housekeeping(instance)
    assert list(home.rglob(f"*{old}*/**/*.out")) != []
    housekeeping(instance)
    assert forget(instance, datetime.now(UTC) + timedelta(days=1)) == 1
    assert list(home.rglob(f"*{old}*/**/*.out")) == []


def test_every_night_what_is_older_than_ninety_days_is_forgotten(instance: dg.DagsterInstance) -> None:
    aged(instance, made(instance, "acme"), 91)
    not_yet = aged(instance, made(instance, "acme"), 89)
    last = made(instance, "acme")
    assert list(defs.schedules or ()) == [nightly]
    assert nightly.job_name == "housekeeping"
    assert nightly.default_status == dg.DefaultScheduleStatus.RUNNING
    this = housekeeping(instance)
    assert {run.run_id for run in instance.get_runs()} == {not_yet, last, this}


def test_ticks_are_forgotten_too(instance: dg.DagsterInstance) -> None:
    for kind in (InstigatorType.SENSOR, InstigatorType.SCHEDULE):
        kept = instance.get_tick_retention_settings(kind)
        assert all(0 < kept[status] <= 90 for status in (TickStatus.SKIPPED, TickStatus.SUCCESS, TickStatus.FAILURE))


def housekeeping(instance: dg.DagsterInstance) -> str:
    result = defs.resolve_job_def("housekeeping").execute_in_process(instance=instance)
    assert result.success
    return result.run_id
