"""A control room that may be broken: Dagster on a PostgreSQL of its own, its daemon, and what becomes of its runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import psycopg
import pytest

from hat_etl.sandbox.server import Sandbox
from hat_etl_tests.orchestration.daemon import Daemon, run_process

SUCCESS = dg.DagsterRunStatus.SUCCESS


@dataclass
class Room:
    """``database`` holds Dagster's storage, and nothing of a tenant."""

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

        try:
            self.daemon.wait_for(ended, "every run has ended, the last one well")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None
        return list(self.instance.get_runs())

    def story(self) -> str:
        """What Dagster has written of every run, for whoever reads why a test failed."""
        lines = []
        for run in self.instance.get_runs():
            lines.append(f"{run.run_id} {run.status.value}")
            lines += [f"  {entry.user_message[:500]}" for entry in self.instance.all_logs(run.run_id)]
        return "\n".join(lines)

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
        with suppress(psutil.NoSuchProcess):  # a session that has ended meanwhile
            process.kill()
    psutil.wait_procs(family)


def hurry(home: Path) -> None:
    """Let the daemon look for the processes of runs more often than it does in production."""
    settings = home / "dagster.yaml"
    text = settings.read_text(encoding="utf-8")
    assert "poll_interval_seconds: 30" in text
    settings.write_text(text.replace("poll_interval_seconds: 30", "poll_interval_seconds: 2"), encoding="utf-8")


@contextmanager
def opened_room(home: Path) -> Iterator[Room]:
    """With the settings of ``home`` and the tenants of the environment."""
    hurry(home)
    # A short path: that of the server's socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="dg") as folder, pytest.MonkeyPatch.context() as patch:
        database = Sandbox.up(Path(folder))
        patch.setenv("HAT_DAGSTER_URL", database.url("postgres", "postgres"))
        try:
            with dg.DagsterInstance.get() as instance, Daemon(home / "daemon.log") as daemon:
                yield Room(instance, daemon, database)
        finally:
            kill_server(database)
