"""What a person decides about a lot, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hat_etl.billing.decisions import arrived, release, retry
from hat_etl.billing.operators.base import NoAnswer
from hat_etl.billing.operators.profile import Divided
from hat_etl.billing.operators.soap import SoapOperator
from hat_etl.billing.story import overview
from hat_etl.errors import DataError
from hat_etl.sandbox.hat.lots import Recipe, make
from hat_etl.sandbox.operator.behaviour import Mishap
from hat_etl.sandbox.operator.service import Reply

from .conftest import PROVIDER, REGISTRY, World


def other_content(number: str) -> bytes:
    return make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=2))


@pytest.mark.parametrize(("accept", "guides"), [(True, 2), (False, 1)])
def test_of_two_files_the_one_that_was_chosen_is_sent(accept: bool, guides: int, world: World) -> None:
    number = world.add()
    world.pull()
    world.state.replace_file(number, other_content(number))
    world.pull()
    release(world.tenant, number, accept=accept)
    world.loop()
    (lot,) = world.operator.lots()
    assert len(lot.guides) == guides
    assert len(world.rows("SELECT FROM hat_etl.billing_contents")) == 2, "both are kept"


def test_a_lot_that_the_operator_has_gets_no_other_file(world: World) -> None:
    number = world.add()
    world.loop()
    world.state.replace_file(number, other_content(number))
    world.pull()
    with pytest.raises(DataError, match="gets no other"):
        release(world.tenant, number, accept=True)
    release(world.tenant, number, accept=False)
    world.loop(rounds=3)
    assert world.states()[number] == "final"
    assert world.at_operator() == {number: 1}


def test_a_reused_number_is_sent_or_refused_as_was_decided(world: World) -> None:
    for batch in ("A1", "A2"):
        world.add(number="55", batch_number=batch)
        world.pull()
    release(world.tenant, "A2", accept=False)
    world.loop()
    assert world.states() == {"A1": "protocolled", "A2": "refused"}
    assert [cause["code"] for cause in world.in_hat("A2").causes] == ["5053"]
    world.add(number="55", batch_number="A3", guides=3)
    world.pull()
    release(world.tenant, "A3", accept=True)
    world.loop()
    assert world.states()["A3"] == "refused", "by the operator, which knows the number"
    assert world.at_operator() == {"55": 2}


def test_a_reused_number_that_was_refused_and_is_retried_is_asked_about_again(world: World) -> None:
    """The decision against it counted as one for it: the retried lot was sent."""
    for batch in ("A1", "A2"):
        world.add(number="55", batch_number=batch)
        world.pull()
    release(world.tenant, "A2", accept=False)
    retry(world.tenant, "A2")
    world.pull()
    assert (world.states()["A2"], world.column("A2", "hold")) == ("pulled", "number_reused")


def test_a_decision_about_a_reused_number_is_none_about_another_number(world: World) -> None:
    """The lot's next file had the number of a third lot, and was sent without a question."""
    world.add(number="60", batch_number="B1")
    for batch in ("A1", "A2"):
        world.add(number="55", batch_number=batch)
        world.pull()
    release(world.tenant, "A2", accept=True)
    world.pull()
    assert world.states()["A2"] == "validated"
    world.state.replace_file("A2", other_content("60"))
    world.pull()
    release(world.tenant, "A2", accept=True)
    (problem,) = world.pull().problems
    assert "Lots B1 and A2" in str(problem)
    assert (world.states()["A2"], world.column("A2", "hold")) == ("pulled", "number_reused")


def test_a_lot_in_doubt_is_not_found_by_the_arrival_of_another_lot_of_its_number(world: World) -> None:
    """It was booked under that one's protocol, and never arrived."""
    world.add(number="55", batch_number="A1")
    world.loop()
    world.add(number="55", batch_number="A2", guides=2)
    world.pull()
    release(world.tenant, "A2", accept=True)
    world.pull()
    world.operator.behaviour.plan(Mishap.FAIL)
    world.send()
    (problem,) = world.send().problems
    assert "lot A1 has" in str(problem)
    assert (world.states()["A2"], world.column("A2", "protocol")) == ("unknown", None)


