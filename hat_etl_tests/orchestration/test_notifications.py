"""Notifications: who is told what, and how often; to a real web server."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.tags import MAX_RETRIES_TAG
from hypothesis import given
from hypothesis import strategies as st

from hat_etl.definitions import defs
from hat_etl.orchestration import notifications
from hat_etl.orchestration.notifications import (
    CAUSE_TAG,
    REPEATED_TAG,
    Failure,
    fingerprint,
    judge_failure,
    send,
    tell_failures,
)
from hat_etl_tests.orchestration.conftest import Door, hook
from hat_etl_tests.orchestration.test_runs import sync_of


def fail(door: Door) -> None:
    """A sync of a tenant that has no file, and the sensor that hears of it."""
    result = sync_of(door, "nobody")
    context = dg.build_run_status_sensor_context(
        "tell_failures", result.get_run_failure_event(), door.instance, result.dagster_run
    ).for_run_failure()
    tell_failures(context)


def test_a_failure_is_told_with_tenant_cause_next_step_and_link(door: Door, received: list[dict[str, Any]]) -> None:
    door.instance.add_dynamic_partitions("tenant", ["nobody"])
    fail(door)
    (message,) = received
    assert message["title"] == "hat_etl: incremental_sync of nobody failed"
    (run,) = door.instance.get_runs()
    for part in ("There is no tenant file", "Next step: ", f"https://board.example/runs/{run.run_id}"):
        assert part in message["message"]


def test_repetitions_are_told_ever_more_rarely(door: Door, received: list[dict[str, Any]]) -> None:
    door.instance.add_dynamic_partitions("tenant", ["nobody"])
    for _ in range(5):
        fail(door)
    assert [message["title"].partition(" failed")[2] for message in received] == [
        "", " (2 times in a row)", " (4 times in a row)",
    ]  # fmt: skip


def test_repetitions_of_a_run_of_no_tenant_are_counted_too(door: Door) -> None:
    """It was told anew each night, as one "of" nobody."""
    for times in (1, 2):
        made = defs.resolve_job_def("housekeeping")
        run = door.instance.create_run_for_job(made, status=DagsterRunStatus.FAILURE)
        told = judge_failure(door.instance, run, "The disk is full.")
        assert told.repeated == times
    assert told.title == "hat_etl: housekeeping failed (2 times in a row)"


def ended(
    door: Door, status: DagsterRunStatus, tenant: str = "acme", job: str = "incremental_sync", **tags: str
) -> dg.DagsterRun:
    return door.instance.create_run_for_job(
        defs.resolve_job_def(job), tags={"dagster/partition": tenant, **tags}, status=status
    )


def times(door: Door, tenant: str = "acme", job: str = "incremental_sync") -> int:
    """How often in a row the same cause has come, when another run of this tenant and job fails."""
    return judge_failure(door.instance, ended(door, DagsterRunStatus.FAILURE, tenant, job), "ERP is down").repeated


def test_failures_are_counted_for_each_tenant_and_job(door: Door) -> None:
    assert times(door) == 1
    assert times(door, tenant="other") == 1
    assert times(door, job="reconcile") == 1
    assert times(door) == times(door, tenant="other") == times(door, job="reconcile") == 2


def test_a_success_begins_the_count_anew_even_one_with_the_tags_of_a_failure_and_a_cancelled_run_does_not(
    door: Door,
) -> None:
    assert times(door) == 1
    ended(door, DagsterRunStatus.CANCELED)
    assert times(door) == 2
    ended(door, DagsterRunStatus.SUCCESS)
    assert times(door) == 1
    ended(door, DagsterRunStatus.SUCCESS, **{CAUSE_TAG: fingerprint("ERP is down")})  # it was launched again
    assert times(door) == 1


@given(st.integers(1, 10_000))
def test_what_is_told_is_told_again_before_it_has_come_twice_as_often(count: int) -> None:
    told = [n for n in range(1, count + 1) if Failure("acme", "sync", "r", "cause", n).is_told]
    assert told[0] == 1
    assert count < 2 * told[-1]
    assert len(told) == count.bit_length()


def test_the_count_has_no_end(door: Door) -> None:
    """It ended at 200, and nobody was told after the 128th failure in a row."""
    assert times(door) == 1
    ended(door, DagsterRunStatus.FAILURE, **{CAUSE_TAG: fingerprint("ERP is down"), REPEATED_TAG: "1023"})
    assert times(door) == 1024


def test_failures_that_are_heard_of_late_are_counted_in_their_order(door: Door) -> None:
    first, second = (ended(door, DagsterRunStatus.FAILURE) for _ in range(2))
    assert [judge_failure(door.instance, run, "ERP is down").repeated for run in (first, second)] == [1, 2]


@pytest.mark.parametrize("goes_on", [True, False])
def test_of_a_killed_run_a_person_is_told_whether_it_is_launched_again(
    goes_on: bool, door: Door, received: list[dict[str, Any]]
) -> None:
    """Who launched it again, as the message said, had the ERP read twice."""
    run = ended(door, DagsterRunStatus.STARTED, job="initial_load", **{MAX_RETRIES_TAG: str(int(goes_on))})
    event = door.instance.report_run_failed(run, "The process is gone.")
    context = dg.build_run_status_sensor_context("tell_failures", event, door.instance, run).for_run_failure()
    tell_failures(context)
    (message,) = received
    assert ("Dagster launches it once more by itself" in message["message"]) is goes_on
    assert ("launch it again" in message["message"]) is not goes_on


def test_numbers_make_no_other_cause() -> None:
    assert fingerprint("run 17 stopped: 320 of 2,985 rows") == fingerprint("run 18 stopped: 330 of 2,985 rows")
    assert fingerprint("ERP is down") != fingerprint("HAT is down")


def test_a_target_that_refuses_is_noticed_and_none_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notifications.TARGETS_VARIABLE, "json://127.0.0.1:1/")
    assert len(send("title", "body")) == 1
    monkeypatch.setenv(notifications.TARGETS_VARIABLE, "what://is.this/")
    assert len(send("title", "body")) == 1
    monkeypatch.delenv(notifications.TARGETS_VARIABLE)
    assert send("title", "body") == []


def test_a_target_that_nobody_understands_is_noticed_and_the_others_are_told(
    received: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(notifications.TARGETS_VARIABLE, f"{os.environ[notifications.TARGETS_VARIABLE]} what://is.this/")
    (refused,) = send("title", "body")
    assert [message["title"] for message in received] == ["title"]
    assert send("title", "body", only=[refused]) == [refused]
    assert len(received) == 1


def test_a_failure_that_could_not_be_told_is_told_with_the_next_one_like_it(
    door: Door, received: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second was told, the fourth was not for its target was down, and then nothing until the eighth."""
    door.instance.add_dynamic_partitions("tenant", ["nobody"])
    for refuses in (False, False, False, True, False, False):
        with monkeypatch.context() as patch:
            if refuses:
                patch.setenv(notifications.TARGETS_VARIABLE, "json://127.0.0.1:1/")
            fail(door)
    assert [message["title"].partition(" failed")[2] for message in received] == [
        "", " (2 times in a row)", " (5 times in a row)",
    ]  # fmt: skip


