"""The sensor of the schedule on Dagster's own storage: what it launches, and what it does not launch twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import RunsFilter
from dagster._core.storage.dagster_run import DagsterRunStatus

from hat_etl.definitions import defs
from hat_etl.orchestration import schedules
from hat_etl.orchestration.doubles import is_double
from hat_etl.orchestration.due import QUEUE_PER_ERP
from hat_etl.orchestration.runs import ERP_TAG
from hat_etl.tenants import store
from hat_etl_tests.orchestration.daemon import queue

NEW_TENANT = Callable[..., None]


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    schedules.tenant_files.cache_clear()
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture
def new_tenant(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NEW_TENANT:
    """Writes a tenant file, and adds its partition."""
    folder = tmp_path / "tenants"
    folder.mkdir()
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder))

    def make(name: str, *lines: str, cron: str = "* * * * *", server: str | None = None) -> None:
        (folder / f"{name}.toml").write_text(
            "\n".join((
                f'name = "{name}"', 'ans_registry = "412345"',
                "[erp]", 'dialect = "postgresql"', 'url = "env:NOT_SET"', 'company = "01"',
                *([f'server = "{server}"'] if server else []),
                "[hat]", 'url = "env:NOT_SET"', "[schedule]", f'incremental = "{cron}"', *lines,
            )),
            encoding="utf-8",
        )  # fmt: skip
        instance.add_dynamic_partitions("tenant", [name])

    return make


def tick(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
    found = schedules.due_tenants(context)
    assert isinstance(found, dg.SensorResult)
    return found


def submit(instance: dg.DagsterInstance, request: dg.RunRequest, status: DagsterRunStatus) -> dg.DagsterRun:
    """Make the run as the daemon does: with the tags of the request, the sensor and the partition."""
    tags = {
        **request.tags,
        "dagster/partition": str(request.partition_key),
        "dagster/run_key": str(request.run_key),
        "dagster/sensor_name": schedules.NAME,
    }
    return queue(instance, "incremental_sync", tags, status)


def keys(result: dg.SensorResult) -> list[str]:
    return [str(request.run_key) for request in result.run_requests or ()]


def test_a_due_tenant_is_launched_once_with_its_erp_server(
    instance: dg.DagsterInstance, new_tenant: NEW_TENANT
) -> None:
    new_tenant("acme", cron="0 0 1 1 *", server="one")
    first = tick(instance, None)
    (request,) = first.run_requests or ()
    assert (request.partition_key, request.tags[ERP_TAG]) == ("acme", "one")
    submit(instance, request, DagsterRunStatus.SUCCESS)
    second = tick(instance, first.cursor)
    assert keys(second) == []
    assert keys(tick(instance, second.cursor)) == []


def test_a_launch_that_was_lost_with_its_tick_is_made_again(
    instance: dg.DagsterInstance, new_tenant: NEW_TENANT
) -> None:
    """The daemon died after it had written the tick and before it made the run."""
    new_tenant("acme", cron="0 0 1 1 *")
    first = tick(instance, None)
    again = tick(instance, first.cursor)
    assert keys(again) == keys(first) != []


def test_a_sensor_without_a_memory_asks_for_the_same_run(instance: dg.DagsterInstance, new_tenant: NEW_TENANT) -> None:
    """Dagster drops a run key that it has had: nothing runs twice."""
    new_tenant("acme", cron="0 0 1 1 *")
    assert keys(tick(instance, None)) == keys(tick(instance, None)) != []


@pytest.mark.parametrize("status", [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTED])
def test_a_tenant_whose_last_run_waits_or_goes_on_is_not_launched(
    status: DagsterRunStatus, instance: dg.DagsterInstance, new_tenant: NEW_TENANT
) -> None:
    new_tenant("acme")
    first = tick(instance, None)
    (request,) = first.run_requests or ()
    run = submit(instance, request, status)
    assert keys(tick(instance, '{"requested": {}, "asked": {}}')) == []
    instance.delete_run(run.run_id)
    assert keys(tick(instance, '{"requested": {}, "asked": {}}')) != []


def test_runs_of_one_erp_that_wait_keep_others_of_it_from_being_queued(
    instance: dg.DagsterInstance, new_tenant: NEW_TENANT
) -> None:
    for number in range(QUEUE_PER_ERP + 1):
        new_tenant(f"t{number}", cron="0 0 1 1 *", server="one")
    first = tick(instance, None)
    requests = list(first.run_requests or ())
    assert len(requests) == QUEUE_PER_ERP
    runs = [submit(instance, request, DagsterRunStatus.QUEUED) for request in requests]
    second = tick(instance, first.cursor)
    assert keys(second) == []
    instance.delete_run(runs[0].run_id)
    (last,) = {f"t{number}" for number in range(QUEUE_PER_ERP + 1)} - {request.partition_key for request in requests}
    assert [key.partition(":")[0] for key in keys(tick(instance, second.cursor))] == [last]


def test_a_broken_file_does_not_keep_the_others_waiting(instance: dg.DagsterInstance, new_tenant: NEW_TENANT) -> None:
    new_tenant("broken", "unknown = 1")
    new_tenant("good")
    (request,) = tick(instance, None).run_requests or ()
    assert request.partition_key == "good"


def test_a_changed_file_counts_at_the_next_tick(instance: dg.DagsterInstance, new_tenant: NEW_TENANT) -> None:
    new_tenant("acme", cron="0 0 1 1 *")
    assert len(keys(tick(instance, None))) == 1
    new_tenant("acme", "paused = true", cron="0 0 1 1 *")
    assert keys(tick(instance, None)) == []
    (store.folder() / "acme.toml").unlink()
    assert tick(instance, None).skip_reason is not None


def test_of_two_runs_for_one_moment_the_later_does_nothing_and_a_repetition_by_hand_runs(
    instance: dg.DagsterInstance, new_tenant: NEW_TENANT
) -> None:
    """Two daemons ran at once."""
    new_tenant("acme", cron="0 0 1 1 *")
    (request,) = tick(instance, None).run_requests or ()
    first, second = (submit(instance, request, DagsterRunStatus.STARTED) for _ in range(2))
    assert not is_double(first, instance)
    assert is_double(second, instance)
    by_hand = instance.create_run_for_job(
        defs.resolve_job_def("incremental_sync"), tags=first.tags, parent_run_id=first.run_id, root_run_id=first.run_id
    )
    assert not is_double(by_hand, instance)
    assert len(instance.get_runs(RunsFilter(tags={"dagster/partition": "acme"}))) == 3
