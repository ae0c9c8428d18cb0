"""Lots on their way: pulled, checked, delivered, followed and told."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import JSONResponse

from hat_etl.billing import loop
from hat_etl.billing import store as rows
from hat_etl.billing.decisions import release, retry
from hat_etl.billing.due import is_due
from hat_etl.billing.loop import run_all
from hat_etl.billing.operators.soap import SoapOperator
from hat_etl.billing.push import enqueue_status
from hat_etl.billing.states import State
from hat_etl.billing.store import store_of
from hat_etl.billing.work import StageReport
from hat_etl.errors import DataError, DecisionNeeded, HatApiError, OperatorError
from hat_etl.hat_api.transport import Unreachable
from hat_etl.sandbox.hat.lots import Recipe, make
from hat_etl.sandbox.operator.behaviour import Behaviour, Mishap
from hat_etl.tenants.config import Tenant
from hat_etl.tiss.schemas import Schemas
from hat_etl_tests.failures.ground import eventually
from hat_etl_tests.servers import Server

from .conftest import PROVIDER, REGISTRY, World, new_world, somebody_waits


@pytest.mark.parametrize("deliver", ["soap", "pls"])
def test_a_lot_goes_all_the_way_and_hat_shows_what_the_operator_says(deliver: str, world: World) -> None:
    world.write_tenant(deliver=deliver)
    world.order(19)
    for provider in ("000123", "000456"):
        for kind in ("consulta", "sadt"):
            world.add(provider, kind=kind)
    world.loop(rounds=4)
    assert set(world.states().values()) == {"final"}
    assert [lot.status for lot in world.operator.lots()] == ["6", "4", "6", "6"]
    for lot in world.operator.lots():
        shown = world.in_hat(lot.number)
        assert (str(shown.status), shown.protocol, shown.tracking) == (lot.status, lot.protocol, 1)
        assert lot.arrivals == 1


def test_denials_reach_hat_with_their_codes(world: World) -> None:
    world.order(20)
    denied = world.add(guides=2)
    world.loop(rounds=4)
    shown = world.in_hat(denied)
    assert shown.status == 4
    assert [cause["code"] for cause in shown.causes] == ["1702", "1702"]
    assert shown.causes[0]["description"] == "COBRANÇA DE PROCEDIMENTO EM DUPLICIDADE"
    assert "Guia" in shown.causes[0]["detailedDescription"]
    assert world.column(denied, "denied") == 200


def test_a_statement_is_asked_for_when_something_is_denied_and_once_for_one_decision(world: World) -> None:
    """Two lots that left at once came to the operator in either order, and the other one was denied."""
    world.order(5)
    denied = world.add("000123")
    world.pull()
    world.send()
    paid = world.add("000456")
    world.loop(rounds=5)
    assert world.in_hat(denied).status == 6
    assert [cause["code"] for cause in world.in_hat(denied).causes] == ["1705"]
    assert world.events(denied).count("statement") == 1
    assert world.events(paid).count("statement") == 0


def test_a_kill_between_status_and_statement_leaves_the_denials_for_the_next_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lot was final by then, and was asked about in a day."""
    world.order(20)
    number = world.add(guides=2)
    world.loop(rounds=2)
    world.operator.ledger.advance()

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(SoapOperator, "statement", killed)
        with pytest.raises(Killed):
            world.poll()
    assert world.states()[number] == "final"
    world.poll()
    world.push()
    assert len(world.in_hat(number).causes) == 2


def test_denials_end_with_the_decision_and_come_back_with_the_next_one(world: World) -> None:
    world.order(5)
    number = world.add()
    world.loop(rounds=4)
    assert len(world.in_hat(number).causes) == 1
    for status, causes in (("1", 0), ("3", 1)):
        step = {"1": 0, "3": 3}[status]
        world.operator.ledger._database.execute("UPDATE lots SET step = ?", (step,))
        world.poll(everything=True)
        world.push()
        assert (world.in_hat(number).status, len(world.in_hat(number).causes)) == (int(status), causes)


