"""The views in a live ERP: installing them on PostgreSQL, checking them on any."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection, errors

from hat_etl.entities.model import Entity
from hat_etl.errors import ConfigurationError, DecisionNeeded, SourceError
from hat_etl.source import views
from hat_etl.source.erp import open_source
from hat_etl.source.postgresql import PostgresSource, tables, tables_read
from hat_etl.source.reader import EVERY_ALIAS, EVERY_VIEW, Tables, quote
from hat_etl.source.view_check import Finding, compare_tables, concatenated, inspect
from hat_etl.source.view_text import check_text
from hat_etl.tenants.config import Dialect, Tenant

_DEPENDENTS = """
SELECT DISTINCT r.ev_class::regclass::text
FROM pg_depend d
JOIN pg_rewrite r ON r.oid = d.objid
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = to_regclass(%s) AND r.ev_class <> d.refobjid
ORDER BY 1
"""
_GRANTS = """
SELECT given.attname, privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
       CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_class c
CROSS JOIN LATERAL (SELECT NULL::name, c.relacl
                    UNION ALL SELECT attname, attacl FROM pg_attribute WHERE attrelid = c.oid) given (attname, acl)
CROSS JOIN LATERAL aclexplode(given.acl)
WHERE c.oid = to_regclass(%s) AND grantee <> c.relowner
"""
"""Those on the whole view, without a column, and those on single columns."""
_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
_LOCK_TIMEOUT = "15s"
"""A view that somebody reads cannot be remade; waiting longer would make other readers queue behind us."""


@dataclass(frozen=True)
class Installation:
    """What ``install`` did."""

    views: tuple[str, ...]
    remade: tuple[str, ...]
    """Views whose columns had changed: dropped and created again, with the grants that others had on them."""
    stampless: tuple[str, ...]
    """Aliases without S_T_A_M_P_: their views show no Carimbo."""
    emptied: tuple[str, ...]
    """View and column of what is shown empty, for its field is a memo."""


@dataclass(frozen=True)
class Check:
    """Findings of ``check``, and whether the live database was asked as well."""

    live: bool
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)


@dataclass(frozen=True)
class Known:
    """What is known of the tables before views of them are made, and how."""

    found: views.Found
    note: str


def stampless(found: Tables) -> frozenset[str]:
    """Aliases of the tables that have no S_T_A_M_P_."""
    return frozenset(alias for alias, fields in found.items() if views.STAMP_FIELD not in fields)


def memos(tenant: Tenant, found: Tables) -> frozenset[str]:
    """Fields that the views read and that are memos."""
    read = {name for entity in views.wanted(tenant) for name in views.fields_read(entity)}
    return frozenset(name for fields in found.values() for name in read & fields.keys() if fields[name].is_memo)


def wide(found: Tables) -> frozenset[str]:
    """Fields that stand side by side with others in a column of a view, and are longer than that leaves room for."""
    fields = {name: live for table in found.values() for name, live in table.items()}
    return frozenset(
        name for name, size in side_by_side().items() if name in fields and (fields[name].width or 0) > size
    )


def side_by_side() -> dict[str, int]:
    """The fields that make up a number together with others, with their published sizes."""
    columns = (column for entity in EVERY_VIEW for column in entity.columns if column.source.is_concatenation)
    return {field: size for column in columns for field, size in concatenated(column).items()}


def known(
    tenant: Tenant, dialect: Dialect, stamps: str, more_memos: Collection[str] = (), more_wide: Collection[str] = ()
) -> Known:
    """For rendering: ``all`` or ``none`` have the stamp; ``auto`` asks the database, if it can be reached.

    Memos and fields that are longer than published are those that it tells of, and the ``more_`` ones.
    """
    tables = _tables(tenant, dialect)
    without = stampless(tables)
    if stamps == "all":
        without, note = frozenset(), "Every table has the column S_T_A_M_P_, as asked."
    elif stamps == "none":
        without = frozenset(EVERY_ALIAS)
        note = "No view shows a Carimbo, as asked: every synchronisation reads all rows."
    elif tables:
        listed = ", ".join(sorted(without)) or "none"
        note = f"As the database says, tables without the column S_T_A_M_P_: {listed}."
    else:
        note = (
            "The database was not asked: every table is taken to have the column S_T_A_M_P_. "
            "Where some have not, render with --stamps none."
        )
    found = views.Found(without, memos(tenant, tables).union(more_memos), wide(tables).union(more_wide))
    if found.memos:
        note += f" Memos, which are shown empty where HAT allows it: {', '.join(sorted(found.memos))}."
    if found.wide:
        note += f" Longer than published; rows with a longer value are rejected: {', '.join(sorted(found.wide))}."
    untold = {field: size for field, size in side_by_side().items() if field[:3] not in tables}
    if untold and not more_wide:
        listed = ", ".join(f"{field} {size}" for field, size in untold.items())
        note += (
            f" Of these fields the database has not told the length: {listed}. Where one is longer than that, render"
            " with --wide FIELD, for the view would cut it off."
        )
    return Known(found, note)


def _tables(tenant: Tenant, dialect: Dialect) -> Tables:
    """The PLS tables as the database shows them; none where it cannot be asked, for rendering works offline."""
    if tenant.erp.dialect != dialect:
        return {}
    try:
        with closing(open_source(tenant, f"hat-etl views render {tenant.name}")) as source:
            return source.fields()
    except (ConfigurationError, SourceError):
        return {}


def install(tenant: Tenant, reader: str | None = None) -> Installation:
    """Make or replace all views in one transaction, so that either all are new or nothing has changed."""
    if tenant.erp.dialect != "postgresql":
        raise ConfigurationError(
            "Views are installed by hat_etl on PostgreSQL only.",
            f"Give the DBA the output of: hat-etl views render {tenant.name}",
            tenant=tenant.name,
        )
    with _connected(tenant) as connection, _reported(tenant, None):
        fields = tables(connection, tenant)
        _require_tables(tenant, fields)
        _refuse_others(tenant, connection)
        found = views.Found(stampless(fields), memos(tenant, fields), wide(fields))
        user = views.reading_user(tenant, "postgresql", reader)
        remade = []
        with connection.transaction():
            _run(connection, f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            _prepare_schema(connection, tenant, user)
            for entity in views.wanted(tenant):
                with _reported(tenant, entity):
                    if _make(connection, entity, tenant, found):
                        remade.append(entity.view)
                    _run(connection, views.comment_view(entity, tenant, "postgresql"))
                    if user != connection.info.user:
                        _run(connection, views.grant_view(entity, tenant, "postgresql", user))
    wanted = views.wanted(tenant)
    return Installation(
        tuple(entity.view for entity in wanted),
        tuple(remade),
        tuple(sorted(found.stampless)),
        tuple(f"{entity.view}.{column.alias}" for entity in wanted for column in views.emptied(entity, found.memos)),
    )


def check(tenant: Tenant, dialect: Dialect, offline: bool = False) -> Check:
    """The texts for ``dialect``; then, unless ``offline``, the live views."""
    findings = [finding for entity in views.wanted(tenant) for finding in check_text(entity, tenant, dialect)]
    if offline:
        return Check(False, findings)
    try:
        tenant.erp.url.resolve()
    except ConfigurationError as error:
        findings.append(
            Finding("all", None, "info", f"The live views were not checked. {error.cause}", error.next_step)
        )
        return Check(False, findings)
    with closing(open_source(tenant, f"hat-etl views check {tenant.name}")) as source:
        for entity in views.wanted(tenant):
            try:
                shape = source.describe(entity)
            except SourceError as error:
                if error.table is None:
                    raise
                findings.append(Finding(entity.view, None, "error", error.cause, error.next_step))
            else:
                findings.extend(inspect(source, tenant, shape))
    return Check(True, findings)


@contextmanager
def _connected(tenant: Tenant) -> Iterator[Connection[Any]]:
    with closing(PostgresSource(tenant, f"hat-etl views install {tenant.name}")) as source:
        yield source.control()


def _run(connection: Connection[Any], statement: str) -> None:
    connection.execute(statement.encode())


def _require_tables(tenant: Tenant, found: Tables) -> None:
    """Everything that is missing at once, rather than one table for each attempt."""
    missing = []
    table = None
    for entity in views.wanted(tenant):
        absent = [alias for alias in entity.reads if alias not in found]
        fields = [name for name in views.fields_read(entity) if name[:3] in found and name not in found[name[:3]]]
        if absent:
            names = ", ".join(views.table_name(alias, tenant, "postgresql") for alias in absent)
            missing.append(f"{entity.view} needs table {names}")
        if fields:
            missing.append(f"{entity.view} needs column {', '.join(fields)}")
        if absent or fields:
            table = table or entity.table
    if missing:
        raise SourceError(
            f"The ERP lacks what these views read: {'; '.join(missing)}. No view was made.",
            "See that [erp] schema and company name the right tables and that the login may see them. Where the "
            "operator's PLS has no such table or column, correct the view's text in views_sql.",
            tenant=tenant.name,
            table=table,
        )


def _refuse_others(tenant: Tenant, connection: Connection[Any]) -> None:
    """Views of another tenant are left alone."""
    (here,) = connection.execute("SELECT current_schema()").fetchall()[0]
    owner, wanted = tenant.erp.view_owner or str(here), {entity.view.lower(): entity for entity in views.wanted(tenant)}
    for (schema, view), read in sorted(tables_read(connection, wanted).items()):
        entity = wanted[view.lower()]
        faults = compare_tables(entity, tenant, read) if schema.lower() == owner.lower() else []
        if faults:
            raise DecisionNeeded(
                f"{entity.view} is there already, in schema {schema}. {faults[0].message} No view was changed.",
                f"Where another tenant uses these views, give [erp] views_schema in the file of {tenant.name} a name of"
                " its own. Where nobody does, have them dropped first.",
                tenant=tenant.name,
                table=entity.table,
            )


def _prepare_schema(connection: Connection[Any], tenant: Tenant, user: str) -> None:
    schema = tenant.erp.view_owner
    if schema is None:
        return
    # Only if it is not there: IF NOT EXISTS would still ask for the right to create one.
    if connection.execute("SELECT to_regnamespace(%s) IS NULL", (schema,)).fetchone() == (True,):
        _run(connection, f"CREATE SCHEMA {schema}")
    if user != connection.info.user:
        _run(connection, f"GRANT USAGE ON SCHEMA {schema} TO {views.identifier(user, 'postgresql')}")


def _make(connection: Connection[Any], entity: Entity, tenant: Tenant, found: views.Found) -> bool:
    """Create or replace one view; True when it had to be dropped, since PostgreSQL replaces only like by like."""
    try:
        with connection.transaction():
            _run(connection, views.create_view(entity, tenant, "postgresql", found, replace=True))
        return False
    except errors.InvalidTableDefinition:
        pass
    name = views.view_name(entity, tenant)
    dependents = [str(row[0]) for row in connection.execute(_DEPENDENTS, (name,))]
    if dependents:
        raise SourceError(
            f"The columns of view {entity.view} have changed, and it cannot be made anew while others rest on it: "
            f"{', '.join(dependents)}. No view was changed.",
            "Ask their owner to drop them, install the views, and have them created again.",
            tenant=tenant.name,
            table=entity.table,
        )
    grants = connection.execute(_GRANTS, (name,)).fetchall()
    _run(connection, f"DROP VIEW {name}")
    _run(connection, views.create_view(entity, tenant, "postgresql", found, replace=False))
    there = {str(row[0]) for row in connection.execute(_COLUMNS, (name,))}
    for column, privilege, grantee, option in grants:
        if column is None or column in there:
            of = f" ({quote(column)})" if column else ""
            _run(connection, f"GRANT {privilege}{of} ON {name} TO {grantee}{option}")
    return True


@contextmanager
def _reported(tenant: Tenant, entity: Entity | None) -> Iterator[None]:
    """Errors of the database as SourceError. Statements that define objects hold no data, nor do their errors."""
    try:
        yield
    except psycopg.Error as error:
        what = f"View {entity.view}" if entity else "The views"
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise SourceError(
            f"{what} could not be made: {error.diag.message_primary or type(error).__name__}{state}. No view was"
            " changed.",
            _mend(error, tenant),
            tenant=tenant.name,
            table=entity.table if entity else None,
        ) from None


def _mend(error: psycopg.Error, tenant: Tenant) -> str:
    match error:
        case errors.InsufficientPrivilege():
            return (
                f"The ERP login has no right to do this. Give the DBA the output of: hat-etl views render {tenant.name}"
            )
        case errors.UndefinedObject():
            return "Name an existing user with --reader."
        case errors.LockNotAvailable():
            return "Somebody is reading the views. Install them when no load is running."
        case errors.WrongObjectType():
            return "Something else has the view's name. Let [erp] views_schema name another schema."
        case psycopg.OperationalError():
            return f"See that the ERP can be reached, then run: hat-etl views install {tenant.name}"
        case _:
            return f"Correct the text in views_sql or the tables, then run: hat-etl views install {tenant.name}"
