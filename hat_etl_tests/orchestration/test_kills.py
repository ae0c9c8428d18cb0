"""``kill -9`` of what makes a scheduled sync, at any moment: it is made once, as if nothing had happened."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from hat_etl.sandbox.server import HAT, LOADER
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store
from hat_etl_tests.failures.ground import Contents, contents
from hat_etl_tests.orchestration.conftest import Demo, new_demo
from hat_etl_tests.orchestration.room import Room, opened_room
from hat_etl_tests.orchestration.test_runs import RENAME

MOMENTS = int(os.environ.get("HAT_ETL_DAGSTER_KILLS", "1"))
"""How many moments are tried for each: while the run goes on, and others by chance."""
EVENTS = 24
"""About so many events are written for a sync, from its queueing to its end."""


def shown(demo: Demo) -> Contents:
    with psycopg.connect(demo.sandbox.url(HAT, LOADER)) as connection:
        unfinished = connection.execute("SELECT count(*) FROM hat_etl.runs WHERE finished_at IS NULL").fetchone()
        assert unfinished == (0,)
        return contents(connection)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with new_demo() as made:
        yield made


@pytest.fixture
def room(demo: Demo, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """Its tenant is due."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
    file = demo.tenants / "demo.toml"
    before = file.read_text(encoding="utf-8")
    load(store.load("demo"), LoadRequest(restart=True))
    try:
        with opened_room(home) as room:
            room.instance.add_dynamic_partitions("tenant", ["demo"])
            file.write_text(f'{before}\n[schedule]\nincremental = "0 3 1 1 *"\n', encoding="utf-8")
            yield room
    finally:
        file.write_text(before, encoding="utf-8")


@pytest.mark.parametrize("seed", range(MOMENTS))
@pytest.mark.parametrize("kill", [Room.kill_run, Room.kill_daemon, Room.kill_database])
def test_whatever_is_killed_the_sync_is_made_once_and_every_run_ends(
    kill: Callable[[Room], None], seed: int, demo: Demo, room: Room
) -> None:
    name = f"{kill.__name__} {seed}"
    rng = random.Random(name)
    demo.change_erp(RENAME.format(name.upper(), 20))
    before = shown(demo)
    if seed:
        room.await_moment(rng.randrange(1, EVENTS))
    else:
        room.await_run()
    kill(room)
    runs = room.await_end()
    assert len(runs) <= 2, "the run, and the one that takes its place"
    after = shown(demo)
    assert {table for table in after if after[table] != before[table]} == {"persons"}
    assert demo.count(f"persons WHERE name = 'NOME NOVO {name.upper()}'") == 20