def test_lots_of_one_provider_in_two_versions_are_asked_about_apart(world: World) -> None:
    world.order(20)
    world.add(version="4.02.00")
    world.pull()
    world.send()
    world.order(40)
    world.add(version="4.03.00")
    world.loop(rounds=4)
    assert [world.in_hat(number).causes[0]["code"] for number in ("1", "2")] == ["1702", "1702"]


def test_the_bytes_stay_as_hat_gave_them(world: World) -> None:
    number = world.add(kind="sadt", guides=3)
    content = make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, kind="sadt", guides=3))
    world.write_tenant(deliver="pls")
    world.loop()
    digest = hashlib.sha256(content).hexdigest()
    assert world.rows("SELECT sha256, content FROM hat_etl.billing_contents") == [(digest, content)]
    assert [lot.digest for lot in world.operator.lots()] == [digest]


def test_a_lot_that_is_refused_by_the_checks_tells_why_and_goes_nowhere(world: World) -> None:
    bad = world.add(kind="wrong_hash")
    good = world.add()
    world.loop()
    lot = world.in_hat(bad)
    assert (lot.status, lot.tracking) == (4, 1)
    assert [(c["code"], c["description"]) for c in lot.causes] == [("5014", "Hash não confere")]
    assert "hash.divergente" in lot.causes[0]["detailedDescription"]
    assert world.at_operator() == {good: 1}


def test_each_change_of_status_is_told_once_and_kept(world: World) -> None:
    number = world.add()
    for _ in range(6):
        world.loop()
        world.poll()
        world.push()
    told = [body["status"] for body in world.state.puts(number)]
    assert told == [1, 1, 2, 3, 6], "taken, protocolled, and then only what changed"
    kept = world.rows("SELECT detail ->> 'status' FROM hat_etl.billing_history WHERE event = 'status' ORDER BY id")
    assert [row[0] for row in kept] == ["2", "3", "6"]


def test_what_hat_shows_already_is_not_told_again(world: World) -> None:
    number = world.add()
    world.loop()
    with store_of(world.tenant) as store, store.transaction() as connection:
        (lot,) = connection.execute("SELECT lot FROM hat_etl.billing_lots").fetchone() or (0,)
        enqueue_status(store, connection, lot)
    before = world.state.puts(number)
    assert world.push().counts == {}
    assert world.state.puts(number) == before


def test_a_payment_that_is_taken_back_is_seen_and_told(world: World) -> None:
    world.order(33)
    number = world.add()
    world.loop(rounds=4)
    assert world.states()[number] == "final"
    world.poll()
    assert world.states()[number] == "final", "asked about again tomorrow only"
    world.poll(everything=True)
    world.push()
    assert world.states()[number] == "under analysis"
    assert world.in_hat(number).status == 3
    world.operator.ledger.advance()
    world.poll()
    world.push()
    assert world.in_hat(number).status == 6


def test_a_final_lot_is_asked_about_again_after_a_day(world: World) -> None:
    world.order(33)
    number = world.add()
    world.loop(rounds=4)
    world.poll()
    assert world.states()[number] == "final"
    assert not is_due(world.tenant, "poll")
    world.rows("UPDATE hat_etl.billing_lots SET next_poll = next_poll - interval '1 day' RETURNING 1")
    assert is_due(world.tenant, "poll")
    world.poll()
    assert world.states()[number] == "under analysis", "the payment was taken back"


def test_a_lot_that_hat_lists_again_is_taken_once(world: World) -> None:
    number = world.add()
    world.loop()
    world.state.mend_file(number)
    world.state.replace_file(number, make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=1)))
    report = world.pull()
    assert report.counts == {"known": 1}
    assert world.in_hat(number).tracking == 1
    world.loop()
    assert world.at_operator() == {number: 1}


def test_other_content_under_the_same_number_stops_for_a_decision(world: World) -> None:
    number = world.add()
    world.pull()
    other = make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=2))
    world.state.replace_file(number, other)
    report = world.pull()
    assert [type(problem) for problem in report.problems] == [DecisionNeeded]
    assert world.column(number, "hold") == "content_changed"
    world.send()
    assert world.at_operator() == {}
    assert len(world.rows("SELECT FROM hat_etl.billing_contents")) == 2