def test_a_double_of_another_lot_proves_nothing_of_a_lot_in_doubt(world: World) -> None:
    world.add(number="55", batch_number="A1")
    world.loop()
    world.add(number="55", batch_number="A2", guides=2)
    world.pull()
    release(world.tenant, "A2", accept=True)
    world.pull()
    world.operator.behaviour.plan(Mishap.FAIL)
    world.send()
    retry(world.tenant, "A2")
    world.send()
    assert (world.states()["A2"], world.column("A2", "protocol")) == ("unknown", None)


def replaced(world: World, number: str, guides: int) -> None:
    """HAT has another file, or the first one again."""
    world.state.replace_file(number, make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=guides)))
    world.pull()


def test_of_several_files_the_one_that_hat_has_now_is_taken(world: World) -> None:
    """The one that had come last for the first time was sent, though HAT had gone back to an earlier one."""
    number = world.add()
    world.pull()
    for guides in (2, 3, 2):
        replaced(world, number, guides)
    release(world.tenant, number, accept=True)
    world.loop()
    assert [len(lot.guides) for lot in world.operator.lots()] == [2]


def test_nothing_is_to_be_decided_when_hat_has_the_old_file_again(world: World) -> None:
    """The lot went on waiting, and the decision for HAT's file sent one that HAT had no more."""
    number = world.add()
    world.pull()
    replaced(world, number, 2)
    replaced(world, number, 1)
    assert world.column(number, "hold") is None
    world.loop()
    assert [len(lot.guides) for lot in world.operator.lots()] == [1]


def test_a_decision_about_a_file_lasts_when_hat_lists_it_before_it_was_told(world: World) -> None:
    """Where HAT took no word on the lot, each pull asked again, and the lot was never sent."""
    number = world.add()
    world.pull()
    with world.hat_answers(403, "PUT"):
        replaced(world, number, 2)
        release(world.tenant, number, accept=False)
        world.pull()
        assert world.column(number, "hold") is None
        replaced(world, number, 3)
        assert world.column(number, "hold") == "content_changed", "that is another one"
        release(world.tenant, number, accept=False)
    world.loop()
    assert [len(lot.guides) for lot in world.operator.lots()] == [1]
    replaced(world, number, 3)
    assert world.column(number, "hold") == "content_changed", "given once more, after HAT was told"


def test_a_lot_that_waits_for_a_person_and_is_deleted_waits_no_more(world: World) -> None:
    number = world.add()
    world.pull()
    replaced(world, number, 2)
    world.state.mark_deleted(number)
    world.pull()
    assert (world.states()[number], world.column(number, "hold")) == ("withdrawn", None)


def test_a_withdrawn_lot_that_comes_back_with_another_file_is_decided_about(world: World) -> None:
    """It was to be released, which a withdrawn lot could not be."""
    number = world.add()
    world.pull()
    world.state.mark_deleted(number)
    world.pull()
    world.list_again(number)
    replaced(world, number, 2)
    release(world.tenant, number, accept=True)
    world.loop()
    assert [len(lot.guides) for lot in world.operator.lots()] == [2]


def test_a_lot_in_doubt_that_was_withdrawn_and_comes_back_is_asked_about(world: World) -> None:
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    world.state.mark_deleted(number)
    world.pull()
    release(world.tenant, number, accept=True)
    world.push()
    world.list_again(number)
    world.loop()
    assert (world.states(), world.at_operator()) == ({number: "protocolled"}, {number: 1})
    assert "found at the operator" in world.events(number)


