"""``kill -9`` amid an initial load: Dagster takes it up, and HAT is row by row as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster import DagsterRunStatus

from hat_etl.orchestration.assets import asset_key
from hat_etl.sandbox.server import LOADER
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store
from hat_etl_tests.failures.proxy import Proxy
from hat_etl_tests.orchestration.conftest import Demo, new_demo
from hat_etl_tests.orchestration.daemon import launch
from hat_etl_tests.orchestration.neighbours import Rows, add_tenant, rows
from hat_etl_tests.orchestration.room import Room, opened_room

MOMENTS = {
    # To one of the smallest tables, which come last: most of the others are staged.
    "reading": "COPY hat_etl_stage.kinships",
    "swapping": "SET SCHEMA",
}
"""What the load says to HAT in each phase."""


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """Its HAT database is empty, and stays so: tenants get copies of it."""
    with new_demo() as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(made.tenants))
        yield made


@pytest.fixture(scope="module")
def undisturbed(demo: Demo) -> Rows:
    """What a load that nobody disturbs leaves in HAT."""
    add_tenant(demo, "undisturbed")
    load(store.load("undisturbed"), LoadRequest())
    return rows(demo, "undisturbed")


def staged(demo: Demo, tenant: str) -> int:
    """How many ranges of the unfinished load are in HAT."""
    with psycopg.connect(demo.sandbox.url(tenant, LOADER)) as hat:
        return int(hat.execute("SELECT count(*) FROM hat_etl.checkpoints").fetchall()[0][0])


@pytest.mark.parametrize(
    ("moment", "kill"),
    [("reading", Room.kill_run), ("swapping", Room.kill_daemon)],
)
def test_a_killed_load_goes_on_by_itself_and_ends_as_an_undisturbed_one(
    moment: str, kill: Callable[[Room], None], demo: Demo, undisturbed: Rows, home: Path
) -> None:
    tenant, proxy = moment, Proxy(demo.sandbox.socket)
    add_tenant(demo, tenant)
    (demo.tenants / f"{tenant}-hat.url").write_text(proxy.url(tenant, LOADER), encoding="utf-8")
    gate = proxy.hold_at(MOMENTS[moment])
    with opened_room(home) as room:
        room.instance.add_dynamic_partitions("tenant", [tenant])
        killed = launch(room.instance, "initial_load", tenant)
        room.await_run()
        gate.await_closed()
        assert staged(demo, tenant) > 0
        assert rows(demo, tenant) == {}
        kill(room)
        proxy.cut()
        last, first = room.await_end()
        assert (first.run_id, first.status) == (killed, DagsterRunStatus.FAILURE)
        assert last.parent_run_id == killed
        assert "checking what is staged" in said(room.instance, last)
    assert rows(demo, tenant) == undisturbed
    with psycopg.connect(demo.sandbox.url(tenant, LOADER)) as hat:
        assert hat.execute("SELECT mode, state FROM hat_etl.runs").fetchall() == [("load", "succeeded")]
    proxy.close()


def test_a_load_that_is_killed_after_its_commit_is_not_loaded_again(demo: Demo, undisturbed: Rows, home: Path) -> None:
    """Dagster had not heard of the commit, and the retry read the whole ERP once more."""
    tenant, proxy = "committed", Proxy(demo.sandbox.socket)
    add_tenant(demo, tenant)
    (demo.tenants / f"{tenant}-hat.url").write_text(proxy.url(tenant, LOADER), encoding="utf-8")
    gate = proxy.hold_at("SELECT min(CASE WHEN r.mode")  # how fresh the tenant is, for Dagster to be told
    with opened_room(home) as room:
        room.instance.add_dynamic_partitions("tenant", [tenant])
        launch(room.instance, "initial_load", tenant)
        room.await_run()
        gate.await_closed()
        assert rows(demo, tenant) == undisturbed
        room.kill_run()
        proxy.cut()
        last, _ = room.await_end()
        assert "Nothing was left to be done" in said(room.instance, last)
        assert "Now: reading." not in said(room.instance, last)
        told = room.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key("beneficiaries"), asset_partitions=[tenant]), limit=5
        ).records
        assert [record.run_id for record in told][:1] == [last.run_id], "Dagster knows of the table"
    with psycopg.connect(demo.sandbox.url(tenant, LOADER)) as hat:
        assert hat.execute("SELECT mode, state FROM hat_etl.runs").fetchall() == [("load", "succeeded")]
    proxy.close()


def said(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    return "\n".join(entry.user_message for entry in instance.all_logs(run.run_id) if not entry.is_dagster_event)
