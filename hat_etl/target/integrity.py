"""Keys and references of staged tables: what one row at a time cannot tell.

Runs once all rows are staged and indexed, parents before children, in one transaction. Of live rows with one key the
highest Recno wins; a rejected winner leaves its last good version in HAT; a row whose hard parent is not there is held.
Nearly always all is well: so references are simply added, and rows in their way are looked for only when the server
refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from psycopg import errors as pg

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Column, Entity, Kind, Parent
from hat_etl.errors import DataError
from hat_etl.target import sql
from hat_etl.target.database import Connection
from hat_etl.target.schema import (
    STAGE_SCHEMA,
    add_keys,
    add_references,
    constraint_name,
    create_key_indexes,
    rejected_table,
)

DUPLICATE_REASON = (
    "Há outro registro ativo com a mesma chave ({columns}) e R_E_C_N_O_ maior; só o de R_E_C_N_O_ maior é carregado. "
    "Elimine a duplicidade no Protheus."
)
HELD_REASON = (
    "Retido: não existe no HAT o registro correspondente em {parents}. Cadastre-o ou corrija-o no Protheus; "
    "este registro entra quando ele chegar."
)
SOFT_REASON = (
    "Não existe no HAT o registro correspondente em {parents}. O registro foi carregado; cadastre o correspondente "
    "no Protheus ou corrija o código."
)

IN_ONE_PASS = "SET LOCAL enable_nestloop = off"
"""For statements that go through all rows of a large table.

Keys of several columns look more selective than they are, and the planner takes a million look-ups for cheaper than one
pass over both tables.
"""


@dataclass(frozen=True)
class Places:
    """Where tables stand: ``staged`` ones in the stage, ``live`` ones in HAT's ``schema``; a table may be in both."""

    schema: str
    staged: frozenset[str]
    live: frozenset[str]
    shown: frozenset[str] = frozenset()
    """Live tables of which a view in the stage shows the rows that will stay."""

    def of(self, table: str) -> str | None:
        """Schema in which rows look for their parents; None while the table is nowhere."""
        if table in self.staged or table in self.shown:
            return STAGE_SCHEMA
        return self.schema if table in self.live else None


@dataclass(frozen=True)
class Settled:
    """What the integrity work did to one table, in rows."""

    duplicates: int
    """Good rows that lost to a higher Recno (rejected rows that lost are not counted again)."""
    held: int
    kept: int


def settle(connection: Connection, entity: Entity, run: int, places: Places, *, doubled: bool) -> Settled:
    """Make the staged rows of ``entity`` coherent and give the table its keys.

    ``doubled``: some key stands on more than one row, and has no index yet. Raises DataError when the view shows one
    Recno twice.
    """
    any_rejected = connection.execute(f"SELECT EXISTS (SELECT FROM {_rejected(entity)})").fetchone() == (True,)
    duplicates = _remove_losers(connection, entity, everywhere=doubled) if doubled or any_rejected else 0
    if not _add_keys(connection, entity):
        raise DataError(
            f"The view {entity.view} shows one row (one Recno) more than once, and its key with it.",
            "A join in the view multiplies rows: install the view of this version (hat-etl views install).",
            table=entity.table,
        )
    kept = _keep_last_good(connection, entity, places) if any_rejected or duplicates else 0
    tied = tie_unless_orphans(connection, entity, STAGE_SCHEMA, places.staged)
    doubtful = [parent for parent in entity.parents if not (tied and _tied(entity, parent, places.staged))]
    held = _check_references(connection, entity, run, places, doubtful) if doubtful else 0
    if not tied:
        tie(connection, entity, STAGE_SCHEMA, places.staged)
    return Settled(duplicates, held, kept)


