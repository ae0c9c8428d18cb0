"""What runs changed, by the before-images in ``hat_etl.changes``: looked up, judged and put back.

Of one run a key of a table has at most one image of a HAT row (``insert``, ``update`` or ``delete``), one of
``backing`` and, by Recno, one of ``rejects``. An undo writes images of what it replaces, as every run does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Entity, Parent
from hat_etl.target import ledger, sql
from hat_etl.target.database import Connection
from hat_etl.target.integrity import key_array
from hat_etl.target.ledger import Watermark

UNDO = "undo"
"""Mode of a run that takes another one back."""

_ENTRY = 'run, "table", recno, key, "column", rule, severity, reason, value'


@dataclass(frozen=True)
class Past:
    """A run as the ledger tells of it."""

    run: int
    mode: str
    state: str
    finished_at: datetime | None
    undoes: int | None
    undone_by: int | None


@dataclass(frozen=True)
class Touched:
    """What a run changed in one table and what taking that back means: rows of HAT, live rows, keys."""

    table: str
    removed: int
    """Rows that the run inserted."""
    restored: int
    """Rows that the run updated."""
    put_back: int
    """Rows that the run deleted."""
    rejects: int
    """Rows of the view whose entries in quarantine the run changed."""
    backing: int


@dataclass(frozen=True)
class Hindrance:
    """Rows of a table that stand in the way, and the run that is the reason where that is known."""

    table: str
    rows: int
    run: int | None
    other: str = ""
    """The other table concerned."""


# -- asking ------------------------------------------------------------------------------------------------------------


def find(connection: Connection, run: int) -> Past | None:
    """A run of the ledger, or None when there is none of that number."""
    row = connection.execute(
        "SELECT run, mode, state, finished_at, undoes, undone_by FROM hat_etl.runs WHERE run = %s", (run,)
    ).fetchone()
    return None if row is None else Past(*row)


def images_are_gone(connection: Connection, past: Past, days: int) -> bool:
    """Whether the before-images of a run, which are kept for so many days, are there no more.

    A run without any has changed nothing, if it is a late one and counted no row.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM hat_etl.changes WHERE run = %(run)s), r.finished_at < now() - make_interval(days =>"
        " %(days)s) OR EXISTS (SELECT FROM hat_etl.run_tables t WHERE t.run = r.run AND t.loaded + t.updated +"
        " t.deleted > 0) FROM hat_etl.runs r WHERE r.run = %(run)s",
        {"run": past.run, "days": days},
    ).fetchone()
    return row == (False, True)


def touched(connection: Connection, run: int) -> list[Touched]:
    """The tables in which a run changed more than the watermark, in load order."""
    kinds = ("insert", "update", "delete", "rejects", "backing")
    counts = ", ".join(f"count(*) FILTER (WHERE kind = '{kind}')" for kind in kinds)
    rows = connection.execute(
        f"SELECT \"table\", {counts} FROM hat_etl.changes WHERE run = %s AND kind <> 'watermark' GROUP BY 1", (run,)
    ).fetchall()
    found = {str(row[0]): Touched(str(row[0]), *map(int, row[1:])) for row in rows}
    return [found[entity.table] for entity in ENTITIES if entity.table in found]


def touched_again(connection: Connection, run: int) -> list[Hindrance]:
    """Later runs that changed the same rows or entries, latest first.

    A run that was undone and the undo that did it cancel out, as long as both came after ``run``.
    """
    rows = connection.execute(
        f'SELECT l.run, l."table", count(DISTINCT l.key) FROM hat_etl.changes m'
        ' JOIN hat_etl.changes l ON l."table" = m."table" AND l.key = m.key AND l.run > m.run'
        " AND (l.kind = 'rejects') = (m.kind = 'rejects') JOIN hat_etl.runs r ON r.run = l.run"
        " WHERE m.run = %(run)s AND m.kind <> 'watermark' AND l.kind <> 'watermark'"
        f" AND r.undone_by IS NULL AND NOT (r.mode = '{UNDO}' AND r.undoes > %(run)s)"
        " GROUP BY 1, 2 ORDER BY 1 DESC, 2",
        {"run": run},
    ).fetchall()
    return [Hindrance(str(table), int(count), int(later)) for later, table, count in rows]


def loaded_again(connection: Connection, run: int, tables: Iterable[str]) -> list[Hindrance]:
    """The latest load after ``run`` of each of the tables: it replaced their rows, or held some, without images."""
    rows = connection.execute(
        'SELECT t."table", max(t.run) FROM hat_etl.run_tables t JOIN hat_etl.runs r USING (run)'
        " WHERE r.mode = 'load' AND r.state = 'succeeded' AND t.run > %s AND t.\"table\" = ANY (%s)"
        " GROUP BY 1 ORDER BY 1",
        (run, list(tables)),
    ).fetchall()
    return [Hindrance(str(table), 0, int(load)) for table, load in rows]


