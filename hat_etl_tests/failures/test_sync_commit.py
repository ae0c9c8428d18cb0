"""The connection to HAT breaks, or a run is told to stop, while it commits: the ledger tells what became of it."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hat_etl.sandbox.server import PLS

from . import changes
from .ground import Ground, Server, eventually
from .phases import Phase
from .proxy import Gate, Proxy
from .syncing import MOVED, Shown, Untouched, assert_told, behind, directly, last_run, synced

MAKE_GROUND = Callable[..., Ground]
PROXIES = tuple[Proxy, Proxy]
IMPATIENT = "&keepalives_idle=1&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=2000"
NEW = "OUTRO NOME"
IN_LAST_TRANSACTION = "INSERT INTO hat_etl.watermarks"


def until_commit(ground: Ground, hat: Proxy, *, arrives: bool) -> tuple[Phase, Gate]:
    behind(ground, hat=hat, options=IMPATIENT)
    return Phase("committing"), hat.hold_when_armed("COMMIT", deliver=arrives)


@contextmanager
def waiting_for_standby(ground: Ground) -> Iterator[Callable[[], None]]:
    """Commits wait for a standby that is not there until the block ends; gives what waits for one to wait.

    It is the checkpointer that tells all sessions so, once it has heard of the setting: a commit just after that of the
    setting did not wait. It does nothing else before it has, and a checkpoint is had only from it.
    """
    waits = (  # autovacuum commits, and waits, as well
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'SyncRep'"
        " AND backend_type = 'client backend'"
    )
    with ground.server.admin() as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute("SELECT pg_reload_conf()")
        shown = "SHOW synchronous_standby_names"
        try:
            eventually(lambda: admin.execute(shown).fetchone() == ("nobody",), "the sessions hear of the setting")
            admin.execute("CHECKPOINT")
            yield lambda: eventually(lambda: admin.execute(waits, (ground.hat,)).fetchone() == (1,), "the commit waits")
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")


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
    with waiting_for_standby(ground) as wait_for_commit:
        gate.armed.set()
        phase.go_on()
        gate.await_closed()
        wait_for_commit()
        assert last_run(ground)[2] == "running"
        hat.cut()
        asking = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'hat_etl demo'"
        with ground.server.admin() as admin:
            eventually(lambda: admin.execute(asking, (ground.hat,)).fetchone() == (2,), "the sync asks")
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


def prepared(ground: Ground, command: str) -> tuple[str, ...]:
    """A change for ``command`` to bring, or to take back; gives its arguments."""
    with ground.in_erp() as connection:
        persons = changes.live(connection, random.Random(2), "BTS", 2, "bts_nomusr <> '' AND r_e_c_n_o_ < 2000")
        changes.update(connection, "BTS", persons, nomusr=NEW)
    if command == "undo":
        return command, ground.name, str(synced(ground)["run"]), "--yes"
    return command, ground.name


def assert_done(ground: Ground, command: str) -> None:
    assert last_run(ground)[1:3] == (command, "succeeded")
    with ground.in_hat() as connection:
        renamed = connection.execute("SELECT count(*) FROM hat.persons WHERE name = %s", (NEW,)).fetchone()
    assert renamed == (0 if command == "undo" else 2,)


@pytest.mark.parametrize("command", ["sync", "load", "undo"])
def test_a_run_that_is_told_to_stop_while_it_commits_stands_in_the_ledger_as_what_it_is(
    command: str, make_ground: MAKE_GROUND, server: Server, proxies: PROXIES
) -> None:
    """It was written down as failed, though HAT had all of it: undoing an earlier run then mixed two states."""
    ground, hat = make_ground(pls=server.copy(PLS)), proxies[1]
    arguments = prepared(ground, command)
    behind(ground, hat=hat)
    gate = hat.hold_at(IN_LAST_TRANSACTION)
    run = ground.start(*arguments)
    gate.await_closed()
    with waiting_for_standby(ground) as await_commit:
        gate.open()
        await_commit()
        run.signal(signal.SIGTERM)
        assert run.wait().exit_code == 128 + signal.SIGTERM
    assert_done(ground, command)


@pytest.mark.parametrize("command", ["load", "undo"])
def test_the_answer_to_the_commit_of_a_load_or_undo_is_lost(
    command: str, make_ground: MAKE_GROUND, server: Server, proxies: PROXIES
) -> None:
    """A load that had swapped its tables called itself broken off, and asked to be resumed."""
    ground, hat = make_ground(pls=server.copy(PLS)), proxies[1]
    arguments = prepared(ground, command)
    behind(ground, hat=hat, options=IMPATIENT)
    gate = hat.hold_after_at(IN_LAST_TRANSACTION, "COMMIT", deliver=True)
    run = ground.start(*arguments, "--json")
    gate.await_closed()
    eventually(lambda: last_run(ground)[1:3] == (command, "succeeded"), "the server commits")
    hat.cut()
    result = run.wait()
    assert result.exit_code == 0, result.err
    assert result.document["state"] == "succeeded"
    directly(ground)
    assert_done(ground, command)
    ground.assert_clean()


def test_a_load_that_is_resumed_though_it_has_succeeded_is_told_of_once_more(make_ground: MAKE_GROUND) -> None:
    """It read the whole ERP again. Somebody may ask for it who has not seen that it succeeded."""
    ground = make_ground()
    before = Untouched(ground)
    result = ground.run("load", ground.name, "--resume")
    assert result.exit_code == 0, result.err
    assert_told(result.out, "load 1 has succeeded", "Nothing was left to be done")
    told = ground.run("load", ground.name, "--resume", "--json").document
    (run,) = ground.run("runs", ground.name, "--json").document
    assert (told["run"], told["state"]) == (run["run"], "succeeded")
    counts = [{(t["table"], t["read"], t["loaded"], t["rejected"]) for t in one["tables"]} for one in (told, run)]
    assert counts[0] == counts[1]
    before.check()
