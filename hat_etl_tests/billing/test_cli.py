"""``hat-etl billing`` as it is typed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hat_etl.cli.main import main
from hat_etl.hat_api.client import HatApi
from hat_etl.sandbox.operator.behaviour import Mishap
from hat_etl.tiss.schemas import Schemas
from hat_etl_tests.failures.commands import Command, without_reader, without_room
from hat_etl_tests.servers import Server

from .conftest import World, new_world


def hat_etl(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def document(*arguments: str) -> Any:
    result = hat_etl(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_each_stage_says_what_it_did(world: World) -> None:
    world.add()
    counts = {}
    for stage in ("pull", "send", "poll", "push"):
        (report,) = document("billing", stage, "acme")
        assert report["problems"] == []
        counts[stage] = report["counts"]
    assert counts == {
        "pull": {"pulled": 1, "validated": 1}, "send": {"protocolled": 1}, "poll": {"asked": 1}, "push": {"pushed": 1},
    }  # fmt: skip


def test_run_does_all_of_them_for_one_tenant_or_for_all(world: World) -> None:
    world.add()
    assert [report["stage"] for report in document("billing", "run", "acme")] == ["pull", "send", "poll", "push"]
    other = (world.folder / "acme.toml").read_text().replace('name = "acme"\n', 'name = "broken"\n', 1)
    (world.folder / "broken.toml").write_text(other.replace("[billing]\n", "[billing]\nunknown = 1\n"))
    result = hat_etl("billing", "run", "--all", "--json")
    assert result.exit_code == 3
    assert "billing.unknown: unknown key" in result.stderr
    *reports, error = json.loads(result.stdout)
    assert [report["tenant"] for report in reports] == ["acme"] * 4
    assert (error["tenant"], error["error"]["kind"]) == ("broken", "configuration")


def test_run_of_all_takes_the_authorizations_of_a_tenant_that_delivers_no_lots(world: World) -> None:
    """Such a tenant was passed over in silence."""
    world.add()
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('deliver = "soap"\n', "authorizations = true\n"))
    assert [report["stage"] for report in document("billing", "run", "--all")] == ["authorizations"]
    assert world.states() == {}


def test_an_error_that_nobody_foresaw_while_authorizations_are_taken_hides_no_other_tenant(
    world: World, postgres: Server, schemas: Schemas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the command, and nothing was told of what all the tenants had done."""
    listed = HatApi.authorizations

    def failing(api: HatApi, *page: int) -> Any:
        return {"other": listed}[api._tenant](api, *page)

    monkeypatch.setattr(HatApi, "authorizations", failing)
    with new_world("other", postgres, schemas, world.folder):
        for name in ("acme", "other"):
            file = world.folder / f"{name}.toml"
            file.write_text(file.read_text().replace('deliver = "soap"\n', "authorizations = true\n"))
        result = hat_etl("billing", "run", "--all", "--json")
    problems = {report["tenant"]: report["problems"] for report in json.loads(result.stdout)}
    assert "Unexpected KeyError" in problems["acme"][0]["cause"]
    assert "hat-etl billing authorizations acme" in problems["acme"][0]["next_step"]
    assert problems["other"] == []


