"""The jobs that report what has happened, as it happens: incremental runs, reconciliation and undo.

They are jobs of one op, not of assets: Dagster writes an event for every asset that a run might make before the run
begins, which for 43 tables takes longer than most syncs. These write one for each table that has changed.
"""

# No annotations from __future__: Dagster reads those of the op as they are.
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.tags import MAX_RETRIES_TAG
from pydantic import Field

from hat_etl.orchestration import reporting
from hat_etl.orchestration.assets import TENANT, asset_key
from hat_etl.orchestration.checks import judge, last_told
from hat_etl.orchestration.doubles import is_double
from hat_etl.orchestration.failures import explained, left_out, tenant_of
from hat_etl.orchestration.openings import GOES_ON, note
from hat_etl.orchestration.partitions import for_one_tenant
from hat_etl.orchestration.progress import LogProgress

if TYPE_CHECKING:
    from hat_etl.sync.run import RunReport
    from hat_etl.target.standing import Standing
    from hat_etl.tenants.config import Tenant

ERP_TAG = "hat/erp"
"""Tag with the ERP server that a run reads: ``dagster.yaml`` limits the runs on each."""


def tags_of(tenant: str) -> dict[str, str]:
    """The tags of a run of a tenant."""
    from hat_etl.orchestration.tenant_files import server_of

    return {ERP_TAG: server_of(tenant)}


_OUTSIDE = Field(default=False, description="Read the ERP even when the tenant's windows are closed.")


class SyncConfig(dg.Config):
    """What a person may ask of a sync."""

    dry_run: bool = Field(default=False, description="Only show what would be read, and how. Changes nothing.")
    tables: list[str] = Field(default=[], description="Only these HAT tables; empty for all that were loaded.")
    full: bool = Field(default=False, description="Read every view whole and compare every row.")
    accept: bool = Field(
        default=False, description="Go on where the brake stops: many changes, or an ERP that went back in time."
    )
    outside_windows: bool = _OUTSIDE


class ReconcileConfig(dg.Config):
    """What a person may ask of a reconciliation."""

    repair: bool = Field(
        default=False, description="Read the rows that are missing, extra or differ again, and merge them."
    )
    tables: list[str] = Field(default=[], description="Only these HAT tables; empty for all that were loaded.")
    accept: bool = Field(default=False, description="With repair: go on where the brake stops.")
    outside_windows: bool = _OUTSIDE


class UndoConfig(dg.Config):
    """Which run to take back."""

    dry_run: bool = Field(default=True, description="Only show what would be put back. Set it to false to do it.")
    run: int = Field(description="Number of the run to undo, as in: hat-etl runs TENANT.")


@dg.op(description="Brings the HAT database of one tenant to the present state of its ERP.")
def sync_tenant(context: dg.OpExecutionContext, config: SyncConfig) -> None:
    from hat_etl.errors import WindowClosed
    from hat_etl.sync.incremental import sync
    from hat_etl.sync.plan import plan_sync
    from hat_etl.sync.request import SyncRequest
    from hat_etl.tenants import store

    name = tenant_of(context)
    if is_double(context.run, context.instance):
        context.log.warning("Another run was launched for the same moment of the schedule: this one does nothing.")
        return
    with explained(name):
        tenant = store.load(name)
        if config.dry_run:
            for planned in plan_sync(tenant, tuple(config.tables)):
                remarks = f"; {'; '.join(planned.remarks)}" if planned.remarks else ""
                context.log.info(f"{planned.table}: {planned.strategy}, about {planned.estimated_rows:,} rows{remarks}")
            return
        request = SyncRequest(tuple(config.tables), config.full, config.accept, outside_windows=config.outside_windows)
        try:
            with judging(context, tenant):
                report = sync(tenant, request, LogProgress(context.log.info))
        except WindowClosed as error:
            if not note(context.run, error, context.instance):
                raise
            context.log.warning(f"{error.cause} {GOES_ON}")
            return
        _tell(context, tenant, report)


@dg.op(description="Compares ERP and HAT of one tenant row by row and, if asked, repairs what differs.")
def reconcile_tenant(context: dg.OpExecutionContext, config: ReconcileConfig) -> None:
    from hat_etl.sync.reconcile import ReconcileRequest, reconcile
    from hat_etl.tenants import store

    name = tenant_of(context)
    with explained(name):
        tenant = store.load(name)
        request = ReconcileRequest(tuple(config.tables), config.repair, config.accept, config.outside_windows)
        with judging(context, tenant):
            report = reconcile(tenant, request, LogProgress(context.log.info))
        compared = sum(table.compared for table in report.tables)
        wrong = [table for table in report.tables if table.mismatches]
        context.log.info(
            f"Run {report.run}: {report.state}; {compared:,} rows compared in {len(report.tables)} tables."
        )
        for table in wrong:
            context.log.warning(
                f"{table.table}: {table.missing:,} missing, {table.extra:,} extra, {table.differing:,} differing."
            )
        if report.repair is not None:
            _tell(context, tenant, report.repair)
        else:
            evaluate(context, tenant)
        if report.problems:
            raise left_out(name, report.problems)