def test_a_second_lot_with_the_number_of_another_stops_for_a_decision(world: World) -> None:
    first = world.add(number="55", batch_number="A1")
    second = world.add(number="55", batch_number="A2", guides=2)
    other = world.add(provider="000456", number="55", batch_number="A3")
    world.loop()
    held = [number for number in (first, second, other) if world.column(number, "hold")]
    assert len(held) == 1
    assert held[0] in (first, second)
    assert len(world.operator.lots()) == 2


def test_a_lot_that_is_deleted_before_it_was_sent_is_withdrawn(world: World) -> None:
    number, unseen = world.add(), world.add()
    world.state.mark_deleted(unseen)
    world.pull()
    world.state.mark_deleted(number)
    world.pull()
    world.loop()
    assert world.states() == {number: "withdrawn"}
    assert world.in_hat(number).is_gone
    assert world.in_hat(unseen).is_gone
    assert world.at_operator() == {}


def test_a_withdrawn_lot_that_hat_lists_again_is_taken_again(world: World) -> None:
    """HAT was told that it was taken, and it stayed withdrawn."""
    number = world.add()
    world.pull()
    world.state.mark_deleted(number)
    with world.hat_answers(403, "DELETE"):
        world.pull()
    world.list_again(number)
    world.loop()
    assert (world.states(), world.at_operator()) == ({number: "protocolled"}, {number: 1})
    assert not world.in_hat(number).is_gone, "the deletion that could not be told is told no more"


def test_a_withdrawn_lot_that_hat_lists_again_without_its_file_is_not_deleted_in_hat(world: World) -> None:
    """The deletion that could not be told was told then, of a lot that the provider had back."""
    number = world.add()
    world.pull()
    world.state.mark_deleted(number)
    with world.hat_answers(403, "DELETE"):
        world.pull()
    world.list_again(number)
    world.state._do("UPDATE lots SET file_fault = 'missing'")
    world.pull()
    world.rows("UPDATE hat_etl.billing_outbox SET not_before = now() RETURNING 1")
    world.push()
    assert not world.in_hat(number).is_gone
    world.state.mend_file(number)
    world.loop()
    assert (world.states(), world.at_operator()) == ({number: "protocolled"}, {number: 1})


def test_a_lot_whose_file_is_missing_is_forgotten_when_it_is_deleted(world: World) -> None:
    """It turned check ``stuck`` red for ever."""
    number = world.add(file_fault="missing")
    world.pull()
    world.state.mark_deleted(number)
    world.pull()
    assert world.rows("SELECT FROM hat_etl.billing_missing_files") == []


def test_a_lot_whose_file_is_missing_is_forgotten_when_hat_lists_it_no_more(world: World) -> None:
    """It turned check ``stuck`` red for ever, and no command could end that."""
    gone, other = world.add(file_fault="missing"), world.add(file_fault="missing")
    world.pull()
    world.state.delete(gone, None)
    missing = "SELECT batch_number, attempts FROM hat_etl.billing_missing_files"
    with world.hat_answers(500, "GET", "/batchesAuthorization"), pytest.raises(Unreachable):
        world.pull()
    assert len(world.rows(missing)) == 2, "HAT's list has not been read"
    assert world.pull().counts == {"missing": 1}, "it may have moved between pages meanwhile"
    world.rows("UPDATE hat_etl.billing_missing_files SET last_at = last_at - interval '1 hour' RETURNING 1")
    report = world.pull()
    assert report.counts == {"missing": 1, "no longer listed": 1}
    assert f"lot {gone} of provider 000123" in str(report.problems[-1])
    assert world.rows(missing) == [(other, 3)]
    assert world.pull().counts == {"missing": 1}


def test_a_lot_whose_file_is_missing_is_not_forgotten_while_hats_list_is_not_read_whole(world: World) -> None:
    """What cannot be read of a list may be the lot."""
    number = world.add(file_fault="missing")
    world.pull()
    world.rows("UPDATE hat_etl.billing_missing_files SET last_at = last_at - interval '1 hour' RETURNING 1")
    world.state._do("UPDATE lots SET batch_number = ''")
    world.pull()
    assert world.rows("SELECT batch_number FROM hat_etl.billing_missing_files") == [(number,)]


