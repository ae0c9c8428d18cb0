"""The doctor: tries everything that a load needs and says of each failure what causes it and what mends it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import STAMP, Entity, Kind
from hat_etl.errors import HatEtlError
from hat_etl.source.erp import open_source
from hat_etl.source.reader import Source, SourceHealth, ViewShape
from hat_etl.source.view_check import inspect
from hat_etl.target import condition, indexing, ledger, staging, swap
from hat_etl.target.database import Connection, TenantDatabase, errors, may_shorten_log
from hat_etl.target.dependents import dependents
from hat_etl.target.schema import STAGE_SCHEMA, TECHNICAL_SCHEMA
from hat_etl.target.technical import VERSION_TABLE, latest
from hat_etl.tenants.config import Tenant

CLOCK_TOLERANCE = 60.0
"""Seconds by which the ERP's clock may differ from ours before it is worth a word."""

WORTH_AN_INDEX = 50_000
"""Rows from which a sync is noticeably quicker with an index on the stamp."""

_KNOWN_ENCODINGS = ("UTF8", "WIN1252", "LATIN1", "SQL_ASCII")


@dataclass(frozen=True)
class Check:
    """One thing tried: ``detail`` says what was seen; a failure or warning also has a ``mend``.

    ``exit_code`` is that of the error which kept its subject from being looked at, None otherwise.
    """

    subject: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    mend: str = ""
    exit_code: int | None = None


def examine(tenant: Tenant) -> list[Check]:
    """Every check that can be made; one that cannot, because an earlier one failed, is left out."""
    checks: list[Check] = []
    shapes: list[ViewShape] = []
    try:
        with closing(open_source(tenant, f"hat-etl doctor {tenant.name}")) as source:
            for check in _erp(tenant, source, shapes):
                checks.append(check)
    except HatEtlError as error:
        checks.append(Check("ERP", "failed", error.cause, error.next_step, error.exit_code))
    try:
        database = TenantDatabase(tenant)
        with errors(tenant.name, again=f"hat-etl doctor {tenant.name}"), database.connect() as connection:
            checks += _target(database, connection, shapes)
    except HatEtlError as error:
        checks.append(Check("tenant database", "failed", error.cause, error.next_step, error.exit_code))
    return checks


def _erp(tenant: Tenant, source: Source, shapes: list[ViewShape]) -> Iterator[Check]:
    health = source.health()
    yield Check("ERP: reachable, login", "ok", f"{health.server}, as {health.login}")
    yield _encoding(health)
    yield _clock(health)
    yield _connections(tenant, health)
    yield _transactions(tenant, source, health)
    yield _stamp_indexes(source)
    for entity in ENTITIES:
        try:
            shape = source.describe(entity)
        except HatEtlError as error:
            yield Check(f"view {entity.view}", "failed", error.cause, error.next_step, error.exit_code)
            continue
        shapes.append(shape)
        findings = [finding for finding in inspect(source, tenant, shape) if finding.level != "info"]
        for finding in findings:
            state: Literal["failed", "warning"] = "failed" if finding.level == "error" else "warning"
            yield Check(f"view {entity.view}", state, finding.message, finding.next_step)
        if any(finding.level == "error" for finding in findings):
            continue
        yield Check(f"view {entity.view}", "ok", f"about {shape.estimated_rows:,} rows")
        yield from _stamps(source, shape, entity)
    yield _moment(source)


def _encoding(health: SourceHealth) -> Check:
    subject = "ERP: text encoding"
    if health.encoding in _KNOWN_ENCODINGS:
        how = "" if health.encoding in ("UTF8", "WIN1252") else "; its bytes are read as CP1252"
        return Check(subject, "ok", f"{health.encoding}{how}")
    return Check(
        subject,
        "warning",
        f"The server is encoded in {health.encoding}, which Protheus does not use.",
        "Look at names with accents in HAT after the load; ask the DBA which code page Protheus writes.",
    )


def _clock(health: SourceHealth) -> Check:
    difference = (health.now - datetime.now(UTC)).total_seconds()
    if abs(difference) <= CLOCK_TOLERANCE:
        return Check("ERP: clock", "ok", f"{difference:+.1f} s from ours")
    return Check(
        "ERP: clock",
        "warning",
        f"The ERP's clock differs from this machine's by {difference:+.0f} s.",
        "Moments in reports follow the ERP's clock. Have both machines set by NTP.",
    )


