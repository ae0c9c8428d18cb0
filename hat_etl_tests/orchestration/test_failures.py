"""How a run ends when it fails: with cause and next step, without secrets."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._serdes import serialize_value

from hat_etl.definitions import defs
from hat_etl.errors import Busy, DecisionNeeded
from hat_etl.orchestration.failures import explained
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import Door, failure

CANARY = "canary-7f3a"


@pytest.fixture
def unreachable(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a tenant whose databases nobody answers for; the password in their address is the canary."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "tenants"))
    for variable in ("GONE_ERP_URL", "GONE_HAT_URL"):
        monkeypatch.setenv(variable, f"postgresql://hat:{CANARY}@127.0.0.1:1/hat")
    store.create("gone", ans_registry="412345")
    door.instance.add_dynamic_partitions("tenant", ["gone"])
    return "gone"


def test_a_failed_run_shows_cause_and_next_step_and_no_secret(door: Door, unreachable: str) -> None:
    result = door.launch(tenant=unreachable)
    description, told = failure(result)
    assert told["kind"] in ("source", "target")
    assert told["tenant"] == unreachable
    assert told["cause"] in description
    assert told["next_step"] in description
    stored = [serialize_value(entry) for entry in door.instance.all_logs(result.run_id)]
    assert stored
    assert not [entry for entry in stored if CANARY in entry]


def test_a_tenant_without_a_file_is_explained(door: Door) -> None:
    door.instance.add_dynamic_partitions("tenant", ["nobody"])
    _, told = failure(door.launch(tenant="nobody"))
    assert told["kind"] == "configuration"
    assert "nobody.toml" in told["cause"]


@pytest.mark.parametrize("job", ["initial_load", "incremental_sync", "reconcile", "undo", "billing_send"])
def test_a_run_that_was_launched_without_a_tenant_says_so(door: Door, job: str) -> None:
    """It ended with Dagster's own error, and whoever is told of failures read only that a step had failed."""
    config = {"ops": {"undo_run": {"config": {"run": 1}}}} if job == "undo" else {}
    made = defs.resolve_job_def(job)
    result = made.execute_in_process(run_config=config, instance=door.instance, raise_on_error=False)
    description, _ = failure(result)
    assert "without a tenant" in description
    assert "Partition" in description


def test_an_error_that_nobody_foresaw_loses_its_text_and_keeps_its_places() -> None:
    with pytest.raises(dg.Failure) as caught, explained("acme"):
        raise ValueError(CANARY) from KeyError(CANARY)
    stored = f"{caught.value} {caught.value.metadata} {caught.value.description}"
    assert CANARY not in stored
    assert "ValueError" in stored
    assert "test_failures.py" in stored
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not caught.value.allow_retries


def test_a_known_error_is_not_retried_and_hides_what_lies_behind_it() -> None:
    with pytest.raises(dg.Failure) as caught, explained("acme"):
        raise Busy("Another run is going on.", "Wait for it.", tenant="acme")
    assert caught.value.__suppress_context__
    assert not caught.value.allow_retries
    assert "in_dagster" not in caught.value.metadata


def test_a_decision_says_how_it_is_given_in_dagster() -> None:
    with pytest.raises(dg.Failure) as caught, explained("acme"):
        raise DecisionNeeded("An unfinished load is there.", "Resume or restart it.", tenant="acme")
    assert caught.value.description is not None
    for setting in ("mode: resume", "mode: restart", "accept_shrink: true"):
        assert setting in caught.value.description


@pytest.mark.parametrize("stop", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_an_interruption_stays_one(stop: type[BaseException]) -> None:
    with pytest.raises(stop), explained("acme"):
        raise stop
