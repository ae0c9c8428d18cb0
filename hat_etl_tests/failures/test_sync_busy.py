"""Two runs of a tenant at once: one goes on, the other is told who holds it. A holder that was killed holds nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import psycopg

from .commands import Command
from .conftest import behind
from .ground import Ground, eventually
from .phases import Phase
from .proxy import Proxy
from .syncing import MOVED, Shown, assert_told, last_run
from .test_sync_locks import PERSON, changed_row, take, waits_for_a_lock

MAKE_GROUND = Callable[..., Ground]


def assert_refused(ground: Ground, *arguments: str) -> None:
    """A run that ends at once, for another one holds the tenant: its message names the holder's session."""
    with ground.in_hat() as connection:
        holder = connection.execute(
            "SELECT a.pid, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
            " FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted"
            " AND a.datname = current_database()"
        ).fetchone()
    assert holder is not None
    result = ground.run(*arguments)
    assert result.exit_code == 8, result.err
    who = f"Another run of this tenant is going on (session {holder[0]}, since {holder[1]} UTC)"
    assert_told(result.err, "demo", who, "hat-etl status demo")


def test_two_syncs_and_a_load_at_once(moved: Shown, make_ground: MAKE_GROUND) -> None:
    ground, phase = make_ground(pls=MOVED), Phase("reading")
    first = ground.start("sync", ground.name, prepare=phase)
    phase.await_reached()
    assert_refused(ground, "sync", ground.name)
    assert_refused(ground, "load", ground.name)
    assert last_run(ground)[:3] == (2, "sync", "running")
    phase.go_on()
    assert first.wait().exit_code == 0
    assert Shown.by(ground) == moved
    ground.assert_clean()


def test_a_sync_while_a_load_is_going_on(ground: Ground, proxies: tuple[Proxy, Proxy]) -> None:
    erp, hat = proxies
    behind(ground, erp, hat)
    gate = erp.hold_at('FROM "hat"."hat_bts_vida" WHERE')
    load = ground.start("load", ground.name)
    gate.await_closed()
    ground.erp_url = ground.hat_url = None
    assert_refused(ground, "sync", ground.name)
    load.signal(signal.SIGKILL)
    load.wait()
    erp.cut()
    hat.cut()
    # What it staged is there still: that comes first.
    result = ground.run("sync", ground.name)
    assert result.exit_code == 7, result.err
    assert_told(result.err, "Load 2 of this tenant was broken off", "hat-etl load demo --resume", "Then sync")
    assert ground.has_stage()
    ground.load("--restart")
    ground.assert_clean()


def test_the_holder_was_killed_while_its_server_still_works(moved: Shown, make_ground: MAKE_GROUND) -> None:
    """Its session waits for a row, far from reading anything from its client, and yet it goes within a moment."""
    ground, phase = make_ground(pls=MOVED), Phase("looking at the views")
    app = psycopg.connect(ground.server.url(ground.hat, "postgres"))
    take(app, "persons", changed_row(ground, *PERSON))
    killed = ground.start("sync", ground.name)
    eventually(lambda: waits_for_a_lock(ground), "the sync waits")
    killed.signal(signal.SIGKILL)
    assert killed.wait().exit_code == -signal.SIGKILL
    second: Command = ground.start("sync", ground.name, prepare=phase)
    phase.await_reached()
    app.close()
    phase.go_on()
    result = second.wait()
    assert result.exit_code == 0, result.err
    assert Shown.by(ground) == moved
    assert re.search(r"Run 3 of demo: succeeded", result.out)
    ground.assert_clean()