@pytest.mark.parametrize("question", [("billing", "run", "--all"), ("status",)], ids=" ".join)
def test_a_folder_without_tenants_is_no_success(
    question: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where HAT_ETL_TENANTS was wrong, nothing was done, with exit code 0."""
    monkeypatch.setenv("HAT_ETL_TENANTS", str(tmp_path / "nowhere"))
    result = hat_etl(*question)
    assert result.exit_code == 3
    assert "There is no tenant file in" in result.stderr


def test_a_file_whose_name_is_no_tenants_is_named(world: World) -> None:
    """One read of small letters, and not of which file."""
    (world.folder / "Acme.toml").write_text('name = "acme"\n')
    result = hat_etl("billing", "run", "--all")
    assert result.exit_code == 3
    assert "Error (configuration): Acme" in result.stderr
    assert f"{world.folder}/NAME.toml" in result.stderr


def test_a_stage_that_cannot_be_done_keeps_no_other_from_going_on(world: World) -> None:
    world.add()
    world.pull()
    world.hat_faults.set(world.hat_faults.faults.model_copy(update={"fail": 1}))
    result = hat_etl("billing", "run", "acme")
    assert result.exit_code == 9
    assert "HAT does not answer" in result.stderr
    assert len(world.operator.lots()) == 1


def test_every_run_says_that_a_lot_waits_for_a_person(world: World) -> None:
    """Only the run that stopped it did; the next one ended with exit code 0."""
    number = world.add()
    world.loop()
    world.state.mark_deleted(number)
    for _ in range(2):
        result = hat_etl("billing", "run", "acme")
        assert result.exit_code == 7
        assert f"These lots wait for a person: {number} of provider 000123." in result.stderr
    hat_etl("billing", "release", "acme", number, "--keep")
    assert hat_etl("billing", "run", "acme").exit_code == 0


def test_show_tells_where_lots_stand_before_and_after_billing_has_begun(world: World) -> None:
    assert document("billing", "show", "acme")["states"] == {}
    bad, good = world.add(kind="too_many"), world.add()
    world.add(file_fault="missing")
    hat_etl("billing", "run", "acme")
    found = document("billing", "show", "acme")
    assert found["states"] == {"protocolled": 1, "refused": 1}
    assert [missing["code"] for missing in found["missing"]] == ["not_there"]
    text = hat_etl("billing", "show", "acme").stdout
    assert "protocolled" in text
    assert "Files that could not be had" in text
    told = hat_etl("billing", "show", "acme", bad).stdout
    assert "5015" in told
    assert "refused by the checks" in told
    story = document("billing", "show", "acme", good)
    assert [line["event"] for line in story["history"]] == [
        "pulled", "pushed", "validated", "queued", "sent", "delivered", "pushed",
    ]  # fmt: skip
    assert hat_etl("billing", "show", "acme", "none").exit_code == 6


def test_lots_that_stand_still_are_shown(world: World) -> None:
    number = world.add()
    world.loop()
    assert document("billing", "show", "acme")["stuck"] == []
    world.rows("UPDATE hat_etl.billing_lots SET state_since = now() - interval '49 hours' RETURNING 1")
    assert [lot["batch_number"] for lot in document("billing", "show", "acme")["stuck"]] == [number]
    world.rows("UPDATE hat_etl.billing_lots SET state_since = now() RETURNING 1")
    world.poll()
    world.rows(
        "UPDATE hat_etl.billing_outbox SET created_at = now() - interval '49 hours' WHERE state = 'waiting' RETURNING 1"
    )
    (found,) = document("billing", "show", "acme")["stuck"]
    assert (found["batch_number"], found["state"]) == (number, "not told to HAT")


def test_decisions_are_taken_by_number(world: World) -> None:
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    assert hat_etl("billing", "release", "acme", number).exit_code == 2
    assert hat_etl("billing", "release", "acme", number, "--accept", "--keep").exit_code == 2
    told = document("billing", "release", "acme", number, "--protocol", "77")
    assert told == {"lot": number, "provider": "000123", "state": "protocolled", "hold": None}
    result = hat_etl("billing", "retry", "acme", number)
    assert result.exit_code == 0
    assert "protocolled" in result.stdout
    world.loop()
    assert hat_etl("billing", "retry", "acme", number).exit_code == 6


@pytest.mark.parametrize("decision", [("release", "--protocol", "77"), ("retry",)], ids=" ".join)
def test_nothing_is_decided_about_a_lot_that_a_later_version_keeps(world: World, decision: tuple[str, ...]) -> None:
    """It was, by tables that may mean something else by now, though every stage refused."""
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    world.rows("UPDATE hat_etl.schema_version SET version_num = '9999' RETURNING 1")
    command, *options = decision
    result = hat_etl("billing", command, "acme", number, *options)
    assert result.exit_code == 5
    assert "A later version of hat_etl keeps this database" in result.stderr
    assert world.states() == {number: "unknown"}


def test_two_of_a_stage_at_a_time_are_one_too_many(world: World) -> None:
    from hat_etl.billing.store import store_of

    with store_of(world.tenant) as store, store.stage("send"):
        result = hat_etl("billing", "send", "acme")
        assert result.exit_code == 8
        assert hat_etl("billing", "pull", "acme").exit_code == 0


@pytest.mark.parametrize(("key", "value"), [("deliver", '"soap"'), ("[billing.soap]", "[billing.other]")])
def test_a_file_that_does_not_say_how_lots_are_delivered_is_refused(key: str, value: str, world: World) -> None:
    file = world.folder / "acme.toml"
    text = file.read_text()
    file.write_text(text.replace(f"{key} = {value}\n", "") if key == "deliver" else text.split("[billing.soap]")[0])
    result = hat_etl("billing", "send", "acme")
    assert result.exit_code == 3
    assert f"billing.{'deliver' if key == 'deliver' else 'soap'}: is missing" in result.stderr


@pytest.mark.parametrize("lost", [without_room, without_reader])
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_decision_whose_answer_cannot_be_written_is_told_to_be_taken(
    option: str, lost: Callable[..., None], world: World
) -> None:
    """One read that something unexpected had happened; who decided once more was refused."""
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    command = ("billing", "release", "acme", number, "--protocol", "77", *filter(None, [option]))
    result = Command(command, os.environ, partial(lost, 1)).wait()
    assert result.exit_code == 11, result.err
    assert f"Lot {number} of provider 000123: protocolled" in result.err
    assert f"hat-etl billing show acme {number}" in result.err


@pytest.mark.parametrize("lost", [without_room, without_reader])
@pytest.mark.parametrize("which", ["acme", "--all"])
def test_problems_of_billing_are_told_where_the_report_cannot_be_written(
    which: str, lost: Callable[..., None], world: World
) -> None:
    """They were lost with the report; behind a pipe, the exit code and every word, too."""
    result = Command(("billing", "run", which), os.environ, partial(lost, 1)).wait()
    assert result.exit_code == 11, result.err
    assert "Error (output): acme" in result.err
    assert "hat-etl billing show acme" in result.err
    world.add(file_fault="missing")
    result = Command(("billing", "run", which), os.environ, partial(lost, 1)).wait()
    assert result.exit_code == 9, result.err
    assert "HTTP 404" in result.err


def test_a_time_beyond_the_calendar_is_told_by_its_setting(world: World) -> None:
    """A number of hours that was to mean never kept every question about lots, and their check, from an answer."""
    world.add()
    world.pull()
    world.write_tenant(more="stuck_hours = 99999999")
    result = hat_etl("billing", "show", "acme")
    assert result.exit_code == 3, result.stderr
    assert "billing.stuck_hours: input should be less than or equal to" in result.stderr
