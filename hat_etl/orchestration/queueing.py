"""The queue of runs: those that read an ERP have the tag by which ``dagster.yaml`` limits the runs on one server.

The jobs give it to theirs. What is launched from the asset graph, one partition or a backfill of many, is of a job
that Dagster makes itself, and would come without.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import PARTITION_NAME_TAG


class HatQueue(QueuedRunCoordinator):
    """Dagster's own, behind the tag of the ERP server."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put the run into the queue."""
        from hat_etl.orchestration.runs import tags_of

        run = context.dagster_run
        # A run of checks alone has no assets, and reads no ERP.
        if run.job_name == IMPLICIT_ASSET_JOB_NAME and run.asset_selection and PARTITION_NAME_TAG in run.tags:
            self._instance.add_run_tags(run.run_id, tags_of(run.tags[PARTITION_NAME_TAG]))
        return super().submit_run(context)
