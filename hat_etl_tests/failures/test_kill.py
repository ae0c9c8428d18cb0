"""``kill -9`` at any moment of a load: what follows ends as if nothing had happened, and no reader saw a half."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hat_etl.sandbox.server import LOADER

from . import changes
from .conftest import FIRST_KEY, behind
from .ground import CHANGED, LOADED, Contents, Ground, Server
from .proxy import Gate, Proxy
from .watcher import Watcher, look

KILLS = int(os.environ.get("HAT_ETL_KILLS", "20"))
"""How many moments are tried."""

MAKE_GROUND = Callable[..., Ground]


@dataclass(frozen=True)
class Outcome:
    """What a load leaves in HAT, whichever its number."""

    contents: Contents
    reported: list[tuple[Any, ...]]
    kept: dict[str, int]
    """Rows that still are of the very first load: last good versions."""

    @classmethod
    def of(cls, ground: Ground) -> Outcome:
        contents = ground.contents()
        with ground.in_hat() as connection:
            kept = {
                table: connection.execute(f"SELECT count(*) FROM hat.{table} WHERE loaded_run = 1").fetchall()[0][0]
                for table in contents
            }
        return cls(contents, ground.reported(), kept)


@dataclass(frozen=True)
class Undisturbed:
    """A PLS that has changed since HAT was loaded, and what a load of it that nobody disturbs does."""

    outcome: Outcome
    from_erp: int
    to_hat: int
    to_hat_staged: int


@pytest.fixture(scope="module")
def undisturbed(server: Server, changed_pls: str, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    ground = Ground(server, tmp_path_factory.mktemp("undisturbed"), pls=changed_pls, hat=server.copy(LOADED))
    erp, hat = Proxy(server.sandbox.socket), Proxy(server.sandbox.socket)
    behind(ground, erp, hat)
    before = ground.contents()
    keys = hat.hold_at(FIRST_KEY)
    load = ground.start("load", ground.name)
    keys.await_closed()
    staged = hat.passed["to_server"]
    keys.open()
    assert load.wait().exit_code == 0
    outcome = Outcome.of(ground)
    assert all(before[table] != rows for table, rows in outcome.contents.items()), "every table has changed"
    erp.close()
    hat.close()
    server.drop(ground.hat)
    return Undisturbed(outcome, erp.passed["from_server"], hat.passed["to_server"], staged)


def moment(rng: random.Random, undisturbed: Undisturbed, erp: Proxy, hat: Proxy) -> Gate:
    """Half of the moments are in the reading and staging, the others while keys are made and tables swapped."""
    deliver = rng.random() < 0.5
    match rng.choice(("erp", "staging", "keys", "keys")):
        case "erp":
            return erp.hold_after("from_server", rng.randrange(1, undisturbed.from_erp), deliver=deliver)
        case "staging":
            return hat.hold_after("to_server", rng.randrange(1, undisturbed.to_hat_staged), deliver=deliver)
        case _:
            return hat.hold_after(
                "to_server", rng.randrange(undisturbed.to_hat_staged, undisturbed.to_hat), deliver=deliver
            )


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_load_ends_as_an_undisturbed_one(
    number: int, undisturbed: Undisturbed, make_ground: MAKE_GROUND, server: Server, proxies: tuple[Proxy, Proxy]
) -> None:
    rng = random.Random(number)
    changing = number % 4 == 3
    ground = make_ground(pls=server.copy(CHANGED) if changing else CHANGED)
    erp, hat = proxies
    with Watcher(server.url(ground.hat, LOADER)) as watcher:
        with ground.in_hat() as connection:
            old = look(connection)
        behind(ground, erp, hat)
        gate = moment(rng, undisturbed, erp, hat)
        load = ground.start("load", ground.name)
        gate.await_closed()
        load.signal(signal.SIGKILL)
        assert load.wait().exit_code == -signal.SIGKILL
        erp.cut()
        hat.cut()
        ground.assert_nobody_left()
        with ground.in_hat() as connection:
            committed = look(connection)
        if changing:
            with ground.in_erp() as connection:
                changes.some(connection, seed=number)
        ground.erp_url = ground.hat_url = None
        had_stage = ground.has_stage()
        ground.load("--resume" if rng.random() < 0.5 else "--restart")
        with ground.in_hat() as connection:
            new = look(connection)
    assert not watcher.failures
    assert watcher.seen <= {old, committed, new}
    assert committed == old or not had_stage
    expected = undisturbed.outcome if not changing else reference(ground, make_ground)
    outcome = Outcome.of(ground)
    assert outcome.contents == expected.contents
    assert outcome.reported == expected.reported
    assert outcome.kept == expected.kept
    ground.assert_clean()


def test_a_load_that_was_killed_once_its_indexes_stood_takes_up_a_row_that_doubles_a_key(
    make_ground: MAKE_GROUND, changed_pls: str, server: Server, proxies: tuple[Proxy, Proxy]
) -> None:
    ground = make_ground(pls=server.copy(changed_pls))
    erp, hat = proxies
    behind(ground, erp, hat)
    gate = hat.hold_at("USING INDEX")
    load = ground.start("load", ground.name)
    gate.await_closed()
    load.signal(signal.SIGKILL)
    load.wait()
    erp.cut()
    hat.cut()
    ground.assert_nobody_left()
    with ground.in_erp() as connection:
        changes.insert(connection, "BR8", changes.live(connection, random.Random(1), "BR8", 9))
    ground.erp_url = ground.hat_url = None
    ground.load("--resume")
    expected = reference(ground, make_ground)
    outcome = Outcome.of(ground)
    assert outcome.contents == expected.contents
    assert outcome.reported == expected.reported
    ground.assert_clean()


def reference(ground: Ground, make_ground: MAKE_GROUND) -> Outcome:
    """An undisturbed load of the PLS as it is now."""
    other = make_ground(pls=ground.pls)
    other.load()
    return Outcome.of(other)
