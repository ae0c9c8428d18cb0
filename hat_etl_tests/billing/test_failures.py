"""What fails or is refused concerns its lot only, and is told by the run that meets it."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from starlette.responses import HTMLResponse

from hat_etl.billing.story import overview
from hat_etl.billing.work import Breaker, StageReport, waiting
from hat_etl.errors import ConfigurationError, DecisionNeeded, HatApiError, OperatorError
from hat_etl.hat_api.bodies import LotItem, Page
from hat_etl.hat_api.transport import Unreachable
from hat_etl.sandbox.hat.lots import Recipe, make
from hat_etl.sandbox.operator.behaviour import Mishap

from .conftest import PROVIDER, REGISTRY, World


def test_a_lot_that_hat_cannot_be_told_of_keeps_no_other_back(world: World) -> None:
    """One failing PUT ended every pull and every push: lots were not checked any more, and decisions not told."""
    world.write_tenant(attempts=1, more="workers = 1")
    poison = [world.add(f"{provider:06d}") for provider in range(3)]
    good = world.add("000456")
    with world.hat_answers(500, "PUT", *poison):
        report = world.pull()
        assert (report.counts["pulled"], report.counts["validated"]) == (4, 4)
        assert [type(problem) for problem in report.problems] == [Unreachable] * 3
        world.send()
        assert world.push().counts == {"not told": 3}, "HAT is left in peace"
        assert world.push().counts["pushed"] == 1
        assert world.in_hat(good).protocol is not None
    world.push()
    assert all(world.in_hat(number).protocol is not None for number in poison)


def test_a_decision_that_is_needed_is_told_also_when_hats_list_breaks_off(world: World) -> None:
    numbers = [world.add() for _ in range(4)]
    world.pull()
    for number in numbers:
        world.state.replace_file(number, make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=2)))
    world.write_tenant(attempts=1)
    with world.hat_answers(500, "GET", "/batchesAuthorization", after=1):
        report = world.pull()
    assert [type(problem) for problem in report.problems] == [DecisionNeeded] * 3 + [Unreachable]


def test_a_list_of_hat_that_promises_more_and_brings_nothing_is_at_its_end() -> None:
    """It was asked for page after page, without end."""
    asked = []

    def listed(page: int) -> Page[LotItem]:
        asked.append(page)
        assert len(asked) < 9
        return Page((), has_next=True)

    assert list(waiting(listed, lambda item: item.batch_number, StageReport("acme", "pull"), "lots")) == []


def test_a_server_that_answers_in_between_is_not_left_alone() -> None:
    breaker = Breaker()
    for down in (True, True, False, True, True):
        breaker.note(down=down)
    assert not breaker.is_open
    breaker.note(down=True)
    assert breaker.is_open


@pytest.mark.parametrize(
    "told", [{"status": "99999"}, {"value": 1e13}, {"value": inf}, {"value": inf, "glossedValue": inf}, {"status": inf}]
)
def test_what_the_operator_cannot_mean_keeps_no_other_lot_from_being_asked_about(
    told: dict[str, Any], world: World
) -> None:
    """A number that no column holds ended each poll, and its lot came first in the next."""
    world.write_tenant(deliver="pls")
    odd, other = world.add("000123"), world.add("000456")
    world.pull()
    world.send()
    world.operator.ledger.advance()
    service = world.operator.service
    protocols = service.protocols

    def answer(provider: str, number: str) -> dict[str, object]:
        found: dict[str, Any] = protocols(provider, number)
        return {"items": [{**item, **(told if number == odd else {})} for item in found["items"]]}

    service.protocols = answer  # type: ignore[method-assign]
    world.rows("UPDATE hat_etl.billing_lots SET next_poll = now() - interval '1 hour' RETURNING 1")
    assert world.poll().counts == {"asked": 2, "no answer": 1, "changed": 1}
    assert world.states() == {odd: "protocolled", other: "under analysis"}
    assert world.rows("SELECT FROM hat_etl.billing_lots WHERE next_poll < now() - interval '1 minute'") == []


def test_nothing_is_taken_from_hat_unless_it_can_be_delivered(world: World) -> None:
    """Whatever had imported the lots until then got none any more."""
    number = world.add()
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('deliver = "soap"\n', ""))
    with pytest.raises(ConfigurationError, match=r"billing\.deliver: is missing"):
        world.pull()
    assert world.in_hat(number).tracking == 0


def test_why_a_server_is_down_is_told_and_not_what_it_has_answered_since() -> None:
    """That an operator cannot tell of a lot in doubt was given for the reason why a delivery had not reached it."""
    breaker = Breaker()
    breaker.note(down=True, why="ConnectError")
    breaker.note(down=False, why="the web service of TISS has no question about a lot without a protocol")
    assert "(ConnectError)" in str(breaker.problem("acme"))


def test_a_delivery_that_reached_nobody_is_told(world: World) -> None:
    """Where three in a row had not failed, a wrong address was passed over in silence."""
    world.add()
    world.pull()
    world.write_tenant(operator="http://127.0.0.1:1")
    (problem,) = world.send().problems
    assert isinstance(problem, OperatorError)


def test_a_hat_that_refuses_what_pull_tells_it_is_told(world: World) -> None:
    """Pull ended well with a token that may only read, and made the message anew each time: it was never old."""
    number = world.add()
    with world.hat_answers(403, "PUT"):
        for _ in range(2):
            report = world.pull()
            assert (report.counts["refused"], [type(problem) for problem in report.problems]) == (1, [HatApiError])
            world.rows("UPDATE hat_etl.billing_outbox SET created_at = '2026-01-01' RETURNING 1")
        world.pull()
    assert [lot["state"] for lot in overview(world.tenant)["stuck"]] == ["not told to HAT"]
    world.pull()
    assert world.in_hat(number).tracking == 1


def test_whoever_reads_that_hat_refuses_a_status_is_not_told_to_send_the_lot_again(world: World) -> None:
    """Of a lot in doubt ``retry`` says that it has not arrived: the operator could get it twice."""
    doubtful, bad = world.add(), world.add(kind="too_many")
    with world.hat_answers(403, "PUT"):
        world.pull()
        world.operator.behaviour.plan(Mishap.LOSE_REPLY)
        world.send()
        assert world.states() == {doubtful: "unknown", bad: "refused"}
        world.rows("UPDATE hat_etl.billing_outbox SET not_before = now() RETURNING 1")
        problems = world.push().problems
    assert len(problems) == 2
    assert all("retry" not in str(problem) for problem in problems)


@pytest.mark.parametrize("status", [403, 404], ids=["refused", "404 of a gateway"])
def test_a_deletion_that_hat_refuses_to_hear_of_is_not_counted_as_done(status: int, world: World) -> None:
    """A gateway's own 404 was taken for HAT's word that the lot is gone."""
    unseen = world.add()
    world.state.mark_deleted(unseen)
    with world.hat_answers(status, "DELETE"):
        report = world.pull()
        assert (report.counts["deleted"], len(report.problems)) == (0, 1)
        world.list_again(unseen)
        world.pull()
        world.state.mark_deleted(unseen)
        report = world.pull()
        assert (report.counts["deleted"], len(report.problems)) == (0, 1)
    assert world.pull().counts["deleted"] == 1


def test_a_page_that_something_before_hat_answers_with_is_not_hats_word(world: World) -> None:
    """With its 200 a status counted as told, and a deletion as confirmed: the provider never saw them."""
    number, deleted = world.add(), world.add()
    world.pull()
    world.send()
    world.state.mark_deleted(deleted)
    hat = world.hat_faults._app

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        listed = scope["method"] == "GET"
        await (hat if listed else HTMLResponse("<html>Em manutenção</html>"))(scope, receive, send)

    world.hat_faults._app = answering
    report = world.push()
    assert report.counts["pushed"] == 0
    assert [type(problem) for problem in report.problems] == [Unreachable] * 2
    world.pull()
    world.hat_faults._app = hat
    world.push()
    assert world.in_hat(number).protocol is not None
    world.loop()


def test_a_deletion_that_hat_refuses_to_hear_of_is_done_when_it_lists_the_lot_no_more(world: World) -> None:
    """As after a lost reply, where what HAT says of a lot that it has no more is not known for its own word."""
    number = world.add()
    world.pull()
    world.state.mark_deleted(number)
    with world.hat_answers(404, "DELETE"):
        assert world.pull().counts["refused"] == 1
        world.state.delete(number, None)
        world.pull()
        assert overview(world.tenant)["waiting"] == {"delete": 1}
        world.rows("UPDATE hat_etl.billing_history SET at = at - interval '1 hour' RETURNING 1")
        world.pull()
        assert world.push().problems == []
    assert world.events(number)[-1] == "deletion confirmed"
    assert overview(world.tenant)["waiting"] == {}


def test_a_deletion_is_not_done_for_one_list_that_misses_the_lot_after_a_pause(world: World) -> None:
    """Its lot had to be missing once only, if HAT had been told in vain an hour before."""
    number = world.add()
    world.pull()
    world.state.mark_deleted(number)
    with world.hat_answers(404, "DELETE"):
        world.pull()
        for _ in range(2):
            world.rows("UPDATE hat_etl.billing_outbox SET created_at = created_at - interval '1 day' RETURNING 1")
            world.rows("UPDATE hat_etl.billing_history SET at = at - interval '1 day' RETURNING 1")
            world.state._do("UPDATE lots SET tracking = 1")
            world.pull()
            assert overview(world.tenant)["waiting"] == {"delete": 1}
            world.state._do("UPDATE lots SET tracking = 0")
            world.pull()
    assert "deletion confirmed" not in world.events(number)
    world.pull()
    assert world.in_hat(number).is_gone


def test_an_operator_that_turns_every_question_away_is_told_of(world: World) -> None:
    """With a login that had changed, polls were well, and no status came until check ``stuck`` turned red."""
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('ask = "pls"', ""))
    world.add()
    world.loop()
    passwords, world.operator.service.passwords = world.operator.service.passwords, {}
    (problem,) = world.poll().problems
    assert isinstance(problem, OperatorError)
    assert "hat-etl doctor acme" in str(problem)
    world.operator.service.passwords = passwords
    assert world.poll().problems == []
