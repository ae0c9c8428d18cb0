"""``kill -9`` of what makes a scheduled sync, at any moment: it is made once, as if nothing had happened."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import psycopg
import pytest

from hat_etl.sandbox.server import HAT, LOADER, Sandbox
from hat_etl.sync.load import LoadRequest, load
from hat_etl.tenants import store
from hat_etl_tests.failures.ground import Contents, contents
from hat_etl_tests.orchestration.conftest import Demo, new_demo
from hat_etl_tests.orchestration.daemon import Daemon, run_process
from hat_etl_tests.orchestration.test_runs import RENAME

MOMENTS = int(os.environ.get("HAT_ETL_DAGSTER_KILLS", "1"))
"""How many moments are tried for each: while the run goes on, and others by chance."""
SUCCESS = dg.DagsterRunStatus.SUCCESS
EVENTS = 24
"""About so many events are written for a sync, from its queueing to its end."""


@dataclass
class Room:
    """A tenant that is due, its sync with a change to bring over, and Dagster on a PostgreSQL of its own."""

    demo: Demo
    instance: dg.DagsterInstance
    daemon: Daemon
    database: Sandbox

    def await_moment(self, number: int) -> None:
        """Until so many events are written."""
        with psycopg.connect(self.database.url("postgres", "postgres"), autocommit=True) as connection:

            def written() -> bool:
                return bool(connection.execute("SELECT count(*) >= %s FROM event_logs", (number,)).fetchall()[0][0])

            self.daemon.wait_for(written, f"{number} events")

    def await_run(self) -> psutil.Process:
        """Until the run goes on; gives its process."""
        found: list[psutil.Process] = []

        def goes_on() -> bool:
            found[:] = filter(None, [run_process(self.instance)])
            return bool(found)

        self.daemon.wait_for(goes_on, "the process of the run")
        return found[0]

    def await_end(self) -> list[dg.DagsterRun]:
        """Until every run has ended, the last one well; gives them, latest first."""

        def ended() -> bool:
            runs = self.instance.get_runs()
            return all(run.is_finished for run in runs) and [run.status for run in runs[:1]] == [SUCCESS]

        self.daemon.wait_for(ended, "every run has ended, the last one well")
        return list(self.instance.get_runs())

    def shown(self) -> Contents:
        with psycopg.connect(self.demo.sandbox.url(HAT, LOADER)) as connection:
            unfinished = connection.execute("SELECT count(*) FROM hat_etl.runs WHERE finished_at IS NULL").fetchone()
            assert unfinished == (0,)
            return contents(connection)

    # -- what is killed ----------------------------------------------------------------------------------------------

    def kill_run(self) -> None:
        self.await_run().kill()

    def kill_daemon(self) -> None:
        self.daemon.kill()

    def kill_database(self) -> None:
        kill_server(self.database)
        Sandbox.up(self.database.folder)


def kill_server(server: Sandbox) -> None:
    postmaster = psutil.Process(int((server.folder / "postgres" / "postmaster.pid").read_text().split()[0]))
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with new_demo() as made:
        yield made


@pytest.fixture
def room(demo: Demo, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
    file = demo.tenants / "demo.toml"
    before = file.read_text(encoding="utf-8")
    load(store.load("demo"), LoadRequest(restart=True))
    settings = home / "dagster.yaml"
    text = settings.read_text(encoding="utf-8")
    assert "poll_interval_seconds: 30" in text
    settings.write_text(text.replace("poll_interval_seconds: 30", "poll_interval_seconds: 2"), encoding="utf-8")
    # A short path: that of the server's socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="dg") as folder:
        database = Sandbox.up(Path(folder))
        monkeypatch.setenv("HAT_DAGSTER_URL", database.url("postgres", "postgres"))
        try:
            with dg.DagsterInstance.get() as instance:
                instance.add_dynamic_partitions("tenant", ["demo"])
                file.write_text(f'{before}\n[schedule]\nincremental = "0 3 1 1 *"\n', encoding="utf-8")
                with Daemon(home / "daemon.log") as daemon:
                    yield Room(demo, instance, daemon, database)
        finally:
            file.write_text(before, encoding="utf-8")
            kill_server(database)


@pytest.mark.parametrize("seed", range(MOMENTS))
@pytest.mark.parametrize("kill", [Room.kill_run, Room.kill_daemon, Room.kill_database])
def test_whatever_is_killed_the_sync_is_made_once_and_every_run_ends(
    kill: Callable[[Room], None], seed: int, room: Room
) -> None:
    name = f"{kill.__name__} {seed}"
    rng = random.Random(name)
    room.demo.change_erp(RENAME.format(name.upper(), 20))
    before = room.shown()
    if seed:
        room.await_moment(rng.randrange(1, EVENTS))
    else:
        room.await_run()
    kill(room)
    runs = room.await_end()
    assert len(runs) <= 2, "the run, and the one that takes its place"
    after = room.shown()
    assert {table for table in after if after[table] != before[table]} == {"persons"}
    assert room.demo.count(f"persons WHERE name = 'NOME NOVO {name.upper()}'") == 20