@pytest.mark.parametrize("accept", [True, False])
def test_a_decision_about_a_deletion_lasts_when_hat_lists_it_before_it_was_told(accept: bool, world: World) -> None:
    """The next pull, with which every run begins, stopped the lot again."""
    number = world.add()
    world.loop()
    world.state.mark_deleted(number)
    world.pull()
    release(world.tenant, number, accept=accept)
    assert world.pull().problems == []
    assert world.column(number, "hold") is None
    assert world.in_hat(number).is_gone is accept
    world.state.mark_deleted(number)
    world.poll()
    assert len(world.pull().problems) == (0 if accept else 1), "deleted once more"


def test_of_a_lot_whose_deletion_was_confirmed_nothing_more_is_told(world: World) -> None:
    """Each status that came after was told, and refused by a HAT that had the lot no more."""
    number = world.add()
    world.loop()
    world.state.mark_deleted(number)
    world.pull()
    release(world.tenant, number, accept=True)
    world.push()
    told = len(world.state.puts(number))
    world.loop(rounds=2)
    assert world.states()[number] == "under analysis"
    assert len(world.state.puts(number)) == told
    world.list_again(number)
    world.loop()
    assert (world.in_hat(number).status, world.in_hat(number).tracking) == (world.column(number, "tiss_status"), 1)


@pytest.mark.parametrize("accept", [True, False])
def test_a_late_deletion_is_confirmed_or_not(accept: bool, world: World) -> None:
    number = world.add()
    world.loop()
    world.state.mark_deleted(number)
    world.pull()
    release(world.tenant, number, accept=accept)
    world.push()
    assert world.in_hat(number).is_gone is accept
    assert world.pull().counts == {}, "HAT lists it no more"
    assert world.states()[number] == "protocolled"


def test_of_a_lot_that_hat_has_no_more_nothing_is_told_once_a_person_says_so(world: World) -> None:
    """It was told in vain every hour, check ``stuck`` stayed red for ever, and no command ended that."""
    number = world.add()
    world.loop()
    world.poll()
    with world.hat_answers(404, "PUT"):
        (problem,) = world.push().problems
    assert "--accept" not in str(problem), "a gateway says so"
    world.state._do("DELETE FROM lots")
    world.rows("UPDATE hat_etl.billing_outbox SET not_before = now() RETURNING 1")
    (problem,) = world.push().problems
    assert f"hat-etl billing release acme {number} --accept" in str(problem)
    with pytest.raises(DataError, match="waits for no decision"):
        release(world.tenant, number, accept=False)
    release(world.tenant, number, accept=True)
    assert world.push().problems == []
    assert [problem for report in world.loop(rounds=2) for problem in report.problems] == []
    assert overview(world.tenant)["waiting"] == {}


def test_a_lot_that_hat_has_no_more_and_that_waits_for_a_person_is_not_said_to_be_let_go_by_what_sends_it(
    world: World,
) -> None:
    """Whoever did as the next step said had a lot with a reused number sent to the operator."""
    for batch in ("A1", "A2"):
        world.add(number="55", batch_number=batch)
        with world.hat_answers(503, "PUT"):
            world.pull()
    world.state._do("DELETE FROM lots WHERE batch_number = 'A2'")

    def told() -> str:
        (problem,) = [found for found in world.push().problems if "A2" in str(found)]
        return str(problem)

    first = told()
    assert "number_reused" in first
    assert "--accept" not in first
    release(world.tenant, "A2", accept=False)
    assert "--accept" in told()
    release(world.tenant, "A2", accept=True)
    world.loop()
    assert world.states() == {"A1": "protocolled", "A2": "withdrawn"}


def test_a_withdrawn_lot_that_hat_has_no_more_is_let_go_as_others_are(world: World) -> None:
    """The command that the next step named ended with: it cannot become withdrawn now."""
    number = world.add()
    with world.hat_answers(503, "PUT"), world.hat_answers(503, "DELETE"):
        world.pull()
        world.state.mark_deleted(number)
        world.pull()
    world.list_again(number)
    world.state._do("UPDATE lots SET file_fault = 'missing'")
    world.pull()
    assert world.states()[number] == "withdrawn"
    world.state._do("DELETE FROM lots")
    (problem,) = world.push().problems
    assert "--accept" in str(problem)
    assert release(world.tenant, number, accept=True).state == "withdrawn"
    assert world.push().problems == []
    assert overview(world.tenant)["waiting"] == {}


