"""The billing loop as Dagster drives it: sensors launch what is due, jobs do it and show what came of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from hat_etl.definitions import defs
from hat_etl.orchestration.billing import INBOX, JOBS, LOTS, SENSORS, STATUS, STUCK
from hat_etl.orchestration.schedules import running
from hat_etl.sandbox.hat.lots import Recipe, make
from hat_etl.sandbox.operator.behaviour import Mishap
from hat_etl_tests.orchestration.daemon import queue
from hat_etl_tests.orchestration.test_asking import silent_server

from .conftest import PROVIDER, REGISTRY, World
from .test_authorizations import authorization

_SENSORS = {sensor.name: sensor for sensor in SENSORS}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions("tenant", ["acme"])
        yield made


def launched(
    instance: dg.DagsterInstance, stage: str, cursor: str | None = None
) -> tuple[list[str | None], str | None]:
    """The tenants for which the sensor of a stage asks for a run, and its cursor."""
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, repository_def=defs.get_repository_def(), sensor_name=f"billing_{stage}"
    )
    found: Any = _SENSORS[f"billing_{stage}"](context)
    return [request.partition_key for request in found.run_requests or []], found.cursor


def run(instance: dg.DagsterInstance, stage: str) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def(JOBS[stage].name)
    return job.execute_in_process(instance=instance, partition_key="acme", raise_on_error=False)


def counts(result: dg.ExecuteInProcessResult, stage: str) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.path[-1]: {name: value.value for name, value in event.metadata.items()}
        for event in result.asset_materializations_for_node(
            "take_authorizations" if stage == "authorizations" else f"{stage}_lots"
        )
    }


def test_authorizations_are_taken_where_the_tenants_file_asks_for_it(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.state.add_authorizations([authorization(1), authorization(2)])
    assert launched(instance, "authorizations")[0] == []
    world.write_tenant(more="authorizations = true")
    tenants, cursor = launched(instance, "authorizations")
    assert tenants == ["acme"]
    assert launched(instance, "authorizations", cursor)[0] == [], "asked a moment ago"
    assert counts(run(instance, "authorizations"), "authorizations")[INBOX.path[-1]]["new"] == 2


def test_each_stage_is_launched_when_it_has_work_and_only_then(world: World, instance: dg.DagsterInstance) -> None:
    for stage in ("send", "poll", "push"):
        assert launched(instance, stage)[0] == [], "billing has not begun"
    number = world.add()
    tenants, cursor = launched(instance, "pull")
    assert tenants == ["acme"]
    assert launched(instance, "pull", cursor)[0] == [], "asked a moment ago"
    assert launched(instance, "pull", None)[0] == ["acme"], "a cursor that is lost costs one look more"
    assert counts(run(instance, "pull"), "pull")[LOTS.path[-1]]["pulled"] == 1
    assert launched(instance, "poll")[0] == []
    assert launched(instance, "send")[0] == ["acme"]
    assert counts(run(instance, "send"), "send")[LOTS.path[-1]]["protocolled"] == 1
    assert launched(instance, "send")[0] == []
    world.operator.ledger.advance()
    assert launched(instance, "poll")[0] == ["acme"]
    assert counts(run(instance, "poll"), "poll")[STATUS.path[-1]]["changed"] == 1
    assert launched(instance, "push")[0] == ["acme"]
    assert counts(run(instance, "push"), "push")[STATUS.path[-1]]["pushed"] == 1
    assert launched(instance, "push")[0] == []
    assert world.in_hat(number).status == 2


def test_a_clock_that_was_wrong_for_a_moment_does_not_keep_lots_waiting(
    world: World, instance: dg.DagsterInstance
) -> None:
    """HAT was not asked any more until the moment had come that the clock had shown."""
    wrong = json.dumps({"acme": time.time() + 365 * 86_400})
    tenants, cursor = launched(instance, "pull", wrong)
    assert tenants == ["acme"]
    assert launched(instance, "pull", cursor)[0] == []


def test_what_was_interrupted_or_is_in_doubt_is_work(world: World, instance: dg.DagsterInstance) -> None:
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    assert world.states()[number] == "unknown"
    assert launched(instance, "send")[0] == ["acme"]
    # As a process that is killed leaves it.
    world.rows("UPDATE hat_etl.billing_lots SET state = 'sent' RETURNING 1")
    assert launched(instance, "send")[0] == ["acme"]


def test_what_the_operator_cannot_tell_is_work_again_after_a_while_and_what_waits_behind_it_is_none(
    world: World, instance: dg.DagsterInstance
) -> None:
    """A run was launched every half minute, and failed, until a person had decided about the lot."""
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('ask = "pls"', "").replace("poll_minutes = 0", "poll_minutes = 15"))
    doubtful, behind = world.add(), world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    assert world.states() == {doubtful: "unknown", behind: "queued"}
    assert launched(instance, "send")[0] == ["acme"]
    world.send()
    assert launched(instance, "send")[0] == []
    world.rows("UPDATE hat_etl.billing_lots SET next_poll = now() RETURNING 1")
    assert launched(instance, "send")[0] == ["acme"]
    world.add(provider="000777")
    world.send()
    world.pull()
    assert launched(instance, "send")[0] == ["acme"], "another provider's lots do not wait for it"


def test_an_interrupted_delivery_is_work_also_where_its_lot_waits_for_a_person(
    world: World, instance: dg.DagsterInstance
) -> None:
    """The person was told to wait until it is known how the delivery has ended, and nobody found that out."""
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    world.state.mark_deleted(number)
    world.pull()
    assert world.column(number, "hold") == "deleted_after_delivery"
    world.rows("UPDATE hat_etl.billing_lots SET state = 'sent' RETURNING 1")  # as a process that is killed leaves it
    assert launched(instance, "send")[0] == ["acme"]
    run(instance, "send")
    assert world.states() == {number: "unknown"}
    assert launched(instance, "send")[0] == []


def test_a_lot_is_no_work_as_long_as_an_earlier_one_of_its_provider_cannot_be_checked(
    world: World, instance: dg.DagsterInstance
) -> None:
    """A run that did nothing was launched every half minute."""
    unreadable = world.add()
    world.pull()
    world.rows("UPDATE hat_etl.billing_contents SET content = 'x' RETURNING 1")
    world.rows("UPDATE hat_etl.billing_lots SET state = 'pulled' RETURNING 1")
    number = world.add()
    world.pull()
    assert world.states() == {unreadable: "pulled", number: "validated"}
    assert launched(instance, "send")[0] == []


def test_a_tenant_whose_database_is_silent_is_asked_last_and_keeps_no_other_from_being_launched(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.add()
    run(instance, "pull")
    instance.add_dynamic_partitions("tenant", ["abba"])
    with silent_server() as port:
        (world.folder / "abba-hat.url").write_text(f"postgresql://who@127.0.0.1:{port}/hat?connect_timeout=2")
        file = (world.folder / "acme.toml").read_text(encoding="utf-8")
        (hat_url,) = re.findall(r'\[hat\]\s+url = "([^"]+)"', file)
        file = file.replace(hat_url, f"file:{world.folder / 'abba-hat.url'}").replace('"acme"', '"abba"')
        (world.folder / "abba.toml").write_text(file, encoding="utf-8")
        tenants, cursor = launched(instance, "send")
        assert tenants == ["acme"]
        assert json.loads(str(cursor)).keys() == {"abba"}


@pytest.mark.parametrize(
    "setting", ['deliver = "soap"\npaused = true', "", 'deliver = "soap"\n[schedule]\npaused = true']
)
def test_a_tenant_that_is_paused_or_has_no_billing_is_left_alone(
    setting: str, world: World, instance: dg.DagsterInstance
) -> None:
    world.add()
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('deliver = "soap"', setting))
    assert launched(instance, "pull")[0] == []


def standing(instance: dg.DagsterInstance) -> tuple[str, bool]:
    """The check of lots of the tenant, and whether Dagster counts it."""
    key = dg.AssetCheckKey(LOTS, STUCK)
    (info,) = instance.event_log_storage.get_asset_check_partition_info([key], partition_keys=["acme"])
    return info.latest_execution_status.value, info.is_current


def test_a_lot_in_doubt_turns_the_check_red_and_green_again(world: World, instance: dg.DagsterInstance) -> None:
    number = world.add()
    run(instance, "pull")
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)

    def verdict(result: dg.ExecuteInProcessResult) -> tuple[bool, set[str]]:
        (found,) = result.get_asset_check_evaluations()
        assert (found.asset_key, found.check_name, found.partition) == (LOTS, STUCK, "acme")
        return found.passed, set(found.metadata)

    passed, told = verdict(run(instance, "send"))
    assert not passed
    assert f"lot {number} of provider 000123 waits for" in told
    for stage in ("poll", "push"):
        run(instance, stage)
        assert standing(instance) == ("FAILED", True), "what is newer than a verdict makes Dagster forget it"
    assert verdict(run(instance, "send")) == (True, set())


def test_a_problem_fails_the_run_and_says_what_to_do(world: World, instance: dg.DagsterInstance) -> None:
    world.add(file_fault="missing")
    result = run(instance, "pull")
    assert not result.success
    (event,) = result.get_step_failure_events()
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert "HTTP 404" in str(failure.description)
    assert "hat-etl billing pull acme" in str(failure.description)


def test_lots_of_two_providers_with_one_number_are_both_shown(world: World, instance: dg.DagsterInstance) -> None:
    """The check told of one of them only."""
    for number, provider in (("1", "000123"), ("2", "000777")):
        world.add(provider, number=number, batch_number="7", file_fault="missing")
    of_run = run(instance, "pull").run_id
    (found,) = instance.all_logs(of_run, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    assert found.dagster_event is not None
    assert found.dagster_event.asset_check_evaluation_data.metadata.keys() - {"next step"} == {
        "lot 7 of provider 000123 not downloaded", "lot 7 of provider 000777 not downloaded",
    }  # fmt: skip


def test_a_lot_that_waits_for_a_person_is_not_said_to_be_decided_about_in_a_form(
    world: World, instance: dg.DagsterInstance
) -> None:
    """One was sent to the launchpad for fields that jobs of billing do not have."""
    number = world.add()
    world.loop()
    world.state.mark_deleted(number)
    (event,) = run(instance, "pull").get_step_failure_events()
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert f"hat-etl billing release acme {number} --accept" in str(failure.description)
    assert "command line" in str(failure.description)
    assert "launchpad" not in f"{failure.description} {failure.metadata}"


def test_what_a_person_is_to_decide_is_told_before_what_fails_each_time(
    world: World, instance: dg.DagsterInstance
) -> None:
    """Behind a file that was missing for days nobody was told of it: only the first problem ends the run."""
    number = world.add()
    world.pull()
    world.add(provider="000001", batch_number="0", file_fault="missing")
    world.state.replace_file(number, make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=2)))
    world.write_tenant(more="workers = 1")
    (event,) = run(instance, "pull").get_step_failure_events()
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert f"hat-etl billing release acme {number} --accept" in str(failure.description)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_a_run_of_billing_keeps_its_like_from_starting_and_no_sync(
    status: dg.DagsterRunStatus, world: World, instance: dg.DagsterInstance
) -> None:
    world.add()
    assert launched(instance, "pull")[0] == ["acme"]
    queue(instance, "billing_pull", {"dagster/partition": "acme", "hat/billing": "pull"}, status)
    assert running(instance) == {}
    assert launched(instance, "pull")[0] == []
