"""One partition per tenant, kept in step with the folder of tenant files."""

from __future__ import annotations

import dagster as dg

tenants = dg.DynamicPartitionsDefinition(name="tenant")


def missing(known: list[str], files: list[str]) -> list[str]:
    """Tenants that have a file but no partition yet, in alphabetical order."""
    return sorted(set(files) - set(known))


@dg.sensor(
    name="tenant_partitions",
    description="Adds a partition for each new tenant file. Keeps that of a tenant whose file is gone: its history"
    " hangs on it.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def tenant_partitions(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    from hat_etl.tenants import store

    new = missing(list(context.instance.get_dynamic_partitions("tenant")), store.names())
    if not new:
        return dg.SkipReason("Every tenant file has its partition.")
    return dg.SensorResult(dynamic_partitions_requests=[tenants.build_add_request(new)])
