"""Whether HAT's tables are as loads make them: who else writes there may drop one, or change its columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hat_etl.entities import BY_TABLE
from hat_etl.entities.model import Column, Kind
from hat_etl.errors import TargetError
from hat_etl.target.database import Connection

_TEXTS, _NUMBERS = ("varchar", "text", "bpchar"), ("int2", "int4", "int8", "numeric")
_TYPES: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: _TEXTS,
    Kind.AMOUNT: _NUMBERS,
    Kind.SMALLINT: _NUMBERS,
    Kind.INTEGER: _NUMBERS,
    Kind.DATE: ("date", "timestamp", "timestamptz"),
    Kind.FLAG: ("bool",),
}
"""Types of a HAT column that take its values and are compared with them."""


def lacking(connection: Connection, schema: str, tables: Iterable[str]) -> dict[str, list[str]]:
    """Those of the ``tables`` that HAT lacks, or of which it lacks columns, with what it lacks."""
    found = _columns(connection, schema)
    lacks = {}
    for table in tables:
        there = found.get(table)
        names = ["the table"] if there is None else [name for name in BY_TABLE[table].schema.names if name not in there]
        if names:
            lacks[table] = names
    return lacks


def retyped(connection: Connection, schema: str, tables: Iterable[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """Table and column to the type of each column that cannot hold its values, and a statement that mends it."""
    found = _columns(connection, schema)
    return {
        (table, column.name): (there[column.name], _alter(schema, table, column))
        for table in tables
        if (there := found.get(table))
        for column in BY_TABLE[table].columns
        if column.name in there and there[column.name] not in _TYPES[column.kind]
    }


def refuse_retyped(connection: Connection, schema: str, tables: Iterable[str], again: str) -> None:
    """Raise TargetError where columns of the ``tables`` are of another type; ``again`` is the command to go on with."""
    wrong = retyped(connection, schema, tables)
    if wrong:
        raise TargetError(
            f"Columns of HAT's tables cannot hold their values: {told(schema, wrong)}.",
            f"See who changes HAT's tables. Let the DBA run: {' '.join(alter for _, alter in wrong.values())}"
            f" Then go on with: {again}",
            table=", ".join(dict.fromkeys(table for table, _ in wrong)),
        )


def refuse_lacking(connection: Connection, schema: str, tables: Collection[str], tenant: str, again: str) -> None:
    """Raise TargetError where HAT lacks ``tables`` that were loaded, or columns of them.

    A table that is not there would be passed over, and rows that refer to it held.
    """
    lacks = lacking(connection, schema, tables)
    if lacks:
        raise TargetError(
            f"HAT lacks what was loaded: {told_lacking(schema, lacks)}.",
            f"{mend_lacking(tenant, lacks, tables)}. Then go on with: {again}",
            table=", ".join(lacks),
        )


def told(schema: str, wrong: dict[tuple[str, str], tuple[str, str]]) -> str:
    """What is retyped, in words."""
    return ", ".join(
        f"{schema}.{table}.{column} is {kind} and must be {BY_TABLE[table][column].sql_type}"
        for (table, column), (kind, _) in wrong.items()
    )


def told_lacking(schema: str, lacks: dict[str, list[str]]) -> str:
    """What is lacking, in words."""
    return "; ".join(f"{schema}.{table} ({', '.join(names)})" for table, names in lacks.items())


def mend_lacking(tenant: str, lacks: Collection[str], loaded: Collection[str]) -> str:
    """What brings back what is lacking."""
    only = "" if len(lacks) == len(loaded) else "".join(f" --only {table}" for table in lacks)
    return (
        "If [hat] schema in the tenant's file is right, see who changes HAT's tables. A load makes them anew:"
        f" hat-etl load {tenant}{only}"
    )


def _columns(connection: Connection, schema: str) -> dict[str, dict[str, str]]:
    """HAT tables that are there, with the types of their columns."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT c.relname, a.attname, coalesce(b.typname, t.typname)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " LEFT JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype"  # that of a domain
        " WHERE n.nspname = %s AND c.relname = ANY (%s) AND c.relkind IN ('r', 'p')",
        (schema, list(BY_TABLE)),
    ):
        found.setdefault(str(table), {})[str(column)] = str(kind)
    return found


def _alter(schema: str, table: str, column: Column) -> str:
    return (
        f'ALTER TABLE {schema}.{table} ALTER "{column.name}" TYPE {column.sql_type}'
        f' USING "{column.name}"::text::{column.sql_type};'
    )