def _connections(tenant: Tenant, health: SourceHealth) -> Check:
    subject, wanted = "ERP: connections", tenant.erp.connections
    if health.free_connections is None or health.free_connections >= wanted:
        return Check(subject, "ok", f"{wanted} allowed by the tenant's file")
    return Check(
        subject,
        "warning",
        f"The file allows {wanted} connections, the server has {health.free_connections} free"
        " for this login and database.",
        "Lower connections in [erp], load when the ERP is quiet, or have the DBA raise the limit of the login"
        " (CONNECTION LIMIT), the database or the server.",
    )


def _transactions(tenant: Tenant, source: Source, health: SourceHealth) -> Check:
    subject = "ERP: open transactions"
    if source.sees_transactions():
        return Check(subject, "ok", "their start can be seen; syncs go no further than the oldest")
    return Check(
        subject,
        "warning",
        "The login is not told when transactions of others began. " + source.unseen_transactions,
        source.transactions_grant(health.login),
    )


def _moment(source: Source) -> Check:
    subject, moment = "ERP: one moment for all reads", source.one_moment()
    if moment.drawback:
        return Check(subject, "warning", f"{moment.how}: {moment.drawback}", moment.mend)
    return Check(subject, "ok", moment.how)


def _stamp_indexes(source: Source) -> Check:
    subject = "ERP: indexes on S_T_A_M_P_"
    found = source.unindexed_stamps()
    if found is None:
        return Check(subject, "ok", "cannot be told: the login is not shown the tables below the views")
    missing = [table for table in found if table.rows >= WORTH_AN_INDEX]
    if not missing:
        return Check(subject, "ok", "no large table is without")
    names = ", ".join(f"{table.table} ({table.rows:,} rows)" for table in missing)
    return Check(
        subject,
        "warning",
        f"Every sync looks at all rows of {names}.",
        "Let the DBA run: " + " ".join(table.ddl for table in missing),
    )


def _stamps(source: Source, shape: ViewShape, entity: Entity) -> Iterator[Check]:
    subject = f"stamps {entity.view}"
    mend = "A load works without. For quick syncs have S_T_A_M_P_ switched on (UseRowStamp, TCConfig) and filled."
    if shape.named(STAMP) is None:
        yield Check(subject, "warning", "The view has no Carimbo.", mend)
        return
    seen, stamped = source.sample_stamps(shape)
    if seen and stamped < seen:
        yield Check(subject, "warning", f"Of {seen:,} rows looked at, {seen - stamped:,} have no Carimbo.", mend)
    else:
        yield Check(subject, "ok", f"{seen:,} rows looked at, all stamped")


def _target(database: TenantDatabase, connection: Connection, shapes: Sequence[ViewShape]) -> Iterator[Check]:
    info = connection.info
    yield Check(
        "tenant database: reachable, login",
        "ok",
        f"PostgreSQL {info.server_version // 10000}, database {info.dbname}, as {info.user}",
    )
    encoding = info.parameter_status("server_encoding")
    if encoding == "UTF8":
        yield Check("tenant database: text encoding", "ok", "UTF8")
    else:
        yield Check(
            "tenant database: text encoding",
            "failed",
            f"The database is encoded in {encoding}; HAT's text needs UTF8.",
            "Have the database made anew with ENCODING 'UTF8'.",
        )
    yield _hat_connections(database, connection)
    # Before what reads tables: where a right is lacking, it says which.
    yield _rights(database, connection)
    yield _identity(database, connection)
    yield _version(connection)
    yield _log(connection)
    yield _space(connection, shapes)
    if staging.find(connection) is not None:
        yield Check(
            "tenant database: unfinished load",
            "warning",
            "A load was broken off; what it staged is still there.",
            f"hat-etl load {database.tenant.name} --resume, or --restart",
        )
    yield from _tables(database, connection)
    for table in sorted(swap.existing(connection, database.schema)):
        found = dependents(connection, BY_TABLE[table], database.schema)
        if found:
            yield Check(
                f"tenant database: {table}",
                "warning",
                f"Others have built on it ({', '.join(found)}): a load rewrites all tables in place.",
                "Nothing to mend; the load holds its locks for longer. Rows that others refer to must stay, and what"
                " they have added must let in every row.",
            )


