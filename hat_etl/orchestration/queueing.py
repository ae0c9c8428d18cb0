"""The queue of runs: each gets the tag by which ``dagster.yaml`` limits the runs on one ERP server.

The jobs give it to their runs. What is launched from the asset graph, one partition or a backfill of many, is of a job
that Dagster makes itself, and would come without.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import PARTITION_NAME_TAG


class HatQueue(QueuedRunCoordinator):
    """Dagster's own, behind the tag of the ERP server."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put the run into the queue."""
        from hat_etl.orchestration.runs import ERP_TAG, tags_of
        from hat_etl.orchestration.schedules import BILLING_TAG

        run = context.dagster_run
        if PARTITION_NAME_TAG in run.tags and not {ERP_TAG, BILLING_TAG} & run.tags.keys():
            self._instance.add_run_tags(run.run_id, tags_of(run.tags[PARTITION_NAME_TAG]))
        return super().submit_run(context)