def test_a_lot_in_doubt_whose_deletion_is_confirmed_is_not_delivered(world: World) -> None:
    """HAT was told that the lot is gone, and the operator got it with the next run."""
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.FAIL)
    world.send()
    world.state.mark_deleted(number)
    world.pull()
    release(world.tenant, number, accept=True)
    world.loop()
    assert world.in_hat(number).is_gone
    assert (world.states(), world.at_operator()) == ({number: "withdrawn"}, {})
    assert world.send().counts == {}


def deleted_meanwhile(world: World, number: str, act: Callable[..., Any]) -> Callable[..., Any]:
    """What the operator does, while the lot is deleted in HAT and that is seen."""

    def acting(*given: Any) -> Any:
        world.state.mark_deleted(number)
        world.pull()
        return act(*given)

    return acting


@pytest.mark.parametrize(("accept", "state"), [(True, "withdrawn"), (False, "protocolled")])
def test_a_lot_that_is_deleted_while_it_is_not_sent_is_delivered_only_if_it_is_kept(
    accept: bool, state: str, world: World
) -> None:
    """It was back in the queue then, and was delivered after its deletion had been confirmed."""
    number = world.add()
    world.pull()
    nothing = deleted_meanwhile(world, number, lambda *_: Reply(404, b"", "text/plain"))
    world.operator.service.soap = nothing  # type: ignore[method-assign]
    world.send()
    assert (world.states()[number], world.column(number, "hold")) == ("queued", "deleted_after_delivery")
    del world.operator.service.soap
    release(world.tenant, number, accept=accept)
    world.push()
    world.loop()
    assert world.states() == {number: state}
    assert world.at_operator() == ({} if accept else {number: 1})


def test_a_lot_that_is_deleted_while_the_operator_is_asked_about_it_is_not_delivered(world: World) -> None:
    """Whether it waits for a person was looked at before the question only."""
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.FAIL)
    world.send()
    service = world.operator.service
    service.protocols = deleted_meanwhile(world, number, service.protocols)  # type: ignore[method-assign]
    world.send()
    assert world.column(number, "hold") == "deleted_after_delivery"
    assert (world.states(), world.at_operator()) == ({number: "queued"}, {})


def test_a_lot_that_is_on_its_way_is_decided_about_when_it_is_known_how_that_ended(world: World) -> None:
    """Its deletion could be confirmed while it was being delivered."""
    number = world.add()
    world.pull()
    refusals = []

    def decide(*given: Any) -> Any:
        try:
            release(world.tenant, number, accept=True)
        except DataError as error:
            refusals.append(str(error))
        return soap(*given)

    soap = world.operator.service.soap
    world.operator.service.soap = deleted_meanwhile(world, number, decide)  # type: ignore[method-assign]
    world.send()
    assert "on its way" in refusals[0]
    assert (world.states()[number], world.column(number, "hold")) == ("protocolled", "deleted_after_delivery")


def test_a_lot_in_doubt_has_arrived_when_a_person_says_so(world: World) -> None:
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    arrived(world.tenant, number, world.operator.lots()[0].protocol)
    world.loop(rounds=4)
    assert world.states()[number] == "final"
    assert world.at_operator() == {number: 1}


@pytest.mark.parametrize("queued", [True, False])
def test_a_lot_that_was_delivered_before_a_restore_has_arrived_when_a_person_says_so(
    queued: bool, world: World
) -> None:
    """It was told to be not in doubt, and there was no other way than to deliver it once more."""
    number = world.add()
    world.pull()
    if queued:
        # Queued, and then the operator cannot be reached.
        world.write_tenant(operator="http://127.0.0.1:1")
        world.send()
        world.write_tenant()
    assert world.states()[number] == ("queued" if queued else "validated")
    content = make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=1))
    world.operator.service.upload(PROVIDER, number, content)
    arrived(world.tenant, number, world.operator.lots()[0].protocol)
    assert world.rows("SELECT FROM hat_etl.billing_outbox WHERE kind = 'deliver' AND state = 'waiting'") == []
    world.loop(rounds=4)
    assert (world.states()[number], world.in_hat(number).status) == ("final", 6)
    assert world.at_operator() == {number: 1}