def without_orphans(connection: Connection, entity: Entity, places: Places) -> Places:
    """The places where children look, when ``entity`` is not loaded: rows of it that the swap will hold are no parents.

    Where there are such rows, a view in the stage shows the others.
    """
    moved = [parent for parent in entity.hard_parents if parent.table in places.staged | places.shown]
    if entity.table not in places.live or not moved:
        return places
    orphan = orphans(moved, STAGE_SCHEMA)
    rows = f"FROM {places.schema}.{entity.table} c WHERE"
    if connection.execute(f"SELECT EXISTS (SELECT {rows} {orphan})").fetchone() == (False,):
        return places
    connection.execute(f"CREATE VIEW {_staged(entity)} AS SELECT c.* {rows} NOT ({orphan})")
    return replace(places, shown=places.shown | {entity.table})


def looked_up(loaded: Set[str]) -> set[str]:
    """Tables outside the load in which loaded rows look for their parents, or on whose rows such a parent depends."""
    found = set[str]()
    for entity in reversed(ENTITIES):
        if entity.table in loaded:
            found |= {parent.table for parent in entity.parents}
        elif entity.table in found:
            found |= {parent.table for parent in entity.hard_parents}
    return found - loaded


def tie(connection: Connection, entity: Entity, schema: str, parents: Set[str]) -> None:
    """Add the foreign keys from ``entity`` to those of its hard ``parents`` to which it has none yet."""
    present = connection.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'",
        (f"{schema}.{entity.table}",),
    ).fetchall()
    there = {str(name) for (name,) in present}
    additions = add_references(entity, schema)
    for number, parent in enumerate(entity.hard_parents, 1):
        name = constraint_name(entity, "fk", number)
        if parent.table in parents and name not in there:
            connection.execute(additions[name])


def tie_unless_orphans(connection: Connection, entity: Entity, schema: str, parents: Set[str]) -> bool:
    """``tie``; False, and nothing added, when some row lacks one of these parents."""
    try:
        with connection.transaction():
            tie(connection, entity, schema, parents)
    except pg.ForeignKeyViolation:
        return False
    return True


def _tied(entity: Entity, parent: Parent, parents: Set[str]) -> bool:
    return entity.is_hard(parent) and parent.table in parents


def orphans(parents: Iterable[Parent], schema: str) -> str:
    """SQL that is true for a row ``c`` without one of its hard ``parents``, which stand in ``schema``."""
    return " OR ".join(
        f"NOT EXISTS (SELECT FROM {schema}.{parent.table} p WHERE "
        + " AND ".join(
            f'p."{theirs}" = c."{ours}"' for ours, theirs in zip(parent.columns, parent.parent_columns, strict=True)
        )
        + ")"
        for parent in parents
    )


def _add_keys(connection: Connection, entity: Entity) -> bool:
    """Add primary and alternate keys; False, and nothing added, when some row stands in the way."""
    try:
        with connection.transaction():
            for statement in (*create_key_indexes(entity, STAGE_SCHEMA), *add_keys(entity, STAGE_SCHEMA)):
                connection.execute(statement)
    except pg.UniqueViolation:
        return False
    return True


def duplicate_reason(entity: Entity) -> str:
    """SQL: the reason of a row of ``losers``, whose column ``by`` is the place of the key on which it lost first."""
    reasons = (
        f"WHEN {place} THEN {sql.literal(DUPLICATE_REASON.format(columns=', '.join(key)))}"
        for place, key in enumerate(entity.keys)
    )
    return f"CASE by {' '.join(reasons)} END"