class Together(list[dict[str, Any]]):
    """What a webhook has been sent; it takes it when the other one has been reached, too."""

    both = threading.Barrier(2, timeout=10)

    def append(self, message: dict[str, Any]) -> None:
        self.both.wait()
        super().append(message)


def test_no_target_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five addresses at a mail server that was down each took its quarter of a minute, and Dagster gave up."""
    one, other = Together(), Together()
    with hook(one) as first, hook(other) as second:
        places = f"json://127.0.0.1:{first}/ json://127.0.0.1:{second}/"
        monkeypatch.setenv(notifications.TARGETS_VARIABLE, places)
        assert send("title", "body") == []
    assert len(one) == len(other) == 1


def test_a_target_that_is_silent_is_waited_for_once_however_many_runs_have_failed(
    door: Door, received: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster gave up the tick, of five runs: the next one told the others of them once more, and of no other run."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"json://127.0.0.1:{silent.getsockname()[1]}/?rto=3"
        monkeypatch.setenv(notifications.TARGETS_VARIABLE, f"{os.environ[notifications.TARGETS_VARIABLE]} {target}")
        door.instance.add_dynamic_partitions("tenant", ["nobody"])
        for _ in range(2):
            fail(door)
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert len(received) == 2
    assert all(notifications.REFUSED_TAG in run.tags for run in door.instance.get_runs())


@pytest.mark.parametrize("is_slow", [True, False])
def test_a_tick_that_was_slow_to_tell_of_a_run_leaves_the_others_to_the_next(
    is_slow: bool, door: Door, received: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster gave up a tick of five runs, each told to a slow mail server, and the next one told of them again."""
    if is_slow:
        monkeypatch.setattr(notifications, "LONG", 0.0)
    door.instance.add_dynamic_partitions("tenant", ["nobody", "nobody else"])

    def tick(cursor: str | None) -> str | None:
        return tell_failures.evaluate_tick(dg.build_sensor_context(door.instance, cursor)).cursor

    cursor = tick(None)
    for tenant in ("nobody", "nobody else"):
        sync_of(door, tenant)
    cursor = tick(cursor)
    assert len(received) == (1 if is_slow else 2)
    tick(tick(cursor))
    assert [message["title"] for message in received] == [
        "hat_etl: incremental_sync of nobody failed", "hat_etl: incremental_sync of nobody else failed",
    ]  # fmt: skip


def test_the_sensor_runs_without_being_switched_on() -> None:
    sensor = defs.get_repository_def().get_sensor_def("tell_failures")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
