"""A load that breaks on its way: HAT keeps what it had, and ``--resume`` ends as if nothing had happened."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from .commands import Result
from .conftest import FIRST_KEY, Measured, behind
from .ground import Ground, Server
from .proxy import Gate, Proxy

MAKE_GROUND = Callable[..., Ground]
PROXIES = tuple[Proxy, Proxy]
SWAP = "SET SCHEMA hat"


@pytest.fixture
def cut_ground(ground: Ground, proxies: PROXIES) -> Ground:
    """A ground whose loads go through the proxies."""
    behind(ground, *proxies)
    return ground


def broken(ground: Ground, gate: Gate, act: Callable[[], None]) -> Result:
    """A load in which ``act`` happens while the gate is closed."""
    load = ground.start("load", ground.name)
    gate.await_closed()
    act()
    gate.open()
    return load.wait()


class Unchanged:
    """Remembers what HAT holds."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.state, self.reported, self.contents = ground.state(), ground.reported(), ground.contents()

    def check(self) -> None:
        """HAT is untouched, and nobody works on it."""
        assert self.ground.state() == self.state
        assert self.ground.reported() == self.reported
        self.ground.assert_nobody_left()

    def check_resumed(self) -> None:
        """The broken load is brought to its end, with the outcome of an undisturbed one."""
        assert self.ground.load("--resume")["run"] == 2
        assert self.ground.contents() == self.contents
        assert self.ground.reported() == self.reported
        with self.ground.in_hat() as connection:
            assert connection.execute("SELECT DISTINCT loaded_run FROM hat.procedures").fetchall() == [(2,)]
        self.ground.assert_clean()


def terminate(ground: Ground, database: str) -> None:
    """End the sessions of hat_etl in a database, as an administrator does."""
    with ground.server.admin() as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND datname = %s",
            (f"hat_etl {ground.name}", database),
        ).fetchall()
    assert ended


@pytest.mark.parametrize(
    ("command", "statement"),
    [
        ("install", "a.attisdropped\nJOIN pg_type"),
        ("install", "SELECT current_schema()"),
        ("install", "vn.nspname, v.relname"),
        ("install", "SET LOCAL lock_timeout"),
        ("install", "HAT_BRV_GrupoProduto"),
        ("check", "EXPLAIN"),
        ("check", "vn.nspname, v.relname"),
        ("check", "a.attisdropped\nJOIN pg_type"),
    ],
)
@pytest.mark.parametrize("by", ["administrator", "network"])
def test_the_erp_connection_is_cut_while_views_are_made_or_checked(
    by: str, command: str, statement: str, cut_ground: Ground, proxies: PROXIES
) -> None:
    """What the driver said came as an internal error, without a next step."""
    erp, _ = proxies
    gate = erp.hold_at(statement)
    running = cut_ground.start("views", command, cut_ground.name)
    gate.await_closed()
    if by == "network":
        erp.cut()
    else:
        terminate(cut_ground, cut_ground.pls)
    gate.open()
    result = running.wait()
    assert result.exit_code == 4, result
    assert "demo" in result.err
    assert f"hat-etl views {command} demo" in result.err
    cut_ground.assert_nobody_left()


