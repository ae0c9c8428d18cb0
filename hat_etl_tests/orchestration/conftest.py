"""A small sandbox with its views, and Dagster as the repository's own dagster.yaml sets it up."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from hat_etl.definitions import defs
from hat_etl.orchestration import notifications
from hat_etl.orchestration.assets import asset_key
from hat_etl.sandbox import command
from hat_etl.sandbox.server import HAT, LOADER, PLS, PROTHEUS, Sandbox
from hat_etl.source import view_live
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store
from hat_etl_tests.servers import place

ROOT = Path(__file__).parents[2]
BENEFICIARIES = 300


@dataclass(frozen=True)
class Demo:
    """The sandbox of these tests; ``tenants`` holds the file of tenant ``demo``."""

    sandbox: Sandbox
    tenants: Path

    def count(self, table: str) -> int:
        with psycopg.connect(self.sandbox.url(HAT, LOADER)) as connection:
            row = connection.execute(f"SELECT count(*) FROM hat.{table}".encode()).fetchone()
        assert row is not None
        return int(row[0])

    def change_erp(self, statement: str) -> None:
        """Run ``statement`` in the ERP as the owner of its tables; it must change a row."""
        with psycopg.connect(self.sandbox.url(PLS, PROTHEUS), options="-c search_path=protheus") as connection:
            assert connection.execute(statement.encode()).rowcount > 0

    def change_hat(self, statement: str) -> None:
        """Run ``statement`` in HAT behind the back of hat_etl; it must change a row."""
        with psycopg.connect(self.sandbox.url(HAT, LOADER)) as connection:
            assert connection.execute(statement.encode()).rowcount > 0

    def views_owner(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of who may alter the views."""
        return psycopg.connect(self.sandbox.url(PLS, "postgres"), autocommit=True)


@dataclass(frozen=True)
class Door:
    """Dagster with partition ``demo``."""

    instance: dg.DagsterInstance

    def launch(
        self, *tables: str, tenant: str = "demo", tags: dict[str, str] | None = None, **config: Any
    ) -> dg.ExecuteInProcessResult:
        """Run the job over ``tables``, all if none is named, with these tags and settings of the step."""
        return defs.resolve_job_def("initial_load").execute_in_process(
            partition_key=tenant,
            instance=self.instance,
            asset_selection=[asset_key(table) for table in tables] or None,
            run_config={"ops": {"load_tenant": {"config": config}}},
            tags=tags or {},
            raise_on_error=False,
        )


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Table to the metadata of its materialisation; without the tenant as a whole."""
    found = {}
    for event in result.asset_materializations_for_node("load_tenant"):
        assert event.partition == "demo"
        found[event.asset_key.path[-1]] = {name: value.value for name, value in event.metadata.items()}
    assert found.pop("tenant")["read"] == sum(metadata["read"] for metadata in found.values())
    return found


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, Any]]:
    """Description and metadata of the failure that ended the run."""
    assert not result.success
    (event,) = result.get_step_failure_events()
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert data.description is not None
    return data.description, {name: value.value for name, value in data.metadata.items()}


@contextmanager
def new_demo() -> Iterator[Demo]:
    """A sandbox that nobody else changes."""
    # A short path: that of the server's socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="dg", dir=place()) as name:
        folder, tenants = Path(name), Path(name) / "tenants"
        sandbox, _ = command.up(folder, beneficiaries=BENEFICIARIES, tenants=tenants)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(store.FOLDER_VARIABLE, str(tenants))
                view_live.install(store.load("demo"))
            yield Demo(sandbox, tenants)
        finally:
            command.down(folder)


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    with new_demo() as made:
        yield made


@pytest.fixture(scope="module")
def loaded_demo(demo: Demo) -> Demo:
    """HAT has been loaded since this module began, without Dagster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
        load(store.load("demo"), LoadRequest(restart=True))
    return demo


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return new_home(tmp_path / "dagster", monkeypatch)


def new_home(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME of its own with the repository's settings, and SQLite."""
    folder.mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder)
    patch.setenv("DAGSTER_HOME", str(folder))
    patch.delenv("HAT_DAGSTER_URL", raising=False)
    return folder


@pytest.fixture
def door(demo: Demo, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenant", ["demo"])
        yield Door(instance)


@contextmanager
def hook(messages: list[dict[str, Any]], port: int = 0, status: int = 200) -> Iterator[int]:
    """A webhook at ``port``, which is given; what it is sent comes to ``messages``, and is answered with ``status``."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", port), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a webhook has been sent."""
    messages: list[dict[str, Any]] = []
    with hook(messages) as port:
        monkeypatch.setenv(notifications.TARGETS_VARIABLE, f"json://127.0.0.1:{port}/")
        monkeypatch.setenv(notifications.BOARD_VARIABLE, "https://board.example/")
        yield messages
