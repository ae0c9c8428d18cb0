"""The connection to HAT breaks while a sync commits: the ledger tells what became of it, and the sync says it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .ground import Ground, eventually
from .phases import Phase
from .proxy import Gate, Proxy
from .syncing import MOVED, Shown, Untouched, assert_told, behind, directly, last_run, synced

MAKE_GROUND = Callable[..., Ground]
PROXIES = tuple[Proxy, Proxy]
IMPATIENT = "&keepalives_idle=1&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=2000"


def until_commit(ground: Ground, hat: Proxy, *, arrives: bool) -> tuple[Phase, Gate]:
    behind(ground, hat=hat, options=IMPATIENT)
    return Phase("committing"), hat.hold_when_armed("COMMIT", deliver=arrives)


@pytest.mark.parametrize("network", ["cut", "silent"])
def test_the_commit_arrives_and_its_answer_is_lost(
    network: str, moved: Shown, make_ground: MAKE_GROUND, proxies: PROXIES
) -> None:
    ground, hat = make_ground(pls=MOVED), proxies[1]
    phase, gate = until_commit(ground, hat, arrives=True)
    sync = ground.start("sync", ground.name, "--json", prepare=phase)
    phase.await_reached()
    gate.armed.set()
    phase.go_on()
    gate.await_closed()
    eventually(lambda: last_run(ground)[2] == "succeeded", "the server commits")
    hat.cut() if network == "cut" else hat.swallow()
    result = sync.wait()
    assert result.exit_code == 0, result.err
    assert result.document["state"] == "succeeded"
    hat.cut()
    directly(ground)
    assert Shown.by(ground) == moved
    ground.assert_clean()
    synced(ground)
    assert Shown.by(ground) == moved


@pytest.mark.parametrize("network", ["cut", "silent"])
def test_the_commit_never_arrives(network: str, moved: Shown, make_ground: MAKE_GROUND, proxies: PROXIES) -> None:
    ground, hat = make_ground(pls=MOVED), proxies[1]
    untouched = Untouched(ground)
    phase, gate = until_commit(ground, hat, arrives=False)
    sync = ground.start("sync", ground.name, prepare=phase)
    phase.await_reached()
    gate.armed.set()
    phase.go_on()
    gate.await_closed()
    hat.cut() if network == "cut" else hat.swallow()
    began = time.monotonic()
    result = sync.wait()
    assert time.monotonic() - began < 30
    assert result.exit_code == 5, result.err
    assert_told(result.err, "connection to the tenant database was lost", "hat-etl sync demo")
    # Even where the server has not noticed: the sync itself has ended its old session.
    untouched.check()
    assert last_run(ground)[1:] == ("sync", "failed", "the connection was lost and the commit did not happen")
    hat.cut()
    directly(ground)
    synced(ground)
    assert Shown.by(ground) == moved
    ground.assert_clean()


def test_the_commit_is_still_going_on_when_the_ledger_is_asked(
    moved: Shown, make_ground: MAKE_GROUND, proxies: PROXIES
) -> None:
    """A commit that waits (here: for a standby that is not there) is not taken for one that failed."""
    ground, hat = make_ground(pls=MOVED), proxies[1]
    phase, gate = until_commit(ground, hat, arrives=True)
    sync = ground.start("sync", ground.name, "--json", prepare=phase)
    phase.await_reached()
    with ground.server.admin() as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute("SELECT pg_reload_conf()")
        try:
            gate.armed.set()
            phase.go_on()
            gate.await_closed()
            waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'SyncRep'"
            eventually(lambda: admin.execute(waits, (ground.hat,)).fetchone() == (1,), "the commit waits")
            assert last_run(ground)[2] == "running"
            hat.cut()
            asking = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'hat_etl demo'"
            eventually(lambda: admin.execute(asking, (ground.hat,)).fetchone() == (2,), "the sync asks")
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")
    result = sync.wait()
    assert result.exit_code == 0, result.err
    assert last_run(ground)[2] == "succeeded"
    directly(ground)
    assert Shown.by(ground) == moved
    ground.assert_clean()


def test_nobody_answers_after_the_commit(moved: Shown, make_ground: MAKE_GROUND, proxies: PROXIES) -> None:
    ground, hat = make_ground(pls=MOVED), proxies[1]
    phase, gate = until_commit(ground, hat, arrives=True)
    sync = ground.start("sync", ground.name, prepare=phase)
    phase.await_reached()
    gate.armed.set()
    phase.go_on()
    gate.await_closed()
    eventually(lambda: last_run(ground)[2] == "succeeded", "the server commits")
    hat.close()
    result = sync.wait()
    assert result.exit_code == 5, result.err
    assert_told(result.err, "not known yet", "hat-etl status demo", "hat-etl sync demo")
    directly(ground)
    assert Shown.by(ground) == moved
    synced(ground)
    assert Shown.by(ground) == moved
    ground.assert_clean()
