"""The initial load as one Dagster step over all tables, so that a run shares one snapshot and one swap."""

# No annotations from __future__: Dagster reads those of the step as they are.
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.tags import RETRY_NUMBER_TAG, SENSOR_NAME_TAG
from pydantic import Field

from hat_etl.orchestration import reporting
from hat_etl.orchestration.assets import TABLES, asset_key, entity_of
from hat_etl.orchestration.failures import explained, tenant_of, window_closed
from hat_etl.orchestration.openings import note
from hat_etl.orchestration.partitions import for_one_tenant
from hat_etl.orchestration.progress import LogProgress
from hat_etl.orchestration.runs import evaluate, judging, tags_of, tell_of_tenant

if TYPE_CHECKING:
    from hat_etl.sync.run import RunReport
    from hat_etl.tenants.config import Tenant


LEDGER_TAG = "hat/ledger"
"""Tag of a load: how the tenant's ledger stood when it began. Its retry inherits it, and knows by it what was done."""


class Mode(Enum):
    """How to deal with a load that was broken off."""

    new = "new"
    resume = "resume"
    restart = "restart"


class LoadConfig(dg.Config):
    """What a person may ask of a load."""

    mode: Mode = Field(
        default=Mode.new,
        description="new: begin a load; stops and asks when an earlier one was broken off. resume: go on with the one"
        " that was broken off. restart: throw away what it staged and begin anew.",
    )
    accept_shrink: bool = Field(
        default=False,
        description="Load views even if they show less than half of the rows that they had.",
    )
    outside_windows: bool = Field(default=False, description="Read the ERP even when the tenant's windows are closed.")


@dg.multi_asset(
    name="load_tenant",
    description="Loads HAT's tables of one tenant from its ERP: one snapshot, all tables replaced at once or none."
    " Materialised tables are those of a load that has committed.",
    specs=TABLES,
    can_subset=True,
)
def load_tenant(context: dg.AssetExecutionContext, config: LoadConfig) -> Iterator[dg.MaterializeResult[None]]:
    from hat_etl.errors import WindowClosed
    from hat_etl.sync.load import load
    from hat_etl.sync.request import LoadRequest
    from hat_etl.tenants import store

    tenant, selected = tenant_of(context), context.selected_asset_keys
    only = () if len(selected) == len(TABLES) else tuple(sorted(entity_of(key).table for key in selected))
    with explained(tenant):
        settings = store.load(tenant)
        begun = _Ledger.read(settings)
        mode = _mode(context, begun, config.mode)
        if mode is None:
            context.log.warning("Nothing is left to be resumed: somebody else has ended that load.")
            return
        request = LoadRequest(
            only=only,
            resume=mode is Mode.resume,
            restart=mode is Mode.restart,
            accept_shrink=config.accept_shrink,
            outside_windows=config.outside_windows,
        )
        try:
            with judging(context, settings):
                report = load(settings, request, LogProgress(context.log.info))
        except WindowClosed as error:
            # The retry of a load that was killed may find its window closed, but something is staged.
            error.begun |= RETRY_NUMBER_TAG in context.run.tags and mode is Mode.resume
            if note(context.run, error, context.instance):
                raise window_closed(error) from None
            raise
    if report.run == begun.loaded and RETRY_NUMBER_TAG not in context.run.tags:
        # Nothing was done: HAT may show later runs since, whose numbers stand.
        for remark in report.remarks:
            context.log.warning(remark)
        with explained(tenant):
            evaluate(context, settings)
        return
    # From here on everything is committed in HAT: only then may Dagster hear of it.
    _log(context, report)
    for outcome in report.tables:
        key = asset_key(outcome.table)
        if key in selected:
            rows = outcome.loaded + outcome.kept
            yield dg.MaterializeResult(
                asset_key=key, metadata={"dagster/row_count": rows, **reporting.of_table(report, outcome)}
            )
        else:  # a child of a reloaded table, from which rows without a parent were taken
            taken: dict[str, int | str] = {
                "run": report.run,
                "strategy": outcome.strategy,
                "held": outcome.held,
            }
            context.log_event(dg.AssetObservation(key, partition=tenant, metadata=taken))
    with explained(tenant):
        tell_of_tenant(context, settings, report)


initial_load = dg.define_asset_job(
    "initial_load",
    description="Load the HAT database of a tenant from its ERP: all tables are replaced at once, or none.",
    selection=dg.AssetSelection.assets(load_tenant),
    executor_def=dg.in_process_executor,
    config=for_one_tenant(tags_of),
)


def _mode(context: dg.AssetExecutionContext, now: "_Ledger", asked: Mode) -> Mode | None:
    """How to load, as the ledger stands ``now``; None when there is nothing to do.

    Dagster launches loads again whose process was killed, and those that the end of a window has caught: they go on
    with what is staged. One that was killed after its commit only tells what it has done. A load whose window has
    opened does nothing when somebody has ended it meanwhile.
    """
    tags = context.run.tags
    if RETRY_NUMBER_TAG in tags:
        if LEDGER_TAG not in tags:
            return asked  # the run before had not begun
        before = _Ledger.of(tags[LEDGER_TAG])
        is_begun = now.loaded > before.loaded or now.staged not in (0, before.staged)
        return Mode.resume if is_begun else asked
    context.instance.add_run_tags(context.run.run_id, {LEDGER_TAG: now.text})
    if SENSOR_NAME_TAG in tags:
        return Mode.resume if now.staged else None
    return asked


@dataclass(frozen=True)
class _Ledger:
    """Runs of the tenant: the last load, if it has succeeded, and the one that is staged; 0 for none."""

    loaded: int
    staged: int

    @classmethod
    def read(cls, tenant: "Tenant") -> "_Ledger":
        from hat_etl.target import ledger, staging
        from hat_etl.target.database import TenantDatabase, errors

        database = TenantDatabase(tenant)
        with errors(tenant.name, again=f"hat-etl load {tenant.name} --resume"), database.connect() as connection:
            if database.owner(connection) is None:
                return cls(0, 0)
            stage = staging.find(connection)
            return cls(ledger.last_load(connection) or 0, stage.run if stage else 0)

    @classmethod
    def of(cls, text: str) -> "_Ledger":
        loaded, staged = text.split("/")
        return cls(int(loaded), int(staged))

    @property
    def text(self) -> str:
        return f"{self.loaded}/{self.staged}"


def _log(context: dg.AssetExecutionContext, report: "RunReport") -> None:
    for remark in report.remarks:
        context.log.warning(remark)
    read = sum(table.read for table in report.tables)
    context.log.info(
        f"Run {report.run} of {report.tenant} {report.state}: {read:,} rows read in {report.seconds:.1f} s,"
        f" peak memory {report.peak_mib:.0f} MiB. What was rejected: hat-etl rejects {report.tenant}"
    )
    if report.rewritten:
        context.log.info(f"Rewritten in place, because other objects depend on them: {', '.join(report.rewritten)}.")
    done = {table.table for table in report.tables}
    left_out = sorted(entity_of(key).table for key in context.selected_asset_keys if entity_of(key).table not in done)
    if left_out:
        context.log.warning(f"The load that was resumed is not of these tables: {', '.join(left_out)}.")
