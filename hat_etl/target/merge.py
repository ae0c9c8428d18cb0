"""The merge: what a sync has read of a table is brought into HAT, changing only the rows that differ.

Works table by table, parents before children, inside one transaction that the caller holds with all foreign keys
deferred. A row of HAT stands for one live row of the view, whose Recno is its ``source_recno`` unless
``hat_etl.backing`` names another; a last good version stands for none. The rows that can be concerned are all there:
what was read, the rows of quarantine (every sync reads them again) and the rows of HAT with a key among these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psycopg import Cursor

from hat_etl.entities.model import Entity, Parent
from hat_etl.target import offering, sql
from hat_etl.target.database import Connection
from hat_etl.target.intake import SMALL, Intake
from hat_etl.target.integrity import DUPLICATE_REASON, HELD_REASON, SOFT_REASON, key_array, key_text, label, typed_key
from hat_etl.target.sink import Sink

BY_INDEX = "SET LOCAL random_page_cost = 0.1"
"""For the transaction of a merge: few rows of HAT are looked up, which the planner, ill informed, would rather read
whole. Joins of any kind stay open to it, for what it takes for a few rows may be many."""

Answer = Cursor[tuple[Any, ...]]
"""What the server says to a statement: to be looked at when the stream of statements is at its end."""

_ENTRY = 'recno, key, "column", rule, severity, reason, value'


_SCRATCH = ("concerned", "touched", "fate", "lacking", "leaving", "differing", "bereft", "toggled")
"""Temporary tables with columns of the table that is merged, in the order in which they are made.