def _hat_connections(database: TenantDatabase, connection: Connection) -> Check:
    subject = "tenant database: connections"
    # As many as read the ERP, or build indexes, and the one that holds the tenant's lock.
    wanted = max(database.tenant.erp.connections, indexing.AT_ONCE) + 1
    (free,) = connection.execute(
        "SELECT least(current_setting('max_connections')::int - count(*),"
        " (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user AND NOT rolsuper)"
        " - count(*) FILTER (WHERE usename = session_user),"
        " (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())"
        " - count(*) FILTER (WHERE datname = current_database())) + 1 FROM pg_stat_activity"  # ours will be free
    ).fetchall()[0]
    if free >= wanted:
        return Check(subject, "ok", f"a run opens {wanted} at most")
    return Check(
        subject,
        "warning",
        f"A run opens up to {wanted} connections, the server has {free} free for this login and database.",
        f"Lower connections in [erp] where they are more than {indexing.AT_ONCE}, run when HAT is quiet, or have the"
        " DBA raise the limit of the login (CONNECTION LIMIT), the database or the server.",
    )


def _tables(database: TenantDatabase, connection: Connection) -> Iterator[Check]:
    """What is wrong with HAT's tables, if anything is."""
    subject, schema, name = "tenant database: HAT's tables", database.schema, database.tenant.name
    loaded = ledger.loaded(connection)
    if lacks := condition.lacking(connection, schema, loaded):
        lacked = f"HAT lacks what was loaded: {condition.told_lacking(schema, lacks)}."
        yield Check(subject, "failed", lacked, condition.mend_lacking(name, lacks, loaded))
    for (table, column), (kind, alter) in condition.retyped(connection, schema, BY_TABLE).items():
        yield Check(
            subject,
            "failed",
            f"Column {schema}.{table}.{column} is {kind} and must be {BY_TABLE[table][column].sql_type}.",
            f"See who changes HAT's tables. Let the DBA run: {alter}",
        )


def _identity(database: TenantDatabase, connection: Connection) -> Check:
    subject, owner = "tenant database: identity", database.owner(connection)
    mine = (database.tenant.name, database.tenant.ans_registry)
    if owner is None:
        return Check(subject, "ok", "nobody's yet; the first load writes the identity row")
    if owner == mine:
        return Check(subject, "ok", f"{owner[0]} (ANS {owner[1]})")
    return Check(
        subject,
        "failed",
        f"The database belongs to tenant {owner[0]} (ANS {owner[1]}), not to {mine[0]} (ANS {mine[1]}).",
        "Correct [hat] url or ans_registry in the tenant's file.",
    )


def _version(connection: Connection) -> Check:
    subject, known, table = "tenant database: version", latest(), f"{TECHNICAL_SCHEMA}.{VERSION_TABLE}"
    if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
        return Check(subject, "ok", f"none yet; the first load makes schema {TECHNICAL_SCHEMA} {known}")
    row = connection.execute(f"SELECT version_num FROM {table}").fetchone()
    found = str(row[0]) if row else "none"
    if row is None or found < known:
        return Check(subject, "ok", f"schema {TECHNICAL_SCHEMA} {found}; the next run brings it to {known}")
    if found == known:
        return Check(subject, "ok", f"schema {TECHNICAL_SCHEMA} {known}")
    return Check(
        subject,
        "failed",
        f"A later version of hat_etl keeps this database (tables of schema {TECHNICAL_SCHEMA}: {found}; this one knows"
        f" {known}).",
        "Install the later version on this machine, too.",
    )


def _rights(database: TenantDatabase, connection: Connection) -> Check:
    subject, name = "tenant database: rights", database.tenant.name
    try:
        # Tried for real and rolled back: the only answer that counts grants, ownership and limits alike.
        with connection.transaction(force_rollback=True):
            # Loads wait behind what this transaction makes.
            connection.execute("SET LOCAL lock_timeout = '2s'")
            for schema in (TECHNICAL_SCHEMA, STAGE_SCHEMA, database.schema):
                if connection.execute("SELECT to_regnamespace(%s)", (schema,)).fetchone() == (None,):
                    connection.execute(f"CREATE SCHEMA {schema}")
                connection.execute(f"CREATE TABLE {schema}.doctor_probe (n int)")
            for table in sorted(swap.existing(connection, database.schema)):
                connection.execute(f"LOCK TABLE {database.schema}.{table} IN ROW EXCLUSIVE MODE NOWAIT")
                connection.execute(f"COMMENT ON TABLE {database.schema}.{table} IS ''")
            for (table,) in connection.execute(
                "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = %s", (TECHNICAL_SCHEMA,)
            ).fetchall():
                connection.execute(f"LOCK TABLE {TECHNICAL_SCHEMA}.{table} IN ROW EXCLUSIVE MODE NOWAIT")
    except psycopg.errors.LockNotAvailable:
        return Check(
            subject,
            "warning",
            "A table of HAT is in use by another session: not everything could be tried.",
            f"Run it again later: hat-etl doctor {name}",
        )
    except psycopg.errors.InsufficientPrivilege as error:
        return Check(
            subject,
            "failed",
            f"The login lacks a right ({error.diag.message_primary}).",
            _grants(database, connection),
        )
    except psycopg.errors.ReadOnlySqlTransaction:
        return Check(
            subject,
            "failed",
            "The database may only be read: its server is a standby, or it is set so.",
            "Let [hat] url name the primary; there, let the DBA run:"
            f" ALTER DATABASE {_quoted(connection.info.dbname)} SET default_transaction_read_only = off;",
        )
    except psycopg.Error as error:
        return Check(
            subject, "failed", f"A trial failed with SQLSTATE {error.sqlstate}.", "Ask the DBA of the database."
        )
    return Check(subject, "ok", "may make schemas, make tables and replace HAT's")


