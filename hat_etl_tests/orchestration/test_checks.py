"""Checks tell tenants apart: Dagster keeps, and counts, the verdict of each by itself."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from hat_etl.definitions import defs
from hat_etl.orchestration.assets import TENANT
from hat_etl.orchestration.checks import SPECS, Verdict, last_told, tell_without_a_run
from hat_etl_tests.orchestration.conftest import Demo, Door


def told(instance: dg.DagsterInstance, tenant: str) -> None:
    """A run has told something of the tenant."""
    instance.report_runless_asset_event(dg.AssetMaterialization(TENANT, partition=tenant))


def judged(instance: dg.DagsterInstance, tenant: str, *, passed: bool) -> None:
    tell_without_a_run(instance, Verdict("freshness", passed).evaluation(tenant, last_told(instance, tenant)))


def status(instance: dg.DagsterInstance, tenant: str) -> tuple[str, bool]:
    """Of the check for the tenant, and whether Dagster counts it."""
    key = dg.AssetCheckKey(TENANT, "freshness")
    (info,) = instance.event_log_storage.get_asset_check_partition_info([key], partition_keys=[tenant])
    return info.latest_execution_status.value, info.is_current


def test_the_verdict_of_a_tenant_stands_whatever_is_told_of_another(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenant", ["one", "other"])
        told(instance, "one")
        told(instance, "other")
        judged(instance, "one", passed=False)
        judged(instance, "other", passed=True)
        assert (status(instance, "one"), status(instance, "other")) == (("FAILED", True), ("SUCCEEDED", True))
        told(instance, "other")
        assert (status(instance, "one"), status(instance, "other")) == (("FAILED", True), ("SUCCEEDED", False))


def execute(door: Door, *checks: str) -> set[str]:
    """Execute these checks of the tenant as its page does; gives those that have come to a verdict."""
    keys = {dg.AssetCheckKey(TENANT, check) for check in checks}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(), asset_check_selection=keys)
    result = job.execute_in_process(instance=door.instance, partition_key="demo")
    return {verdict.check_name for verdict in result.get_asset_check_evaluations()}


def test_a_tenant_that_was_never_reconciled_is_judged_by_the_other_checks(loaded_demo: Demo, door: Door) -> None:
    """The run that a person had asked for ended with Dagster's own error: an output was lacking."""
    assert execute(door, *(spec.name for spec in SPECS)) == {"decision", "freshness", "rejects"}


def test_a_check_is_executed_by_itself(loaded_demo: Demo, door: Door) -> None:
    assert execute(door, "rejects") == {"rejects"}
