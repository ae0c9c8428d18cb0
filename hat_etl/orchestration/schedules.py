"""The sensors that launch: the tenants that are due, and runs that the end of a window has caught."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterInstance, RunsFilter
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG

from hat_etl.orchestration.due import Due, due, known
from hat_etl.orchestration.loading import initial_load
from hat_etl.orchestration.openings import TakeUp, caught, to_take_up
from hat_etl.orchestration.partitions import with_partition
from hat_etl.orchestration.runs import ERP_TAG, incremental_sync, tags_of

if TYPE_CHECKING:
    from hat_etl.orchestration.tenant_files import TenantFiles

NAME = "due_tenants"
UNFINISHED = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]
"""For Dagster, a run that is queued is not in progress."""
BILLING_TAG = "hat/billing"
"""Tag of runs of the billing loop, which neither read an ERP nor keep a sync from starting."""


@cache
def tenant_files() -> TenantFiles:
    from hat_etl.orchestration.tenant_files import TenantFiles

    return TenantFiles()


@dg.sensor(
    name=NAME,
    job=incremental_sync,
    description="Launches incremental_sync for each tenant whose schedule is due, inside its windows, one run per"
    " tenant at a time. Moments that were missed are made up for once.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def due_tenants(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    found, broken = tenant_files().all()
    for error in broken:
        context.log.warning(str(error))
    cursor = Cursor.read(context.cursor)
    requested = known(_confirmed(context.instance, cursor), {tenant.name for tenant in found})
    here = with_partition(context.instance, found)
    launches = due(datetime.now(UTC), here, requested, running(context.instance))
    return dg.SensorResult(
        run_requests=[_request(launch) for launch in launches],
        skip_reason=None if launches else f"None of {len(found)} tenants is due.",
        cursor=Cursor({**requested, **{launch.tenant: launch.since for launch in launches}}, launches).text(),
    )


@dg.sensor(
    name="window_openings",
    jobs=[incremental_sync, initial_load],
    description="Goes on with loads and scheduled syncs that the end of their tenant's window has caught, when the next"
    " one opens.",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def window_openings(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    now, instance = datetime.now(UTC), context.instance
    waiting = caught(instance, now)
    found: list[TakeUp] = []
    if waiting:
        tenants = {tenant.name: tenant for tenant in tenant_files().all()[0]}
        found = to_take_up(now, tenants, waiting, running(instance))
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                # One run for each that was caught, however often it is asked for.
                run_key=each.of,
                partition_key=each.tenant,
                job_name=each.job,
                run_config=each.config,
                tags=tags_of(each.tenant),
            )
            for each in found
        ],
        skip_reason=None if found else f"{len(waiting)} runs wait for the opening of a window.",
    )


class Cursor:
    """What the sensor remembers: for which moment each tenant was launched, and what it has asked for last.

    It only saves work. A launch that was lost with its tick is found to be missing at the next one; one that is made
    twice has the same run key, and Dagster drops it.
    """

    def __init__(self, requested: Mapping[str, datetime], asked: Iterable[Due] = ()) -> None:
        self.requested = dict(requested)
        self.asked = {launch.tenant: launch.run_key for launch in asked}

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        document: dict[str, Any] = json.loads(text) if text else {"requested": {}, "asked": {}}
        cursor = cls({name: datetime.fromtimestamp(at, UTC) for name, at in document["requested"].items()})
        cursor.asked = document["asked"]
        return cursor

    def text(self) -> str:
        moments = {name: int(since.timestamp()) for name, since in self.requested.items()}
        return json.dumps({"requested": moments, "asked": self.asked})


def _confirmed(instance: DagsterInstance, cursor: Cursor) -> dict[str, datetime]:
    """The moments for which runs were launched, without those whose run was never made."""
    if not cursor.asked:
        return cursor.requested
    keys = list(cursor.asked.values())
    made = {
        run.tags[RUN_KEY_TAG] for run in instance.get_runs(RunsFilter(tags={SENSOR_NAME_TAG: NAME, RUN_KEY_TAG: keys}))
    }
    lost = {tenant for tenant, key in cursor.asked.items() if key not in made}
    return {tenant: since for tenant, since in cursor.requested.items() if tenant not in lost}


def running(instance: DagsterInstance) -> dict[str, str]:
    """Tenants with a run that is queued or going on, and the ERP server that each reads."""
    runs = instance.get_runs(RunsFilter(statuses=UNFINISHED))
    tags = [run.tags for run in runs if PARTITION_NAME_TAG in run.tags and BILLING_TAG not in run.tags]
    return {found[PARTITION_NAME_TAG]: found.get(ERP_TAG, found[PARTITION_NAME_TAG]) for found in tags}


def _request(launch: Due) -> dg.RunRequest:
    return dg.RunRequest(run_key=launch.run_key, partition_key=launch.tenant, tags={ERP_TAG: launch.server})
