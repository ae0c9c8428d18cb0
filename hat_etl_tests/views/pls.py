"""Small physical PLS tables on PostgreSQL, with the columns that the views read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from psycopg import Connection, sql

from hat_etl.entities import ENTITIES, billing
from hat_etl.entities.model import Kind
from hat_etl.protheus import dictionary
from hat_etl.source import views

_READ = ENTITIES + billing.VIEWS
_COLUMNS = {
    name: column
    for entity in _READ
    for column in entity.columns
    for name in (*column.source.fields, column.source.joined)
    if name
}
"""Field to a column that shows it."""


def tables() -> dict[str, list[str]]:
    """Alias to the fields of it that any view reads."""
    found: dict[str, list[str]] = {alias: [] for entity in _READ for alias in entity.reads}
    for entity in _READ:
        for name in views.fields_read(entity):
            if name not in found[name[:3]]:
                found[name[:3]].append(name)
    return found


def is_number(name: str) -> bool:
    column = _COLUMNS.get(name)
    return column is not None and column.numeric_source


def width(name: str) -> int:
    """Characters of a text field: of the dictionary, or where nobody published them, of the HAT column."""
    column = _COLUMNS.get(name)
    size = dictionary.fields()[name[:3]][name].size
    if column is not None and column.kind is Kind.DATE:
        return 8
    return size or (column.width if column is not None else 0) or 3


def create(
    connection: Connection[Any],
    schema: str,
    *,
    company: str = "01",
    stampless: Collection[str] = (),
    without: Collection[str] = (),
    widths: Mapping[str, int] | None = None,
) -> None:
    """Make all tables in a new ``schema``; ``without`` leaves out tables or fields, ``widths`` overrides widths."""
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    for alias, names in tables().items():
        if alias in without:
            continue
        columns = [f"{alias.lower()}_filial character(2) NOT NULL DEFAULT '  '"]
        for name in names:
            if name in without:
                continue
            if is_number(name):
                columns.append(f"{name.lower()} double precision NOT NULL DEFAULT 0")
            else:
                size = (widths or {}).get(name, width(name))
                columns.append(f"{name.lower()} character({size}) NOT NULL DEFAULT ' '")
        columns += ["d_e_l_e_t_ character(1) NOT NULL DEFAULT ' '", "r_e_c_n_o_ bigint PRIMARY KEY"]
        if alias not in stampless:
            columns.append("s_t_a_m_p_ timestamp")
        table = dictionary.physical_name(alias, company)
        connection.execute(f"CREATE TABLE {schema}.{table} ({', '.join(columns)})".encode())


def insert(
    connection: Connection[Any],
    schema: str,
    alias: str,
    recno: int,
    *,
    deleted: bool = False,
    stamp: datetime | None = None,
    **values: object,
) -> None:
    """One row of company 01; fields that are not given are blank or 0."""
    row: dict[str, object] = {"r_e_c_n_o_": recno, "d_e_l_e_t_": "*" if deleted else " "}
    if stamp is not None:
        row["s_t_a_m_p_"] = stamp
    row.update({name.lower(): value for name, value in values.items()})
    table = sql.Identifier(schema, dictionary.physical_name(alias, "01"))
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    marks = sql.SQL(", ").join([sql.Placeholder()] * len(row))
    connection.execute(sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table, names, marks), list(row.values()))