def test_a_lot_whose_file_is_missing_is_not_forgotten_for_one_list_that_misses_it_after_a_pause(world: World) -> None:
    """When nothing had pulled for an hour, one short list was enough: the lot was said to be gone."""
    number = world.add(file_fault="missing")
    world.pull()
    missing = "SELECT batch_number, attempts FROM hat_etl.billing_missing_files"
    for attempts in (1, 2):
        world.rows("UPDATE hat_etl.billing_missing_files SET last_at = last_at - interval '1 day' RETURNING 1")
        world.state._do("UPDATE lots SET tracking = 1")
        assert world.pull().problems == []
        assert world.rows(missing) == [(number, attempts)]
        world.state._do("UPDATE lots SET tracking = 0")
        world.pull()


def test_a_lot_of_which_hat_does_not_say_clearly_whether_it_is_deleted_is_told_so(world: World) -> None:
    """It was told to have no number or no provider."""
    number = world.add()
    hat = world.hat_faults._app
    item = {"batchNumber": number, "healthProviderId": PROVIDER, "isDeleted": "talvez"}

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        await (JSONResponse({"items": [item]}) if scope["method"] == "GET" else hat)(scope, receive, send)

    world.hat_faults._app = answering
    (problem,) = world.pull().problems
    assert "isDeleted" in str(problem)


def test_a_page_without_lots_that_is_not_the_last_is_no_whole_list(world: World) -> None:
    """What HAT left out of its list was taken for gone."""
    number = world.add(file_fault="missing")
    world.pull()
    hat = world.hat_faults._app

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        await (JSONResponse({"items": [], "hasNext": True}) if scope["method"] == "GET" else hat)(scope, receive, send)

    world.hat_faults._app = answering
    for _ in range(2):
        world.pull()
        world.rows("UPDATE hat_etl.billing_missing_files SET last_at = last_at - interval '1 day' RETURNING 1")
    assert world.rows("SELECT batch_number FROM hat_etl.billing_missing_files") == [(number,)]


def test_a_lot_that_is_deleted_after_it_was_sent_stops_for_a_decision(world: World) -> None:
    number = world.add()
    world.loop()
    world.state.mark_deleted(number)
    report = world.pull()
    assert [type(problem) for problem in report.problems] == [DecisionNeeded]
    assert world.column(number, "hold") == "deleted_after_delivery"
    assert not world.in_hat(number).is_gone


def test_a_file_that_cannot_be_had_is_told_after_a_while_and_taken_when_it_is_there(world: World) -> None:
    number, good = world.add(file_fault="parent_not_found"), world.add()
    for _ in range(7):
        world.pull()
    assert world.states() == {good: "validated"}
    lot = world.in_hat(number)
    assert lot.tracking == 0
    assert [cause["code"] for cause in lot.causes] == ["5012"]
    assert len(world.state.puts(number)) == 1
    world.state.mend_file(number)
    world.pull()
    assert world.states()[number] == "validated"
    assert world.in_hat(number).causes == []
    assert world.rows("SELECT FROM hat_etl.billing_missing_files") == []


def test_lots_that_cannot_be_taken_hide_none_of_the_next_pages(world: World) -> None:
    for _ in range(4):
        world.add(file_fault="missing")
    good = [world.add() for _ in range(4)]
    report = world.pull()
    assert report.counts == {"missing": 4, "pulled": 4, "validated": 4}
    assert sorted(world.states()) == good


def test_a_lot_for_another_operator_is_refused(world: World) -> None:
    number = world.add(kind="other_operator")
    world.loop()
    assert {cause["code"] for cause in world.in_hat(number).causes} == {"5027"}
    assert world.at_operator() == {}


