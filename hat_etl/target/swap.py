"""The swap: staged tables take the place of HAT's tables, all in one transaction.

Readers see all old or all new. Owner and grants of a replaced table are given to its successor. Where others have built
on a table or added to it, all tables stay and are brought to the staged rows instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from psycopg import errors as pg

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity, Parent
from hat_etl.errors import TargetError
from hat_etl.target import sql
from hat_etl.target.database import Connection
from hat_etl.target.dependents import dependents
from hat_etl.target.integrity import (
    HELD_REASON,
    IN_ONE_PASS,
    SOFT_REASON,
    columns_of,
    key_array,
    key_text,
    label,
    orphans,
    tie,
    tie_unless_orphans,
)
from hat_etl.target.rights import give, rights_on
from hat_etl.target.schema import (
    STAGE_SCHEMA,
    add_keys,
    comments,
    constraint_name,
    create_indexes,
    create_key_indexes,
)

_SNAPSHOT_POLLS = 15 * 60 * 10
_LOCK_ATTEMPTS = 60
_LOCK_TIMEOUT = "800ms"
"""Shorter than PostgreSQL's deadlock_timeout, so that it is the swap that gives way and never a reader."""


def existing(connection: Connection, schema: str) -> set[str]:
    """HAT tables that are there now."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p')",
        (schema,),
    ).fetchall()
    present = {str(name) for (name,) in rows}
    return {entity.table for entity in ENTITIES if entity.table in present}


def wait_for_old_snapshots(connection: Connection, tenant: str) -> None:
    """Wait until every transaction that was open when the staged rows became final has ended.

    A reader that took its snapshot before that and touches a table only after the swap would see a part of the rows.
    Raises TargetError after fifteen minutes, naming the session in the way.
    """
    others = connection.execute(
        "SELECT l.virtualtransaction, l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid()"
        " AND a.datname = current_database() AND a.usesysid IS NOT NULL"
    ).fetchall()
    for transaction, pid in others:
        for _ in range(_SNAPSHOT_POLLS):
            still_open = connection.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'virtualxid' AND virtualtransaction = %s)",
                (transaction,),
            ).fetchone()
            if still_open == (False,):
                break
            connection.execute("SELECT pg_sleep(0.1)")
        else:
            raise TargetError(
                f"Session {pid} of the tenant database keeps a transaction open; the new tables wait for its end.",
                f"End that session, then go on with: hat-etl load {tenant} --resume",
                tenant=tenant,
            )


def lock(connection: Connection, schema: str, tables: Sequence[str], tenant: str) -> None:
    """Lock the live tables against readers, giving way and trying again while a reader is in one of them."""
    if not tables:
        return
    names = ", ".join(f"{schema}.{table}" for table in tables)
    for _ in range(_LOCK_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
                connection.execute("SET LOCAL lock_timeout = 0")
                return
        except (pg.LockNotAvailable, pg.DeadlockDetected):
            continue
    raise TargetError(
        f"HAT's tables stayed in use through {_LOCK_ATTEMPTS} attempts to lock them.",
        f"Let the long queries on them end, then go on with: hat-etl load {tenant} --resume",
        tenant=tenant,
    )


def replace(
    connection: Connection,
    entities: Sequence[Entity],
    schema: str,
    live: set[str],
    about: Callable[[str], AbstractContextManager[None]],
) -> list[str]:
    """Put the staged tables in the place of the live ones; returns the tables rewritten because of dependents.

    The caller holds the locks and the transaction. Foreign keys that cross from staged to live tables, in either
    direction, are left to ``reconnect``. ``about`` tells of errors with the table that it is given.
    """
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    replaced = [entity for entity in entities if entity.table in live]
    # All or none: a transaction whose snapshot is older than this commit sees old rows in rewritten tables and new ones
    # in swapped tables, so the two ways may not be mixed.
    rewritten = replaced if any(dependents(connection, entity, schema) for entity in replaced) else []
    for entity in ENTITIES:
        if entity.table in live:
            _drop_foreign_keys(connection, entity, schema, {other.table for other in replaced})
    for entity in rewritten:
        with about(entity.table):
            _rewrite(connection, entity, schema)
        for index in create_indexes(entity, schema):
            connection.execute(index)
    for entity in entities:
        if entity in rewritten:
            continue
        rights = rights_on(connection, schema, entity.table if entity.table in live else None)
        if entity.table in live:
            connection.execute(f"DROP TABLE {schema}.{entity.table}")
        # References to staged tables that will not move must go first; reconnect makes them anew.
        for number, parent in enumerate(entity.hard_parents, 1):
            if any(parent.table == other.table for other in rewritten):
                connection.execute(
                    f"ALTER TABLE {STAGE_SCHEMA}.{entity.table}"
                    f" DROP CONSTRAINT IF EXISTS {constraint_name(entity, 'fk', number)}"
                )
        connection.execute(f"ALTER TABLE {STAGE_SCHEMA}.{entity.table} SET SCHEMA {schema}")
        give(connection, f"{schema}.{entity.table}", rights)
        for comment in comments(entity, schema):
            connection.execute(comment)
    return [entity.table for entity in rewritten]


def reconnect(connection: Connection, loaded: set[str], schema: str, run: int, suspects: set[str]) -> dict[str, int]:
    """Add every hard reference between HAT tables that are there and not yet tied.

    Rows of tables that were not ``loaded`` and whose hard parent is no longer in HAT are held; they return with the
    next load or sync of their own table. They are looked for in ``suspects`` and where a reference cannot be added.
    Returns the rows held by table.
    """
    present, changed, held = existing(connection, schema), set(loaded), dict[str, int]()
    for entity in ENTITIES:
        if entity.table not in present:
            continue
        parents = [parent for parent in entity.hard_parents if parent.table in changed and parent.table in present]
        if entity.table not in loaded and parents:
            suspect = entity.table in suspects
            if suspect or not tie_unless_orphans(connection, entity, schema, present):
                held |= _hold_orphans(connection, entity, parents, present, schema, run)
                changed.add(entity.table)
        if entity.table in loaded:
            connection.execute(IN_ONE_PASS)
        tie(connection, entity, schema, present)
        connection.execute("SET LOCAL enable_nestloop = on")
    return held


def warn_anew(connection: Connection, loaded: set[str], held: set[str], schema: str, run: int) -> None:
    """Let quarantine tell which rows of tables that were not ``loaded`` lack a soft parent in those that have changed.

    Changed are the ``loaded`` ones and those of which rows are ``held`` since.
    """
    present = existing(connection, schema) - loaded
    connection.execute(IN_ONE_PASS)
    for entity in ENTITIES:
        for parent in entity.soft_parents if entity.table in present else ():
            if parent.table not in loaded | held:
                continue
            filled = " AND ".join(f'c."{column}" IS NOT NULL' for column in parent.columns)
            connection.execute(
                f"WITH lacking AS (SELECT CASE WHEN b.key IS NULL THEN c.source_recno ELSE b.recno END AS recno,"
                f" {key_text(entity, 'c')} AS key FROM {schema}.{entity.table} c LEFT JOIN hat_etl.backing b"
                f' ON b."table" = %(table)s AND b.key = {key_array(entity, "c")}'
                f" WHERE {filled} AND {orphans([parent], schema)} AND (b.key IS NULL OR b.recno IS NOT NULL)),"
                ' told AS (SELECT r.recno FROM hat_etl.rejects r WHERE r."table" = %(table)s'
                " AND r.rule = 'parent_missing' AND r.severity = 'warning' AND r.reason = %(reason)s),"
                " mended AS (DELETE FROM hat_etl.rejects r WHERE r.\"table\" = %(table)s AND r.rule = 'parent_missing'"
                " AND r.severity = 'warning' AND r.reason = %(reason)s"
                " AND NOT EXISTS (SELECT FROM lacking l WHERE l.recno = r.recno))"
                ' INSERT INTO hat_etl.rejects (run, "table", recno, key, rule, severity, reason)'
                " SELECT %(run)s, %(table)s, recno, key, 'parent_missing', 'warning', %(reason)s FROM lacking l"
                " WHERE NOT EXISTS (SELECT FROM told t WHERE t.recno = l.recno)",
                {"table": entity.table, "run": run, "reason": SOFT_REASON.format(parents=label(parent))},
            )


def _hold_orphans(
    connection: Connection, entity: Entity, parents: Sequence[Parent], present: set[str], schema: str, run: int
) -> dict[str, int]:
    """Hold the rows of a live table that lack one of ``parents``; returns how many, by table, unless there are none."""
    reason = HELD_REASON.format(parents=" ou ".join(label(parent) for parent in parents))
    # Their own children, which are held next, still refer to them.
    for child in ENTITIES:
        if child.table in present:
            _drop_foreign_keys(connection, child, schema, {entity.table})
    rows = connection.execute(
        f"WITH gone AS (DELETE FROM {schema}.{entity.table} c WHERE {orphans(parents, schema)}"
        f" RETURNING c.source_recno, {key_text(entity)} AS key, {key_array(entity, 'c')} AS parts),"
        ' loose AS (DELETE FROM hat_etl.backing b USING gone g WHERE b."table" = %s AND b.key = g.parts'
        " RETURNING b.key, b.recno),"
        # The last good version of a rejected row goes without a word: the rejection stands.
        " held AS (SELECT coalesce(l.recno, g.source_recno) AS recno, g.key FROM gone g"
        " LEFT JOIN loose l ON l.key = g.parts WHERE l.key IS NULL OR l.recno IS NOT NULL),"
        # Of a held row no more is said of its parents than that.
        ' unsaid AS (DELETE FROM hat_etl.rejects r USING held h WHERE r."table" = %s AND r.recno = h.recno'
        " AND r.rule = 'parent_missing' AND r.severity = 'warning')"
        ' INSERT INTO hat_etl.rejects (run, "table", recno, key, rule, severity, reason)'
        " SELECT %s, %s, recno, key, 'parent_missing', 'held', %s FROM held",
        (entity.table, entity.table, run, entity.table, reason),
    ).rowcount
    return {entity.table: rows} if rows else {}


def _drop_foreign_keys(connection: Connection, entity: Entity, schema: str, parents: set[str]) -> None:
    for number, parent in enumerate(entity.hard_parents, 1):
        if parent.table in parents:
            connection.execute(
                f"ALTER TABLE {schema}.{entity.table} DROP CONSTRAINT IF EXISTS {constraint_name(entity, 'fk', number)}"
            )


def _rewrite(connection: Connection, entity: Entity, schema: str) -> None:
    """Bring a live table to the rows that are staged.

    A row whose keys stay is updated, so that what others keep about it, or tie to it, stays as well. A table of an
    older hat_etl gets the columns that it lacks, and the keys that these are of; narrower ones get their width. Raises
    TargetError when rows that the ERP has no more are tied to others' rows, or something is in the way of a width.
    """
    hat, stage = f"{schema}.{entity.table}", f"{STAGE_SCHEMA}.{entity.table}"
    _widen(connection, entity, schema)
    there = columns_of(connection, hat)
    lacking = [column for column in entity.columns if column.name not in there]
    for column in lacking:
        connection.execute(f'ALTER TABLE {hat} ADD COLUMN "{column.name}" {column.sql_type}')
    names = [field.name for field in entity.schema]
    same = sql.equal("h", "s", entity.key)
    new = {column.name for column in lacking}
    alike = (
        f"ROW({sql.names(key, 'h')}) IS NOT DISTINCT FROM ROW({sql.names(key, 's')})"
        for key in entity.alternate_keys
        if new.isdisjoint(key)
    )
    stays = " AND ".join([same, *alike])
    changed = ", ".join(f'"{name}" = s."{name}"' for name in names if name not in entity.key)
    connection.execute(IN_ONE_PASS)
    try:
        connection.execute(f"DELETE FROM {hat} h WHERE NOT EXISTS (SELECT FROM {stage} s WHERE {stays})")
    except pg.ForeignKeyViolation as error:
        tied = error.diag
        raise TargetError(
            f"Rows of {hat} that are not in the ERP any more are referred to by {tied.schema_name}.{tied.table_name}"
            f" (foreign key {tied.constraint_name}).",
            "Have the HAT application let go of these rows, then go on with --resume. hat-etl sync would be in the same"
            " place.",
            table=entity.table,
        ) from None
    connection.execute(f"UPDATE {hat} h SET {changed} FROM {stage} s WHERE {same}")
    connection.execute(
        f"INSERT INTO {hat} ({sql.names(names)}) SELECT {sql.names(names, 's')} FROM {stage} s"
        f" WHERE NOT EXISTS (SELECT FROM {hat} h WHERE {same})"
    )
    for column in lacking:
        if column.required:
            connection.execute(f'ALTER TABLE {hat} ALTER COLUMN "{column.name}" SET NOT NULL')
    for key, index, addition in zip(
        entity.keys, create_key_indexes(entity, schema), add_keys(entity, schema), strict=True
    ):
        if not new.isdisjoint(key):
            connection.execute(index)
            connection.execute(addition)
    for comment in comments(entity, schema) if lacking else ():
        connection.execute(comment)
    connection.execute("SET LOCAL enable_nestloop = on")


def _widen(connection: Connection, entity: Entity, schema: str) -> None:
    """Give columns that are narrower than what they are to hold the width that a new table would have."""
    found = connection.execute(
        "SELECT column_name, coalesce(character_maximum_length, numeric_precision) FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s",
        (schema, entity.table),
    ).fetchall()
    widths = {name: width for name, width in found if width is not None}
    for column in entity.columns:
        if widths.get(column.name, column.width) >= column.width:
            continue
        name = f"{schema}.{entity.table}.{column.name}"
        try:
            connection.execute(f'ALTER TABLE {schema}.{entity.table} ALTER "{column.name}" TYPE {column.sql_type}')
        except (pg.FeatureNotSupported, pg.InvalidTableDefinition) as error:  # a view's column; part of a partition key
            why = (error.diag.message_detail or error.diag.message_primary or "").rstrip(".")
            raise TargetError(
                f"Column {name} must become {column.sql_type}, and cannot: {why}.",
                "Have the HAT application drop what is named, then go on with --resume, and let it make that again.",
                table=entity.table,
            ) from None
