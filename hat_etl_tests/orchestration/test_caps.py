"""Twenty tenants of one ERP server are due at once: how many connections the ERP sees, at the most."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster import RunsFilter

from hat_etl.orchestration.due import QUEUE_PER_ERP, RUNS_PER_ERP
from hat_etl.sandbox.server import PLS, Sandbox
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import Demo, new_demo
from hat_etl_tests.orchestration.daemon import Daemon
from hat_etl_tests.orchestration.neighbours import CONNECTIONS, MISSED, add_tenant
from hat_etl_tests.servers import Server

TENANTS = 20
"""How many of the server are due."""
OTHERS = ("x1", "x2")
"""Tenants with a server each, due after all the others: they are let in past those that wait, and take the last places
that Dagster has. A third tenant of the one server would have taken one of these before.
"""


class Watch:
    """Looks at the ERP's sessions all along; remembers the most of them, and the most tenants at once."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sessions = 0
        self.tenants: set[str] = set()
        self.most = 0
        self._sandbox = sandbox
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        with psycopg.connect(self._sandbox.url("postgres", "postgres"), autocommit=True) as connection:
            while not self._stop.wait(0.02):
                rows = connection.execute(
                    "SELECT substr(application_name, 9) FROM pg_stat_activity"
                    " WHERE datname = %s AND application_name LIKE 'hat_etl %%'",
                    (PLS,),
                ).fetchall()
                names = [name for (name,) in rows if name not in OTHERS]
                self.tenants = {name for (name,) in rows}
                self.sessions, self.most = max(self.sessions, len(names)), max(self.most, len(set(names)))


@pytest.fixture
def demo() -> Iterator[Demo]:
    with new_demo() as made:
        yield made


def write_tenants(demo: Demo) -> list[str]:
    """Twenty tenants with one ERP, each with its own copy of a loaded HAT database; all were due long ago."""
    load(store.load("demo"), LoadRequest())
    (demo.tenants / "demo.toml").unlink()
    names = [f"t{number:02}" for number in range(TENANTS)]
    for name in names:
        add_tenant(demo, name, erp='server = "one"', schedule=MISSED)
    for name in OTHERS:
        add_tenant(demo, name, erp=f'server = "{name}"', schedule=MISSED.replace("0 3", "0 4"))
    return [*names, *OTHERS]


def test_the_erp_sees_few_runs_and_connections_at_a_time(
    demo: Demo, home: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
    monkeypatch.setenv("HAT_DAGSTER_URL", postgres.url(postgres.create_database("caps")))
    names = write_tenants(demo)
    with dg.DagsterInstance.get() as instance, Watch(demo.sandbox) as watch:
        instance.add_dynamic_partitions("tenant", names)
        done = RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
        with Daemon(home / "daemon.log") as daemon:
            with psycopg.connect(demo.sandbox.url(PLS, "postgres")) as erp:
                # Whoever is let in stays: nobody can read this table.
                erp.execute("LOCK TABLE protheus.bts010 IN ACCESS EXCLUSIVE MODE")
                full = RUNS_PER_ERP + len(OTHERS)
                daemon.wait_for(lambda: len(watch.tenants) == full and watch.tenants > set(OTHERS), "all have come in")
            daemon.wait_for(lambda: len(instance.get_runs(done)) >= full, "those that were let in have ended")
        runs = instance.get_runs()
    assert len(runs) >= QUEUE_PER_ERP + len(OTHERS), "more were waiting than were let in"
    assert not [run for run in runs if run.status == dg.DagsterRunStatus.FAILURE]
    assert watch.most == RUNS_PER_ERP
    assert 0 < watch.sessions <= RUNS_PER_ERP * (CONNECTIONS + 1)