def test_lots_of_a_provider_arrive_in_their_order_whatever_hat_lists_first(world: World) -> None:
    for _ in range(4):
        for provider in ("000123", "000456", "000789"):
            world.add(provider)
    world.hat_faults.set(world.hat_faults.faults.model_copy(update={"shuffle": True, "seed": 5}))
    world.loop()
    arrived = world.operator.lots()
    assert len(arrived) == 12
    for provider in ("000123", "000456", "000789"):
        numbers = [int(lot.number) for lot in arrived if lot.provider == provider]
        assert numbers == sorted(numbers)


def test_nothing_is_sent_before_hats_whole_list_was_seen(world: World) -> None:
    for number in ("9", "10", "11", "12"):  # HAT lists 10, 11 and 12 on its first page
        world.add(number=number)
    hat, lists = world.hat_faults._app, []

    async def dying(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].endswith("/batchesAuthorization"):
            lists.append(scope["path"])
        gone = {"path": "/gone", "raw_path": b"/gone"} if len(lists) > 1 else {}
        await hat({**scope, **gone}, receive, send)

    world.hat_faults._app = dying
    with pytest.raises(HatApiError):
        world.pull()
    world.send()
    assert world.states() == {"10": "pulled", "11": "pulled", "12": "pulled"}
    world.hat_faults._app = hat
    world.loop()
    assert list(world.at_operator()) == ["9", "10", "11", "12"]


@pytest.mark.parametrize("deliver", ["soap", "pls"])
@pytest.mark.parametrize("mishap", [Mishap.LOSE_REPLY, Mishap.CUT_REPLY, Mishap.GARBLE_REPLY, Mishap.FAIL])
def test_an_outcome_that_is_not_known_is_asked_about_before_anything_is_sent_again(
    mishap: Mishap, deliver: str, world: World
) -> None:
    world.write_tenant(deliver=deliver)
    first, second = world.add(), world.add()
    world.pull()
    world.operator.behaviour.plan(mishap)
    assert world.send().counts["unknown"] == 1
    assert world.states() == {first: "unknown", second: "queued"}, "the second one waits for the first"
    world.send()
    assert world.states() == {first: "protocolled", second: "protocolled"}
    assert world.at_operator() == {first: 1, second: 1}
    found = "delivered" if mishap is Mishap.FAIL else "found at the operator"
    assert world.events(first)[-2 if found != "delivered" else -1] in (found, "no answer")
    assert found in world.events(first)


def test_where_nobody_can_be_asked_a_lot_in_doubt_waits_for_a_person(world: World) -> None:
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('ask = "pls"', ""))
    number, later = world.add(), world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    report = world.send()
    assert [type(problem) for problem in report.problems] == [DecisionNeeded]
    assert world.states() == {number: "unknown", later: "queued"}
    assert world.at_operator() == {number: 1}


def test_a_lot_that_was_taken_and_is_sent_again_by_a_person_is_known_by_its_protocol(world: World) -> None:
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    retry(world.tenant, number)
    world.send()
    assert world.states()[number] == "protocolled"
    assert world.column(number, "protocol") == world.operator.lots()[0].protocol


def used_elsewhere(world: World, number: str) -> None:
    """The operator has another lot of this number."""
    recipe = Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=2)
    world.operator.service.upload(PROVIDER, number, make(recipe))


def test_a_lot_number_that_the_operator_knows_from_elsewhere_is_refused(world: World) -> None:
    number = world.add()
    used_elsewhere(world, number)
    world.loop()
    assert world.states()[number] == "refused"
    assert [cause["code"] for cause in world.in_hat(number).causes] == ["5053"]


def test_a_number_that_is_used_elsewhere_is_refused_also_after_deliveries_that_never_arrived(world: World) -> None:
    """A delivery that had reached nobody made the lot pass for one that the operator has: it was lost."""
    number = world.add()
    used_elsewhere(world, number)
    world.pull()
    world.write_tenant(operator="http://127.0.0.1:1")
    assert world.send().counts["not sent"] == 1
    world.write_tenant()
    world.send()
    assert (world.states()[number], world.column(number, "protocol")) == ("refused", None)


