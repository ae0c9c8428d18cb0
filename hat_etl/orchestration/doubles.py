"""Runs that were launched twice for one moment of the schedule."""

from __future__ import annotations

import dagster as dg
from dagster import DagsterInstance, RunsFilter
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG


def is_double(run: dg.DagsterRun, instance: DagsterInstance) -> bool:
    """Whether an older run was launched for the same moment of the schedule: two daemons may both have asked.

    A run that a person re-executes has the tags of the first, and is none.
    """
    key = run.tags.get(RUN_KEY_TAG)
    if key is None or run.parent_run_id is not None:
        return False
    same = RunsFilter(tags={SENSOR_NAME_TAG: run.tags[SENSOR_NAME_TAG], RUN_KEY_TAG: key})
    (first,) = instance.get_run_records(same, limit=1, ascending=True)
    return bool(first.dagster_run.run_id != run.run_id)
