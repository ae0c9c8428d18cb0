"""Checks of each view's text against the contract and the PLS dictionary."""

from __future__ import annotations

from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from hat_etl.entities.model import DELETED, MAX_VIEW_NAME, RECNO, STAMP, Column, Entity
from hat_etl.protheus import dictionary
from hat_etl.source import oracle_text, views
from hat_etl.source.view_check import Finding, concatenated
from hat_etl.tenants.config import Dialect, Tenant

_SQLGLOT_NAME = {"postgresql": "postgres", "oracle": "oracle"}
_CONTROL = {RECNO: {"R_E_C_N_O_"}, DELETED: {"D_E_L_E_T_"}, STAMP: {views.STAMP_FIELD}}
"""What the technical columns read; tables have these fields though no dictionary lists them."""
_PORTABLE = (
    exp.And, exp.Or, exp.Case, exp.If, exp.Cast, exp.Coalesce, exp.Collate, exp.Exists, exp.Length, exp.Max, exp.Pad,
    exp.Replace, exp.Substring, exp.Trim,
)  # fmt: skip
_PORTABLE_BY_NAME = frozenset({"NLSSORT"})


def check_text(entity: Entity, tenant: Tenant, dialect: Dialect) -> list[Finding]:
    """Whether the view's text, rendered for ``dialect``, is what the contract says."""
    return check_sql(entity, views.render(entity, tenant, dialect), tenant.erp.company, dialect)


def check_sql(entity: Entity, sql: str, company: str, dialect: Dialect) -> list[Finding]:
    """Whether ``sql`` is a SELECT as the contract says it of the entity's view."""
    if len(entity.view.encode()) > MAX_VIEW_NAME:
        return [_wrong(entity, None, f"its name has more than {MAX_VIEW_NAME} bytes")]
    try:
        select = sqlglot.parse_one(sql, dialect=_SQLGLOT_NAME[dialect])
    except SqlglotError:
        return [_wrong(entity, None, f"is no statement that {dialect} would read")]
    if not isinstance(select, exp.Select):
        return [_wrong(entity, None, "is not a SELECT")]
    return [
        *_select_list(entity, select),
        *_tables(entity, select, company),
        *_columns_exist(entity, select, company),
        *_joins_and_filter(entity, select),
        *_portable(entity, select),
        *(_wrong(entity, None, fault) for fault in (oracle_text.faults(sql, select) if dialect == "oracle" else ())),
    ]


def _select_list(entity: Entity, select: exp.Select) -> Iterator[Finding]:
    projections = {projection.alias: projection for projection in select.expressions}
    technical = [RECNO, DELETED, STAMP]  # wherever they stand: those of TOTVS's official view come after its own
    wanted = [*technical, *(column.alias for column in entity.columns)]
    shown = [projection.alias for projection in select.expressions]
    if sorted(shown, key=lambda alias: alias not in technical) != wanted:
        missing = [alias for alias in wanted if alias not in projections]
        what = f"lacks {', '.join(missing)}" if missing else "has other aliases or another order than the contract"
        yield _wrong(entity, None, f"its select list {what}")
    for alias, fields in _CONTROL.items():
        if alias in projections and _fields(projections[alias]) != fields:
            yield _wrong(entity, alias, f"must read {', '.join(fields)} and nothing else")
    for column in entity.columns:
        if column.alias in projections:
            yield from _projection(entity, column, projections[column.alias])


def _projection(entity: Entity, column: Column, projection: exp.Expression) -> Iterator[Finding]:
    source = column.source
    wanted = {field for field in (*source.fields, source.condition, source.joined) if field}
    if _fields(projection) != wanted:
        yield _wrong(entity, column.alias, f"must read {', '.join(sorted(wanted))} and nothing else")
    elif source.is_concatenation:
        sizes = concatenated(column)
        pads = [
            (part.this.name, int(part.expression.name)) for part in projection.find_all(exp.Pad) if _is_number(part)
        ]
        if sorted(pads) != sorted(sizes.items()) or [column.name for column in _in_order(projection)] != list(sizes):
            parts = " || ".join(f"RPAD({field}, {size})" for field, size in sizes.items())
            yield _wrong(entity, column.alias, f"must be {parts}: each part at its full width")
    literals = {value.name for value in projection.find_all(exp.Literal)}
    if source.constant and source.constant not in literals:
        yield _wrong(entity, column.alias, f"must show {source.constant} where {source.fields[0]} is blank")
    if source.slice:
        start, end = source.slice
        slices = [(part.args["start"].name, part.args["length"].name) for part in projection.find_all(exp.Substring)]
        if slices != [(str(start), str(end - start + 1))]:
            yield _wrong(entity, column.alias, f"must be characters {start} to {end} of {source.fields[0]}")


