"""What Dagster loads: ``workspace.yaml`` names this module."""

from __future__ import annotations

import dagster as dg

from hat_etl.orchestration import billing
from hat_etl.orchestration.assets import VIEWS, tenant_spec
from hat_etl.orchestration.checks import tenant_checks
from hat_etl.orchestration.forgetting import housekeeping, nightly
from hat_etl.orchestration.lateness import late_tenants
from hat_etl.orchestration.loading import initial_load, load_tenant
from hat_etl.orchestration.notifications import tell_failures
from hat_etl.orchestration.partitions import tenant_partitions
from hat_etl.orchestration.runs import incremental_sync, reconcile, undo
from hat_etl.orchestration.schedules import due_tenants, window_openings

defs = dg.Definitions(
    assets=[load_tenant, tenant_spec(), *VIEWS, *billing.ASSETS],
    asset_checks=[tenant_checks, billing.billing_checks],
    jobs=[initial_load, incremental_sync, reconcile, undo, housekeeping, *billing.JOBS.values()],
    schedules=[nightly],
    sensors=[tenant_partitions, due_tenants, window_openings, late_tenants, tell_failures, *billing.SENSORS],
    # Also for what is materialised from the asset graph: one step gains nothing from a process of its own.
    executor=dg.in_process_executor,
)
