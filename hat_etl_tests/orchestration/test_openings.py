"""Runs that the end of a window has caught: they are no failure of the schedule, and go on when the next one opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import RETRY_NUMBER_TAG

from hat_etl.definitions import defs
from hat_etl.errors import WindowClosed
from hat_etl.orchestration import schedules
from hat_etl.orchestration.assets import TABLES, TENANT
from hat_etl.orchestration.loading import LEDGER_TAG, _Ledger
from hat_etl.orchestration.openings import CLOSED_TAG, KEPT, caught, note
from hat_etl.orchestration.runs import ERP_TAG
from hat_etl.sync import window
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import Demo, Door, failure, materialized
from hat_etl_tests.orchestration.daemon import launch
from hat_etl_tests.orchestration.test_runs import said, told

Closing = Callable[[int], None]
BY_SCHEDULE = {"dagster/sensor_name": schedules.NAME, "dagster/run_key": "demo:1", "dagster/partition": "demo"}


@pytest.fixture
def closing(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Closing]:
    """Gives the tenant a window that is open now, and ends after the clock was looked at so many times."""
    file = demo.tenants / "demo.toml"
    before = file.read_text(encoding="utf-8")
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    file.write_text(
        before.replace("connections = 2", f'connections = 2\nwindows = ["{hours}"]\ntimezone = "UTC"'), encoding="utf-8"
    )

    def after(looks: int) -> None:
        left = iter([timedelta()] * looks)
        monkeypatch.setattr(window, "now", lambda: datetime.now(UTC) + next(left, timedelta(hours=6)))

    yield after
    file.write_text(before, encoding="utf-8")


def sync(door: Door, tags: dict[str, str] | None = None, **config: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("incremental_sync").execute_in_process(
        partition_key="demo",
        instance=door.instance,
        run_config={"ops": {"sync_tenant": {"config": config}}},
        tags=tags or {},
        raise_on_error=False,
    )


def take_up(door: Door) -> list[dg.RunRequest]:
    found = schedules.window_openings(dg.build_sensor_context(instance=door.instance, definitions=defs))
    assert isinstance(found, dg.SensorResult)
    return list(found.run_requests or ())


def execute(door: Door, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """As the daemon and the run do it together."""
    config: dict[str, Any] = dict(request.run_config)
    return defs.resolve_job_def(str(request.job_name)).execute_in_process(
        partition_key=request.partition_key,
        instance=door.instance,
        run_config=config,
        tags={**request.tags, "dagster/sensor_name": "window_openings", "dagster/run_key": str(request.run_key)},
        raise_on_error=False,
    )


def test_a_load_that_is_caught_goes_on_by_itself_once(
    door: Door, demo: Demo, closing: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing(20)
    caught = door.launch(mode="restart")
    description, metadata = failure(caught)
    assert "goes on by itself when the next window opens" in description
    assert metadata["kind"] == "window"
    closing(10**6)
    (request,) = take_up(door)
    assert (request.partition_key, request.job_name, request.run_key) == ("demo", "initial_load", caught.run_id)
    assert request.run_config == {"ops": {"load_tenant": {"config": {"mode": "resume"}}}}
    assert set(request.tags) >= {ERP_TAG}, "so that it counts as one that reads the ERP"
    resumed = execute(door, request)
    assert resumed.success
    assert materialized(resumed)["beneficiaries"]["dagster/row_count"] == demo.count("beneficiaries")
    assert take_up(door) == []


def test_a_load_from_the_asset_graph_that_is_caught_goes_on_by_itself(door: Door, demo: Demo, closing: Closing) -> None:
    """Its job is Dagster's own, and was taken for none that loads: what it had staged waited for a person."""
    closing(20)
    graph = defs.resolve_implicit_global_asset_job_def()
    load = graph.get_subset(asset_selection={spec.key for spec in TABLES})
    caught = load.execute_in_process(
        partition_key="demo",
        instance=door.instance,
        run_config={"ops": {"load_tenant": {"config": {"mode": "restart"}}}},
        raise_on_error=False,
    )
    assert failure(caught)[1]["kind"] == "window"
    closing(10**6)
    judging = dg.DagsterRun(
        "__ASSET_JOB",
        tags={"dagster/partition": "demo"},
        status=dg.DagsterRunStatus.SUCCESS,
        asset_check_selection=frozenset({dg.AssetCheckKey(TENANT, "rejects")}),
    )
    door.instance.add_run(judging)  # somebody has had the tenant judged
    (request,) = take_up(door)
    assert (request.partition_key, request.job_name, request.run_key) == ("demo", "initial_load", caught.run_id)
    assert execute(door, request).success
    assert take_up(door) == []


