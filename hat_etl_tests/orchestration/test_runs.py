"""The jobs that report as things happen, on real servers: what Dagster is told must be what HAT holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from hat_etl.definitions import defs
from hat_etl.entities import BY_TABLE
from hat_etl.orchestration.assets import TENANT
from hat_etl_tests.orchestration.conftest import Demo, Door, failure, new_demo

KINSHIPS = BY_TABLE["kinships"]
RENAME = (
    "UPDATE bts010 SET bts_nomusr = 'NOME NOVO {}', s_t_a_m_p_ = clock_timestamp() WHERE r_e_c_n_o_ IN"
    " (SELECT r_e_c_n_o_ FROM bts010 WHERE d_e_l_e_t_ = ' ' ORDER BY r_e_c_n_o_ DESC LIMIT {})"
)


def launch(door: Door, job: str, op: str, tenant: str = "demo", **config: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        partition_key=tenant, instance=door.instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
    )


def sync(door: Door, **config: Any) -> dg.ExecuteInProcessResult:
    return launch(door, "incremental_sync", "sync_tenant", **config)


def told(door: Door, result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Asset to what Dagster keeps of it, under the tenant's partition."""
    found = {}
    for record in door.instance.all_logs(result.run_id):
        event = record.dagster_event
        if event is not None and event.event_type_value == "ASSET_MATERIALIZATION":
            made = event.step_materialization_data.materialization
            assert made.partition == "demo"
            found[made.asset_key.path[-1]] = {name: value.value for name, value in made.metadata.items()}
    return found