def test_a_lot_that_the_operator_has_refused_as_a_double_has_arrived_when_a_person_says_so(world: World) -> None:
    """After a restore it was shown as refused for good: retried, it was refused once more."""
    number = world.add()
    world.pull()
    content = make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=1))
    world.operator.service.upload(PROVIDER, number, content)
    world.loop()
    assert (world.states()[number], len(world.in_hat(number).causes)) == ("refused", 1)
    arrived(world.tenant, number, world.operator.lots()[0].protocol)
    world.loop(rounds=4)
    assert (world.states()[number], world.in_hat(number).status) == ("final", 6)
    assert world.in_hat(number).causes == []


def test_a_lot_that_was_refused_as_the_double_of_another_has_not_arrived_under_that_ones_protocol(world: World) -> None:
    world.add(number="55", batch_number="A1")
    world.loop()
    world.add(number="55", batch_number="A2", guides=2)
    world.pull()
    release(world.tenant, "A2", accept=True)
    world.loop()
    assert world.states()["A2"] == "refused"
    with pytest.raises(DataError, match="has not arrived under the protocol of lot A1"):
        arrived(world.tenant, "A2", world.operator.lots()[0].protocol)


def test_a_lot_that_waits_for_a_person_has_not_arrived_by_the_way(world: World) -> None:
    number = world.add()
    world.pull()
    replaced(world, number, 2)
    refused = world.add()
    world.pull()
    world.operator.service.upload(PROVIDER, refused, other_content(refused))
    world.send()
    replaced(world, refused, 3)
    for lot, state in ((number, "validated"), (refused, "refused")):
        with pytest.raises(DataError, match="waits for a decision: content_changed"):
            arrived(world.tenant, lot, "1")
        assert (world.states()[lot], world.column(lot, "hold")) == (state, "content_changed")


def test_which_of_several_accounts_in_pls_is_the_lots_is_for_a_person_to_say(world: World) -> None:
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    protocols = world.operator.service.protocols

    def two(provider: str, wanted: str) -> dict[str, Any]:
        items: Any = protocols(provider, wanted)["items"]
        return {"items": [{**items[0], "protocol": "77"}, *items]}

    world.operator.service.protocols = two  # type: ignore[method-assign]
    world.write_tenant(deliver="pls")
    (problem,) = world.send().problems
    assert "2 accounts have its number" in str(problem)
    arrived(world.tenant, number, world.operator.lots()[0].protocol)
    world.operator.ledger.advance()
    assert world.poll().counts["changed"] == 1


def test_a_protocol_that_a_person_has_mistyped_can_be_corrected(world: World) -> None:
    """An empty one was taken, and a lot that was not in doubt any more kept the wrong one."""
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    with pytest.raises(DataError, match="no protocol"):
        arrived(world.tenant, number, " ")
    arrived(world.tenant, number, "77")
    world.loop()
    arrived(world.tenant, number, f" {world.operator.lots()[0].protocol} ")
    world.loop(rounds=4)
    assert world.states()[number] == "final"
    assert world.in_hat(number).protocol == world.operator.lots()[0].protocol