Most have no column that could be long: PostgreSQL makes two more relations for a table that has one.
"""

_SHARED = {
    "losers": "recno bigint NOT NULL",
    "affected": "recno bigint PRIMARY KEY",
    "orphans": "parts text[], recno bigint, key text, reason text",
    "entries": 'recno bigint, key text, "column" text, rule text, severity text, reason text, value text',
    "quarantined": "recno bigint",
    "backed": "parts text[], recno bigint, usual boolean",
    "rebacked": "parts text[], recno bigint, usual boolean, known boolean, before bigint",
}
"""Temporary tables that are the same for all tables: made once in a run, for making tables is what a merge costs."""


@dataclass(frozen=True)
class Merged:
    """What a merge did to one table, in rows of HAT; ``rejected`` and ``held`` are rows of the view that were read."""

    inserted: int = 0
    updated: int = 0
    left: int = 0
    rejected: int = 0
    held: int = 0
    warnings: int = 0
    kept: int = 0


@dataclass
class Merger:
    """One run's merge into the HAT tables of ``schema``; ``present`` are those that are there."""

    connection: Connection
    schema: str
    run: int
    present: frozenset[str]
    repaired: frozenset[str] = frozenset()
    """Tables in which HAT may hold what no run has brought: equal rows do not tell there that all is well."""
    sink: Sink | None = None
    """Is offered the changes of each table before they are carried out."""
    left: set[str] = field(default_factory=set)
    """Tables that keys have left in this run: each has a temporary table of them, for its children to look at."""
    arrived: set[str] = field(default_factory=set)
    """Tables that new keys have come to in this run."""
    _shared: bool = False

    def merge(self, intake: Intake) -> Merged:
        """Bring one table to the state of the view. Raises psycopg errors."""
        parents = {parent.table for parent in intake.entity.parents}
        soft = {parent.table for parent in intake.entity.soft_parents}
        if intake.empty and not parents & self.left and not soft & self.arrived:
            return Merged()
        moved = parents & (self.left | self.arrived)
        merge = _TableMerge(self, intake)
        if not moved and intake.entity.table not in self.repaired and merge.is_needless():
            return merge.standing()
        intake.make()
        if not self._shared:
            for name, columns in _SHARED.items():
                self.connection.execute(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP")
            self._shared = True
        return merge.carry_out()


class _TableMerge:
    def __init__(self, merger: Merger, intake: Intake) -> None:
        self._merger, self._intake, self._entity = merger, intake, intake.entity
        self._run = merger.connection.execute
        self._hat = f"{merger.schema}.{self._entity.table}"
        self._few = intake.read <= SMALL
        self._keys = tuple(dict.fromkeys(column for key in self._entity.keys for column in key))

    def is_needless(self) -> bool:
        """Whether all is as it was: HAT has what was read, and what was rejected was judged by the last run.

        So it is with rows that a look-back repeats, and with rows of quarantine that nothing has moved.
        """
        intake, key = self._intake, self._entity.key
        table = f"'{self._entity.table}'"
        columns = ["source_recno", *(column.name for column in self._entity.columns)]
        answer = self._run(
            f"SELECT NOT EXISTS (SELECT FROM {intake.issues} i JOIN {intake.seen} s USING (recno) WHERE NOT s.repeats)"
            f" AND NOT EXISTS (SELECT FROM {intake.rejected} r JOIN {intake.seen} s ON s.recno = r.source_recno"
            " WHERE NOT s.repeats)"
            f' AND NOT EXISTS (SELECT FROM hat_etl.backing WHERE "table" = {table})'
            f" AND NOT EXISTS (SELECT FROM hat_etl.rejects r JOIN {intake.seen} s USING (recno)"
            f' WHERE r."table" = {table} AND NOT s.repeats)'
            f" AND NOT EXISTS (SELECT FROM {self._hat} h JOIN {intake.seen} s ON s.recno = h.source_recno"
            " WHERE NOT s.live)"
            f" AND NOT EXISTS (SELECT FROM {intake.good} g JOIN {intake.seen} s ON s.recno = g.source_recno"
            f" LEFT JOIN {self._hat} h USING ({sql.names(key)}) WHERE NOT s.repeats"
            f" AND ROW({sql.names(columns, 'h')}) IS DISTINCT FROM ROW({sql.names(columns, 'g')}))"
        ).fetchone()
        return answer == (True,)

    def standing(self) -> Merged:
        """The rows of quarantine as the last run left them."""
        rejected, held = self._run(
            "SELECT count(DISTINCT recno) FILTER (WHERE severity = 'reject'),"
            " count(DISTINCT recno) FILTER (WHERE severity = 'held')"
            f" FROM hat_etl.rejects WHERE \"table\" = '{self._entity.table}'"
            " AND (severity <> 'warning' OR rule = 'not_future')"
        ).fetchall()[0]
        return Merged(rejected=int(rejected), held=int(held))

    def carry_out(self) -> Merged:
        """All statements go to the server in one stream: no step waits for the answer to the one before."""
        with self._merger.connection.pipeline():
            self._touch()
            self._judge_duplicates()
            self._choose_last_good()
            held = [*self._hold_staged(), *self._hold_orphans()]
            self._compare()
            unsettled = self._offer()
            updated, left, gone, moved = self._note_changes()
            self._settle_quarantine()
            inserted = self._apply()
            kept = self._note_backing()
            issues = self._run(
                f"SELECT (SELECT count(DISTINCT recno) FROM {self._intake.issues} WHERE severity = 'reject'),"
                f" (SELECT count(*) FROM {self._intake.issues} WHERE severity = 'warning')"
            )
            self._drop_tables()
        if gone.rowcount:
            self._merger.left.add(self._entity.table)
        if moved.rowcount or inserted.rowcount:
            self._merger.arrived.add(self._entity.table)
        rejected, warnings = issues.fetchall()[0]
        return Merged(
            inserted.rowcount,
            updated.rowcount,
            left.rowcount,
            int(rejected),
            sum(answer.rowcount for answer in held) + unsettled,
            int(warnings),
            int(kept.fetchall()[0][0]),
        )

    # -- what is concerned -------------------------------------------------------------------------------------------

    def _touch(self) -> None:
        """Collect the rows of HAT that what was read can concern, with the live row behind each."""
        intake, key = self._intake, self._entity.key
        of_rejected = f"SELECT {sql.names(key)} FROM {intake.rejected} WHERE {sql.filled(key)}"
        concerned = [
            f"SELECT {sql.names(key, 'h')} FROM {self._hat} h JOIN {intake.seen} s ON s.recno = h.source_recno",
            f"SELECT {sql.names(key)} FROM {intake.good}",
            of_rejected,
            f"SELECT {typed_key(self._entity, 'b.key')} FROM hat_etl.backing b LEFT JOIN {intake.seen} s"
            f" ON s.recno = b.recno WHERE b.\"table\" = '{self._entity.table}'"
            " AND (b.recno IS NULL OR s.recno IS NOT NULL)",
        ]
        for other in self._entity.alternate_keys:
            concerned.append(
                f"SELECT {sql.names(key, 'h')} FROM {self._hat} h JOIN (SELECT {sql.names(other)} FROM {intake.good}"
                f" UNION SELECT {sql.names(other)} FROM {intake.rejected} WHERE {sql.filled(other)}) x"
                f" USING ({sql.names(other)})"
            )
        self._make("concerned", " UNION ".join(concerned))
        self._make(
            "touched",
            f"SELECT {sql.names(self._keys, 'h')}, e.backing,"
            f" s.recno IS NOT NULL AS superseded FROM {self._hat} h JOIN concerned USING ({sql.names(key)})"
            f" LEFT JOIN hat_etl.backing b ON b.\"table\" = '{self._entity.table}'"
            f" AND b.key = {key_array(self._entity, 'h')}"
            " CROSS JOIN LATERAL (SELECT CASE WHEN b.key IS NULL THEN h.source_recno ELSE b.recno END AS backing) e"
            f" LEFT JOIN {intake.seen} s ON s.recno = e.backing",
        )

    def _judge_duplicates(self) -> None:
        """Of live rows with one key the highest Recno wins; judged on all keys before anything is removed."""
        intake, losers = self._intake, []
        for key in self._entity.keys:
            names = sql.names(key)
            losers.append(
                f"(WITH rows AS MATERIALIZED (SELECT {names}, source_recno AS recno FROM {intake.good}"
                f" UNION ALL SELECT {names}, source_recno FROM {intake.rejected} WHERE {sql.filled(key)}"
                f" UNION ALL SELECT {names}, backing FROM touched WHERE backing IS NOT NULL AND NOT superseded),"
                f" tops AS (SELECT {names}, max(recno) AS top FROM rows GROUP BY {names} HAVING count(*) > 1)"
                f" SELECT recno FROM rows JOIN tops USING ({names}) WHERE recno < top)"
            )
        self._fill("losers", " UNION ".join(["SELECT 0::bigint WHERE false", *losers]))
        self._run(f"DELETE FROM {intake.issues} i USING losers l WHERE i.recno = l.recno")
        reason = sql.literal(DUPLICATE_REASON.format(columns=", ".join(self._entity.key)))
        duplicate = f"NULL, 'duplicate_key', 'reject', {reason}, NULL"
        for source, recno in ((intake.good, "source_recno"), (intake.rejected, "source_recno"), ("touched", "backing")):
            unstaged = " WHERE NOT superseded" if source == "touched" else ""
            self._run(
                f"INSERT INTO {intake.issues} ({_ENTRY}) SELECT l.recno, {key_text(self._entity)}, {duplicate}"
                f" FROM {source} r JOIN losers l ON l.recno = r.{recno}{unstaged}"
            )
        self._run(
            f"WITH gone AS (DELETE FROM {intake.good} g USING losers l WHERE g.source_recno = l.recno RETURNING g.*)"
            f" INSERT INTO {intake.rejected} ({sql.names(self._keys)}, source_recno)"
            f" SELECT {sql.names(self._keys)}, source_recno FROM gone"
        )

    def _choose_last_good(self) -> None:
        """Decide for the rows of HAT that no good row stands behind whether they stay: ``fate``.

        The last good version of a key stays while any live row has the key and no good row has taken one of its keys.
        """
        intake, key = self._intake, self._entity.key
        same = sql.equal("r", "t", key)
        taken = "".join(
            f" AND NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 't', other)})"
            for other in self._entity.alternate_keys
        )
        self._make(
            "fate",
            f"SELECT {sql.names(key, 't')}, (l.recno IS NOT NULL"
            f" OR EXISTS (SELECT FROM {intake.rejected} r WHERE {same})){taken} AS stays"
            " FROM touched t LEFT JOIN losers l ON l.recno = t.backing AND NOT t.superseded"
            f" WHERE NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 't', key)})"
            " AND (t.backing IS NULL OR t.superseded OR l.recno IS NOT NULL)",
        )

    # -- references --------------------------------------------------------------------------------------------------

    def _hold_staged(self) -> list[Answer]:
        """Hold good rows without a hard parent, warn of missing soft ones; the answer counts the rows held."""
        intake, entity = self._intake, self._entity
        if not entity.parents:
            return []
        joins, flags = [], []
        for number, parent in enumerate(entity.parents):
            there = f'p{number}."{parent.parent_columns[0]}" IS NOT NULL'
            if parent.table in self._merger.present:
                on = sql.equal(f"p{number}", "c", parent.parent_columns, parent.columns)
                joins.append(f"LEFT JOIN {self._merger.schema}.{parent.table} p{number} ON {on}")
            else:
                there = "false"
            flags.append(f"({sql.filled(parent.columns, 'c')} AND NOT {there}) AS m{number}")
        self._make(
            "lacking",
            f"SELECT * FROM (SELECT c.source_recno, {key_text(entity, 'c')} AS key, {', '.join(flags)}"
            f" FROM {intake.good} c {' '.join(joins)}) f"
            f" WHERE {' OR '.join(f'm{number}' for number in range(len(flags)))}",
        )
        hard = [number for number, parent in enumerate(entity.parents) if entity.is_hard(parent)]
        held = []
        if hard:
            orphan = " OR ".join(f"m{number}" for number in hard)
            held.append(
                self._run(
                    f"INSERT INTO {intake.issues} ({_ENTRY}) SELECT source_recno, key, NULL, 'parent_missing', 'held',"
                    f" {_held_reason(entity, hard)}, NULL FROM lacking WHERE {orphan}"
                )
            )
            self._run(
                f"DELETE FROM {intake.good} g USING lacking WHERE g.source_recno = lacking.source_recno AND ({orphan})"
            )
            self._run(f"DELETE FROM lacking WHERE {orphan}")
            self._run(  # the version that HAT has of a held row leaves
                f"INSERT INTO fate SELECT {sql.names(entity.key, 't')}, false FROM touched t"
                f" WHERE NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 't', entity.key)})"
                f" AND NOT EXISTS (SELECT FROM fate f WHERE {sql.equal('f', 't', entity.key)})"
                " AND (t.backing IS NULL OR t.superseded)"
            )
        for number, parent in enumerate(entity.parents):
            if number not in hard:
                self._run(
                    f"INSERT INTO {intake.issues} ({_ENTRY}) SELECT source_recno, key, NULL, 'parent_missing',"
                    f" 'warning', {_soft_reason(parent)}, NULL FROM lacking WHERE m{number}"
                )
        return held

    def _hold_orphans(self) -> list[Answer]:
        """Hold the rows of HAT, not read in this run, whose hard parent has left; the answer counts them.

        A last good version goes, too, but is not held: its row is in quarantine already.
        """
        entity, key = self._entity, self._entity.key
        hard = [number for number, parent in enumerate(entity.parents) if entity.is_hard(parent)]
        moved = [entity.parents[n] for n in hard if entity.parents[n].table in self._merger.left]
        if not moved:
            return []
        found = " UNION ".join(
            f"SELECT {sql.names(key, 'h')} FROM {self._hat} h JOIN {_left(parent.table)} l"
            f" ON {sql.equal('l', 'h', parent.parent_columns, parent.columns)} WHERE {self._absent(parent, 'h')}"
            for parent in moved
        )
        flags = ", ".join(f"{self._absent(entity.parents[number], 'h')} AS m{number}" for number in hard)
        held = self._run(
            f"WITH found AS ({found}), rows AS (SELECT {sql.names(key, 'h')}, {key_array(entity, 'h')} AS parts,"
            f" {key_text(entity, 'h')} AS key, CASE WHEN b.key IS NULL THEN h.source_recno ELSE b.recno END AS recno,"
            f" {flags} FROM {self._hat} h JOIN found USING ({sql.names(key)})"
            f" LEFT JOIN hat_etl.backing b ON b.\"table\" = '{entity.table}' AND b.key = {key_array(entity, 'h')}"
            f" WHERE NOT EXISTS (SELECT FROM {self._intake.good} g WHERE {sql.equal('g', 'h', key)})),"
            f" noted AS (INSERT INTO orphans SELECT r.parts, CASE WHEN f.stays IS NULL THEN r.recno"
            f" END, r.key, {_held_reason(entity, hard)} FROM rows r LEFT JOIN fate f USING ({sql.names(key)})"
            " RETURNING recno) SELECT FROM noted WHERE recno IS NOT NULL"
        )
        return [held]

    def _absent(self, parent: Parent, child: str) -> str:
        """SQL that is true when the row ``child`` names a parent that HAT does not have."""
        filled = sql.filled(parent.columns, child)
        if parent.table not in self._merger.present:
            return f"({filled})"
        return (
            f"({filled} AND NOT EXISTS (SELECT FROM {self._merger.schema}.{parent.table} p"
            f" WHERE {sql.equal('p', child, parent.parent_columns, parent.columns)}))"
        )

    # -- changes of HAT ----------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Find the rows that will change and those that will leave."""
        intake, entity, key = self._intake, self._entity, self._entity.key
        self._make(
            "leaving",
            f"SELECT {sql.names(key)} FROM fate WHERE NOT stays UNION SELECT {typed_key(entity, 'parts')} FROM orphans",
        )
        columns = [column.name for column in entity.columns]
        moved = " OR ".join(
            f"ROW({sql.names(other, 'h')}) IS DISTINCT FROM ROW({sql.names(other, 'g')})"
            for other in entity.alternate_keys
        )
        self._make(
            "differing",
            f"SELECT {sql.names(key, 'g')}, {moved or 'false'} AS moved"
            f" FROM {intake.good} g JOIN {self._hat} h USING ({sql.names(key)})"
            f" WHERE ROW({sql.names(columns, 'h')}) IS DISTINCT FROM ROW({sql.names(columns, 'g')})",
        )

    def _offer(self) -> int:
        """Let the sink take the changes; gives how many rows are held because their outcome is not known."""
        sink = self._merger.sink
        actions = frozenset() if sink is None else sink.actions(self._entity)
        if sink is None or not actions:
            return 0
        table = offering.Offering(self._merger.connection, self._merger.schema, self._intake)
        refusals = table.offer(sink, actions)
        if refusals:
            table.refuse(refusals)
            self._run("DROP TABLE leaving, differing")
            self._compare()
        table.drop()
        return sum(refusal.severity == "held" for refusal in refusals)

    def _note_changes(self) -> tuple[Answer, Answer, Answer, Answer]:
        """Keep the rows that will change or leave as they are.

        The answers count the rows that change, that leave, whose keys will be gone, and that have a new key.
        """
        entity, key = self._entity, self._entity.key
        counts = []
        for table, kind in (("differing", "update"), ("leaving", "delete")):
            counts.append(
                self._run(
                    "INSERT INTO hat_etl.changes"
                    f" SELECT {self._merger.run}, '{entity.table}', '{kind}', {key_array(entity, 'h')}, to_jsonb(h)"
                    f" FROM {self._hat} h JOIN {table} d USING ({sql.names(key)})"
                )
            )
        gone = self._run(
            f"CREATE TEMPORARY TABLE {entity.table}__left ON COMMIT DROP AS"
            f" SELECT {sql.names(self._keys, 'h')} FROM {self._hat} h JOIN leaving USING ({sql.names(key)})"
            f" UNION SELECT {sql.names(self._keys, 'h')} FROM {self._hat} h JOIN differing d USING ({sql.names(key)})"
            " WHERE d.moved"
        )
        return counts[0], counts[1], gone, self._run("SELECT FROM differing WHERE moved LIMIT 1")

    def _apply(self) -> Answer:
        """Carry the changes out; the answer counts the new rows. A row whose alternate key moves is made anew."""
        intake, entity, key = self._intake, self._entity, self._entity.key
        new = self._run(
            "INSERT INTO hat_etl.changes"
            f" SELECT {self._merger.run}, '{entity.table}', 'insert', {key_array(entity, 'g')}, NULL"
            f" FROM {intake.good} g WHERE NOT EXISTS (SELECT FROM {self._hat} h WHERE {sql.equal('h', 'g', key)})"
        )
        names = sql.names(field.name for field in entity.schema)
        for doomed in ("leaving", "(SELECT * FROM differing WHERE moved)"):
            self._run(f"DELETE FROM {self._hat} h USING {doomed} d WHERE {sql.equal('h', 'd', key)}")
        changed = ", ".join(f'"{f.name}" = g."{f.name}"' for f in entity.schema if f.name not in key)
        self._run(
            f"UPDATE {self._hat} h SET {changed} FROM {intake.good} g JOIN differing d USING ({sql.names(key)})"
            f" WHERE NOT d.moved AND {sql.equal('h', 'g', key)}"
        )
        self._run(
            f"INSERT INTO {self._hat} ({names}) SELECT {names} FROM {intake.good} g"
            f" WHERE NOT EXISTS (SELECT FROM {self._hat} h WHERE {sql.equal('h', 'g', key)})"
        )
        return new

    def _note_backing(self) -> Answer:
        """Keep account of the rows whose Recno is not that of the live row behind them; the answer: versions kept.

        Equal rows are not rewritten, so their Recno may be an old one; a last good version has no live row at all.
        """
        intake, entity, key = self._intake, self._entity, self._entity.key
        self._fill(
            "backed",
            f"SELECT {key_array(entity, 'fate')} AS parts, NULL::bigint AS recno, false AS usual FROM fate WHERE stays"
            f" AND NOT EXISTS (SELECT FROM leaving l WHERE {sql.equal('l', 'fate', key)})"
            f" UNION ALL SELECT {key_array(entity, 'g')}, g.source_recno, g.source_recno = h.source_recno"
            f" FROM {intake.good} g JOIN {self._hat} h USING ({sql.names(key)})"
            f" UNION ALL SELECT {key_array(entity, 'l')}, NULL, true FROM leaving l"
            f" WHERE NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 'l', key)})",
        )
        table = f"'{entity.table}'"
        self._fill(
            "rebacked",
            "SELECT n.parts, n.recno, n.usual, b.key IS NOT NULL AS known, b.recno AS before FROM backed n"
            f' LEFT JOIN hat_etl.backing b ON b."table" = {table} AND b.key = n.parts'
            " WHERE n.usual <> (b.key IS NULL) OR (NOT n.usual AND b.recno IS DISTINCT FROM n.recno)",
        )
        self._run(
            f"INSERT INTO hat_etl.changes SELECT {self._merger.run}, {table}, 'backing', parts,"
            " CASE WHEN known THEN jsonb_build_object('recno', before) END FROM rebacked"
        )
        self._run(f'DELETE FROM hat_etl.backing b USING rebacked n WHERE b."table" = {table} AND b.key = n.parts')
        self._run(f"INSERT INTO hat_etl.backing SELECT {table}, parts, recno FROM rebacked WHERE NOT usual")
        return self._run("SELECT count(*) FROM backed WHERE NOT usual AND recno IS NULL")

    # -- quarantine --------------------------------------------------------------------------------------------------

    def _settle_quarantine(self) -> None:
        """Bring the entries of all rows concerned to their new state, rewriting only those that differ."""
        intake, entity = self._intake, self._entity
        table = f"'{entity.table}'"
        old = f'SELECT {_ENTRY} FROM hat_etl.rejects WHERE "table" = {table}'
        self._fill(
            "affected",
            f"SELECT recno FROM {intake.seen} UNION SELECT recno FROM losers"
            " UNION SELECT recno FROM orphans WHERE recno IS NOT NULL",
        )
        self._fill(
            "entries",
            f"SELECT {_ENTRY} FROM {intake.issues} UNION ALL"
            " SELECT recno, key, NULL, 'parent_missing', 'held', reason, NULL FROM orphans WHERE recno IS NOT NULL"
            f" UNION ALL {old} AND rule <> 'parent_missing' AND recno IN (SELECT recno FROM orphans)",
        )
        self._settle_soft(old)
        self._fill(
            "quarantined",
            f"SELECT DISTINCT recno FROM ((({old} AND recno IN (SELECT recno FROM affected))"
            f" EXCEPT ALL SELECT {_ENTRY} FROM entries) UNION ALL (SELECT {_ENTRY} FROM entries EXCEPT ALL"
            f" ({old} AND recno IN (SELECT recno FROM affected)))) d",
        )
        self._run(
            f"INSERT INTO hat_etl.changes SELECT {self._merger.run}, {table}, 'rejects', ARRAY[q.recno::text],"
            " (SELECT jsonb_agg(to_jsonb(r) - 'id' ORDER BY r.id) FROM hat_etl.rejects r"
            f' WHERE r."table" = {table} AND r.recno = q.recno) FROM quarantined q'
        )
        self._run(f'DELETE FROM hat_etl.rejects r USING quarantined q WHERE r."table" = {table} AND r.recno = q.recno')
        self._run(
            f'INSERT INTO hat_etl.rejects (run, "table", {_ENTRY}) SELECT {self._merger.run}, {table}, {_ENTRY}'
            " FROM entries JOIN quarantined USING (recno) ORDER BY recno"
        )

    def _settle_soft(self, old: str) -> None:
        """Warnings of rows that were not read: a soft parent has come, or has left."""
        entity, toggled, bereft = self._entity, list[str](), list[str]()
        of_table = f"b.\"table\" = '{entity.table}'"
        unread = "NOT EXISTS (SELECT FROM affected a WHERE a.recno = {recno})"
        for parent in entity.soft_parents:
            reason = _soft_reason(parent)
            if parent.table in self._merger.arrived:
                warned = (
                    f"(SELECT DISTINCT recno FROM hat_etl.rejects WHERE \"table\" = '{entity.table}'"
                    f" AND rule = 'parent_missing' AND severity = 'warning' AND reason = {reason}) w"
                )
                usual = (
                    f"{self._hat} h ON h.source_recno = w.recno AND NOT EXISTS (SELECT FROM hat_etl.backing b"
                    f" WHERE {of_table} AND b.key = {key_array(entity, 'h')})"
                )
                unusual = (
                    f"hat_etl.backing b ON {of_table} AND b.recno = w.recno"
                    f" CROSS JOIN LATERAL (SELECT {typed_key(entity, 'b.key')}) k"
                    f" JOIN {self._hat} h ON {sql.equal('h', 'k', entity.key)}"
                )
                toggled += [
                    f"SELECT w.recno, NULL AS key, {reason} AS reason FROM {warned} JOIN {row}"
                    f" WHERE {unread.format(recno='w.recno')} AND NOT {self._absent(parent, 'h')}"
                    for row in (usual, unusual)
                ]
            if parent.table in self._merger.left:
                bereft.append(
                    f"SELECT h.source_recno, {key_array(entity, 'h')} AS parts, {key_text(entity, 'h')} AS key,"
                    f" {reason} AS reason FROM {_left(parent.table)} l"
                    f" JOIN {self._hat} h ON {sql.equal('l', 'h', parent.parent_columns, parent.columns)}"
                    f" WHERE {self._absent(parent, 'h')}"
                )
        if bereft:
            toggled.append(
                "SELECT r.recno, x.key, x.reason FROM bereft x"
                f" LEFT JOIN hat_etl.backing b ON {of_table} AND b.key = x.parts"
                " CROSS JOIN LATERAL (SELECT CASE WHEN b.key IS NULL THEN x.source_recno ELSE b.recno END AS recno) r"
                f" WHERE r.recno IS NOT NULL AND {unread.format(recno='r.recno')}"
            )
        if not toggled:
            return
        if bereft:
            self._make("bereft", " UNION ".join(bereft))
        self._make("toggled", " UNION ".join(toggled))
        self._run(
            f"INSERT INTO entries {old} AND recno IN (SELECT recno FROM toggled) AND NOT (rule = 'parent_missing'"
            " AND (recno, reason) IN (SELECT recno, reason FROM toggled))"
            " UNION ALL SELECT recno, key, NULL, 'parent_missing', 'warning', reason, NULL FROM toggled"
            " WHERE key IS NOT NULL"
        )
        self._run("INSERT INTO affected SELECT DISTINCT recno FROM toggled")

    # -- plumbing ----------------------------------------------------------------------------------------------------

    def _make(self, name: str, query: str) -> None:
        self._run(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query}")
        if not self._few:
            self._run(f"ANALYZE {name}")

    def _fill(self, name: str, query: str) -> None:
        """The same for a table that is there and empty."""
        self._run(f"INSERT INTO {name} {query}")
        if not self._few:
            self._run(f"ANALYZE {name}")

    def _drop_tables(self) -> None:
        self._run("DROP TABLE IF EXISTS " + ", ".join(f"pg_temp.{name}" for name in _SCRATCH))
        if self._few:  # what little is in them goes faster one by one
            for name in _SHARED:
                self._run(f"DELETE FROM {name}")
        else:
            self._run(f"TRUNCATE {', '.join(_SHARED)}")


def _left(table: str) -> str:
    return f"pg_temp.{table}__left"


def _held_reason(entity: Entity, hard: Iterable[int]) -> str:
    """SQL for the reason of a row whose flags ``m<number>`` tell which hard parents are missing."""
    before, after = HELD_REASON.split("{parents}")
    labels = ", ".join(f"CASE WHEN m{number} THEN {sql.literal(label(entity.parents[number]))} END" for number in hard)
    return f"{sql.literal(before)} || array_to_string(ARRAY[{labels}], ' e ') || {sql.literal(after)}"


def _soft_reason(parent: Parent) -> str:
    return sql.literal(SOFT_REASON.format(parents=label(parent)))
