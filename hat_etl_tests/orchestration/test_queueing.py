"""Which runs the limits of the queue see as those of one ERP server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.run_coordinator import SubmitRunContext

from hat_etl.orchestration.assets import TENANT, asset_key
from hat_etl.orchestration.runs import ERP_TAG
from hat_etl.tenants import store
from hat_etl_tests.orchestration.daemon import queue


@pytest.fixture
def instance(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """It has tenant ``acme``, whose ERP server is ``protheus-sp``."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "tenants"))
    _, file = store.create("acme", ans_registry="412345")
    file.write_text(file.read_text(encoding="utf-8").replace("[erp]\n", '[erp]\nserver = "protheus-sp"\n'))
    return dg.DagsterInstance.get()


def submitted(instance: dg.DagsterInstance, job: str, **selection: Any) -> dg.DagsterRun:
    run = queue(instance, job, {"dagster/partition": "acme"}, dg.DagsterRunStatus.NOT_STARTED)
    return instance.run_coordinator.submit_run(SubmitRunContext(run._replace(**selection), cast(Any, None)))


def test_what_is_launched_from_the_asset_graph_counts_as_a_run_on_its_erp_server(instance: dg.DagsterInstance) -> None:
    """A backfill of many tenants read one ERP with all runs that Dagster lets in, and not with two."""
    run = submitted(instance, "__ASSET_JOB", asset_selection=frozenset({asset_key("companies")}))
    assert run.status == dg.DagsterRunStatus.QUEUED
    assert run.tags[ERP_TAG] == "protheus-sp"


def test_runs_that_read_no_erp_wait_for_none(instance: dg.DagsterInstance) -> None:
    checks = frozenset({dg.AssetCheckKey(TENANT, "rejects")})
    for run in (submitted(instance, "__ASSET_JOB", asset_check_selection=checks), submitted(instance, "billing_send")):
        assert run.status == dg.DagsterRunStatus.QUEUED
        assert ERP_TAG not in run.tags
