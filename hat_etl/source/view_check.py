"""Checks of a live view, as the ERP's catalogue describes it, against its entity.

Every load asks them: nothing here may need the SQL parser of ``view_text``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hat_etl.entities.model import DELETED, RECNO, STAMP, Column, Entity, Kind
from hat_etl.protheus import dictionary
from hat_etl.source.live_column import LiveColumn
from hat_etl.source.reader import Source, Tables, TablesRead, ViewShape
from hat_etl.source.views import emptied
from hat_etl.tenants.config import Tenant

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """Something to know about a view. An ``error`` stops a load before it reads anything."""

    view: str
    column: str | None
    level: Level
    message: str
    next_step: str


def concatenated(column: Column) -> dict[str, int]:
    """The parts of a concatenation with the widths at which they stand side by side."""
    fields = dictionary.fields()
    return {name: fields[name[:3]][name].size for name in column.source.fields}


def inspect(source: Source, tenant: Tenant, shape: ViewShape) -> list[Finding]:
    """What is amiss with a live view. Raises SourceError when the ERP cannot be asked."""
    entity = shape.entity
    return [
        *compare_tables(entity, tenant, source.tables_read(shape)),
        *compare_fields(
            entity, source.fields(), tenant.name, lambda: source.definitions([shape]).get(entity.table, "")
        ),
        *compare(entity, shape.columns, tenant.name),
    ]


def compare_tables(entity: Entity, tenant: Tenant, read: TablesRead) -> list[Finding]:
    """Whether a view that reads these tables (schema and name) is over those that the tenant's file means.

    A view of another company or schema looks the same, and would bring another operator's people. Of a view over
    others that do not bear the names of PLS tables, this tells nothing.
    """
    erp, findings = tenant.erp, list[Finding]()
    for alias in entity.reads:
        ours = dictionary.physical_name(alias, erp.company)
        like_it = re.compile(rf"{alias}..0", re.IGNORECASE)
        named = sorted((schema, table) for schema, table in read if like_it.fullmatch(table))
        right = [
            table
            for schema, table in named
            if table.lower() == ours and (erp.schema_name or schema).lower() == schema.lower()
        ]
        if named and not right:
            findings.append(
                Finding(
                    entity.view,
                    None,
                    "error",
                    f"The view reads {', '.join(map('.'.join, named))}, and by the tenant's file it should read"
                    f" {'.'.join(filter(None, (erp.schema_name, ours)))}: another company's or schema's rows.",
                    f"Correct [erp] schema, company or views_schema in the file of {tenant.name}; where another tenant"
                    f" uses these views, name a views_schema of its own and run: hat-etl views install {tenant.name}",
                )
            )
    return findings


def _make_anew(tenant: str) -> str:
    return (
        f"Make the view anew: hat-etl views install {tenant}, or have the DBA run the output of: hat-etl views render"
        f" {tenant}"
    )


def compare(entity: Entity, columns: Sequence[LiveColumn], tenant: str) -> list[Finding]:
    """What is amiss between the view as the ERP describes it and the entity. Names are compared without case."""
    live = {column.name.lower(): column for column in columns}
    make_anew = _make_anew(tenant)
    findings: list[Finding] = []

    def add(alias: str, level: Level, message: str, next_step: str = make_anew) -> None:
        findings.append(Finding(entity.view, alias, level, message, next_step))

    def expect(alias: str, family: str, next_step: str = make_anew) -> bool:
        found = live[alias.lower()]
        if found.family != family:
            add(alias, "error", f"Column {alias} must be a {family} and is {found.type_name}.", next_step)
        return found.family == family

    for alias, family in ((RECNO, "number"), (DELETED, "number"), (STAMP, "timestamp")):
        if alias.lower() in live:
            expect(alias, family)
        elif alias == RECNO:
            add(alias, "error", f"Column {alias} is missing: without it no row can be told from another.")
        elif alias == DELETED:
            add(alias, "warning", f"Column {alias} is missing: deleted rows are found only by comparing all keys.")
        else:
            add(alias, "warning", f"Column {alias} is missing: every synchronisation reads the whole view.")
    for column in entity.columns:
        found = live.get(column.alias.lower())
        if found is None:
            add(column.alias, "error", f"Column {column.alias} is missing.")
        elif expect(
            column.alias,
            "number" if column.numeric_source else "text",
            _without_memo(entity, column, tenant) if found.is_memo else make_anew,
        ):
            findings.extend(_width(entity, column, found))
    known = {RECNO.lower(), DELETED.lower(), STAMP.lower(), *(column.alias.lower() for column in entity.columns)}
    for name in live.keys() - known:
        add(
            live[name].name, "info", f"Column {live[name].name} is not in the contract and is not read.", "None needed."
        )
    return findings


def _without_memo(entity: Entity, column: Column, tenant: str) -> str:
    field = column.source.text
    if emptied(entity, [field]):
        return (
            "A memo is not read: make the view anew, which then shows the column empty, by: hat-etl views install"
            f" {tenant}, or have the DBA run the output of: hat-etl views render {tenant} --memo {field}"
        )
    return (
        "A memo is not read, and HAT must have this: ask for the operator's SX3 which field holds it, and correct"
        f" views_sql/{entity.view}.sql."
    )


def _width(entity: Entity, column: Column, found: LiveColumn) -> Iterator[Finding]:
    limit = {Kind.TEXT: column.width, Kind.DATE: len("YYYYMMDD")}.get(column.kind)
    if column.source.is_concatenation:
        return  # wide everywhere, for what may be beyond a field's size; compare_fields tells where there is such
    if limit is None or found.width is None or found.width <= limit:
        return
    if column.kind is Kind.DATE:
        fate = "anything but YYYYMMDD may be rejected"
    elif column.name in entity.key_columns:
        fate = "longer values reject their rows"
    else:
        fate = "longer values may be cut"
    yield Finding(
        entity.view, column.alias, "warning",
        f"Column {column.alias} has {found.width} characters, HAT {limit}: {fate}.",
        "Compare the size in the operator's SX3 with the HAT column; look at the rejects after the load.",
    )  # fmt: skip


def compare_fields(entity: Entity, tables: Tables, tenant: str, definition: Callable[[], str]) -> list[Finding]:
    """What is amiss with the physical fields below the view, as far as the login is shown their tables.

    A view takes fields that are put side by side at their sizes in the dictionary, and what is beyond only where it was
    made of fields that are longer. One that was made before cuts it off, or puts it in a wrong place; its
    ``definition`` tells, and is asked for only where it matters.
    """
    memos = {field: live for alias in entity.reads for field, live in tables.get(alias, {}).items() if live.is_memo}
    findings = [
        Finding(
            entity.view, column.alias, "warning",
            f"Field {column.source.text} is a memo ({memos[column.source.text].type_name}), which is not read: the"
            f" views of hat_etl leave column {column.alias} empty.",
            "None needed where HAT can do without it.",
        )
        for column in emptied(entity, memos)
    ]  # fmt: skip
    for column in entity.columns:
        for field, size in concatenated(column).items() if column.source.is_concatenation else ():
            live = tables.get(field[:3], {}).get(field)
            if live is None or live.width is None or live.width == size:
                continue
            level: Level = "warning"
            next_step = "Ask for the operator's SX3; look at the rejects after the load."
            if live.width < size:
                fate = "its value never becomes complete, and its row is rejected"
            elif amiss := _amiss(definition(), field, size):
                level, fate = "error", amiss
                next_step = (
                    f"{_make_anew(tenant)}. Where the table is loaded already, then read all of it: hat-etl sync"
                    f" {tenant} --full"
                )
            else:
                fate = "rows with a longer value are rejected"
            message = f"Field {field} has {live.width} characters in this ERP, and column {column.alias} takes {size}"
            findings.append(Finding(entity.view, column.alias, level, f"{message}: {fate}.", next_step))
    return findings


def _amiss(definition: str, field: str, size: int) -> str | None:
    """How a view's text makes one of different values of a longer field, if it does.

    It pads the field to its size, which cuts it, and nowhere shows what is beyond; or shows that before another field,
    as hat_etl once made views, where it stands in for what that one lacks.
    """
    taken = rf"\([^,]*\b{field}\b[^,]*?(?:,| FROM )\s*"
    beyond = rf"\bSUBSTR(?:ING\"?)?{taken}{size + 1}\b"
    if not re.search(rf"\bRPAD{taken}{size}\b", definition, re.IGNORECASE):
        return None
    if not re.search(beyond, definition, re.IGNORECASE):
        return "the view cuts off the rest, so that different values become one"
    if re.search(rf"{beyond}(?:(?!\sAS\s).)*\bRPAD\b", definition, re.IGNORECASE | re.DOTALL):
        return "the view lets the rest make up for what another field lacks, so that different values become one"
    return None