def test_a_number_that_is_used_elsewhere_is_refused_each_time_that_the_lot_is_retried(world: World) -> None:
    """The first refusal counted as a delivery, and the second one as proof that it had arrived."""
    number = world.add()
    used_elsewhere(world, number)
    world.loop()
    retry(world.tenant, number)
    world.loop()
    assert (world.states()[number], world.column(number, "protocol")) == ("refused", None)


def test_a_file_that_pls_has_refused_and_then_calls_a_double_is_refused(world: World) -> None:
    """PLS keeps the name of a file that it refuses: the lot was booked as taken, without a protocol."""
    world.write_tenant(deliver="pls")
    number = world.add()
    for message in ("Beneficiario invalido", "Arquivo ja submetido"):
        answer = {"message": message, "success": False}
        world.operator.service.upload = lambda *_, answer=answer: answer  # type: ignore[method-assign]
        world.loop()
        assert world.states()[number] == "refused"
        retry(world.tenant, number)


def test_a_lot_that_is_decided_about_while_it_is_queued_keeps_no_other_from_being_sent(world: World) -> None:
    """It had been read as validated, and the whole stage ended with an error."""
    decided, other = world.add("000123"), world.add("000456")
    world.pull()
    with ThreadPoolExecutor(1) as pool, store_of(world.tenant) as store:
        with store.transaction() as connection:
            lot = store.find(connection, "000123", decided)
            assert lot is not None
            rows.move(connection, lot.lot, State.PROTOCOLLED, "arrived, as a person says")
            going = pool.submit(world.send)
            eventually(lambda: somebody_waits(world), "send waits for the lot")
        assert going.result(60).counts == {"protocolled": 1}
    assert world.states() == {decided: "protocolled", other: "protocolled"}
    assert world.at_operator() == {other: 1}


def test_a_doubt_about_one_file_proves_nothing_of_another(world: World) -> None:
    """The operator has the old file: what it calls a double then is no arrival of the new one."""
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    retry(world.tenant, number)
    world.state.replace_file(number, make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=2)))
    world.pull()
    release(world.tenant, number, accept=True)
    world.loop()
    assert (world.states()[number], world.column(number, "protocol")) == ("refused", None)


def test_a_doubt_lasts_until_the_operator_has_said_something(world: World) -> None:
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    retry(world.tenant, number)
    world.write_tenant(operator="http://127.0.0.1:1")
    assert world.send().counts["not sent"] == 1
    world.write_tenant()
    world.send()
    assert world.column(number, "protocol") == world.operator.lots()[0].protocol


def test_a_doubt_is_not_asked_about_at_once_however_long_ago_the_lot_was_pulled(world: World) -> None:
    number = world.add()
    world.pull()
    world.rows("UPDATE hat_etl.billing_lots SET state_since = now() - interval '2 hours' RETURNING 1")
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace("unknown_wait_seconds = 0", "unknown_wait_seconds = 3600"))
    assert world.send().counts == {"waiting": 1}
    assert world.states()[number] == "unknown"


def test_what_could_never_be_sent_is_tried_again_within_the_hour(world: World) -> None:
    """Pauses double: those of a lot that failed through a long outage would come to months."""
    world.add()
    world.pull()
    world.write_tenant(operator="http://127.0.0.1:1")
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace("retry_seconds = 0", "retry_seconds = 60"))
    world.send()
    world.rows("UPDATE hat_etl.billing_outbox SET attempts = 50, not_before = now() WHERE kind = 'deliver' RETURNING 1")
    assert world.send().counts["not sent"] == 1
    pause = "SELECT not_before - now() FROM hat_etl.billing_outbox WHERE kind = 'deliver'"
    assert timedelta(minutes=50) < world.rows(pause)[0][0] <= timedelta(hours=1)


def test_an_operator_that_is_down_is_left_in_peace_and_nothing_is_lost(world: World) -> None:
    for provider in range(8):
        world.add(f"{provider:06d}")
    world.pull()
    world.write_tenant(operator="http://127.0.0.1:1")
    report = world.send()
    assert [type(problem) for problem in report.problems] == [OperatorError]
    assert report.counts["not sent"] < 8
    assert set(world.states().values()) == {"queued"}
    world.write_tenant()
    world.send()
    assert set(world.states().values()) == {"protocolled"}


