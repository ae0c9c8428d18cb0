"""What Dagster loads: ``workspace.yaml`` names this module."""

from __future__ import annotations

import dagster as dg

from hat_etl.orchestration.assets import VIEWS
from hat_etl.orchestration.loading import initial_load, load_tenant
from hat_etl.orchestration.partitions import tenant_partitions

defs = dg.Definitions(
    assets=[load_tenant, *VIEWS],
    jobs=[initial_load],
    sensors=[tenant_partitions],
    # Also for what is materialised from the asset graph: one step gains nothing from a process of its own.
    executor=dg.in_process_executor,
)
