"""The whole loop: of one tenant, or of all side by side, so that none waits for another's operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from hat_etl.billing.authorizations import STAGE, take
from hat_etl.billing.deliver import send
from hat_etl.billing.poll import poll
from hat_etl.billing.pull import pull
from hat_etl.billing.push import push
from hat_etl.billing.store import store_of
from hat_etl.billing.work import StageReport
from hat_etl.errors import ConfigurationError, DecisionNeeded, HatEtlError
from hat_etl.tenants.config import Tenant

STAGES: tuple[Callable[[Tenant], StageReport], ...] = (pull, send, poll, push)

_TENANTS_AT_ONCE = 8
_LISTED = 10
"""Lots that are named."""


def run(tenant: Tenant) -> list[StageReport]:
    """Pull, send, poll and push once, and take authorizations where the tenant's file asks for it.

    A stage that cannot be done keeps none of the others from going on.
    """
    stages = (*STAGES, take) if tenant.billing.authorizations else STAGES
    reports = [attempt(stage, tenant) for stage in stages]
    waiting = attempt(held, tenant)
    return [*reports, waiting] if waiting.problems else reports


def held(tenant: Tenant) -> StageReport:
    """Says which lots wait for a person: the stages say so only when they stop one."""
    report = StageReport(tenant.name, "held")
    with store_of(tenant) as store:
        lots = list(store.lots("hold IS NOT NULL")) if store.is_there() else []
    if lots:
        named = [f"{lot.batch_number} of provider {lot.provider}" for lot in lots[:_LISTED]]
        listed = ", ".join(named) + (" and others" if len(lots) > _LISTED else "")
        report.problem(
            DecisionNeeded(
                f"These lots wait for a person: {listed}.", f"See why with: hat-etl billing show {tenant.name}",
                tenant.name,
            )
        )  # fmt: skip
    return report.finish()


def attempt(stage: Callable[[Tenant], StageReport], tenant: Tenant) -> StageReport:
    """A stage, whose error is one of its problems."""
    try:
        return stage(tenant)
    except HatEtlError as error:
        error.tenant = error.tenant or tenant.name
        report = StageReport(tenant.name, STAGE if stage is take else stage.__name__)
        report.problem(error)
        return report.finish()


def run_all(tenants: Sequence[Tenant]) -> list[StageReport]:
    """The loop of each tenant, or the authorizations alone where it delivers no lots.

    A tenant whose ERP takes a process of its own is told to come alone. An error that nobody foresaw
    is a problem of its tenant, and hides no other tenant's report.
    """
    with ThreadPoolExecutor(_TENANTS_AT_ONCE) as pool:
        return [report for reports in pool.map(_run_beside_others, tenants) for report in reports]


def _run_beside_others(tenant: Tenant) -> list[StageReport]:
    report = StageReport(tenant.name, "run")
    takes_only = tenant.billing.deliver is None and tenant.billing.authorizations
    alone = f"hat-etl billing {STAGE if takes_only else 'run'} {tenant.name}"
    try:
        if takes_only:
            return [attempt(take, tenant)]
        if not (tenant.erp.needs_own_process and tenant.billing.ask == "views"):
            return run(tenant)
        report.problem(
            ConfigurationError(
                "Its ERP is read with Oracle's client libraries, which takes a process of its own.",
                f"Run it alone: {alone}",
                tenant.name,
            )
        )
    except Exception as error:  # noqa: BLE001 - the other tenants are told of all the same
        next_step = f"Run {alone} and report the lines it prints."
        report.problem(HatEtlError(f"Unexpected {type(error).__name__}.", next_step, tenant.name))
    return [report.finish()]
