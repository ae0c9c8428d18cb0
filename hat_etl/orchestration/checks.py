"""The checks of a tenant: few, each on the tenant as a whole, judged by the tenant's own ledger and settings.

Dagster keeps the result of each check per partition, so that one tenant's success does not hide another's failure.
"""

# No annotations from __future__: Dagster reads those of the check as they are.

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)  # fmt: skip
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.instance.utils import RUNLESS_JOB_NAME
from dagster._core.utils import make_new_run_id

from hat_etl.orchestration.assets import TENANT
from hat_etl.orchestration.due import late
from hat_etl.orchestration.partitions import tenants

if TYPE_CHECKING:
    from hat_etl.errors import HatEtlError
    from hat_etl.target.standing import Standing
    from hat_etl.tenants.config import Tenant

_MEANINGS = {
    "decision": "No run waits for a person to decide: nothing was broken off, no brake has stopped.",
    "freshness": "HAT shows the ERP as the tenant's own schedule wants it.",
    "rejects": "In no table are more rows rejected or held than the tenant's file allows.",
    "reconciliation": "The last reconciliation of each table found no difference between ERP and HAT.",
}


def _specs() -> list[dg.AssetCheckSpec]:
    with warnings.catch_warnings():
        # Dagster calls checks with partitions a preview; its version is pinned, and a test holds what is used of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(name, asset=TENANT, description=meaning, partitions_def=tenants)
            for name, meaning in _MEANINGS.items()
        ]


SPECS = _specs()


@dataclass(frozen=True)
class Verdict:
    """What a check found; ``told`` names what is wrong and what to do, in the order in which it is shown."""

    check: str
    passed: bool
    told: dict[str, str | int | float] = field(default_factory=dict)

    def evaluation(self, tenant: str, of: AssetCheckEvaluationTargetMaterializationData | None) -> AssetCheckEvaluation:
        """As Dagster keeps it, under the tenant's partition.

        ``of``: what ``last_told`` gave. Dagster counts a verdict only as long as the partition has nothing newer.
        """
        return AssetCheckEvaluation(
            asset_key=TENANT,
            check_name=self.check,
            passed=self.passed,
            metadata=dict(self.told),
            partition=tenant,
            target_materialization_data=of,
        )


def last_told(
    instance: dg.DagsterInstance, tenant: str, asset: dg.AssetKey = TENANT
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """What a run has told last of the tenant's asset, of the tenant as a whole: the thing that verdicts are about."""
    found = instance.fetch_materializations(dg.AssetRecordsFilter(asset, asset_partitions=[tenant]), limit=1).records
    if not found:
        return None
    last = found[0]
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=last.storage_id, run_id=last.run_id, timestamp=last.timestamp
    )


def tell_without_a_run(instance: dg.DagsterInstance, evaluation: AssetCheckEvaluation) -> None:
    """Tell Dagster of a verdict that no run has come to.

    Under a number of its own: all that is told under none counts as one run, which may judge a check only once.
    """
    instance.report_dagster_event(
        DagsterEvent(DagsterEventType.ASSET_CHECK_EVALUATION.value, RUNLESS_JOB_NAME, event_specific_data=evaluation),
        run_id=make_new_run_id(),
    )


def judge(tenant: "Tenant", standing: "Standing", now: datetime) -> Iterator[Verdict]:
    """The verdict of every check that can be judged: one that was never reconciled is neither right nor wrong."""
    yield _decision(tenant, standing)
    yield freshness(tenant, standing.fresh_until, late(now, tenant, standing.fresh_until))
    yield _rejects(tenant, standing)
    if standing.last_reconciliation is not None:
        yield _reconciliation(tenant, standing)


def freshness(tenant: "Tenant", fresh_until: datetime | None, since: datetime | None) -> Verdict:
    """Whether HAT is as new as the tenant's schedule wants it; ``since`` is what ``late`` says."""
    told: dict[str, str | int | float] = {}
    if fresh_until is not None:
        told["HAT shows the ERP of"] = f"{fresh_until:%Y-%m-%d %H:%M} UTC"
    if since is not None:
        told["due since"] = f"{since:%Y-%m-%d %H:%M %Z}"
        told["next step"] = (
            f"See the last runs of partition {tenant.name}, and hat-etl doctor {tenant.name}; then launch"
            " incremental_sync."
        )
    return Verdict("freshness", since is None, told)


def unusable_file(error: "HatEtlError") -> Verdict:
    """What is told of a tenant whose file cannot be used: it is synchronised no more."""
    return Verdict("freshness", False, {"no sync is launched": error.cause, "next step": error.next_step})


def _decision(tenant: "Tenant", standing: "Standing") -> Verdict:
    last = standing.last_run
    if last is None or last.state != "stopped":
        return Verdict("decision", True)
    return Verdict("decision", False, {"run": last.run, "mode": last.mode, "waits for": last.error or ""})


def _rejects(tenant: "Tenant", standing: "Standing") -> Verdict:
    allowed = tenant.alerts.reject_share
    told: dict[str, str | int | float] = {}
    for table, found in sorted(standing.quarantine.items(), key=lambda item: -item[1].share):
        over = " - too many" if found.share > allowed else ""
        told[table] = f"{found.rejected:,} rejected, {found.held:,} held, {found.share:.1%}{over}"
    passed = all(found.share <= allowed for found in standing.quarantine.values())
    if not passed:
        told["next step"] = f"Take the reasons to the operator: hat-etl rejects {tenant.name} --xlsx FILE"
    return Verdict("rejects", passed, told)


def _reconciliation(tenant: "Tenant", standing: "Standing") -> Verdict:
    last = standing.last_reconciliation
    assert last is not None
    passed = last.state == "succeeded" and not standing.differing
    told: dict[str, str | int | float] = {"run": last.run, "state": last.state}
    if not passed:
        told |= {"found": last.error} if last.error else {}
        told |= {found.table: f"{found.mismatches:,} rows in run {found.run}" for found in standing.differing}
        told["next step"] = "Launch reconcile for this partition with repair: true."
    return Verdict("reconciliation", passed, told)


@dg.multi_asset_check(
    name="judge_tenant",
    specs=SPECS,
    description="Judges a tenant by its ledger as it stands. Runs do it at their end, too.",
    can_subset=True,  # also for checks that cannot be judged yet: without it, each owes a verdict
)
def tenant_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    from hat_etl.orchestration.failures import explained, tenant_of
    from hat_etl.sync.window import now
    from hat_etl.target.database import TenantDatabase
    from hat_etl.target.standing import standing
    from hat_etl.tenants import store

    name = tenant_of(context)
    with explained(name):
        tenant = store.load(name)
        verdicts = list(judge(tenant, standing(TenantDatabase(tenant)), now()))
    for verdict in verdicts:
        if dg.AssetCheckKey(TENANT, verdict.check) in context.selected_asset_check_keys:
            yield dg.AssetCheckResult(
                asset_key=TENANT, check_name=verdict.check, passed=verdict.passed, metadata=dict(verdict.told)
            )