def checks(door: Door, result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    found = {}
    for record in door.instance.all_logs(result.run_id):
        event = record.dagster_event
        if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            assert evaluation.asset_key == TENANT
            assert evaluation.partition == "demo"
            found[evaluation.check_name] = evaluation
    return found


def said(door: Door, result: dg.ExecuteInProcessResult) -> str:
    entries = door.instance.all_logs(result.run_id)
    return "\n".join(entry.user_message for entry in entries if not entry.is_dagster_event)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with new_demo() as made:
        yield made


@pytest.fixture
def loaded(door: Door, loaded_demo: Demo) -> Door:
    """HAT shows the ERP, whatever earlier tests have left."""
    assert sync(door, accept=True).success
    return door


def test_a_sync_tells_of_the_tables_that_changed_and_of_no_other(loaded: Door, demo: Demo) -> None:
    demo.change_erp(RENAME.format("A", 3))
    before = time.time()
    result = sync(loaded)
    assert result.success
    found = told(loaded, result)
    assert set(found) == {"persons", "tenant"}
    assert {name: found["persons"][name] for name in ("updated", "loaded", "deleted", "strategy")} == {
        "updated": 3, "loaded": 0, "deleted": 0, "strategy": "window",
    }  # fmt: skip
    assert found["tenant"]["updated"] == 3
    assert before < found["tenant"]["watermark"] < time.time()
    assert set(told(loaded, sync(loaded))) == {"tenant"}
    assert "Now: merging." in said(loaded, result)


def test_every_run_judges_the_tenant(loaded: Door) -> None:
    found = checks(loaded, sync(loaded))
    assert {name: evaluation.passed for name, evaluation in found.items()} == {
        "decision": True, "freshness": True, "rejects": True,
    }  # fmt: skip


def test_too_many_rejects_turn_their_check_red_and_a_mended_erp_green_again(loaded: Door, demo: Demo) -> None:
    blank = "UPDATE bts010 SET bts_nomsoc = bts_nomusr, bts_nomusr = ' ', s_t_a_m_p_ = clock_timestamp()"
    back = "UPDATE bts010 SET bts_nomusr = bts_nomsoc, s_t_a_m_p_ = clock_timestamp() WHERE bts_nomusr = ' '"
    demo.change_erp(f"{blank} WHERE r_e_c_n_o_ % 4 = 0 AND d_e_l_e_t_ = ' '")
    result = sync(loaded, accept=True)
    assert result.success
    red = checks(loaded, result)["rejects"]
    assert not red.passed
    assert "too many" in str(red.metadata["persons"].value)
    assert "hat-etl rejects demo --xlsx" in str(red.metadata["next step"].value)
    demo.change_erp(back)
    assert checks(loaded, sync(loaded, accept=True))["rejects"].passed


def test_a_brake_waits_for_a_decision_in_the_run_and_in_its_check(loaded: Door, demo: Demo) -> None:
    demo.change_erp(RENAME.format("B", 200))
    stopped = sync(loaded)
    description, metadata = failure(stopped)
    assert metadata["kind"] == "decision"
    assert "rows change" in description
    assert "accept: true" in description
    waiting = checks(loaded, stopped)["decision"]
    assert not waiting.passed
    assert waiting.metadata["mode"].value == "sync"
    accepted = sync(loaded, accept=True)
    assert accepted.success
    assert checks(loaded, accepted)["decision"].passed
    assert told(loaded, accepted)["persons"]["updated"] == 200


def test_a_table_that_is_left_out_does_not_hide_those_that_committed(loaded: Door, demo: Demo) -> None:
    demo.change_erp(RENAME.format("C", 2))
    view, column = KINSHIPS.view, KINSHIPS["description"].alias
    with demo.views_owner() as connection:
        connection.execute(f"ALTER VIEW hat.{view} RENAME COLUMN {column} TO renamed".encode())
        try:
            result = sync(loaded)
        finally:
            connection.execute(f"ALTER VIEW hat.{view} RENAME COLUMN renamed TO {column}".encode())
    description, metadata = failure(result)
    assert "kinships" in description
    assert "Next step" in metadata["kinships"]
    assert told(loaded, result)["persons"]["updated"] == 2


def test_a_dry_run_says_what_would_be_read_and_changes_nothing(loaded: Door, demo: Demo) -> None:
    demo.change_erp(RENAME.format("D", 2))
    result = sync(loaded, dry_run=True)
    assert result.success
    assert told(loaded, result) == {}
    assert "persons: window" in said(loaded, result)
    assert told(loaded, sync(loaded))["persons"]["updated"] == 2


def test_a_reconciliation_finds_and_repairs(loaded: Door, demo: Demo) -> None:
    demo.change_hat("UPDATE hat.persons SET name = 'X' WHERE person_id = (SELECT max(person_id) FROM hat.persons)")
    result = launch(loaded, "reconcile", "reconcile_tenant")
    assert result.success
    red = checks(loaded, result)["reconciliation"]
    assert not red.passed
    assert "repair: true" in str(red.metadata["next step"].value)
    assert "persons: 0 missing, 0 extra, 1 differing." in said(loaded, result)
    repaired = launch(loaded, "reconcile", "reconcile_tenant", repair=True)
    assert repaired.success
    assert told(loaded, repaired)["persons"]["updated"] == 1
    assert checks(loaded, repaired)["reconciliation"].passed


def test_an_undo_shows_its_plan_and_then_does_it(loaded: Door, demo: Demo) -> None:
    demo.change_erp(RENAME.format("E", 2))
    run = told(loaded, sync(loaded))["tenant"]["run"]
    planned = launch(loaded, "undo", "undo_run", run=run)
    assert planned.success
    assert "persons: 0 rows would be put back, 0 removed, 2 restored" in said(loaded, planned)
    assert told(loaded, planned) == {}
    done = launch(loaded, "undo", "undo_run", run=run, dry_run=False)
    assert done.success
    assert told(loaded, done)["persons"]["restored"] == 2


def test_a_run_that_does_not_exist_is_named(loaded: Door) -> None:
    _, metadata = failure(launch(loaded, "undo", "undo_run", run=0))
    assert metadata["kind"] == "configuration"


def test_a_tenant_without_a_file_is_named(loaded: Door) -> None:
    loaded.instance.add_dynamic_partitions("tenant", ["nobody"])
    _, metadata = failure(sync_of(loaded, "nobody"))
    assert metadata["kind"] == "configuration"
    assert metadata["tenant"] == "nobody"


def sync_of(door: Door, tenant: str) -> dg.ExecuteInProcessResult:
    return launch(door, "incremental_sync", "sync_tenant", tenant)


def test_a_table_that_differs_stays_red_until_it_is_compared_itself(loaded: Door, demo: Demo) -> None:
    """A clean comparison of another table turned the check green."""
    demo.change_hat("UPDATE hat.persons SET name = 'X' WHERE person_id = (SELECT max(person_id) FROM hat.persons)")
    assert launch(loaded, "reconcile", "reconcile_tenant").success
    other = checks(loaded, launch(loaded, "reconcile", "reconcile_tenant", tables=["kinships"]))["reconciliation"]
    assert not other.passed
    assert "1 rows" in str(other.metadata["persons"].value)
    repaired = launch(loaded, "reconcile", "reconcile_tenant", tables=["persons"], repair=True)
    assert checks(loaded, repaired)["reconciliation"].passed
