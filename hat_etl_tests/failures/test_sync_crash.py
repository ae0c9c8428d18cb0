"""A server crashes (PostgreSQL's immediate stop) while a sync reads, takes in, merges or commits, and comes back."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hat_etl.sandbox import server as sandbox_server
from hat_etl.sandbox.server import HAT, LOADER, READER, Sandbox
from hat_etl_tests.servers import place

from .ground import Ground, Server, eventually
from .phases import Phase
from .proxy import Proxy
from .syncing import MOVED, Shown, Untouched, assert_told, last_run, synced


def crash(sandbox: Sandbox) -> None:
    """What ``pg_ctl stop -m immediate`` does: end at once, without a shutdown checkpoint."""
    file = sandbox.folder / "postgres" / "postmaster.pid"
    os.kill(int(file.read_text(encoding="utf-8").split()[0]), signal.SIGQUIT)
    eventually(lambda: not sandbox_server.is_running(sandbox.folder), "the server is down")


def comes_back(sandbox: Sandbox) -> None:
    Sandbox.up(sandbox.folder)


@pytest.fixture(scope="module")
def apart(server: Server, moved: Shown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A tenant whose HAT lies on a server of its own, loaded from the ERP as it was before it moved."""
    assert moved.rows
    with tempfile.TemporaryDirectory(prefix="apart", dir=place()) as name:
        sandbox = Sandbox.up(Path(name))
        try:
            with psycopg.connect(sandbox.url("postgres", "postgres"), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            sandbox.recreate_databases()
            # ``MOVED`` may have moved long before, when another file of the run asked for it first.
            extra = "[sync]\nlookback_minutes = 1440"
            ground = Ground(Server(sandbox, server.manifest), tmp_path_factory.mktemp("apart"), hat=HAT, extra=extra)
            ground.erp_url = server.url("pls", READER)
            ground.load()
            ground.erp_url = server.url(MOVED, READER)
            yield ground
        finally:
            sandbox_server.down(Path(name))


def test_the_erp_crashes_while_it_is_read(apart: Ground, server: Server) -> None:
    untouched, erp = Untouched(apart), Proxy(server.sandbox.socket)
    apart.erp_url = erp.url(MOVED, READER)
    gate = erp.hold_at('FROM "hat"."hat_bts_vida" WHERE', deliver=True)
    sync = apart.start("sync", apart.name)
    gate.await_closed()
    crash(server.sandbox)
    gate.open()
    result = sync.wait()
    comes_back(server.sandbox)
    erp.close()
    apart.erp_url = server.url(MOVED, READER)
    assert result.exit_code == 4, result.err
    assert_told(result.err, "demo", "Reading the ERP failed", "See that the ERP database is up", "hat-etl sync demo")
    untouched.check()


@pytest.mark.parametrize("when", ["COPY pg_temp.persons", "UPDATE hat.persons"])
def test_hat_crashes_while_a_sync_works_on_it(when: str, apart: Ground) -> None:
    untouched, hat = Untouched(apart), Proxy(apart.server.sandbox.socket)
    apart.hat_url = hat.url(apart.hat, LOADER)
    gate = hat.hold_at(when, deliver=True)
    sync = apart.start("sync", apart.name)
    gate.await_closed()
    crash(apart.server.sandbox)
    gate.open()
    result = sync.wait()
    comes_back(apart.server.sandbox)
    hat.close()
    apart.hat_url = None
    assert result.exit_code == 5, result.err
    assert_told(result.err, "demo", "tenant database", "go on with: hat-etl sync demo")
    # The ledger could not be told: the next run does that.
    assert last_run(apart)[1:3] == ("sync", "running")
    untouched.check(temporary=True)


@pytest.mark.parametrize("back", ["in time", "later"])
def test_hat_crashes_before_the_commit_arrives(back: str, apart: Ground) -> None:
    untouched, phase = Untouched(apart), Phase("committing")
    sync = apart.start("sync", apart.name, prepare=phase)
    phase.await_reached()
    crash(apart.server.sandbox)
    phase.go_on()
    if back == "in time":
        comes_back(apart.server.sandbox)
        result = sync.wait()
        assert_told(result.err, "connection to the tenant database was lost", "hat-etl sync demo")
        assert last_run(apart)[2] == "failed"
    else:
        result = sync.wait()
        comes_back(apart.server.sandbox)
        assert_told(result.err, "not known yet", "hat-etl status demo", "hat-etl sync demo")
    assert result.exit_code == 5, result.err
    untouched.check(temporary=True)


def test_hat_crashes_when_it_has_committed(apart: Ground, moved: Shown) -> None:
    """After all those above: the crash takes the answer, not the commit."""
    hat, phase = Proxy(apart.server.sandbox.socket), Phase("committing")
    apart.hat_url = hat.url(apart.hat, LOADER)
    gate = hat.hold_when_armed("COMMIT", deliver=True)
    sync = apart.start("sync", apart.name, "--json", prepare=phase)
    phase.await_reached()
    gate.armed.set()
    phase.go_on()
    gate.await_closed()
    eventually(lambda: last_run(apart)[2] == "succeeded", "the server commits")
    crash(apart.server.sandbox)
    gate.open()
    comes_back(apart.server.sandbox)
    result = sync.wait()
    hat.close()
    apart.hat_url = None
    assert result.exit_code == 0, result.err
    assert result.document["state"] == "succeeded"
    assert Shown.by(apart) == moved
    synced(apart)
    assert Shown.by(apart) == moved
    apart.assert_clean()