def test_a_load_that_a_person_has_ended_meanwhile_is_not_begun_anew(door: Door, demo: Demo, closing: Closing) -> None:
    closing(20)
    door.launch(mode="restart")
    closing(10**6)
    (request,) = take_up(door)
    assert door.launch(mode="resume").success
    assert take_up(door) == []
    late = execute(door, request)  # it was launched in the same moment
    assert late.success
    assert "somebody else has ended that load" in said(door, late)
    assert late.asset_materializations_for_node("load_tenant") == []


def test_what_a_person_launches_outside_the_windows_is_refused_and_does_not_go_on(
    door: Door, demo: Demo, closing: Closing
) -> None:
    closing(0)
    for result in (door.launch(mode="restart"), sync(door)):
        _, metadata = failure(result)
        assert metadata["kind"] == "decision"
    closing(10**6)
    assert take_up(door) == []


def test_the_retry_of_a_killed_load_that_finds_its_window_closed_goes_on_when_it_opens(
    door: Door, demo: Demo, closing: Closing
) -> None:
    """The window had ended between the kill and the retry, and the load waited for a person."""
    closing(20)
    door.launch(mode="restart")  # leaves what it has staged
    closing(0)
    retry = door.launch(tags={RETRY_NUMBER_TAG: "1", LEDGER_TAG: "0/0"})
    assert failure(retry)[1]["kind"] == "window"
    closing(10**6)
    (request,) = take_up(door)
    assert request.run_key == retry.run_id
    assert execute(door, request).success


@pytest.mark.parametrize(("tags", "goes_on"), [({}, False), ({RETRY_NUMBER_TAG: "1"}, True)], ids=["person", "daemon"])
def test_a_scheduled_sync_that_a_person_launches_again_outside_the_windows_is_for_the_person(
    tags: dict[str, str], goes_on: bool, door: Door, demo: Demo
) -> None:
    """It has all tags of the first: it did nothing, and was green."""
    job = defs.resolve_job_def("incremental_sync")
    first = door.instance.create_run_for_job(job, tags=BY_SCHEDULE, status=dg.DagsterRunStatus.FAILURE)
    again = door.instance.create_run_for_job(
        job, tags={**first.tags, **tags}, parent_run_id=first.run_id, root_run_id=first.run_id
    )
    assert note(again, WindowClosed("Closed.", "Wait.", "demo"), door.instance) is goes_on
    assert bool(caught(door.instance, datetime.now(UTC))) is goes_on


def test_what_changes_nothing_meanwhile_does_not_keep_a_caught_run_from_going_on(
    door: Door, demo: Demo, closing: Closing
) -> None:
    """A load that was refused, a plan of a sync: any later run of the job, and the promise was broken."""
    closing(20)
    assert not door.launch(mode="restart").success
    closing(10**6)
    assert not door.launch(mode="new").success, "an unfinished load is there"
    (request,) = take_up(door)
    assert execute(door, request).success
    closing(0)
    assert sync(door, BY_SCHEDULE).success
    closing(10**6)
    assert sync(door, dry_run=True).success
    (request,) = take_up(door)
    assert request.job_name == "incremental_sync"
    assert sync(door).success
    assert take_up(door) == []


