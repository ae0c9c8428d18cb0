"""The extraction views as SQL: one portable SELECT per HAT table in ``views_sql``, rendered for a tenant.

The texts name tables as ``{BA1}`` and bytewise comparison as ``{bytes x.FIELD}``; everything else in them is read
alike by PostgreSQL and Oracle.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from hat_etl.entities import ENTITIES, billing
from hat_etl.entities.model import STAMP, Column, Entity, Kind
from hat_etl.errors import ConfigurationError
from hat_etl.protheus.dictionary import physical_name
from hat_etl.tenants import oracle_address
from hat_etl.tenants.config import POSTGRESQL_WORDS, Dialect, Tenant

STAMP_FIELD = "S_T_A_M_P_"

_BYTES = {"postgresql": r'\1 COLLATE "C"', "oracle": r"NLSSORT(\1, 'NLS_SORT=BINARY')"}
_PLAIN = {"postgresql": r"[a-z_][a-z0-9_]*", "oracle": r"[A-Za-z][A-Za-z0-9_$#]*"}
"""Names that need no quotes: PostgreSQL folds down, so that only small letters stand for themselves."""
NO_USERS = frozenset({"public", "none", "current_role", "current_user", "session_user", "system_user"})
"""Whom a grant takes for everybody, for nobody, or for whoever makes it; the first two in quotes as well."""


@dataclass(frozen=True)
class Found:
    """In what an ERP's tables are not as PLS publishes them: the views follow."""

    stampless: frozenset[str] = frozenset()
    """Aliases of tables without S_T_A_M_P_."""
    memos: frozenset[str] = frozenset()
    """Fields that are no texts."""
    wide: frozenset[str] = frozenset()
    """Fields that stand side by side with others in a column, and are longer than published."""


@cache
def _folder() -> Traversable:
    """``views_sql`` as it is packed into a wheel, or that of the source tree."""
    packed = files("hat_etl") / "views_sql"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "views_sql"


def wanted(tenant: Tenant) -> tuple[Entity, ...]:
    """The entities whose views the tenant needs: those of the HAT tables, and those of billing where it reads them."""
    return ENTITIES + billing.VIEWS if tenant.billing.ask == "views" else ENTITIES


@cache
def template(entity: Entity) -> str:
    """The SELECT of the entity's view with its placeholders, without the comment at its head."""
    text = (_folder() / f"{entity.view}.sql").read_text(encoding="utf-8")
    return re.sub(r"\A(?:--.*\n)+", "", text).strip()


def fields_read(entity: Entity) -> tuple[str, ...]:
    """Every PLS field that the view names, also in joins and filters. A field's first three letters name its table."""
    return tuple(dict.fromkeys(re.findall(r"\b[A-Z][A-Z0-9]{2}_[A-Z0-9_]+", template(entity))))


def emptied(entity: Entity, memos: Collection[str]) -> tuple[Column, ...]:
    """The columns that the view shows empty when these fields are memos: optional texts, for no memo is read."""
    return tuple(c for c in entity.columns if c.kind is Kind.TEXT and not c.required and c.source.text in memos)


def table_name(alias: str, tenant: Tenant, dialect: Dialect) -> str:
    """The physical table of a Protheus alias, under its schema when the tenant names one."""
    name = physical_name(alias, tenant.erp.company)
    return _qualified(tenant.erp.schema_name, name if dialect == "postgresql" else name.upper())


def view_name(entity: Entity, tenant: Tenant) -> str:
    """The view of the entity, under its schema when the tenant names one."""
    return _qualified(tenant.erp.view_owner, entity.view)


def _qualified(schema: str | None, name: str) -> str:
    return f"{schema}.{name}" if schema else name


