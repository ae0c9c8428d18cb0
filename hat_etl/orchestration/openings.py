"""Runs that the end of their tenant's window has caught: which of them go on by themselves when the next one opens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterInstance, RunsFilter
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.storage.tags import PARTITION_NAME_TAG, RETRY_NUMBER_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG

from hat_etl.orchestration.doubles import is_double

if TYPE_CHECKING:
    from hat_etl.errors import WindowClosed
    from hat_etl.tenants.config import Tenant

CLOSED_TAG = "hat/window"
"""Tag of a run that goes on by itself when its tenant's window opens."""
CAUGHT_TAG = "hat/window-run"
"""Its number: a run that a person launches again has all tags of the first."""
KEPT = timedelta(days=7)
"""How long a run waits for an opening: afterwards, a person has it in hand."""

_LOADS = ("initial_load", IMPLICIT_ASSET_JOB_NAME)
"""Jobs that load: the second is Dagster's own, for what is launched from the asset graph."""

GOES_ON = "It goes on by itself when the next window opens."


def note(run: dg.DagsterRun, error: WindowClosed, instance: DagsterInstance) -> bool:
    """Whether the run that has ended with ``error`` goes on by itself; then that is noted at the run.

    So does what was launched by itself, and a load that has begun. What a person has launched outside the windows has
    begun nothing: the person is told.
    """
    # Of a run that a person launches again, the tags are those of the first.
    is_of_a_person = run.parent_run_id is not None and RETRY_NUMBER_TAG not in run.tags
    goes_on = (SENSOR_NAME_TAG in run.tags and not is_of_a_person) or (_is_load(run) and error.begun)
    if goes_on:
        instance.add_run_tags(run.run_id, {CLOSED_TAG: "closed", CAUGHT_TAG: run.run_id})
    return goes_on


def caught(instance: DagsterInstance, now: datetime) -> list[dg.DagsterRun]:
    """The runs that wait for an opening, the latest of each job and tenant."""
    noted = instance.get_runs(RunsFilter(tags={CLOSED_TAG: "closed"}, created_after=now - KEPT))
    waiting: dict[tuple[str, str], dg.DagsterRun] = {}
    for run in filter(_was_caught, noted):  # latest first
        waiting.setdefault((_jobs(run)[0], run.tags[PARTITION_NAME_TAG]), run)
    return [
        run for run in waiting.values()
        if not any(_makes_up_for(later, run, instance) for later in _later(instance, run))
    ]  # fmt: skip


def _later(instance: DagsterInstance, run: dg.DagsterRun) -> list[dg.DagsterRun]:
    """Runs of the same job and tenant since."""
    record = instance.get_run_record_by_id(run.run_id)
    since = RunsFilter(
        tags={PARTITION_NAME_TAG: run.tags[PARTITION_NAME_TAG]},
        created_after=record.create_timestamp if record else None,
    )
    return [later for later in instance.get_runs(since) if later.job_name in _jobs(run) and later.run_id != run.run_id]


def _was_caught(run: dg.DagsterRun) -> bool:
    return run.tags.get(CAUGHT_TAG) == run.run_id


def _makes_up_for(later: dg.DagsterRun, run: dg.DagsterRun, instance: DagsterInstance) -> bool:
    """Whether ``run`` was taken up by the later one, or is made up for by it.

    A refusal does neither, nor do a plan, a sync of some tables, a run of checks alone, and a double.
    """
    if later.tags.get(RUN_KEY_TAG) == run.run_id:
        return True
    config: dict[str, Any] = dict(later.run_config)
    asked = config.get("ops", {}).get("sync_tenant", {}).get("config", {})
    is_of_checks = bool(later.asset_check_selection) and not later.asset_selection
    did_less = asked.get("dry_run") or asked.get("tables") or is_of_checks or is_double(later, instance)
    return later.status == dg.DagsterRunStatus.SUCCESS and not _was_caught(later) and not did_less


@dataclass(frozen=True)
class TakeUp:
    """A run that goes on as another one of the same job and tenant."""

    of: str
    tenant: str
    job: str
    config: dict[str, Any]


def to_take_up(
    now: datetime, tenants: Mapping[str, Tenant], waiting: Iterable[dg.DagsterRun], running: Mapping[str, str]
) -> list[TakeUp]:
    """Those of the ``waiting`` runs whose tenant's window is open, and that has no run ``running``, nor is paused."""
    found = []
    for run in waiting:
        tenant = tenants.get(run.tags[PARTITION_NAME_TAG])
        if tenant is None or tenant.schedule.paused or tenant.name in running or not tenant.erp.is_open(now):
            continue
        found.append(TakeUp(run.run_id, tenant.name, _jobs(run)[0], _config(run)))
    return found


def _config(run: dg.DagsterRun) -> dict[str, Any]:
    """The settings of the run that goes on: those of the first, and a load resumes."""
    config: dict[str, Any] = dict(run.run_config)
    if _is_load(run):
        asked = config.get("ops", {}).get("load_tenant", {}).get("config", {})
        config = {"ops": {"load_tenant": {"config": {**asked, "mode": "resume"}}}}
    return config


def _is_load(run: dg.DagsterRun) -> bool:
    return run.job_name in _LOADS


def _jobs(run: dg.DagsterRun) -> tuple[str, ...]:
    """The jobs that do what the run did; the first is that as which it goes on."""
    return _LOADS if _is_load(run) else (run.job_name,)
