"""Authorizations from HAT: in the tenant's inbox first, marked in HAT then, each version once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

from hat_etl.billing.authorizations import STAGE, take
from hat_etl.billing.loop import run
from hat_etl.errors import ConfigurationError, HatApiError
from hat_etl.sandbox.web import Faults

from .conftest import World


def authorization(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "idOnHealthInsurer": f"{number:018}", "authorizationType": "1", "authorizationStatus": "1",
        "authorizationDate": "20261103", "password": f"S{number}",
        "beneficiary": {"subscriberId": "00010001000001000", "name": "ANA"},
        "healthProvider": {"healthProviderId": "000101", "name": "CLINICA"},
        **changes,
    }  # fmt: skip


@pytest.fixture
def inbox(world: World) -> World:
    """A world whose tenant takes authorizations; five wait in HAT."""
    world.write_tenant(more="authorizations = true")
    world.state.add_authorizations(authorization(number) for number in range(1, 6))
    return world


def rows(world: World) -> list[tuple[Any, ...]]:
    return world.rows(
        "SELECT id_on_health_insurer::bigint, authorization_status, health_provider_id, document ->> 'password',"
        " marked_at IS NOT NULL FROM hat_etl.authorizations ORDER BY 1"
    )


def waiting(world: World) -> list[str]:
    return [item["idOnHealthInsurer"] for item in world.state.authorizations(0, 0, 100)[0]]


def test_each_is_kept_whole_and_marked(inbox: World) -> None:
    assert dict(take(inbox.tenant).counts) == {"new": 5}
    assert rows(inbox) == [(number, "1", "000101", f"S{number}", True) for number in range(1, 6)]
    assert waiting(inbox) == []
    (kept,) = inbox.rows("SELECT document FROM hat_etl.authorizations WHERE document ->> 'password' = 'S1'")[0]
    assert kept == authorization(1)
    assert dict(take(inbox.tenant).counts) == {}


def test_what_hat_lists_again_unchanged_is_known_and_a_change_is_a_version_more(inbox: World) -> None:
    take(inbox.tenant)
    inbox.state.track_authorization(f"{1:018}", 0)
    inbox.state.add_authorizations([authorization(2, authorizationStatus="9")])
    assert dict(take(inbox.tenant).counts) == {"known": 1, "changed": 1}
    assert rows(inbox)[1] == (2, "9", "000101", "S2", True)
    versions = inbox.rows(
        "SELECT document ->> 'authorizationStatus' FROM hat_etl.authorization_versions"
        " WHERE id_on_health_insurer = %s ORDER BY id",
        (f"{2:018}",),
    )
    assert versions == [("1",), ("9",)]
    assert len(inbox.rows("SELECT FROM hat_etl.authorization_versions")) == 6


def test_one_that_changes_before_it_is_marked_is_taken_as_it_is_then(inbox: World) -> None:
    """Marked, HAT does not list it again: what was cancelled just then would stay good here."""
    inbox.hat.before_mark = lambda number: inbox.state.add_authorizations(
        [authorization(int(number), authorizationStatus="9")]
    )
    take(inbox.tenant)
    assert {status for _, status, *_ in rows(inbox)} == {"9"}


@pytest.mark.parametrize("status", [503, 404], ids=["HAT is down", "404 of a gateway"])
def test_one_that_could_not_be_read_after_its_mark_is_read_with_the_next_run(status: int, inbox: World) -> None:
    """It had been cancelled just before the mark, and HAT lists it no more: it stayed good here for ever."""
    inbox.write_tenant(more="authorizations = true", attempts=1)
    inbox.hat.before_mark = lambda number: inbox.state.add_authorizations(
        [authorization(int(number), authorizationStatus="9")]
    )
    with inbox.hat_answers(status, "GET", f"{2:018}"), suppress(HatApiError):
        take(inbox.tenant)
    assert rows(inbox)[1] == (2, "1", "000101", "S2", False)
    inbox.hat.before_mark = None
    take(inbox.tenant)
    assert rows(inbox)[1] == (2, "9", "000101", "S2", True)


@pytest.mark.parametrize("status", [503, 200], ids=["HAT is down", "not what HAT promises"])
def test_one_that_hat_fails_to_give_keeps_no_other_back(status: int, inbox: World) -> None:
    """An answer that could not be read ended each run, and as it was asked for first, none was taken any more."""
    inbox.write_tenant(more="authorizations = true\nworkers = 1", attempts=1)
    with inbox.hat_answers(status, "GET", f"{1:018}"):
        for _ in range(2):
            assert len(take(inbox.tenant).problems) == 1
            assert [marked for *_, marked in rows(inbox)] == [False, True, True, True, True]


def test_one_that_hat_has_no_more_is_asked_for_no_more(inbox: World) -> None:
    inbox.write_tenant(more="authorizations = true", attempts=1)
    with inbox.hat_answers(403, "PUT", f"{1:018}"):
        take(inbox.tenant)
    inbox.state._do("DELETE FROM authorizations")
    assert take(inbox.tenant).problems == []
    assert all(marked for *_, marked in rows(inbox))


def test_failures_and_lost_replies_keep_none_back_and_double_none(inbox: World) -> None:
    inbox.write_tenant(more="authorizations = true", attempts=20)
    inbox.hat_faults.set(Faults(fail=0.2, lose=0.3, shuffle=True, seed=3))
    take(inbox.tenant)
    assert len(rows(inbox)) == len(inbox.rows("SELECT FROM hat_etl.authorization_versions")) == 5
    assert waiting(inbox) == []


def test_a_hat_that_is_down_marks_nothing_that_is_not_kept(inbox: World) -> None:
    inbox.hat_faults.set(Faults(fail=0.5, seed=1))
    inbox.write_tenant(more="authorizations = true", attempts=1)
    for _ in range(40):
        try:
            take(inbox.tenant)
        except HatApiError:
            kept = {f"{row[0]:018}" for row in rows(inbox)}
            assert {f"{n:018}" for n in range(1, 6)} - set(waiting(inbox)) <= kept
    inbox.hat_faults.set(Faults())
    take(inbox.tenant)
    assert len(rows(inbox)) == 5
    assert waiting(inbox) == []


def test_a_kill_between_keeping_and_marking_loses_and_doubles_nothing(inbox: World) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hat_etl.cli.main", "billing", "authorizations", "acme"], env=dict(os.environ),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    inbox.hat.before_mark = lambda number: process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert rows(inbox)
    inbox.hat.before_mark = None
    take(inbox.tenant)
    assert len(rows(inbox)) == 5
    assert waiting(inbox) == []
    assert len(inbox.rows("SELECT FROM hat_etl.authorization_versions")) == 5


def test_nothing_is_taken_unless_the_tenants_file_asks_for_it(world: World) -> None:
    world.state.add_authorizations([authorization(1)])
    with pytest.raises(ConfigurationError, match="authorizations = true"):
        take(world.tenant)
    assert STAGE not in [report.stage for report in run(world.tenant)]
    assert len(waiting(world)) == 1


def test_the_whole_loop_takes_them_too(inbox: World) -> None:
    reports = {report.stage: report for report in run(inbox.tenant)}
    assert reports[STAGE].counts["new"] == 5
