"""Arrow schema, SQLAlchemy metadata and stage DDL of every table, as a real server understands them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import TECHNICAL, Column, Entity, Kind
from hat_etl.target import schema
from hat_etl_tests.entities.each import each_entity
from hat_etl_tests.servers import Server

HAT, STAGE = "hat", "stage"

TECHNICAL_TYPES = {
    "source_recno": ("bigint", True),
    "source_stamp": ("timestamp with time zone", False),
    "loaded_run": ("bigint", True),
}
"""Type, and whether it may not be NULL."""

_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       col_description(c.oid, a.attnum)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('hat', 'stage') AND c.relkind = 'r' AND a.attnum > 0
ORDER BY a.attnum
"""
_TABLES = """
SELECT c.relname, obj_description(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'hat' AND c.relkind = 'r'
"""
_KEYS = """
SELECT t.relname, k.contype::text, p.relname,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, i)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.i),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, i)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.i)
FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_class p ON p.oid = k.confrelid
WHERE n.nspname = 'hat' AND k.contype IN ('p', 'u', 'f')
"""


@dataclass
class Catalogue:
    """What the server says of the tables that were made."""

    columns: dict[str, dict[str, list[tuple[str, str, bool, str | None]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    """Schema and table to its columns: name, type, whether it may not be NULL, comment."""
    comments: dict[str, str] = field(default_factory=dict)
    keys: dict[str, set[tuple[str, tuple[str, ...]]]] = field(default_factory=lambda: defaultdict(set))
    """Table to its keys: ``p`` primary or ``u`` unique, and columns."""
    references: dict[str, set[tuple[str, tuple[str, ...], tuple[str, ...]]]] = field(
        default_factory=lambda: defaultdict(set)
    )
    """Table to its foreign keys: parent, columns, parent's columns."""


@pytest.fixture(scope="module")
def catalogue(postgres: Server) -> Catalogue:
    found = Catalogue()
    with postgres.connect(postgres.create_database("entities")) as connection:
        connection.execute(f"CREATE SCHEMA {HAT}; CREATE SCHEMA {STAGE}".encode())
        for entity in ENTITIES:
            for statement in (
                schema.create_hat_table(entity, HAT),
                *schema.comments(entity, HAT),
                schema.create_stage_table(entity, STAGE),
            ):
                connection.execute(statement.encode())
        _describe(connection, found)
    return found


def _describe(connection: psycopg.Connection[tuple[object, ...]], found: Catalogue) -> None:
    for place, table, name, type_, required, comment in connection.execute(_COLUMNS):
        found.columns[str(place)][str(table)].append(
            (str(name), str(type_), bool(required), None if comment is None else str(comment))
        )
    for table, comment in connection.execute(_TABLES):
        found.comments[str(table)] = str(comment)
    for table, kind, parent, columns, parent_columns in connection.execute(_KEYS):
        assert isinstance(columns, list)
        assert isinstance(parent_columns, list)
        if kind == "f":
            found.references[str(table)].add((str(parent), tuple(columns), tuple(parent_columns)))
        else:
            found.keys[str(table)].add((str(kind), tuple(columns)))


def expected(entity: Entity) -> list[tuple[str, str, bool]]:
    own = [(c.name, c.sql_type.replace("varchar", "character varying"), c.required) for c in entity.columns]
    return own + [(name, *facts) for name, facts in TECHNICAL_TYPES.items()]


def arrow_of(column: Column) -> pa.DataType:
    """The Arrow type that a value of the SQL type travels in."""
    if column.sql_type.startswith("varchar("):
        return pa.string()
    if column.kind is Kind.AMOUNT:
        return pa.decimal128(column.width, column.scale)
    return {"date": pa.date32(), "boolean": pa.bool_(), "smallint": pa.int16(), "integer": pa.int32()}[column.sql_type]


@each_entity
def test_the_arrow_schema_travels_in_what_the_sql_types_hold(entity: Entity) -> None:
    assert entity.schema.names == [column.name for column in entity.columns] + list(TECHNICAL_TYPES)
    for column in entity.columns:
        arrow = entity.schema.field(column.name)
        assert arrow.type == arrow_of(column)
        assert arrow.nullable is not column.required
    assert entity.schema.field("source_stamp").type == pa.timestamp("us", "UTC")
    assert {name: (not entity.schema.field(name).nullable) for name in TECHNICAL_TYPES} == {
        name: required for name, (_, required) in TECHNICAL_TYPES.items()
    }
    assert [arrow.name for arrow in TECHNICAL] == list(TECHNICAL_TYPES)


@each_entity
def test_types_are_wide_enough_to_mean_something(entity: Entity) -> None:
    for column in entity.columns:
        if column.kind is Kind.TEXT:
            assert column.width > 0
        if column.kind is Kind.AMOUNT:
            assert 0 <= column.scale < column.width


@each_entity
@pytest.mark.parametrize("place", [HAT, STAGE])
def test_a_table_has_the_declared_columns(entity: Entity, place: str, catalogue: Catalogue) -> None:
    made = [(name, type_, required) for name, type_, required, _ in catalogue.columns[place][entity.table]]
    assert made == expected(entity)


@each_entity
def test_a_table_tells_what_it_and_its_columns_mean(entity: Entity, catalogue: Catalogue) -> None:
    assert catalogue.comments[entity.table] == entity.meaning
    comments = {name: comment for name, _, _, comment in catalogue.columns[HAT][entity.table]}
    assert {column.name: comments[column.name] for column in entity.columns} == {
        column.name: column.meaning for column in entity.columns
    }
    assert all(comments[name] for name in TECHNICAL_TYPES)


@each_entity
def test_a_table_has_its_keys_and_its_hard_references_only(entity: Entity, catalogue: Catalogue) -> None:
    assert catalogue.keys[entity.table] == {("p", entity.key), *(("u", key) for key in entity.alternate_keys)}
    assert catalogue.references[entity.table] == {
        (parent.table, parent.columns, parent.parent_columns) for parent in entity.hard_parents
    }
