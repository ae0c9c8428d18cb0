"""The states of lots: only what is declared may follow, whatever is tried."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hat_etl.billing import store as rows
from hat_etl.billing.states import MEANINGS, OPEN, TRANSITIONS, UNSENT, State, before, state_of, status_in_hat
from hat_etl.errors import DataError
from hat_etl.target.technical import bring_up_to_date
from hat_etl_tests.servers import Server


def test_every_state_is_declared_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {State.PULLED}
    while more := {later for state in reached for later in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(State)


def test_nothing_is_sent_again_without_a_question() -> None:
    """From sent and from unknown a lot returns to the queue only by name; nothing else leads back there."""
    assert set(before(State.QUEUED)) == {State.VALIDATED, State.SENT, State.UNKNOWN}
    assert set(before(State.SENT)) == {State.QUEUED}
    for state in OPEN | {State.FINAL}:
        assert not TRANSITIONS[state] & (UNSENT | {State.SENT, State.UNKNOWN})


@given(st.integers())
def test_every_status_has_a_state_and_shows_in_hat_as_one_that_hat_knows(status: int) -> None:
    assert state_of(status) in OPEN | {State.FINAL}
    assert status_in_hat(status) in range(1, 7)
    if status in range(1, 7):
        assert status_in_hat(status) == status
        assert state_of(status) is (
            State.FINAL if status in (4, 6) else State.PROTOCOLLED if status == 1 else State.UNDER_ANALYSIS
        )
    assert (status in MEANINGS) is (1 <= status <= 10)


@pytest.fixture(scope="module")
def connection(postgres: Server) -> Any:
    with postgres.connect(postgres.create_database("states")) as made:
        with made.transaction():
            bring_up_to_date(made, "acme")
            made.execute("INSERT INTO hat_etl.identity (tenant, ans_registry) VALUES ('acme', '412345')")
        yield made


@given(st.lists(st.sampled_from(list(State)), min_size=1, max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_store_keeps_to_the_table_and_keeps_the_history(connection: Any, wanted: list[State]) -> None:
    connection.execute("TRUNCATE hat_etl.billing_lots CASCADE")
    lot = rows.add(connection, batch_number="1", provider="p", batch_date=None, auth_type=None, content=b"x")
    here, way = State.PULLED, [State.PULLED]
    for state in wanted:
        if state in TRANSITIONS[here]:
            rows.move(connection, lot, state, "tried")
            here = state
            way.append(state)
        else:
            with pytest.raises(DataError, match="cannot become"):
                rows.move(connection, lot, state, "tried")
        assert connection.execute("SELECT state FROM hat_etl.billing_lots").fetchone() == (str(here),)
    told = connection.execute("SELECT to_state FROM hat_etl.billing_history ORDER BY id").fetchall()
    assert [row[0] for row in told] == [str(state) for state in way]
