"""What the code location offers, asked for every table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from hat_etl.definitions import defs
from hat_etl.entities import AREAS, ENTITIES
from hat_etl.entities.model import TECHNICAL, Entity
from hat_etl.orchestration import billing
from hat_etl.orchestration.assets import TENANT
from hat_etl.orchestration.loading import LoadConfig

each_entity = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)

REPOSITORY = defs.get_repository_def()
GRAPH = REPOSITORY.asset_graph


def node(*key: str) -> dg.BaseAssetNode:
    return GRAPH.get(dg.AssetKey(key))


def test_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


def test_definitions_import_without_drivers_and_without_a_tenant(tmp_path: Path) -> None:
    drivers = ("psycopg", "psycopg2", "adbc_driver_postgresql", "oracledb", "hat_etl.tenants", "pandas")
    code = f"import hat_etl.definitions, sys; print([name for name in {drivers} if name in sys.modules])"
    environment = {"HAT_ETL_TENANTS": str(tmp_path / "nowhere"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_assets_stand_in_one_group_per_area_and_tenant_and_billing_in_their_own() -> None:
    assert {GRAPH.get(key).group_name for key in GRAPH.get_all_asset_keys()} == {*AREAS, "tenant", "billing"}


def test_no_asset_is_there_without_a_table() -> None:
    tables = {dg.AssetKey(["hat", entity.table]) for entity in ENTITIES}
    views = {dg.AssetKey(["pls", entity.view]) for entity in ENTITIES}
    assert GRAPH.materializable_asset_keys == tables
    assert GRAPH.external_asset_keys == views | {TENANT, billing.LOTS, billing.STATUS, billing.INBOX}


@each_entity
def test_a_table_has_its_asset(entity: Entity) -> None:
    asset = node("hat", entity.table)
    assert asset.group_name == entity.area
    assert asset.description is not None
    assert entity.meaning in asset.description
    assert entity.grain in asset.description
    assert asset.kinds == {"postgresql", "table"}
    assert isinstance(asset.partitions_def, dg.DynamicPartitionsDefinition)
    assert asset.partitions_def.name == "tenant"


@each_entity
def test_an_asset_tells_every_column(entity: Entity) -> None:
    columns = {c.name: c for c in node("hat", entity.table).metadata["dagster/column_schema"].columns}
    assert list(columns) == [column.name for column in entity.columns] + [field.name for field in TECHNICAL]
    for column in entity.columns:
        told = columns[column.name]
        assert (told.type, told.description) == (column.sql_type, column.meaning)
        assert told.constraints.nullable is not column.required
        assert [rule.token for rule in column.rules] == [
            word for word in told.constraints.other if word != "key" and not word.startswith("part of alternate key")
        ]
        assert ("key" in told.constraints.other) is (column.name in entity.key)
    for field in TECHNICAL:
        assert columns[field.name].description
        assert columns[field.name].constraints.nullable is field.nullable


@each_entity
def test_an_asset_hangs_on_its_view_and_its_parents(entity: Entity) -> None:
    parents = {dg.AssetKey(["hat", parent.table]) for parent in entity.parents}
    assert node("hat", entity.table).parent_keys == parents | {dg.AssetKey(["pls", entity.view])}


@each_entity
def test_the_lineage_of_a_column_names_a_column_of_the_view(entity: Entity) -> None:
    lineage = node("hat", entity.table).metadata["dagster/column_lineage"].deps_by_column
    offered = {c.name for c in node("pls", entity.view).metadata["dagster/column_schema"].columns}
    assert set(lineage) == {column.name for column in entity.columns}
    for column in entity.columns:
        (origin,) = lineage[column.name]
        assert origin.asset_key == dg.AssetKey(["pls", entity.view])
        assert origin.column_name == column.alias
        assert column.alias in offered


def test_the_job_makes_every_table_in_one_step_and_in_its_own_process() -> None:
    job = defs.resolve_job_def("initial_load")
    assert job.executor_def is dg.in_process_executor
    assert [found.name for found in job.nodes] == ["load_tenant"]
    assert job.asset_layer.selected_asset_keys == {dg.AssetKey(["hat", entity.table]) for entity in ENTITIES}


def test_settings_of_a_load_are_few_and_described() -> None:
    assert set(LoadConfig.model_fields) == {"mode", "accept_shrink", "outside_windows"}
    assert all(field.description for field in LoadConfig.model_fields.values())


@pytest.mark.parametrize("config", [{}, {"mode": "resume"}, {"mode": "restart", "accept_shrink": True}])
def test_settings_of_a_load_are_accepted(config: dict[str, object]) -> None:
    job = defs.resolve_job_def("initial_load")
    assert dg.validate_run_config(job, {"ops": {"load_tenant": {"config": config}}})


@pytest.mark.parametrize("config", [{"mode": "again"}, {"accept_shrink": "maybe"}, {"only": "families"}])
def test_settings_that_nobody_declared_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(defs.resolve_job_def("initial_load"), {"ops": {"load_tenant": {"config": config}}})
