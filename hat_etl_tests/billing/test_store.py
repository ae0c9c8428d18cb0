"""The lots in the tenant database, as the stages read them and ask about them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from itertools import pairwise
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hat_etl.billing import store as rows
from hat_etl.billing.commands import about
from hat_etl.billing.decisions import arrived, release, retry
from hat_etl.billing.due import is_due
from hat_etl.billing.loop import held
from hat_etl.billing.poll import GUIDES_AT_ONCE, asked_together
from hat_etl.billing.states import State
from hat_etl.billing.store import Lot, store_of
from hat_etl.billing.story import overview, story
from hat_etl.errors import DataError, TargetError
from hat_etl.target.database import Connection
from hat_etl_tests.failures.ground import eventually

from .conftest import World, somebody_waits

# Numbers of a provider as HAT gives them: of any length, some with the day that they came, some without.
_LOTS = (
    "INSERT INTO hat_etl.billing_lots (batch_number, provider, batch_date, state, sha256)"
    " SELECT (i * 7919 %% %(lots)s)::text, '00000' || i %% 2, CASE WHEN i %% 3 > 0 THEN '2026-01-0' || i %% 3 END,"
    " 'pulled', '' FROM generate_series(1, %(lots)s) i"
)


def _filled(world: World, lots: int) -> None:
    with store_of(world.tenant) as store, store.stage("pull"), store.transaction() as connection:
        connection.execute(_LOTS, {"lots": lots})


def test_lots_that_are_read_in_portions_come_once_and_in_order(world: World) -> None:
    _filled(world, 1_234)
    wanted = world.rows(
        "SELECT lot FROM hat_etl.billing_lots"
        " ORDER BY provider, batch_date NULLS FIRST, length(batch_number), batch_number"
    )
    with store_of(world.tenant) as store:
        portions = list(store.portions("state = %s", ("pulled",)))
    assert [lot.lot for portion in portions for lot in portion] == [lot for (lot,) in wanted]
    assert max(map(len, portions)) < 1_234


def test_a_lot_that_is_gone_from_its_state_meanwhile_is_in_no_later_portion(world: World) -> None:
    _filled(world, 1_234)
    with store_of(world.tenant) as store:
        portions = store.portions("state = 'pulled'")
        first = next(portions)
        last = store.numbers("state = 'pulled'")[-1]
        with store.transaction() as connection:
            rows.move(connection, last, State.REFUSED, "refused")
        rest = [lot.lot for portion in portions for lot in portion]
    assert len(first) + len(rest) == 1_233
    assert last not in rest


def test_what_came_earlier_agrees_with_the_order_of_a_providers_lots(world: World) -> None:
    """The order once stood in two places, which could have come to differ."""
    _filled(world, 300)
    with store_of(world.tenant) as store:
        ordered = store.numbers("provider = '000001'")
    for place, lot in enumerate(ordered):
        ((earlier,),) = world.rows(
            f"SELECT count(*) FROM hat_etl.billing_lots, hat_etl.billing_lots b"
            f" WHERE billing_lots.lot = %s AND {rows.EARLIER}",
            (lot,),
        )
        assert earlier == place


@given(st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.integers(0, 1_200)), max_size=80), st.integers(1, 50))
def test_one_question_is_about_few_lots_of_one_sender_and_as_many_guides_as_can_be_read_whole(
    drawn: list[tuple[str, int | None]], at_once: int
) -> None:
    """Thirty lots of a hundred guides in one statement took more memory than all the rest of a run."""
    lots = [lot_of(number, sender, guides) for number, (sender, guides) in enumerate(sorted(drawn, key=itemgetter(0)))]
    groups = list(asked_together(lots, at_once))
    assert [lot for group in groups for lot in group] == lots
    for group in groups:
        assert 1 <= len(group) <= at_once
        assert len({lot.provider for lot in group}) == 1
        assert len(group) == 1 or sum(lot.guides or 0 for lot in group) <= GUIDES_AT_ONCE
    for one, other in pairwise(groups):  # none could have gone with the one before
        if one[0].provider == other[0].provider and len(one) < at_once:
            assert sum(lot.guides or 0 for lot in [*one, other[0]]) > GUIDES_AT_ONCE


def lot_of(number: int, provider: str, guides: int | None) -> Lot:
    nothing = dict.fromkeys(field.name for field in fields(Lot))
    return Lot(**{**nothing, "lot": number, "provider": provider, "guides": guides, "state": "protocolled"})


def test_of_two_changes_of_state_at_a_time_the_second_sees_the_first(world: World) -> None:
    """A lot in doubt may be found at the operator while a person says that it has not arrived.

    The person was told a number of the store's own, and a command without tenant and lot.
    """
    with store_of(world.tenant) as store, store.stage("pull"), ThreadPoolExecutor(1) as pool:
        with store.transaction() as connection:
            lot = added(connection)
            for state in (State.VALIDATED, State.QUEUED, State.SENT, State.UNKNOWN):
                rows.move(connection, lot, state, "on its way")

        def retried() -> None:
            with store.transaction() as connection:
                rows.move(connection, lot, State.QUEUED, "retried")

        with store.transaction() as connection:
            rows.move(connection, lot, State.PROTOCOLLED, "found")
            going = pool.submit(retried)
            eventually(lambda: somebody_waits(world), "the second one waits")
        with pytest.raises(DataError, match="cannot become queued") as told:
            going.result(60)
    with store_of(world.tenant) as store, store.connection() as connection:
        written = store.get(connection, lot)
    assert f"Lot {written.batch_number} of provider {written.provider} " in told.value.cause
    assert about(world.tenant.name, written, "show") in told.value.next_step
    assert told.value.tenant == world.tenant.name
    assert world.rows("SELECT state FROM hat_etl.billing_lots") == [("protocolled",)]


def test_a_message_is_not_replaced_while_it_leaves(world: World) -> None:
    """Else HAT would be told the older status last."""
    with store_of(world.tenant) as store, store.stage("pull"), ThreadPoolExecutor(1) as pool:
        with store.transaction() as connection:
            lot = added(connection)
            rows.enqueue(connection, lot, "status", {"status": 1})

        def enqueued() -> None:
            with store.transaction() as connection:
                rows.enqueue(connection, lot, "status", {"status": 2})

        with store.transaction() as connection:
            leaving = rows.waiting(connection, lot, "status")
            assert leaving is not None
            going = pool.submit(enqueued)
            eventually(lambda: going.done() or somebody_waits(world), "the next one waits")
            assert not going.done()
            rows.done(connection, leaving.id)
        going.result(60)
    sent = world.rows("SELECT body ->> 'status', state FROM hat_etl.billing_outbox ORDER BY id")
    assert sent == [("1", "done"), ("2", "waiting")]


def added(connection: Connection) -> int:
    return rows.add(connection, batch_number="1", provider="a", batch_date=None, auth_type=None, content=b"x")


def test_lots_in_another_tenants_database_are_neither_shown_nor_decided_about(world: World) -> None:
    """Only their list was refused: the story of one lot was told, and decisions were taken about the other's lots."""
    number = world.add(kind="wrong_hash")
    world.pull()
    world.rows("UPDATE hat_etl.identity SET tenant = 'another' RETURNING 1")
    for act in (
        lambda: retry(world.tenant, number),
        lambda: release(world.tenant, number, accept=True),
        lambda: arrived(world.tenant, number, "1"),
        lambda: story(world.tenant, number),
        lambda: overview(world.tenant),
        lambda: held(world.tenant),
        lambda: is_due(world.tenant, "send"),
    ):
        with pytest.raises(TargetError, match="belongs to tenant another"):
            act()
    assert world.states() == {number: "refused"}


def test_a_decision_where_billing_has_not_begun_is_told_so(world: World) -> None:
    with pytest.raises(TargetError, match="lacks what this version"):
        retry(world.tenant, "1")