def test_what_does_less_than_a_caught_run_does_not_keep_it_from_going_on(
    door: Door, loaded_demo: Demo, closing: Closing
) -> None:
    """A sync of one table, or the double of another daemon, which does nothing, made up for a sync of all."""
    closing(0)
    assert sync(door, BY_SCHEDULE).success
    closing(10**6)
    assert sync(door, tables=["persons"]).success
    double = sync(door, BY_SCHEDULE)
    assert double.success
    assert "this one does nothing" in said(door, double)
    (request,) = take_up(door)
    assert execute(door, request).success
    assert take_up(door) == []


def test_the_retry_of_a_load_that_was_killed_before_it_staged_anything_is_for_a_person_when_its_window_is_closed(
    door: Door, loaded_demo: Demo, closing: Closing
) -> None:
    """It was said to go on, and did nothing, with success: the load that a person had asked for was forgotten."""
    before = _Ledger.read(store.load("demo"))
    assert before.staged == 0
    closing(0)
    retry = door.launch(mode="restart", tags={RETRY_NUMBER_TAG: "1", LEDGER_TAG: before.text})
    assert failure(retry)[1]["kind"] == "decision"
    closing(10**6)
    assert take_up(door) == []


def test_a_caught_run_that_a_person_launches_again_is_not_taken_for_caught(
    door: Door, loaded_demo: Demo, closing: Closing
) -> None:
    """It has all tags of the first, and one more run followed."""
    closing(0)
    skipped = door.instance.get_run_by_id(sync(door, BY_SCHEDULE).run_id)
    assert skipped is not None
    closing(10**6)
    assert sync(door, {**BY_SCHEDULE, **skipped.tags, "dagster/run_key": "another"}).success
    assert take_up(door) == []


@pytest.mark.parametrize("looks", [0, 3], ids=["closed", "caught"])
def test_a_scheduled_sync_whose_window_is_closed_is_no_failure_and_is_made_up_for(
    looks: int, door: Door, loaded_demo: Demo, closing: Closing
) -> None:
    closing(looks)
    skipped = sync(door, BY_SCHEDULE)
    assert skipped.success
    assert "goes on by itself" in said(door, skipped)
    assert told(door, skipped) == {}
    run = door.instance.get_run_by_id(skipped.run_id)
    assert run is not None
    assert run.tags[CLOSED_TAG] == "closed"
    closing(10**6)
    (request,) = take_up(door)
    assert request.job_name == "incremental_sync"
    assert execute(door, request).success
    assert take_up(door) == []


def test_nothing_goes_on_while_the_window_is_closed_or_the_tenant_is_paused(
    door: Door, loaded_demo: Demo, closing: Closing
) -> None:
    closing(0)
    assert sync(door, BY_SCHEDULE).success
    file = loaded_demo.tenants / "demo.toml"
    text = file.read_text(encoding="utf-8")
    for closed in (True, False):
        changed = _closed_now(text) if closed else f"{text}\n[schedule]\npaused = true\n"
        file.write_text(changed, encoding="utf-8")
        assert take_up(door) == []


def test_nothing_goes_on_beside_a_run_of_its_tenant_nor_after_a_week(
    door: Door, loaded_demo: Demo, closing: Closing
) -> None:
    closing(0)
    assert sync(door, BY_SCHEDULE).success
    closing(10**6)
    queued = launch(door.instance, "reconcile", "demo")
    assert take_up(door) == []
    door.instance.delete_run(queued)
    assert len(take_up(door)) == 1
    now = datetime.now(UTC)
    assert len(caught(door.instance, now + KEPT - timedelta(hours=1))) == 1
    assert caught(door.instance, now + KEPT + timedelta(hours=1)) == []


def _closed_now(text: str) -> str:
    now = datetime.now(UTC)
    window = f'windows = ["{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"]'
    return "\n".join(window if line.startswith("windows") else line for line in text.splitlines())
