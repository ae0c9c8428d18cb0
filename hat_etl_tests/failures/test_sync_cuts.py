"""Connections that break or fall silent in a sync: it ends soon, HAT is as before, the next sync is right."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest

from hat_etl.target.database import TenantDatabase
from hat_etl.tenants import store

from .ground import LOADED, Ground, Server
from .proxy import Gate, Proxy
from .syncing import MOVED, Shown, Untouched, assert_told, behind, directly, last_run, synced
from .test_cuts import terminate
from .test_sync_commit import IMPATIENT

PROXIES = tuple[Proxy, Proxy]
BOUND = 30.0
"""Seconds in which a sync notices a silent network that ``IMPATIENT`` gives two."""


@pytest.fixture(scope="module")
def worn(server: Server, moved: Shown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A tenant whose syncs break again and again, each beginning where the one before broke."""
    assert moved.rows
    ground = Ground(server, tmp_path_factory.mktemp("worn"), pls=MOVED, hat=server.copy(LOADED))
    yield ground
    server.drop(ground.hat)


def moment(when: str, erp: Proxy, hat: Proxy) -> Gate:
    """A gate in the middle of what the sync does then."""
    match when:
        case "looking at the views":
            return erp.hold_at("EXPLAIN")
        case "reading":
            return erp.hold_at('FROM "hat"."hat_bts_vida" WHERE', deliver=True)
        case "comparing keys":
            return erp.hold_at('::int8 FROM "hat"."hat_ba1_beneficiario"')
        case "taking in":
            return hat.hold_at("COPY pg_temp.persons")
        case "merging":
            return hat.hold_at("UPDATE hat.persons")
    raise AssertionError(when)


ERP, HAT = ("looking at the views", "reading", "comparing keys"), ("taking in", "merging")


@pytest.mark.parametrize(
    ("when", "how"),
    [
        *((when, "cut") for when in (*ERP, *HAT)),
        ("reading", "silent"),
        ("taking in", "silent"),
        ("merging", "silent"),
        ("reading", "ended by an administrator"),
        ("merging", "ended by an administrator"),
    ],
)
def test_a_connection_breaks(when: str, how: str, worn: Ground, proxies: PROXIES) -> None:
    ground, (erp, hat) = worn, proxies
    broken = erp if when in ERP else hat
    untouched = Untouched(ground)
    behind(ground, erp, hat, IMPATIENT)
    gate = moment(when, erp, hat)
    sync = ground.start("sync", ground.name)
    gate.await_closed()
    match how:
        case "cut":
            broken.cut()
        case "silent":
            broken.swallow()
        case _:
            terminate(ground, ground.pls if broken is erp else ground.hat)
            gate.open()
    began = time.monotonic()
    result = sync.wait()
    assert time.monotonic() - began < BOUND
    erp.cut()
    hat.cut()
    if broken is erp:
        assert result.exit_code == 4, result.err
        assert_told(result.err, "demo", "Reading the ERP failed", "hat-etl doctor demo", "hat-etl sync demo")
        assert last_run(ground)[1:3] == ("sync", "failed")
    else:
        assert result.exit_code == 5, result.err
        assert_told(result.err, "demo", "tenant database", "go on with: hat-etl sync demo")
    assert "--resume" not in result.err
    untouched.check()


@pytest.mark.parametrize("when", [*ERP, *HAT])
def test_a_sync_that_is_told_to_stop_ends_even_when_no_server_answers(
    when: str, worn: Ground, proxies: PROXIES
) -> None:
    """While all Recnos were compared neither Ctrl-C nor SIGTERM was heard before the ERP answered."""
    untouched = Untouched(worn)
    behind(worn, *proxies)
    gate = moment(when, *proxies)
    sync = worn.start("sync", worn.name)
    gate.await_closed()
    began = time.monotonic()
    sync.signal(signal.SIGTERM)
    result = sync.wait()
    assert time.monotonic() - began < BOUND
    assert result.exit_code == 128 + signal.SIGTERM, result.err
    assert_told(result.err, "Broken off", "hat-etl status demo")
    for proxy in proxies:
        proxy.cut()
    untouched.check()


def test_the_next_sync_brings_everything(worn: Ground, moved: Shown) -> None:
    """After all those above."""
    directly(worn)
    synced(worn)
    assert Shown.by(worn) == moved
    worn.assert_clean()


def test_a_silent_network_is_noticed_within_two_minutes_on_both_sides(
    ground: Ground, proxies: PROXIES, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests above shorten, as it stands: data or probes that nobody acknowledges."""
    behind(ground, *proxies)
    ground.write()
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(ground.folder))
    with TenantDatabase(store.load(ground.name)).connect() as connection:
        own = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        with own:
            assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            probes = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            between = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) + probes * between <= 120
            assert 0 < own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 120_000
        # The server's own end: a session over a socket file has the setting and no use for it.
        names = ["tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"]
        set_by_us = connection.execute(
            "SELECT name FROM pg_settings WHERE name LIKE 'tcp%' AND source IN ('client', 'session') ORDER BY 1"
        ).fetchall()
    assert set_by_us == [(name,) for name in names]