def render(
    entity: Entity,
    tenant: Tenant,
    dialect: Dialect,
    found: Found = Found(),
) -> str:
    """The SELECT of the entity's view for one database, whose tables are as ``found``."""
    sql = re.sub(r"\{bytes ([^{}]+)\}", _BYTES[dialect], template(entity))
    sql = re.sub(r"\{(\w+)\}", lambda match: table_name(match[1], tenant, dialect), sql)
    if found.stampless.intersection(entity.reads):
        # One table without stamps hides changes, so that the stamps of the others say nothing either.
        sql = re.sub(rf"^( *)\S.* AS {STAMP}\b", rf"\1CAST(NULL AS TIMESTAMP) AS {STAMP}", sql, flags=re.MULTILINE)
    for field in sorted(found.wide):
        # What is beyond the published size makes the column too long, and the row is rejected; padding would cut it.
        # At the end, so that it never stands in for what another field lacks: a blank then stays inside.
        sql = re.sub(
            rf"RPAD\((\w+\.{field}), (\d+)\).*?(?= AS )",
            lambda part: f"{part[0]} || TRIM(SUBSTR({part[1]}, {int(part[2]) + 1}))",
            sql,
        )
    for column in emptied(entity, found.memos):
        shown = rf"\w+\.{column.source.text} AS {column.alias}\b"
        sql = re.sub(shown, f"CAST(NULL AS VARCHAR(1)) AS {column.alias}", sql)
    return sql


def create_view(entity: Entity, tenant: Tenant, dialect: Dialect, found: Found, *, replace: bool) -> str:
    """The CREATE VIEW statement, without its semicolon."""
    verb = "CREATE OR REPLACE VIEW" if replace else "CREATE VIEW"
    return f"{verb} {view_name(entity, tenant)} AS\n{render(entity, tenant, dialect, found)}"


def comment_view(entity: Entity, tenant: Tenant, dialect: Dialect) -> str:
    """The statement that tells the database what the view is. Oracle comments views as tables."""
    kind = "VIEW" if dialect == "postgresql" else "TABLE"
    return f"COMMENT ON {kind} {view_name(entity, tenant)} IS {literal(describe(entity))}"


def grant_view(entity: Entity, tenant: Tenant, dialect: Dialect, reader: str) -> str:
    """The grant that lets ``reader`` read the view; on Oracle also as of the one moment that a load reads."""
    rights = "SELECT" if dialect == "postgresql" else "SELECT, FLASHBACK"
    return f"GRANT {rights} ON {view_name(entity, tenant)} TO {identifier(reader, dialect)}"


def describe(entity: Entity) -> str:
    """What the view is, in one line."""
    source = "Read by billing" if entity in billing.VIEWS else f"Source of HAT table {entity.table}"
    return f"{source} (hat_etl). {entity.meaning} Grain: {entity.grain}."


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str, dialect: Dialect) -> str:
    """The exact ``name`` of a user or schema as SQL, quoted only where it must be."""
    plain = re.fullmatch(_PLAIN[dialect], name) and name.lower() not in POSTGRESQL_WORDS
    return name if plain else '"' + name.replace('"', '""') + '"'


def reading_user(tenant: Tenant, dialect: Dialect, given: str | None = None) -> str:
    """Who reads the views: ``given``, else the user of the ERP URL when that can be had, else ``HAT_READER``."""
    fold = str.lower if dialect == "postgresql" else str.upper
    if given:
        return fold(given) if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$#]*", given) else given
    try:
        url = tenant.erp.url.resolve()
    except ConfigurationError:
        url = ""
    user = _user(url, tenant.erp.dialect)
    if user and user.lower() in NO_USERS:
        user = None
    return fold("HAT_READER") if not user else user if tenant.erp.dialect == dialect == "postgresql" else fold(user)


def _user(url: str, dialect: Dialect) -> str | None:
    try:
        if dialect == "postgresql":
            return str(conninfo_to_dict(url).get("user") or "") or None
        address = oracle_address.parse(url)
        return None if address is None else address.schema
    except (ProgrammingError, ValueError):
        return None  # Not a connection text at all: whoever connects with it says so.