def _is_number(pad: exp.Pad) -> bool:
    return isinstance(pad.expression, exp.Literal) and not pad.expression.is_string


def _in_order(projection: exp.Expression) -> list[exp.Column]:
    """Columns as they stand in the text from left to right."""
    return [node for node in projection.dfs() if isinstance(node, exp.Column)]


def _fields(expression: exp.Expression) -> set[str]:
    return {column.name for column in expression.find_all(exp.Column)}


def _tables(entity: Entity, select: exp.Select, company: str) -> Iterator[Finding]:
    source = select.args.get("from_") or select.args.get("from")
    driving = source.this.name.lower() if source is not None else ""
    names = {table.name.lower() for table in select.find_all(exp.Table)}
    wanted = [dictionary.physical_name(alias, company) for alias in entity.reads]
    if driving != wanted[0]:
        yield _wrong(entity, None, f"must be driven by {entity.reads[0]}")
    if names != set(wanted):
        yield _wrong(entity, None, f"must read {', '.join(entity.reads)} and no other table")


def _columns_exist(entity: Entity, select: exp.Select, company: str) -> Iterator[Finding]:
    control = set().union(*_CONTROL.values())
    known = {
        dictionary.physical_name(alias, company): control | set(fields) for alias, fields in dictionary.fields().items()
    }
    unknown = set()
    for scope in traverse_scope(select):
        for column in scope.columns:
            source = _named(scope, column.table)
            if isinstance(source, exp.Table):
                found = column.name in known.get(source.name.lower(), ())
            else:
                query = source.expression if source is not None else None
                found = isinstance(query, exp.Query) and column.name in query.named_selects
            if not found:
                unknown.add(column.sql())
    for name in sorted(unknown):
        yield _wrong(entity, None, f"names {name}, which the PLS dictionary does not have in that table")


def _named(scope: Scope | None, alias: str) -> exp.Table | Scope | None:
    """What an alias stands for, in this query or, for a correlated one, in those around it."""
    while scope is not None:
        if alias in scope.sources:
            source = scope.sources[alias]
            return source if isinstance(source, exp.Table | Scope) else None
        scope = scope.parent
    return None


def _joins_and_filter(entity: Entity, select: exp.Select) -> Iterator[Finding]:
    equalities = {
        frozenset((node.left.name, node.right.name))
        for join in select.args.get("joins") or ()
        for node in join.find_all(exp.EQ)
    }
    for column in entity.columns:
        for own, other in column.source.join:
            if frozenset((own, other)) not in equalities:
                yield _wrong(entity, column.alias, f"must be joined on {own} = {other}")
    if any(join.side != "LEFT" for join in select.args.get("joins") or ()):
        yield _wrong(entity, None, "must join with LEFT JOIN: a missing row never drops the driving one")
    if bool(select.args.get("where")) != bool(entity.row_filter):
        yield _wrong(entity, None, f"must {'have its' if entity.row_filter else 'not have a'} row filter")


def _portable(entity: Entity, select: exp.Select) -> Iterator[Finding]:
    for function in select.find_all(exp.Func):
        if not isinstance(function, _PORTABLE) and function.name.upper() not in _PORTABLE_BY_NAME:
            yield _wrong(entity, None, f"uses {function.sql_name()}, which is not on the list of portable functions")
    for star in select.find_all(exp.Star):
        yield _wrong(entity, None, f"uses {star.sql()}: name every column")
    names = {node.name for node in select.find_all(exp.Identifier)}
    for name in sorted(name for name in names if len(name.encode()) > MAX_VIEW_NAME):
        yield _wrong(entity, None, f"names {name}, longer than {MAX_VIEW_NAME} bytes")


def _wrong(entity: Entity, alias: str | None, what: str) -> Finding:
    subject = f"column {alias} {what}" if alias else what
    return Finding(
        entity.view, alias, "error", f"The view's text is wrong: {subject}.", f"Correct views_sql/{entity.view}.sql."
    )