@pytest.mark.parametrize("by", ["administrator", "network"])
def test_the_erp_connections_are_cut_in_mid_read(
    by: str, cut_ground: Ground, proxies: PROXIES, measured: Measured
) -> None:
    erp, _ = proxies
    unchanged = Unchanged(cut_ground)
    gate = erp.hold_after("from_server", measured.from_erp // 2)
    result = broken(cut_ground, gate, erp.cut if by == "network" else lambda: terminate(cut_ground, cut_ground.pls))
    assert result.exit_code == 4, result.err
    for words in ("demo", "Reading the ERP failed", "hat-etl load demo --resume"):
        assert words in result.err
    unchanged.check()
    unchanged.check_resumed()


def test_the_erp_connection_is_cut_while_the_views_are_looked_at(cut_ground: Ground, proxies: PROXIES) -> None:
    erp, _ = proxies
    unchanged = Unchanged(cut_ground)
    result = broken(cut_ground, erp.hold_at("EXPLAIN"), erp.cut)
    assert result.exit_code == 4, result.err
    assert "Reading the ERP failed" in result.err
    unchanged.check()
    assert not cut_ground.has_stage()
    cut_ground.load()
    cut_ground.assert_clean()


@pytest.mark.parametrize("by", ["administrator", "network"])
@pytest.mark.parametrize("when", ["reading", "keys", "swap"])
def test_the_connections_to_hat_are_cut(
    when: str, by: str, cut_ground: Ground, proxies: PROXIES, measured: Measured
) -> None:
    _, hat = proxies
    unchanged = Unchanged(cut_ground)
    gate = {
        "reading": lambda: hat.hold_after("to_server", measured.to_hat_staged // 2),
        "keys": lambda: hat.hold_at(FIRST_KEY, deliver=True),
        "swap": lambda: hat.hold_at(SWAP, deliver=True),
    }[when]()
    result = broken(cut_ground, gate, hat.cut if by == "network" else lambda: terminate(cut_ground, cut_ground.hat))
    assert result.exit_code == 5, result.err
    for words in ("demo", "tenant database", "hat-etl load demo --resume"):
        assert words in result.err
    unchanged.check()
    unchanged.check_resumed()


def test_a_second_load_is_refused_and_the_first_goes_on(
    make_ground: MAKE_GROUND, proxies: PROXIES, measured: Measured
) -> None:
    first, (erp, hat) = make_ground(), proxies
    behind(first, erp, hat)
    second = make_ground(hat=first.hat)
    gate = erp.hold_after("from_server", measured.from_erp // 2)
    load = first.start("load", first.name)
    gate.await_closed()
    for arguments in ((), ("--resume",), ("--restart",)):
        refused = second.run("load", second.name, *arguments)
        assert refused.exit_code == 8, refused.err
        assert "Another run of this tenant is going on" in refused.err
        assert "hat-etl status demo" in refused.err
    status = second.run("status", second.name, "--json").document
    assert status["last_run"]["state"] == "running"
    assert load.is_running
    gate.open()
    result = load.wait()
    assert result.exit_code == 0, result.err
    first.assert_clean()


@pytest.mark.parametrize(
    ("when", "number", "exit_code"),
    [("reading", signal.SIGINT, 130), ("keys", signal.SIGTERM, 143), ("swap", signal.SIGINT, 130)],
)
def test_a_load_that_is_told_to_stop_ends_even_when_no_server_answers(
    when: str, number: int, exit_code: int, cut_ground: Ground, proxies: PROXIES, measured: Measured
) -> None:
    erp, hat = proxies
    unchanged = Unchanged(cut_ground)
    gate = {
        "reading": lambda: erp.hold_after("from_server", measured.from_erp // 2),
        "keys": lambda: hat.hold_at(FIRST_KEY),
        "swap": lambda: hat.hold_at(SWAP),
    }[when]()
    load = cut_ground.start("load", cut_ground.name)
    gate.await_closed()
    load.signal(number)
    result = load.wait()
    gate.open()
    assert_stopped(result, exit_code)
    unchanged.check()
    unchanged.check_resumed()


def test_a_load_that_is_told_to_stop_closes_its_run(cut_ground: Ground, proxies: PROXIES, measured: Measured) -> None:
    erp, _ = proxies
    unchanged = Unchanged(cut_ground)
    gate = erp.hold_after("from_server", measured.from_erp // 2)
    load = cut_ground.start("load", cut_ground.name)
    gate.await_closed()
    load.signal(signal.SIGTERM)
    gate.open()
    assert_stopped(load.wait(), 143)
    with cut_ground.in_hat() as connection:
        assert connection.execute("SELECT state FROM hat_etl.runs WHERE run = 2").fetchone() == ("failed",)
    unchanged.check()
    unchanged.check_resumed()


def assert_stopped(result: Result, exit_code: int) -> None:
    assert result.exit_code == exit_code, result.err
    for words in ("Broken off", "hat-etl status", "--resume"):
        assert words in result.err
    assert "Error" not in result.err


def test_the_disk_of_hat_is_full_and_then_has_room_again(
    make_ground: MAKE_GROUND, small_disk: Callable[[str], None], server: Server
) -> None:
    ground = make_ground()
    with server.admin() as admin:
        admin.execute("GRANT CREATE ON TABLESPACE small TO hat_loader")
        # New tables and indexes go to the small disk; the write-ahead log, which must never be full, lies elsewhere.
        admin.execute(f"ALTER DATABASE {ground.hat} SET default_tablespace = small")
    unchanged = Unchanged(ground)
    result = ground.run("load", ground.name)
    assert result.exit_code == 5, result.err
    for words in ("demo", "disk of the tenant database is full", "Free space", "hat-etl load demo --resume"):
        assert words in result.err
    unchanged.check()
    small_disk("256m")
    unchanged.check_resumed()
    # The tablespace can only go when nothing is left in it.
    server.drop(ground.hat)