def test_a_hat_that_is_down_ends_the_stage_and_keeps_what_was_done(world: World) -> None:
    world.add()
    world.hat_faults.set(world.hat_faults.faults.model_copy(update={"fail": 1}))
    with pytest.raises(Unreachable):
        world.pull()
    world.hat_faults.set(world.hat_faults.faults.model_copy(update={"fail": 0}))
    world.loop()
    assert len(world.operator.lots()) == 1


def test_a_folder_gets_each_lot_whole(world: World) -> None:
    out = world.folder / "out"
    world.write_tenant(deliver="folder", more=f'[billing.folder]\npath = "{out}"')
    number = world.add()
    world.loop()
    assert world.states()[number] == "protocolled"
    (file,) = out.iterdir()
    assert file.read_bytes() == make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=1))
    assert file.suffix == ".xml"


def test_a_lot_whose_bytes_have_changed_in_the_store_is_not_sent(world: World) -> None:
    spoilt, other = world.add("000123"), world.add("000456")
    world.pull()
    world.rows(
        "UPDATE hat_etl.billing_contents c SET content = 'x' FROM hat_etl.billing_lots l WHERE l.lot = c.lot"
        " AND batch_number = %s RETURNING 1",
        (spoilt,),
    )
    report = world.send()
    assert [type(problem) for problem in report.problems] == [DataError]
    assert world.at_operator() == {other: 1}
    assert world.states()[spoilt] == "queued"


def test_what_hat_refuses_of_one_lot_keeps_no_other_from_being_told(world: World) -> None:
    gone, other = world.add("000123"), world.add("000456")
    world.pull()
    world.send()
    world.state._do("DELETE FROM lots WHERE batch_number = ?", (gone,))
    report = world.push()
    assert report.counts == {"refused": 1, "pushed": 1}
    assert [f"lot {gone} of" in str(problem) for problem in report.problems] == [True]
    assert world.in_hat(other).protocol is not None
    assert world.push().counts == {}, "tried again in an hour"


def test_an_operator_that_does_not_answer_keeps_no_other_tenant_waiting(
    world: World, postgres: Server, schemas: Schemas
) -> None:
    class Noticing(Behaviour):
        def next(self) -> Mishap:
            asked.set()
            return super().next()

    asked = threading.Event()
    world.add()
    world.operator.behaviour.plan(Mishap.BLACK_HOLE)
    with new_world("other", postgres, schemas, world.folder) as other, ThreadPoolExecutor(1) as pool:
        other.operator.behaviour = Noticing()
        other.add()
        going = pool.submit(run_all, [world.tenant, other.tenant])
        assert asked.wait(60)
        assert not going.done(), "the first operator still says nothing"
        world.operator.stopping.set()
        going.result()
        assert other.states() == {"1": "protocolled"}
        assert world.states() == {"1": "unknown"}


def test_an_error_that_nobody_foresaw_names_its_tenant_and_hides_no_other(
    world: World, postgres: Server, schemas: Schemas, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(tenant: Tenant) -> StageReport:
        return {"other": StageReport("other", "pull")}[tenant.name]

    monkeypatch.setattr(loop, "STAGES", (stage,))
    with new_world("other", postgres, schemas, world.folder) as other:
        broken, fine = run_all([world.tenant, other.tenant])
    assert [str(problem) for problem in broken.problems] == [
        "acme: Unexpected KeyError. Next step: Run hat-etl billing run acme and report the lines it prints."
    ]
    assert (fine.tenant, fine.problems) == ("other", [])


def test_hat_is_told_of_a_lot_while_its_next_status_is_being_written(world: World) -> None:
    number = world.add()
    world.loop()
    world.poll()
    with ThreadPoolExecutor(1) as pool, store_of(world.tenant) as store, store.transaction() as connection:
        lot = store.find(connection, PROVIDER, number)
        assert lot is not None
        assert pool.submit(world.push).result(60).counts == {"pushed": 1}
        enqueue_status(store, connection, lot.lot, again=True)