def _remove_losers(connection: Connection, entity: Entity, *, everywhere: bool) -> int:
    """Move every row that shares a key with a higher Recno to the rejected ones; returns how many had been good.

    Judged on all rows at once, before anything is removed: who loses on one key still beats others on another.
    ``everywhere`` false means that the good rows are known to be unique among themselves.
    """
    good, rejected = _staged(entity), _rejected(entity)
    connection.execute(
        "CREATE TEMPORARY TABLE losers (source_recno bigint PRIMARY KEY, by smallint NOT NULL) ON COMMIT DROP"
    )
    for place, key in enumerate(entity.keys):
        names, complete = sql.names(key), " AND ".join(f'"{column}" IS NOT NULL' for column in key)
        of_rejected = f"SELECT {names}, source_recno FROM {rejected} WHERE {complete}"
        of_good = f"SELECT {names}, source_recno FROM {good}"
        if not everywhere:
            of_good += f" JOIN (SELECT DISTINCT {names} FROM {rejected} WHERE {complete}) k USING ({names})"
        connection.execute(
            f"WITH rows AS MATERIALIZED ({of_good} UNION ALL {of_rejected}),"
            f" tops AS (SELECT {names}, max(source_recno) AS top FROM rows GROUP BY {names} HAVING count(*) > 1)"
            f" INSERT INTO losers SELECT source_recno, {place} FROM rows JOIN tops USING ({names})"
            " WHERE source_recno < top ON CONFLICT DO NOTHING"
        )
    connection.execute(
        f'DELETE FROM {STAGE_SCHEMA}.issues i USING losers l WHERE i."table" = %s AND i.recno = l.source_recno',
        (entity.table,),
    )
    for table in (good, rejected):
        connection.execute(
            f"INSERT INTO {STAGE_SCHEMA}.issues"
            f" SELECT %s, source_recno, {key_text(entity)}, NULL, 'duplicate_key', 'reject',"
            f" {duplicate_reason(entity)}, NULL FROM {table} JOIN losers USING (source_recno)",
            (entity.table,),
        )
    names = sql.names(dict.fromkeys(column for key in entity.keys for column in key))
    removed = connection.execute(
        f"WITH gone AS (DELETE FROM {good} USING losers l WHERE {good}.source_recno = l.source_recno"
        f" RETURNING {good}.*) INSERT INTO {rejected} ({names}, source_recno) SELECT {names}, source_recno FROM gone"
    ).rowcount
    connection.execute("DROP TABLE losers")
    return removed


def _keep_last_good(connection: Connection, entity: Entity, places: Places) -> int:
    """Carry over the version that HAT has now of every key of which there is a live row and no good one.

    A row that lost an alternate key to a bad one is such a row, too. Where a good row has taken one of the version's
    keys, the version goes. So it does where HAT's table is of a time before a column that must be filled.
    """
    if entity.table not in places.live:
        return 0
    there = columns_of(connection, f"{places.schema}.{entity.table}")
    names = sql.names(field.name for field in entity.schema)
    qualified = ", ".join(f'l."{field.name}"' if field.name in there else "NULL" for field in entity.schema)
    if any(field.name not in there and not field.nullable for field in entity.schema):
        return 0
    return connection.execute(
        f"INSERT INTO {_staged(entity)} ({names})"
        f" SELECT {qualified} FROM {places.schema}.{entity.table} l"
        f" JOIN (SELECT DISTINCT {sql.names(entity.key)} FROM {_rejected(entity)}) r USING ({sql.names(entity.key)})"
        " ON CONFLICT DO NOTHING"
    ).rowcount