@dg.op(description="Takes back what one run has changed in the HAT database of one tenant.")
def undo_run(context: dg.OpExecutionContext, config: UndoConfig) -> None:
    from hat_etl.sync import undo
    from hat_etl.tenants import store

    name = tenant_of(context)
    with explained(name):
        tenant = store.load(name)
        report = undo.plan(tenant, config.run) if config.dry_run else undo.undo(tenant, config.run)
        verb = "would be" if config.dry_run else "were"
        for table in report.tables:
            told = {"put_back": table.put_back, "removed": table.removed, "restored": table.restored}
            told |= {"run": report.run or 0, "undoes": config.run}
            context.log.info(
                f"{table.table}: {table.put_back:,} rows {verb} put back, {table.removed:,} removed,"
                f" {table.restored:,} restored, {table.rejects:,} entries of quarantine."
            )
            if report.run is not None:
                context.log_event(dg.AssetMaterialization(asset_key(table.table), partition=name, metadata=told))
        for remark in report.remarks:
            context.log.info(remark)
        if report.run is None:
            context.log.info(f"Nothing was changed. To undo run {config.run}, launch again with dry_run: false.")
        else:
            evaluate(context, tenant)


def _tell(context: dg.OpExecutionContext, tenant: "Tenant", report: "RunReport") -> None:
    """Everything is committed in HAT now: only then may Dagster hear of it."""
    context.log.info(
        f"Run {report.run} of {report.tenant} {report.state}: {sum(t.read for t in report.tables):,} rows read in"
        f" {report.seconds:.1f} s, peak memory {report.peak_mib:.0f} MiB."
    )
    for outcome in filter(reporting.changed, report.tables):
        context.log_event(
            dg.AssetMaterialization(
                asset_key(outcome.table), partition=tenant.name, metadata=reporting.of_table(report, outcome)
            )
        )
    for remark in report.remarks:
        context.log.warning(remark)
    tell_of_tenant(context, tenant, report)
    if report.problems:
        raise left_out(tenant.name, report.problems)


@contextmanager
def judging(context: dg.OpExecutionContext | dg.AssetExecutionContext, tenant: "Tenant") -> Iterator[None]:
    """Shows a run that stops and asks in the tenant's checks, too. For the end of a window, nobody is asked."""
    from hat_etl.errors import DecisionNeeded, WindowClosed

    try:
        yield
    except WindowClosed:
        raise
    except DecisionNeeded:
        evaluate(context, tenant)
        raise


def tell_of_tenant(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, tenant: "Tenant", report: "RunReport"
) -> None:
    """What a run did to the tenant as a whole, and how the tenant stands now."""
    found = _standing(tenant)
    told = reporting.of_tenant(report, found.fresh_until)
    context.log_event(dg.AssetMaterialization(TENANT, partition=tenant.name, metadata=told))
    _judge(context, tenant, found)


def evaluate(context: dg.OpExecutionContext | dg.AssetExecutionContext, tenant: "Tenant") -> None:
    """Judge the tenant by its ledger and tell Dagster."""
    _judge(context, tenant, _standing(tenant))


def _standing(tenant: "Tenant") -> "Standing":
    from hat_etl.target.database import TenantDatabase
    from hat_etl.target.standing import standing

    return standing(TenantDatabase(tenant))


def _judge(context: dg.OpExecutionContext | dg.AssetExecutionContext, tenant: "Tenant", standing: "Standing") -> None:
    from hat_etl.sync.window import now

    of = last_told(context.instance, tenant.name)
    for verdict in judge(tenant, standing, now()):
        context.log_event(verdict.evaluation(tenant.name, of))  # type: ignore[arg-type]  # taken, but not in its type


@dg.job(
    description="Bring the HAT database of a tenant to the present state of its ERP. Launched by its schedule, too.",
    executor_def=dg.in_process_executor,
    config=for_one_tenant(tags_of),
)
def incremental_sync() -> None:
    sync_tenant()


@dg.job(
    description="Compare ERP and HAT of a tenant row by row; with repair, read what differs again.",
    executor_def=dg.in_process_executor,
    config=for_one_tenant(tags_of),
)
def reconcile() -> None:
    reconcile_tenant()


@dg.job(
    description="Take back what one run has changed in HAT. Shows the plan first.",
    # A person asks for it once: were it killed after its commit, a second one would only be refused.
    tags={MAX_RETRIES_TAG: "0"},
    executor_def=dg.in_process_executor,
    config=for_one_tenant(settings={"ops": {"undo_run": {"config": {"dry_run": True, "run": 0}}}}),
)
def undo() -> None:
    undo_run()
