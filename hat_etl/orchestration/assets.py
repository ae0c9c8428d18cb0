"""What Dagster knows of each HAT table and of the view it comes from: derived from the entities."""

from __future__ import annotations

import dagster as dg
from sqlalchemy.dialects import postgresql

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import DELETED, RECNO, STAMP, Column, Entity
from hat_etl.orchestration.partitions import tenants
from hat_etl.target.schema import hat_metadata

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def asset_key(table: str) -> dg.AssetKey:
    """The asset of a HAT table."""
    return dg.AssetKey(["hat", table])


def view_key(entity: Entity) -> dg.AssetKey:
    """The asset of the view in the ERP that feeds a HAT table."""
    return dg.AssetKey(["pls", entity.view])


def entity_of(key: dg.AssetKey) -> Entity:
    """The HAT table of an asset that ``asset_key`` has named."""
    return BY_TABLE[key.path[-1]]


def table_spec(entity: Entity) -> dg.AssetSpec:
    """The asset of a HAT table. Skippable: a load that stops before its commit has made nothing."""
    parents = dict.fromkeys(parent.table for parent in entity.parents)
    return dg.AssetSpec(
        asset_key(entity.table),
        deps=[view_key(entity), *(asset_key(parent) for parent in parents)],
        description=f"{entity.meaning}\n\nGrain: {entity.grain}.",
        group_name=entity.area,
        kinds={"postgresql", "table"},
        partitions_def=tenants,
        skippable=True,
        metadata={
            "dagster/column_schema": _table_schema(entity),
            "dagster/column_lineage": dg.TableColumnLineage(
                {c.name: [dg.TableColumnDep(view_key(entity), c.alias)] for c in entity.columns}
            ),
            "key": ", ".join(entity.key),
            "references": dg.MetadataValue.md(_references(entity)),
            "hat_api": entity.hat_api or "none",
        },
    )


def view_spec(entity: Entity) -> dg.AssetSpec:
    """The view of the ERP, which others make: known here for the lineage only."""
    return dg.AssetSpec(
        view_key(entity),
        description=f"Extraction view in the ERP of each tenant, over {', '.join(entity.reads)}.",
        group_name=entity.area,
        kinds={"protheus", "view"},
        metadata={"dagster/column_schema": _view_schema(entity), "pls_tables": ", ".join(entity.reads)},
    )


def _table_schema(entity: Entity) -> dg.TableSchema:
    table = hat_metadata("hat").tables[f"hat.{entity.table}"]
    own = {column.name: column for column in entity.columns}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                type=own[column.name].sql_type if column.name in own else column.type.compile(_DIALECT).lower(),
                description=column.comment,
                constraints=dg.TableColumnConstraints(
                    nullable=bool(column.nullable),
                    unique=(column.name,) in entity.keys,
                    other=_constraints(entity, own[column.name]) if column.name in own else [],
                ),
            )
            for column in table.columns
        ]
    )


def _constraints(entity: Entity, column: Column) -> list[str]:
    parts = ["key"] if column.name in entity.key else []
    parts += [f"part of alternate key {n}" for n, key in enumerate(entity.alternate_keys, 1) if column.name in key]
    return parts + [rule.token for rule in column.rules]


def _view_schema(entity: Entity) -> dg.TableSchema:
    driving = entity.reads[0]
    technical = [
        dg.TableColumn(RECNO, "bigint", f"R_E_C_N_O_ of {driving}."),
        dg.TableColumn(DELETED, "integer", f"1 when the row of {driving} is marked as deleted, else 0."),
        dg.TableColumn(STAMP, "timestamp", "S_T_A_M_P_ in UTC; the latest one where the view joins."),
    ]
    own = [
        dg.TableColumn(column.alias, "number" if column.numeric_source else "text", column.source.text)
        for column in entity.columns
    ]
    return dg.TableSchema(columns=technical + own)


def _references(entity: Entity) -> str:
    lines = [
        f"- {', '.join(parent.columns)} → {parent.table} ({', '.join(parent.parent_columns)}),"
        f" {'hard' if entity.is_hard(parent) else 'soft'}"
        for parent in entity.parents
    ]
    return "\n".join(lines) or "none"


TABLES: tuple[dg.AssetSpec, ...] = tuple(table_spec(entity) for entity in ENTITIES)
VIEWS: tuple[dg.AssetSpec, ...] = tuple(view_spec(entity) for entity in ENTITIES)

TENANT = dg.AssetKey(["hat", "tenant"])
"""The HAT database of a tenant as a whole: what runs and checks tell of all tables together."""


def tenant_spec() -> dg.AssetSpec:
    """The tenant as a whole, which every run reports on."""
    return dg.AssetSpec(
        TENANT,
        deps=[spec.key for spec in TABLES],
        description="The HAT database of a tenant as a whole: the sums of its last run, and its checks.",
        group_name="tenant",
        kinds={"postgresql"},
        partitions_def=tenants,
    )