def columns_of(connection: Connection, table: str) -> set[str]:
    """The columns that a table has now."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", (table,)
    )
    return {str(name) for (name,) in found}


def _check_references(
    connection: Connection, entity: Entity, run: int, places: Places, parents: Sequence[Parent]
) -> int:
    """Hold rows without a hard one of ``parents`` and warn of missing soft ones; returns how many rows are held."""
    joins, missing = [], []
    for number, parent in enumerate(parents):
        filled = " AND ".join(f'c."{column}" IS NOT NULL' for column in parent.columns)
        place = places.of(parent.table)
        if place is None:
            missing.append(f"({filled})")
            continue
        on = " AND ".join(
            f'p{number}."{theirs}" = c."{ours}"'
            for ours, theirs in zip(parent.columns, parent.parent_columns, strict=True)
        )
        joins.append(f"LEFT JOIN {place}.{parent.table} p{number} ON {on}")
        missing.append(f'(p{number}."{parent.parent_columns[0]}" IS NULL AND {filled})')
    flags = ", ".join(f"{condition} AS m{number}" for number, condition in enumerate(missing))
    connection.execute(
        f"CREATE TEMPORARY TABLE missing ON COMMIT DROP AS"
        f" SELECT c.source_recno, c.loaded_run, {flags} FROM {_staged(entity)} c {' '.join(joins)}"
        f" WHERE {' OR '.join(missing)}"
    )
    found = connection.execute(
        f"SELECT {', '.join(f'coalesce(bool_or(m{number}), false)' for number in range(len(missing)))} FROM missing"
    ).fetchall()[0]
    held = _hold(connection, entity, run, parents) if any(found) else 0
    for number, parent in enumerate(parents):
        if found[number] and not entity.is_hard(parent):
            _issue(connection, entity, "warning", SOFT_REASON.format(parents=label(parent)), f"m{number}", run)
    connection.execute("DROP TABLE missing")
    return held


def _hold(connection: Connection, entity: Entity, run: int, parents: Sequence[Parent]) -> int:
    hard = {number: parent for number, parent in enumerate(parents) if entity.is_hard(parent)}
    if not hard:
        return 0
    orphan = " OR ".join(f"m{number}" for number in hard)
    # One entry a row: each combination of missing parents has its own sentence.
    combinations = connection.execute(
        f"SELECT DISTINCT {', '.join(f'm{number}' for number in hard)} FROM missing WHERE {orphan}"
    ).fetchall()
    held = 0
    for combination in combinations:
        flags = dict(zip(hard, combination, strict=True))
        absent_ones = " e ".join(label(hard[number]) for number, absent in flags.items() if absent)
        condition = " AND ".join(f"m{number} IS {bool(absent)}" for number, absent in flags.items())
        held += _issue(connection, entity, "held", HELD_REASON.format(parents=absent_ones), condition, run)
    connection.execute(
        f"DELETE FROM {_staged(entity)} c USING missing m"
        f" WHERE c.source_recno = m.source_recno AND c.loaded_run = m.loaded_run AND ({orphan})"
    )
    connection.execute(f"DELETE FROM missing WHERE {orphan}")
    return held


def _issue(connection: Connection, entity: Entity, severity: str, reason: str, condition: str, run: int) -> int:
    """Report the rows of this run that ``missing`` flags; a kept last good version has its report already."""
    return connection.execute(
        f"INSERT INTO {STAGE_SCHEMA}.issues"
        f" SELECT %s, source_recno, {key_text(entity)}, NULL, 'parent_missing', %s, %s, NULL"
        f" FROM {_staged(entity)} c JOIN missing m USING (source_recno, loaded_run)"
        f" WHERE c.loaded_run = %s AND ({condition})",
        (entity.table, severity, reason, run),
    ).rowcount


def key_text(entity: Entity, alias: str = "") -> str:
    """SQL for the natural key as reports show it: its parts with a bar between."""
    return " || '|' || ".join(f"coalesce({part}, '')" for part in _key_parts(entity, alias))


def key_array(entity: Entity, alias: str) -> str:
    """SQL for the natural key of a row as an array of texts: what ``hat_etl.backing`` is found by."""
    return f"ARRAY[{', '.join(_key_parts(entity, alias))}]"


def _key_parts(entity: Entity, alias: str) -> list[str]:
    prefix = f"{alias}." if alias else ""
    return [f"{prefix}{plain(entity[column])}::text" for column in entity.key]


def plain(column: Column) -> str:
    """SQL for a column in its own type: where HAT's is wider, a day would show its hour, a number its scale."""
    return f'"{column.name}"' + ("" if column.kind in (Kind.TEXT, Kind.FLAG) else f"::{column.sql_type}")


def typed_key(entity: Entity, parts: str) -> str:
    """SQL for the columns of the natural key from such an array."""
    return ", ".join(
        f'({parts}[{number}])::{entity[column].sql_type} AS "{column}"' for number, column in enumerate(entity.key, 1)
    )


def label(parent: Parent) -> str:
    """A reference as operators read it: table, columns and the view that brings the parent."""
    return f"{parent.table} ({', '.join(parent.columns)}; visão {BY_TABLE[parent.table].view})"


def _staged(entity: Entity) -> str:
    return f"{STAGE_SCHEMA}.{entity.table}"


def _rejected(entity: Entity) -> str:
    return f"{STAGE_SCHEMA}.{rejected_table(entity)}"
