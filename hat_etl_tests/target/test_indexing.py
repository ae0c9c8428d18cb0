"""Indexes of staged tables: all of them, built side by side, but for keys that stand on more than one row."""

from __future__ import annotations

from pathlib import Path

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.errors import TargetError
from hat_etl.target import indexing
from hat_etl.target.database import TenantDatabase
from hat_etl.target.schema import STAGE_SCHEMA, create_indexes, create_key_indexes, create_stage_table
from hat_etl.tenants import store
from hat_etl_tests.servers import Server

TENANT = """
name = "acme"
ans_registry = "412345"
[erp]
dialect = "postgresql"
url = "env:NOT_SET"
company = "01"
[hat]
url = "file:{url}"
"""


@pytest.fixture
def database(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TenantDatabase:
    """A tenant database in whose stage all tables stand, empty."""
    name = postgres.create_database("indexing")
    (tmp_path / "url").write_text(postgres.url(name))
    (tmp_path / "acme.toml").write_text(TENANT.format(url=tmp_path / "url"))
    monkeypatch.setenv("HAT_ETL_TENANTS", str(tmp_path))
    made = TenantDatabase(store.load("acme"))
    with made.connect() as connection:
        connection.execute(f"CREATE SCHEMA {STAGE_SCHEMA}")
        for entity in ENTITIES:
            connection.execute(create_stage_table(entity))
    return made


def indexes(database: TenantDatabase) -> list[str]:
    with database.connect() as connection:
        rows = connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = %s", (STAGE_SCHEMA,)).fetchall()
    return sorted(str(name) for (name,) in rows)


def test_every_index_is_built_unless_rows_share_its_key_and_can_be_taken_off_again(database: TenantDatabase) -> None:
    kinship = f"INSERT INTO {STAGE_SCHEMA}.kinships (code, source_recno, loaded_run) VALUES ('1', %s, 1)"
    with database.connect() as connection:
        for recno in (1, 2):
            connection.execute(kinship, (recno,))
    assert indexing.build(database, ENTITIES, "hat-etl load") == {"kinships"}
    expected = {
        str(statement.split(" ON ")[0].rpartition(" ")[2])
        for entity in ENTITIES
        for statement in (*create_key_indexes(entity, STAGE_SCHEMA), *create_indexes(entity, STAGE_SCHEMA))
    }
    assert set(indexes(database)) == expected - {"kinships_pkey"}
    with database.connect() as connection:
        indexing.drop(connection)
    assert indexes(database) == []


def test_the_statements_for_keys_and_for_other_indexes_share_none() -> None:
    """They once did after the first call: each key was built twice at a time, and one of the two failed."""
    beneficiaries = BY_TABLE["beneficiaries"]
    keys = create_key_indexes(beneficiaries, STAGE_SCHEMA)
    assert len(keys) == len(beneficiaries.keys)
    assert not set(keys) & set(create_indexes(beneficiaries, STAGE_SCHEMA))
    assert not any("UNIQUE" in statement for statement in create_indexes(beneficiaries, STAGE_SCHEMA))


def test_an_index_that_cannot_be_built_names_its_table_and_stops_the_others(database: TenantDatabase) -> None:
    with database.connect() as connection:
        connection.execute(f"DROP TABLE {STAGE_SCHEMA}.kinships")
    with pytest.raises(TargetError) as failed:
        indexing.build(
            database, [BY_TABLE["kinships"], *(e for e in ENTITIES if e.table != "kinships")], "hat-etl load"
        )
    assert (failed.value.tenant, failed.value.table) == ("acme", "kinships")
    assert len(indexes(database)) < len(ENTITIES)