def _grants(database: TenantDatabase, connection: Connection) -> str:
    """What the DBA runs so that the login has every right; what it has already does no harm."""
    schemas = [TECHNICAL_SCHEMA, STAGE_SCHEMA, database.schema]
    # A load drops the stage, and takes the place of HAT's tables: these have to be its own.
    foreign = connection.execute(
        "SELECT format('ALTER TABLE %%I.%%I OWNER TO', n.nspname, c.relname)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE')"
        " AND (n.nspname <> %(hat)s OR c.relname = ANY (%(tables)s))"
        " UNION ALL SELECT format('ALTER SCHEMA %%I OWNER TO', nspname) FROM pg_namespace"
        " WHERE nspname = %(stage)s AND NOT pg_has_role(nspowner, 'USAGE')"
        " UNION ALL SELECT format('GRANT USAGE, CREATE ON SCHEMA %%I TO', nspname) FROM pg_namespace"
        " WHERE nspname = ANY (%(schemas)s) AND NOT (has_schema_privilege(oid, 'USAGE')"
        " AND has_schema_privilege(oid, 'CREATE')) ORDER BY 1",
        {"schemas": schemas, "hat": database.schema, "tables": list(BY_TABLE), "stage": STAGE_SCHEMA},
    ).fetchall()
    statements = [f"GRANT CREATE ON DATABASE {_quoted(connection.info.dbname)} TO", *(str(row[0]) for row in foreign)]
    return " ".join(f"{statement} {_quoted(connection.info.user)};" for statement in statements)


def _quoted(name: str) -> str:
    """The name of a database or a role in a statement for the DBA."""
    return sql.Identifier(name).as_string(None)


def _log(connection: Connection) -> Check:
    subject, info = "tenant database: log", connection.info
    (terse,) = connection.execute(
        f"SELECT current_setting('log_error_verbosity') = 'terse' OR {may_shorten_log(info.server_version)}"
    ).fetchall()[0]
    if terse:
        return Check(subject, "ok", "the server writes no key of a row into it")
    grant = f"GRANT SET ON PARAMETER log_error_verbosity TO {_quoted(info.user)};"
    alter = f"ALTER DATABASE {_quoted(info.dbname)} SET log_error_verbosity = terse;"
    return Check(
        subject,
        "warning",
        "Where two rows have one key, or a row lacks its parent, the server writes that key into its log.",
        f"Let the DBA run: {grant if info.server_version >= 150000 else alter}",
    )


def _space(connection: Connection, shapes: Sequence[ViewShape]) -> Check:
    subject = "tenant database: free space"
    # Staged rows, their keys and the write-ahead log; the old tables stay until the swap.
    needed = 3 * sum(shape.estimated_rows * _row_bytes(shape.entity) for shape in shapes)
    need = f"a load needs about {needed / 2**30:.1f} GiB"
    try:
        with errors("", again=""):
            row = connection.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'").fetchone()
    except HatEtlError:
        row = None
    folder = Path(str(row[0])) if row and row[0] else None
    if folder is None or not os.access(folder.parent, os.R_OK) or not folder.exists():
        return Check(subject, "ok", f"cannot be seen from here; {need}")
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if free > needed:
        return Check(subject, "ok", f"{free / 2**30:.1f} GiB free; {need}")
    return Check(subject, "failed", f"{free / 2**30:.1f} GiB free; {need}.", "Free or add space before a load.")


def _row_bytes(entity: Entity) -> int:
    """Rough size of a stored row in bytes: half of each text's width, the rest at full."""
    fixed = {Kind.DATE: 4, Kind.FLAG: 1, Kind.SMALLINT: 2, Kind.INTEGER: 4, Kind.AMOUNT: 10}
    return 60 + sum(fixed.get(column.kind, column.width // 2 + 1) for column in entity.columns)
