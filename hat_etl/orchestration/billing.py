"""The billing loop in Dagster: a job and a sensor per stage, two assets that show what came of it, and a check.

What is to be done stands in the tenant database; the cursors only save work.
"""

# No annotations from __future__: Dagster reads those of ops and checks as they are.

import json
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterInstance, RunsFilter
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.storage.tags import PARTITION_NAME_TAG

from hat_etl.orchestration.asking import ask_all
from hat_etl.orchestration.checks import last_told
from hat_etl.orchestration.failures import explained, known, tenant_of
from hat_etl.orchestration.partitions import for_one_tenant, tenants, with_partition
from hat_etl.orchestration.schedules import BILLING_TAG, UNFINISHED, tenant_files

if TYPE_CHECKING:
    from hat_etl.billing.work import StageReport
    from hat_etl.tenants.config import Tenant

LOTS, STATUS = dg.AssetKey(["hat", "billing_lots"]), dg.AssetKey(["hat", "billing_status"])
INBOX = dg.AssetKey(["hat", "authorizations"])
STUCK = "stuck"
DECISION = "About lots one decides on the command line; the sensors go on by themselves then."

_STAGES = {
    "pull": (LOTS, "Takes the lots that wait in HAT, and checks them."),
    "send": (LOTS, "Delivers lots to the operator, and asks about those in doubt."),
    "poll": (STATUS, "Asks the operator for status and denials."),
    "push": (STATUS, "Tells HAT every status, protocol and cause that has changed."),
    "authorizations": (INBOX, "Takes the authorizations that wait in HAT, and marks them there as imported."),
}
"""Each stage, the asset that shows what it did, and what it does."""

ASSETS = (
    dg.AssetSpec(
        LOTS,
        description="Lots of TISS guides that providers have sent through HAT, and their way to the operator.",
        group_name="billing",
        kinds={"postgresql"},
        partitions_def=tenants,
    ),
    dg.AssetSpec(
        STATUS,
        deps=[LOTS],
        description="Status, protocol and denials of the lots, from the operator to HAT.",
        group_name="billing",
        kinds={"postgresql"},
        partitions_def=tenants,
    ),
    dg.AssetSpec(
        INBOX,
        description="Authorizations (senhas) from HAT, with every version of each: the tenant's inbox.",
        group_name="billing",
        kinds={"postgresql"},
        partitions_def=tenants,
    ),
)


def _stage(tenant: "Tenant", name: str) -> "StageReport":
    from hat_etl.billing import authorizations, deliver, poll, pull, push

    return {
        "pull": pull.pull, "send": deliver.send, "poll": poll.poll, "push": push.push,
        "authorizations": authorizations.take,
    }[name](tenant)  # fmt: skip


def _op(name: str) -> dg.OpDefinition:
    asset, meaning = _STAGES[name]

    @dg.op(name="take_authorizations" if asset is INBOX else f"{name}_lots", description=meaning)
    def stage(context: dg.OpExecutionContext) -> None:
        from hat_etl.errors import Busy
        from hat_etl.tenants import store

        partition = tenant_of(context)
        with explained(partition, DECISION):
            tenant = store.load(partition)
            try:
                report = _stage(tenant, name)
            except Busy:
                context.log.info("Another process is at it: this run does nothing.")
                return
            _tell(context, asset, report)
            context.log_event(_evaluation(context.instance, tenant))  # type: ignore[arg-type]  # taken, but not in its type
            if report.problems:
                # The rest is there again with the next run; that a person is to decide is said once.
                raise known(min(report.problems, key=lambda problem: problem.kind != "decision"), DECISION)

    return stage


def _tell(context: dg.OpExecutionContext, asset: dg.AssetKey, report: "StageReport") -> None:
    context.log.info(f"{report.stage}: {dict(report.counts)} in {report.seconds:.1f} s.")
    for problem in report.problems:
        context.log.warning(str(problem))
    if report.counts:
        told: dict[str, int | float | str] = {
            "stage": report.stage,
            "seconds": round(report.seconds, 3),
            **report.counts,
        }
        context.log_event(dg.AssetMaterialization(asset, partition=report.tenant, metadata=told))


def _job(name: str) -> dg.JobDefinition:
    op = _op(name)

    @dg.job(
        name=f"billing_{name}",
        description=_STAGES[name][1],
        executor_def=dg.in_process_executor,
        config=for_one_tenant(lambda _: {BILLING_TAG: name}),
    )
    def job() -> None:
        op()

    return job


JOBS = {name: _job(name) for name in _STAGES}


