"""Old runs are forgotten: Dagster keeps every event for ever, and the ledgers know what was run."""

# No annotations from __future__: Dagster reads those of the op as they are.
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterInstance, RunsFilter
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG
from pydantic import Field

AT_ONCE = 1_000
"""Runs in memory at a time."""


class ForgetConfig(dg.Config):
    """How long runs are remembered."""

    days: int = Field(default=90, ge=1, description="Runs that are older are forgotten, with their events and logs.")


def forget(instance: DagsterInstance, before: datetime) -> int:
    """Forget the runs that were made before; gives their number. The last of each job and tenant stays on the board."""
    ended = RunsFilter(statuses=list(FINISHED_STATUSES), created_before=before)
    forgotten, stays = 0, None
    # What lies between the one that stays and those to come is gone.
    while old := instance.get_run_records(ended, limit=AT_ONCE, cursor=stays, ascending=True):
        for run in (record.dagster_run for record in old):
            if _is_last(instance, run):
                stays = run.run_id
            else:
                instance.compute_log_manager.delete_logs(prefix=[run.run_id])
                instance.delete_run(run.run_id)
                forgotten += 1
    return forgotten


def _is_last(instance: DagsterInstance, run: dg.DagsterRun) -> bool:
    tenant = {PARTITION_NAME_TAG: run.tags[PARTITION_NAME_TAG]} if PARTITION_NAME_TAG in run.tags else {}
    (last,) = instance.get_runs(RunsFilter(job_name=run.job_name, tags=tenant), limit=1)
    return last.run_id == run.run_id


@dg.op(description="Forgets what ran long ago. The ledger in each tenant's database keeps it.")
def forget_runs(context: dg.OpExecutionContext, config: ForgetConfig) -> None:
    number = forget(context.instance, datetime.now(UTC) - timedelta(days=config.days))
    context.log.info(f"{number:,} runs of more than {config.days} days ago are forgotten.")


@dg.job(description="Forget old runs in Dagster. Runs every night.", executor_def=dg.in_process_executor)
def housekeeping() -> None:
    forget_runs()


nightly = dg.ScheduleDefinition(
    name="nightly_housekeeping",
    job=housekeeping,
    cron_schedule="45 3 * * *",
    execution_timezone="America/Sao_Paulo",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