def script(
    tenant: Tenant,
    dialect: Dialect,
    *,
    reader: str,
    found: Found = Found(),
    note: str = "Every table is taken to have the column S_T_A_M_P_.",
) -> str:
    """All views as a script for a DBA: who runs what, views, comments, grants."""
    parts = _postgresql if dialect == "postgresql" else _oracle
    return "\n".join([*_head(tenant, dialect, reader, note), *parts(tenant, reader, found)]) + "\n"


def _postgresql(tenant: Tenant, reader: str, found: Found) -> Iterator[str]:
    owner = tenant.erp.view_owner
    yield "-- To be run by a user who may read the PLS tables and make views" + (
        f" in schema {owner}." if owner else "."
    )
    if owner is None:
        yield "-- No schema is named in the tenant file: set the search_path to the schema of the PLS tables first."
    yield "-- All or nothing. Where it says that a column of a view cannot be changed, drop that view and run it again."
    yield "BEGIN;"
    yield ""
    if tenant.erp.views_schema:
        yield f"CREATE SCHEMA IF NOT EXISTS {tenant.erp.views_schema};"
    if owner:
        yield f"GRANT USAGE ON SCHEMA {owner} TO {identifier(reader, 'postgresql')};"
    for entity in wanted(tenant):
        yield from _view(entity, tenant, "postgresql", reader, found)
    yield ""
    yield "COMMIT;"


def _oracle(tenant: Tenant, reader: str, found: Found) -> Iterator[str]:
    named, tables_owner = tenant.erp.view_owner, tenant.erp.schema_name
    # Where nobody is named, the views lie with the login that reads them, and are found there only.
    owner = (named or reading_user(tenant, "oracle")).upper()
    if tables_owner is None:
        yield (
            f"-- The tenant file names no schema of the PLS tables: where they are not {_printable(owner)}'s own, set"
            " [erp] schema, or have synonyms made."
        )
    yield "-- Run it again whenever you like: views are replaced, nothing is dropped."
    if tables_owner and owner != tables_owner.upper():
        yield ""
        yield f"-- Part 1, to be run by {tables_owner.upper()}, the owner of the PLS tables (or a DBA):"
        yield f"-- {owner} may make views of them and let others read those."
        for alias in sorted({alias for entity in wanted(tenant) for alias in entity.reads}):
            table = table_name(alias, tenant, "oracle")
            yield f"GRANT SELECT, FLASHBACK ON {table} TO {owner} WITH GRANT OPTION;"
        yield ""
        yield f"-- Part 2, to be run by {owner}, the owner of the views (or a DBA):"
    elif named:
        yield f"-- To be run by {owner} (or a DBA)."
    else:
        yield f"-- To be run by {_printable(owner)}, who reads the views: the tenant file names no schema for them."
    for entity in wanted(tenant):
        # Oracle refuses a grant to oneself (ORA-01749).
        granted = reader if owner != reader.upper() else None
        yield from _view(entity, tenant, "oracle", granted, found)


def _head(tenant: Tenant, dialect: Dialect, reader: str, note: str) -> Iterator[str]:
    database = "PostgreSQL" if dialect == "postgresql" else "Oracle"
    yield f"-- The views through which hat_etl reads tenant {tenant.name}, for {database}."
    yield f"-- They show PLS tables of company {tenant.erp.company} to user {_printable(reader)} and change no data."
    yield f"-- {note}"


def _printable(text: str) -> str:
    """``text`` without anything that would end a comment."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _view(
    entity: Entity,
    tenant: Tenant,
    dialect: Dialect,
    reader: str | None,
    found: Found,
) -> Iterator[str]:
    yield ""
    yield f"-- {entity.view}: {describe(entity)}"
    yield create_view(entity, tenant, dialect, found, replace=True) + ";"
    yield comment_view(entity, tenant, dialect) + ";"
    if reader:
        yield grant_view(entity, tenant, dialect, reader) + ";"