# -- judging -----------------------------------------------------------------------------------------------------------


def take_out(connection: Connection, schema: str, run: int, entity: Entity) -> None:
    """Set out what a run changed in one table as rows of that table, in a temporary one: what follows works on it.

    Column ``kind`` tells what the run did; of rows that it inserted only the key is filled. As a table of its own,
    for the server plans badly when it has to guess what the images hold.
    """
    names, table = [field.name for field in entity.schema], _before(entity.table)
    key = {name: f'(c.key[{number}])::{entity[name].sql_type} AS "{name}"' for number, name in enumerate(entity.key, 1)}
    columns = ", ".join(key.get(name, f'b."{name}"') for name in names)
    connection.execute(
        f"CREATE TEMPORARY TABLE {entity.table}__before AS SELECT c.kind, {columns} FROM hat_etl.changes c"
        f" CROSS JOIN LATERAL jsonb_populate_record(NULL::{schema}.{entity.table}, c.before) b"
        f" WHERE c.run = {run} AND c.\"table\" = '{entity.table}' AND c.kind IN ('insert', 'update', 'delete')"
    )
    connection.execute(f"CREATE INDEX ON {table} ({sql.names(entity.key)})")
    connection.execute(f"ANALYZE {table}")


def strayed(connection: Connection, schema: str, entity: Entity) -> int:
    """Rows that are not as the run left them though no later run touched them: there, or not there, against it."""
    return _count(
        connection.execute(
            f"SELECT count(*) FROM {_before(entity.table)} b LEFT JOIN {schema}.{entity.table} h"
            f" ON {sql.equal('h', 'b', entity.key)}"
            " WHERE (b.kind = 'delete') = (h.source_recno IS NOT NULL)"
        )
    )


def rivals(connection: Connection, schema: str, run: int, entity: Entity) -> list[Hindrance]:
    """Rows that hold an alternate key which rows to be put back had."""
    found = []
    for key in entity.alternate_keys:
        rows = connection.execute(
            f"SELECT h.loaded_run, count(*) FROM {_before(entity.table)} b"
            f" JOIN {schema}.{entity.table} h ON {sql.equal('h', 'b', key)}"
            f" WHERE b.kind <> 'insert' AND NOT {_is_touched(entity, 'h')} GROUP BY 1 ORDER BY 1"
        ).fetchall()
        found += [Hindrance(entity.table, int(count), _later(by, run)) for by, count in rows]
    return found


def orphans(connection: Connection, schema: str, run: int, tables: set[str], present: set[str]) -> list[Hindrance]:
    """Rows that would be left without a hard parent if ``run``, which changed ``tables``, were taken back."""
    found = []
    for child in ENTITIES:
        for parent in child.hard_parents:
            if child.table not in present or parent.table not in present:
                continue
            if child.table in tables:
                found += _put_back_without(connection, schema, run, child, parent, tables)
            if parent.table in tables:
                found += _left_without(connection, schema, run, child, parent, tables)
    return found


def _put_back_without(
    connection: Connection, schema: str, run: int, child: Entity, parent: Parent, tables: set[str]
) -> list[Hindrance]:
    """Rows to be put back whose parent a later run has removed."""
    there = f"SELECT FROM {schema}.{parent.table} p WHERE {sql.equal('p', 'b', parent.parent_columns, parent.columns)}"
    gone_with = " AND ".join(
        f"d.before ->> '{theirs}' = o.\"{ours}\"::text"
        for ours, theirs in zip(parent.columns, parent.parent_columns, strict=True)
    )
    rows = connection.execute(
        f"WITH orphan AS MATERIALIZED (SELECT b.* FROM {_before(child.table)} b WHERE b.kind <> 'insert'"
        f" AND NOT EXISTS ({there}){_not_put_back(parent, 'b', tables)})"
        f" SELECT (SELECT max(d.run) FROM hat_etl.changes d WHERE d.\"table\" = '{parent.table}'"
        f" AND d.kind IN ('delete', 'update') AND d.run > {run} AND {gone_with}), count(*) FROM orphan o"
        " GROUP BY 1 ORDER BY 1"
    ).fetchall()
    loads = loaded_again(connection, run, [parent.table]) if rows else []
    load = loads[0].run if loads else None
    return [Hindrance(child.table, int(count), by or load, parent.table) for by, count in rows]


