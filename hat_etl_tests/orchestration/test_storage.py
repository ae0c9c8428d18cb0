"""The storage that dagster.yaml asks for rests on private classes of Dagster, so it is opened for real, both ways."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy.exc import OperationalError

from hat_etl.errors import ConfigurationError
from hat_etl.orchestration import postgresql
from hat_etl.orchestration.due import RUNS_PER_ERP
from hat_etl.orchestration.postgresql import connections
from hat_etl.orchestration.storage import psycopg2_url
from hat_etl_tests.failures.ground import eventually
from hat_etl_tests.orchestration.daemon import queue
from hat_etl_tests.servers import Server

ENGINE_EVENT = dg.DagsterEventType.ENGINE_EVENT
CUT = """
CREATE SEQUENCE cuts;
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('cuts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER cut BEFORE INSERT ON event_logs FOR EACH ROW EXECUTE FUNCTION cut();
"""
"""Ends the connection that writes the first event."""
CLIENTS = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"


def sensor_state() -> InstigatorState:
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="hat_etl.definitions"), "hat_etl")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "due_tenants")
    return InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)


@pytest.fixture
def database(home: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the one in which Dagster keeps its runs."""
    name = postgres.create_database("dagster")
    monkeypatch.setenv("HAT_DAGSTER_URL", postgres.url(name))
    return name


def reopened(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """As the process of a run opens it."""
    return dg.DagsterInstance.from_ref(instance.get_ref())


def test_without_an_address_runs_are_kept_in_files(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenant", ["acme"])
        with reopened(instance) as again:
            assert again.get_dynamic_partitions("tenant") == ["acme"]
    assert list((home / "storage").rglob("*.db"))


def test_with_an_address_runs_are_kept_in_postgresql(home: Path, postgres: Server, database: str) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenant", ["acme"])
        with reopened(instance) as again:
            assert again.get_dynamic_partitions("tenant") == ["acme"]
    with postgres.connect(database) as connection:
        kept = connection.execute("SELECT partition FROM dynamic_partitions").fetchall()
    assert kept == [("acme",)]
    assert not list(home.rglob("*.db"))


def test_processes_keep_few_connections_and_a_server_that_was_started_again_is_no_error(
    home: Path, postgres: Server, database: str
) -> None:

    def backends() -> list[int]:
        """Of connections that are open, and for a moment of those that were closed just now.

        Not of the server's own visits, to vacuum: one of them was once taken for a connection that is kept.
        """
        with postgres.connect() as connection:
            rows = connection.execute(CLIENTS, (database,)).fetchall()
        return [pid for (pid,) in rows]

    with dg.DagsterInstance.get() as instance:
        instance.get_runs()
        eventually(lambda: len(backends()) == 1, "one connection is kept")
        for _ in range(5):
            instance.add_dynamic_partitions("tenant", ["acme"])
            with reopened(instance) as again:
                assert again.get_runs() == []
        eventually(lambda: len(backends()) == 1, "no other is kept")
        with postgres.connect() as connection:
            for pid in backends():
                connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        assert instance.get_dynamic_partitions("tenant") == ["acme"]


def test_a_server_that_takes_no_connections_for_a_moment_is_waited_for(postgres: Server) -> None:
    database = postgres.create_database("dagster")
    engine = connections(psycopg2_url(postgres.url(database)))
    with postgres.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false".encode())
        asking = pool.submit(lambda: engine.connect().close())
        try:
            assert not wait([asking], timeout=2).done, asking.exception()
        finally:
            connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true".encode())
        asking.result()


def test_an_address_that_leads_nowhere_is_not_waited_for(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE", 120.0)
    engine = connections(psycopg2_url(postgres.url("nowhere")))
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(engine.connect)
        assert wait([asking], timeout=60).done
        assert isinstance(error := asking.exception(), OperationalError)
        assert "does not exist" in str(error)


def test_an_event_whose_writing_was_cut_off_is_written_again(home: Path, postgres: Server, database: str) -> None:
    with dg.DagsterInstance.get() as instance, postgres.connect(database) as connection:
        run = queue(instance, "incremental_sync", {})
        connection.execute(CUT)
        instance.report_engine_event("canary", run)
        assert connection.execute("SELECT last_value FROM cuts").fetchone() == (2,)
        assert [entry.dagster_event_type for entry in instance.all_logs(run.run_id)][-1] is ENGINE_EVENT


def test_a_sensor_that_is_known_by_halves_is_made_known(home: Path, postgres: Server, database: str) -> None:
    """The database went away between the two, and the daemon never looked at other sensors again."""
    with dg.DagsterInstance.get() as instance, postgres.connect(database) as connection:
        state = sensor_state()
        instance.add_instigator_state(state)
        connection.execute("DELETE FROM instigators")
        assert not instance.all_instigator_state()
        instance.add_instigator_state(state)
        assert instance.all_instigator_state() == [state]


def test_one_run_at_a_time_is_let_in_for_a_tenant_and_few_for_an_erp(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        found = [(limit["key"], limit["limit"]) for limit in limits.tag_concurrency_limits]
        assert found == [("dagster/partition", 1), ("hat/erp", RUNS_PER_ERP)]
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_any_spelling_of_the_address_gets_the_driver_that_dagster_needs(scheme: str) -> None:
    assert psycopg2_url(f"{scheme}://u:p%40w@host:5433/db?sslmode=require") == (
        "postgresql+psycopg2://u:p%40w@host:5433/db?sslmode=require"
    )


def test_what_is_no_address_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        psycopg2_url("canary")
    assert "canary" not in str(caught.value)


def test_without_a_home_the_storage_says_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    with pytest.raises(ConfigurationError, match="DAGSTER_HOME"), dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs()
