"""One partition per tenant, kept in step with the folder of tenant files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from hat_etl.tenants.config import Tenant

_NAME = "tenant"
tenants = dg.DynamicPartitionsDefinition(name=_NAME)


def for_one_tenant(
    tags: Callable[[str], dict[str, str]] | None = None, settings: dict[str, Any] | None = None
) -> dg.PartitionedConfig[Any]:
    """A job of one tenant: the tags that its runs get, and what its form shows before anybody has written there."""
    return dg.PartitionedConfig(tenants, lambda _: settings or {}, tags_for_partition_key_fn=tags)


def with_partition(instance: dg.DagsterInstance, found: Iterable[Tenant]) -> list[Tenant]:
    """Those of the tenants that Dagster knows already."""
    there = names(instance)
    return [tenant for tenant in found if tenant.name in there]


def names(instance: dg.DagsterInstance) -> set[str]:
    """The tenants that Dagster knows."""
    return set(instance.get_dynamic_partitions(_NAME))


def missing(known: list[str], files: list[str]) -> list[str]:
    """Tenants that have a file but no partition yet, in alphabetical order."""
    return sorted(set(files) - set(known))


def _may_be_key(name: str) -> bool:
    """Whether Dagster takes it: one that it refuses, or that is not even text, would keep all others from coming in."""
    return name.isprintable() and "..." not in name


@dg.sensor(
    name="tenant_partitions",
    description="Adds a partition for each new tenant file. Keeps that of a tenant whose file is gone: its history"
    " hangs on it.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def tenant_partitions(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    from hat_etl.tenants import store

    files = list(filter(_may_be_key, store.names()))
    if not files:
        return dg.SkipReason(f"There is no tenant file in {store.folder()}, the folder of {store.FOLDER_VARIABLE}.")
    new = missing(list(context.instance.get_dynamic_partitions(_NAME)), files)
    if not new:
        return dg.SkipReason("Every tenant file has its partition.")
    return dg.SensorResult(dynamic_partitions_requests=[tenants.build_add_request(new)])