def _left_without(
    connection: Connection, schema: str, run: int, child: Entity, parent: Parent, tables: set[str]
) -> list[Hindrance]:
    """Rows that came later and refer to a parent that goes again."""
    key = BY_TABLE[parent.table].key
    untouched = f" AND NOT {_is_touched(child, 'h')}" if child.table in tables else ""
    rows = connection.execute(
        f"SELECT h.loaded_run, count(*) FROM {_before(parent.table)} b"
        f" JOIN {schema}.{parent.table} p ON {sql.equal('p', 'b', key)}"
        f" JOIN {schema}.{child.table} h ON {sql.equal('h', 'p', parent.columns, parent.parent_columns)}"
        f" WHERE b.kind <> 'delete'{untouched}{_not_put_back(parent, 'h', tables)} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return [Hindrance(child.table, int(count), _later(by, run), parent.table) for by, count in rows]


def _not_put_back(parent: Parent, child: str, tables: set[str]) -> str:
    """SQL, after a condition: the parent of the row ``child`` is not among the rows to be put back either."""
    if parent.table not in tables:
        return ""
    same = sql.equal("k", child, parent.parent_columns, parent.columns)
    return f" AND NOT EXISTS (SELECT FROM {_before(parent.table)} k WHERE k.kind <> 'insert' AND {same})"


def _later(run: int, than: int) -> int | None:
    return int(run) if run > than else None


# -- putting back ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PuttingBack:
    """Takes ``run`` back in the name of the run ``undo``, in a transaction of the caller's, from what is taken out.

    First ``remove`` in every table, children first, then ``restore``, parents first: so that neither alternate keys
    nor references are in the way.
    """

    connection: Connection
    schema: str
    run: int
    undo: int

    def remove(self, entity: Entity) -> int:
        """Note how things are, and delete what the run inserted; returns how many rows that were.

        A row whose alternate key moves goes, too, and ``restore`` makes it anew.
        """
        hat, before, execute = f"{self.schema}.{entity.table}", _before(entity.table), self.connection.execute
        same = sql.equal("h", "b", entity.key)
        execute(
            f"INSERT INTO hat_etl.changes SELECT {self.undo}, '{entity.table}', CASE b.kind WHEN 'insert' THEN 'delete'"
            f" WHEN 'delete' THEN 'insert' ELSE 'update' END, {key_array(entity, 'b')}, to_jsonb(h)"
            f" FROM {before} b LEFT JOIN {hat} h ON {same}"
        )
        removed = execute(f"DELETE FROM {hat} h USING {before} b WHERE b.kind = 'insert' AND {same}").rowcount
        moved = " OR ".join(
            f"ROW({sql.names(key, 'h')}) IS DISTINCT FROM ROW({sql.names(key, 'b')})" for key in entity.alternate_keys
        )
        if moved:
            execute(f"DELETE FROM {hat} h USING {before} b WHERE b.kind = 'update' AND {same} AND ({moved})")
        return removed

    def restore(self, entity: Entity) -> tuple[int, int]:
        """Give rows their old contents and put back those that left; returns how many of each."""
        hat, before, execute = f"{self.schema}.{entity.table}", _before(entity.table), self.connection.execute
        same = sql.equal("h", "b", entity.key)
        names = [field.name for field in entity.schema]
        changed = ", ".join(f'"{name}" = b."{name}"' for name in names if name not in entity.key)
        restored = execute(f"UPDATE {hat} h SET {changed} FROM {before} b WHERE b.kind = 'update' AND {same}").rowcount
        # What was updated is there; what is not had another alternate key.
        anew, put_back = (
            execute(
                f"INSERT INTO {hat} ({sql.names(names)}) SELECT {sql.names(names, 'b')} FROM {before} b"
                f" WHERE b.kind = '{kind}' AND NOT EXISTS (SELECT FROM {hat} h WHERE {same})"
            ).rowcount
            for kind in ("update", "delete")
        )
        return restored + anew, put_back

    def restore_quarantine(self, table: str) -> None:
        """Bring the entries of the Recnos concerned to what they were."""
        mine = f"c.run = {self.run} AND c.\"table\" = '{table}' AND c.kind = 'rejects'"
        execute = self.connection.execute
        execute(
            f"INSERT INTO hat_etl.changes SELECT {self.undo}, '{table}', 'rejects', c.key,"
            " (SELECT jsonb_agg(to_jsonb(r) - 'id' ORDER BY r.id) FROM hat_etl.rejects r"
            f" WHERE r.\"table\" = '{table}' AND r.recno = (c.key[1])::bigint) FROM hat_etl.changes c WHERE {mine}"
        )
        execute(
            f"DELETE FROM hat_etl.rejects r USING hat_etl.changes c WHERE {mine}"
            f" AND r.\"table\" = '{table}' AND r.recno = (c.key[1])::bigint"
        )
        execute(
            f"INSERT INTO hat_etl.rejects ({_ENTRY}) SELECT {_ENTRY.replace('run, ', 'b.run, ', 1)}"
            " FROM (SELECT e.* FROM hat_etl.changes c"
            " CROSS JOIN LATERAL jsonb_populate_recordset(NULL::hat_etl.rejects, c.before) WITH ORDINALITY e"
            f" WHERE {mine}) b ORDER BY b.recno, b.ordinality"
        )

    def restore_backing(self, table: str) -> None:
        """Bring the notes on which live row is behind a row of HAT to what they were."""
        mine = f"c.run = {self.run} AND c.\"table\" = '{table}' AND c.kind = 'backing'"
        execute = self.connection.execute
        execute(
            f"INSERT INTO hat_etl.changes SELECT {self.undo}, '{table}', 'backing', c.key,"
            " CASE WHEN b.key IS NOT NULL THEN jsonb_build_object('recno', b.recno) END FROM hat_etl.changes c"
            f" LEFT JOIN hat_etl.backing b ON b.\"table\" = '{table}' AND b.key = c.key WHERE {mine}"
        )
        execute(
            f"DELETE FROM hat_etl.backing b USING hat_etl.changes c WHERE {mine}"
            f" AND b.\"table\" = '{table}' AND b.key = c.key"
        )
        execute(
            f"INSERT INTO hat_etl.backing SELECT '{table}', c.key, (c.before ->> 'recno')::bigint"
            f" FROM hat_etl.changes c WHERE {mine} AND c.before IS NOT NULL"
        )

    def turn_back_watermark(self, table: str) -> None:
        """Let the next sync read the table whole: no window is sure to show again what the run saw.

        ``live_rows`` stays known, as the measure of the brake; that ``live_recnos`` is not is what tells of it.
        """
        self.connection.execute(
            f"INSERT INTO hat_etl.changes SELECT {self.undo}, '{table}', 'watermark', ARRAY[]::text[], to_jsonb(w)"
            f" FROM hat_etl.watermarks w WHERE w.\"table\" = '{table}'"
        )
        now = ledger.read_watermarks(self.connection).get(table)
        if now is None:
            return
        before = self._mark_before(table) or now
        older = min(before, now, key=lambda mark: mark.horizon)
        mark = Watermark(older.horizon, before.live_rows, None, older.top)
        ledger.set_watermark(self.connection, self.undo, table, mark)

    def _mark_before(self, table: str) -> Watermark | None:
        """The watermark that the table had when the run came, by the first image since; None when it has it still."""
        row = self.connection.execute(
            "SELECT w.horizon, w.live_rows, w.top_recno, w.top_stamp FROM hat_etl.changes c"
            " CROSS JOIN LATERAL jsonb_populate_record(NULL::hat_etl.watermarks, c.before) w"
            f" WHERE c.\"table\" = '{table}' AND c.kind = 'watermark' AND c.run BETWEEN {self.run} AND {self.undo - 1}"
            " ORDER BY c.run LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        horizon, live_rows, top_recno, top_stamp = row
        return Watermark(horizon, live_rows, None, None if top_recno is None else (top_recno, top_stamp))


def close_undo(connection: Connection, past: Past, undo: int) -> None:
    """Write into the ledger that ``undo`` has taken a run back.

    An undo taken back leaves its own run as done again; where that is an undo, too, what it undid is undone again.
    """
    connection.execute("UPDATE hat_etl.runs SET undone_by = %s WHERE run = %s", (undo, past.run))
    run, undoer = past.undoes, None
    while run is not None:
        connection.execute("UPDATE hat_etl.runs SET undone_by = %s WHERE run = %s", (undoer, run))
        before = find(connection, run)
        run, undoer = None if before is None else before.undoes, run if undoer is None else None
    connection.execute(
        "UPDATE hat_etl.runs SET state = 'succeeded', undoes = %s, finished_at = now(), error = NULL WHERE run = %s",
        (past.run, undo),
    )


# -- SQL ---------------------------------------------------------------------------------------------------------------


def _before(table: str) -> str:
    """Where ``take_out`` has put the images of a table."""
    return f"pg_temp.{table}__before"


def _is_touched(entity: Entity, alias: str) -> str:
    same = sql.equal("t", alias, entity.key)
    return f"EXISTS (SELECT FROM {_before(entity.table)} t WHERE {same})"


def _count(cursor: Any) -> int:
    return int(cursor.fetchall()[0][0])