@pytest.mark.parametrize("question", ["status", "statement"])
def test_a_protocol_that_is_corrected_while_the_operator_is_asked_stays(
    question: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was about the wrong one, and was kept for the lot: its protocol, or the denials of the other lot."""
    world.order(4)
    number = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    denied = make(Recipe(registry=REGISTRY, provider=PROVIDER, number="900", guides=1))
    world.operator.service.upload(PROVIDER, "900", denied)
    right, wrong = (lot.protocol for lot in world.operator.lots())
    arrived(world.tenant, number, wrong)
    for _ in range(2):
        world.operator.ledger.advance()
    ask = getattr(SoapOperator, question)

    def corrected(operator: SoapOperator, asked: Any) -> Any:
        told = ask(operator, asked)
        arrived(world.tenant, number, right)
        return told

    with monkeypatch.context() as patched:
        patched.setattr(SoapOperator, question, corrected)
        world.poll()
    assert (world.column(number, "protocol"), world.column(number, "causes")) == (right, [])
    world.loop(rounds=2)
    assert (world.in_hat(number).protocol, world.in_hat(number).causes) == (right, [])
    assert world.in_hat(number).status == 6


def test_a_final_lot_whose_protocol_is_corrected_while_the_operator_gives_no_answer_is_asked_about_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was left for a day, as the lot stood before."""
    number = world.add()
    world.loop(rounds=4)
    assert world.states()[number] == "final"

    def corrected(*_: Any) -> NoAnswer:
        arrived(world.tenant, number, "77")
        return NoAnswer("none")

    with monkeypatch.context() as patched:
        patched.setattr(Divided, "status", corrected)
        world.poll(everything=True)
    assert world.poll().counts["asked"] == 1


def test_a_protocol_that_a_person_had_mistyped_is_free_for_the_lot_that_has_it(world: World) -> None:
    """It stayed the lot's first protocol, and the other one was never found: it waited for a person for ever."""
    mistaken = world.add()
    world.pull()
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    other = world.add()
    world.pull()
    right = world.operator.lots()[0].protocol
    arrived(world.tenant, mistaken, f"{int(right) + 1:0{len(right)}}")
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    world.send()
    arrived(world.tenant, mistaken, right)
    world.send()
    assert world.states() == {mistaken: "protocolled", other: "protocolled"}
    assert world.column(mistaken, "first_protocol") == right


def test_a_refused_lot_is_checked_anew_when_it_is_retried(world: World) -> None:
    number = world.add(kind="wrong_hash")
    world.loop()
    retry(world.tenant, number)
    assert world.states()[number] == "pulled"
    world.loop()
    assert world.states()[number] == "refused"
    assert world.events(number).count("refused by the checks") == 2


@pytest.mark.parametrize("hold", ["content_changed", "number_reused"])
@pytest.mark.parametrize("accept", [True, False])
def test_a_withdrawn_lot_that_waits_since_an_earlier_version_is_let_rest(accept: bool, hold: str, world: World) -> None:
    """A deletion left the lot waiting then: each run ended with 7, and some decisions could not be taken."""
    number = world.add()
    world.pull()
    world.state.mark_deleted(number)
    world.pull()
    world.rows("UPDATE hat_etl.billing_lots SET hold = %s RETURNING 1", (hold,))
    release(world.tenant, number, accept=accept)
    assert (world.states()[number], world.column(number, "hold")) == ("withdrawn", None)


def test_what_cannot_be_decided_is_said(world: World) -> None:
    number, refused = world.add(), world.add(kind="wrong_hash")
    world.pull()
    for decide in (
        lambda: release(world.tenant, number, accept=True),
        lambda: retry(world.tenant, number),
        lambda: arrived(world.tenant, refused, "1"),
    ):
        with pytest.raises(DataError, match=f"Lot [{number}{refused}] of provider {PROVIDER}"):
            decide()
    with pytest.raises(DataError, match="no such lot"):
        retry(world.tenant, "none")


def test_lots_of_two_providers_with_one_number_are_told_apart(world: World) -> None:
    for provider in (PROVIDER, "000456"):
        world.add(provider, number="1", kind="wrong_hash")
    world.loop()
    with pytest.raises(DataError, match="Several providers"):
        retry(world.tenant, "1")
    assert retry(world.tenant, "1", provider="000456").provider == "000456"
