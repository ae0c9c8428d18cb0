"""Schema ``hat_etl``: new databases and old ones end with the tables that the code declares."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from hat_etl.billing import tables as billing
from hat_etl.errors import TargetError
from hat_etl.target.schema import technical
from hat_etl.target.technical import MIGRATIONS, bring_up_to_date, latest
from hat_etl_tests.servers import Server

Connection = psycopg.Connection[tuple[object, ...]]

EVERYTHING = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || a.attidentity::text
    || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'hat_etl'::regnamespace AND c.relkind = 'r'
UNION ALL SELECT c.relname, 'comment', obj_description(c.oid) FROM pg_class c
    WHERE c.relnamespace = 'hat_etl'::regnamespace AND c.relkind = 'r'
UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'hat_etl'::regnamespace
UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'hat_etl'
"""
SECOND = """
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE hat_etl.runs ADD COLUMN canary TEXT")
    op.execute("{more}")
"""


def declared(server: Server) -> set[tuple[object, ...]]:
    """What a database would hold that is made from the declarations alone."""
    database = server.create_database("declared")
    engine = sa.create_engine(f"postgresql+psycopg://postgres@/{database}?host={server.socket}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA hat_etl"))
        technical.create_all(connection)
        billing.metadata.create_all(connection)
    engine.dispose()
    with server.connect(database) as asking:
        return found(asking)


def found(connection: Connection) -> set[tuple[object, ...]]:
    return {row for row in connection.execute(EVERYTHING) if "schema_version" not in str(row[0])}


def version(connection: Connection) -> object:
    return connection.execute("SELECT version_num FROM hat_etl.schema_version").fetchall()[0][0]


@pytest.fixture
def connection(postgres: Server) -> Connection:
    return postgres.connect(postgres.create_database("technical"))


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The first migration alone."""
    return shutil.copytree(MIGRATIONS, tmp_path / "first", ignore=shutil.ignore_patterns("v000[2-9]*"))


@pytest.fixture
def with_a_second(first: Path, tmp_path: Path) -> Path:
    """The first migration, and one more that nobody has seen yet."""
    migrations = shutil.copytree(first, tmp_path / "migrations")
    (migrations / "versions" / "v0002_second.py").write_text(SECOND.format(more="SELECT 1"))
    return migrations


def upgrade(connection: Connection, migrations: Path = MIGRATIONS) -> None:
    with connection.transaction():
        bring_up_to_date(connection, "acme", migrations)


def test_the_migrations_make_what_the_code_declares(connection: Connection, postgres: Server) -> None:
    upgrade(connection)
    assert found(connection) ^ declared(postgres) == set()
    assert version(connection) == latest()


def test_the_latest_version_is_that_of_alembic_and_there_is_one_way_to_it() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [latest()]


def test_a_database_takes_the_steps_that_it_has_not_seen_and_keeps_its_rows(
    connection: Connection, first: Path, with_a_second: Path
) -> None:
    upgrade(connection, first)
    connection.execute("INSERT INTO hat_etl.identity (tenant, ans_registry) VALUES ('acme', '412345')")
    assert version(connection) == "0001"
    for _ in range(2):
        upgrade(connection, with_a_second)
        assert version(connection) == "0002"
        assert connection.execute("SELECT canary FROM hat_etl.runs").fetchall() == []
        assert connection.execute("SELECT tenant FROM hat_etl.identity").fetchall() == [("acme",)]


def test_a_step_that_fails_leaves_nothing_behind(connection: Connection, with_a_second: Path) -> None:
    step = with_a_second / "versions" / "v0002_second.py"
    step.write_text(SECOND.format(more="SELECT 1 / 0"))
    with pytest.raises(psycopg.errors.DivisionByZero):
        upgrade(connection, with_a_second)
    assert connection.execute("SELECT to_regnamespace('hat_etl')").fetchone() == (None,)


def test_tables_that_were_made_before_there_were_versions_are_kept(connection: Connection, first: Path) -> None:
    upgrade(connection, first)
    connection.execute("INSERT INTO hat_etl.identity (tenant, ans_registry) VALUES ('acme', '412345')")
    connection.execute("DROP TABLE hat_etl.schema_version")
    upgrade(connection)
    assert version(connection) == latest()
    assert connection.execute("SELECT tenant FROM hat_etl.identity").fetchall() == [("acme",)]


def test_tenants_that_start_side_by_side_each_get_their_tables(postgres: Server) -> None:
    """Alembic keeps the migration that is going on in a global: of tenants whose first runs met, some failed."""
    names = [postgres.create_database("technical") for _ in range(8)]
    ready = Barrier(len(names))

    def first_run(name: str) -> object:
        with postgres.connect(name) as connection:
            ready.wait(60)
            upgrade(connection)
            return version(connection)

    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(first_run, names)) == [latest()] * len(names)


def test_a_database_of_a_later_version_is_refused(connection: Connection) -> None:
    upgrade(connection)
    connection.execute("UPDATE hat_etl.schema_version SET version_num = '9999'")
    with pytest.raises(TargetError, match=r"later version.*9999") as refused:
        upgrade(connection)
    assert "Install the later version" in refused.value.next_step
    assert version(connection) == "9999"