def _sensor(name: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"billing_{name}",
        job=JOBS[name],
        description=f"Launches billing_{name} for each tenant that has work for it, one run per tenant at a time.",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found, broken = tenant_files().all()
        for error in broken:
            context.log.warning(str(error))
        here = with_partition(context.instance, found)
        busy = _running(context.instance, name)
        asked: dict[str, float] = json.loads(context.cursor or "{}")
        ready = [tenant for tenant in here if _bills(tenant, name) and tenant.name not in busy]
        choose = _by_time if name in ("pull", "authorizations") else _by_question
        launched = choose(context, ready, name, asked)
        return dg.SensorResult(
            run_requests=[dg.RunRequest(partition_key=tenant) for tenant in launched],
            skip_reason=None if launched else "No tenant has work.",
            cursor=json.dumps({tenant.name: asked[tenant.name] for tenant in here if tenant.name in asked}),
        )

    return sensor


def _bills(tenant: "Tenant", name: str) -> bool:
    """Whether the tenant's file asks for this stage, by itself."""
    billing = tenant.billing
    asked = billing.authorizations if name == "authorizations" else billing.deliver is not None
    return asked and not billing.paused and not tenant.schedule.paused


def _by_time(
    context: dg.SensorEvaluationContext, ready: list["Tenant"], name: str, asked: dict[str, float]
) -> list[str]:
    """Only HAT knows what there is to take: each tenant is asked every so many minutes. ``asked``: when it was last."""
    now = time.time()
    due = [
        tenant.name for tenant in ready
        # Not after now: the clock was wrong for a moment.
        if not now - tenant.billing.pull_minutes * 60 < asked.get(tenant.name, 0.0) <= now
    ]  # fmt: skip
    asked.update(dict.fromkeys(due, now))
    return due


def _by_question(
    context: dg.SensorEvaluationContext, ready: list["Tenant"], name: str, silent: dict[str, float]
) -> list[str]:
    """Tenants whose database knows of work. ``silent``: since when each has not answered; these are asked last."""
    from hat_etl.billing.due import is_due

    due = []
    answers = ask_all(
        sorted(ready, key=lambda tenant: silent.get(tenant.name, 0.0)), lambda tenant: is_due(tenant, name)
    )
    for tenant in ready:
        answer = answers.get(tenant.name)
        if isinstance(answer, bool):
            silent.pop(tenant.name, None)
            due += [tenant.name] * answer
        else:
            silent.setdefault(tenant.name, time.time())
            context.log.warning(str(answer or f"{tenant.name}: the tenant database has not answered yet."))
    return due


def _running(instance: DagsterInstance, name: str) -> set[str]:
    """Tenants with a run of this stage that is queued or going on."""
    runs = instance.get_runs(RunsFilter(job_name=f"billing_{name}", statuses=UNFINISHED))
    return {run.tags[PARTITION_NAME_TAG] for run in runs if PARTITION_NAME_TAG in run.tags}


SENSORS = tuple(_sensor(name) for name in _STAGES)


def _judged(tenant: "Tenant") -> tuple[bool, dict[str, str]]:
    """Whether no lot stands still, and what is to be told of those that do."""
    from hat_etl.billing.story import overview

    found = overview(tenant)
    told = {_named(lot): f"{lot['state']} since {lot['state_since']:%Y-%m-%d %H:%M} UTC" for lot in found["stuck"]}
    told |= {f"{_named(lot)} waits for": lot["waits_for"] for lot in found["held"]}
    told |= {f"{_named(lot)} not downloaded": lot["code"] for lot in found["missing"]}
    if told:
        told["next step"] = f"hat-etl billing show {tenant.name}"
    return not told, told


def _named(lot: dict[str, Any]) -> str:
    """Providers may use one number."""
    return f"lot {lot['batch_number']} of provider {lot['provider']}"


def _evaluation(instance: DagsterInstance, tenant: "Tenant") -> AssetCheckEvaluation:
    passed, told = _judged(tenant)
    return AssetCheckEvaluation(
        asset_key=LOTS,
        check_name=STUCK,
        passed=passed,
        metadata=dict(told),
        partition=tenant.name,
        target_materialization_data=last_told(instance, tenant.name, LOTS),
    )


def _spec() -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Dagster calls checks with partitions a preview; its version is pinned.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            STUCK,
            asset=LOTS,
            description="No lot waits for a person, has a file that cannot be had, or stays in one state too long.",
            partitions_def=tenants,
        )


@dg.multi_asset_check(name="judge_billing", specs=[_spec()], description="Judges the lots of a tenant as they stand.")
def billing_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    from hat_etl.tenants import store

    name = tenant_of(context)
    with explained(name):
        passed, told = _judged(store.load(name))
    yield dg.AssetCheckResult(asset_key=LOTS, check_name=STUCK, passed=passed, metadata=dict(told))
