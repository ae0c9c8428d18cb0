"""The merge: what a sync has read of a table is brought into HAT, changing only the rows that differ.

Works table by table, parents before children, inside one transaction that the caller holds with all foreign keys
deferred. A row of HAT stands for one live row of the view, whose Recno is its ``source_recno`` unless
``hat_etl.backing`` names another; a last good version stands for none. The rows that can be concerned are all there:
what was read, the rows of quarantine (every sync reads them again) and the rows of HAT with a key among these.
"""

from __future__ import annotations

from dataclasses import dataclass

from hat_etl.entities.model import Entity
from hat_etl.target import calls, offering, sql
from hat_etl.target.intake import Intake
from hat_etl.target.integrity import duplicate_reason, key_array, key_text, typed_key
from hat_etl.target.merge_quarantine import settle
from hat_etl.target.merge_references import hold_orphans, hold_staged
from hat_etl.target.merge_table import ENTRY, SHARED, Answer, MergeRun, MergeTable
from hat_etl.target.sink import Sink

BY_INDEX = "SET LOCAL random_page_cost = 0.1"
"""For the transaction of a merge: few rows of HAT are looked up, which the planner, ill informed, would rather read
whole. Joins of any kind stay open to it, for what it takes for a few rows may be many."""


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
class Merger(MergeRun):
    """One run's merge."""

    repaired: frozenset[str] = frozenset()
    """Tables in which HAT may hold what no run has brought: equal rows do not tell there that all is well."""
    sink: Sink | None = None
    """Is offered the changes of each table before they are carried out."""
    _shared: bool = False

    def merge(self, intake: Intake) -> Merged:
        """Bring one table to the state of the view. Raises psycopg errors."""
        parents = {parent.table for parent in intake.entity.parents}
        soft = {parent.table for parent in intake.entity.soft_parents}
        if intake.empty and not parents & self.left and not soft & self.arrived:
            return Merged()
        moved = parents & (self.left | self.arrived)
        merge = _TableMerge(self, intake)
        if not moved and not self._may_differ(intake.entity) and merge.is_needless():
            return merge.standing()
        intake.make()
        if not self._shared:
            for name, columns in SHARED.items():
                self.connection.execute(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP")
            self._shared = True
        return merge.carry_out()

    def _may_differ(self, entity: Entity) -> bool:
        """Whether equal rows do not tell that there is nothing to do."""
        in_doubt = self.sink is not None and calls.is_in_doubt(self.connection, entity)
        return in_doubt or entity.table in self.repaired


class _TableMerge(MergeTable):
    def __init__(self, merger: Merger, intake: Intake) -> None:
        super().__init__(merger, intake)
        self._merger, self._was_read = merger, not intake.empty

    def is_needless(self) -> bool:
        """Whether all is as it was: HAT has what was read, and what was rejected was judged by the last run.

        So it is with rows that a look-back repeats, and with rows of quarantine that nothing has moved.
        """
        intake, key = self.intake, self.entity.key
        table = f"'{self.entity.table}'"
        columns = ["source_recno", *(column.name for column in self.entity.columns)]
        answer = self.tell(
            f"SELECT NOT EXISTS (SELECT FROM {intake.issues} i JOIN {intake.seen} s USING (recno) WHERE NOT s.repeats)"
            f" AND NOT EXISTS (SELECT FROM {intake.rejected} r JOIN {intake.seen} s ON s.recno = r.source_recno"
            " WHERE NOT s.repeats)"
            f' AND NOT EXISTS (SELECT FROM hat_etl.backing WHERE "table" = {table})'
            f" AND NOT EXISTS (SELECT FROM hat_etl.rejects r JOIN {intake.seen} s USING (recno)"
            f' WHERE r."table" = {table} AND NOT s.repeats)'
            f" AND NOT EXISTS (SELECT FROM {self.hat} h JOIN {intake.seen} s ON s.recno = h.source_recno"
            " WHERE NOT s.live)"
            f" AND NOT EXISTS (SELECT FROM {intake.good} g JOIN {intake.seen} s ON s.recno = g.source_recno"
            f" LEFT JOIN {self.hat} h USING ({sql.names(key)}) WHERE NOT s.repeats"
            f" AND ROW({sql.names(columns, 'h')}) IS DISTINCT FROM ROW({sql.names(columns, 'g')}))"
        ).fetchone()
        return answer == (True,)

    def standing(self) -> Merged:
        """The rows of quarantine as the last run left them."""
        rejected, held = self.tell(
            "SELECT count(DISTINCT recno) FILTER (WHERE severity = 'reject'),"
            " count(DISTINCT recno) FILTER (WHERE severity = 'held')"
            f" FROM hat_etl.rejects WHERE \"table\" = '{self.entity.table}'"
            " AND (severity <> 'warning' OR rule = 'not_future')"
        ).fetchall()[0]
        return Merged(rejected=int(rejected), held=int(held))

    def carry_out(self) -> Merged:
        """All statements go to the server in one stream: no step waits for the answer to the one before."""
        with self.run.connection.pipeline():
            self._touch()
            self._judge_duplicates()
            self._choose_last_good()
            held = [*hold_staged(self), *hold_orphans(self)]
            self._compare()
            unsettled = self._offer()
            updated, left, gone, moved = self._note_changes()
            settle(self)
            inserted = self._apply()
            kept = self._note_backing()
            issues = self.tell(
                f"SELECT (SELECT count(DISTINCT recno) FROM {self.intake.issues} WHERE severity = 'reject'),"
                f" (SELECT count(*) FROM {self.intake.issues} WHERE severity = 'warning')"
            )
            self.clear()
        if gone.rowcount:
            self.run.left.add(self.entity.table)
        if moved.rowcount or inserted.rowcount:
            self.run.arrived.add(self.entity.table)
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
        intake, key = self.intake, self.entity.key
        # The rows that versions are kept for are in quarantine, so they were read if anything was.
        kept = " OR b.recno IS NULL" if self._was_read else ""
        of_rejected = f"SELECT {sql.names(key)} FROM {intake.rejected} WHERE {sql.filled(key)}"
        concerned = [
            f"SELECT {sql.names(key, 'h')} FROM {self.hat} h JOIN {intake.seen} s ON s.recno = h.source_recno",
            f"SELECT {sql.names(key)} FROM {intake.good}",
            of_rejected,
            f"SELECT {typed_key(self.entity, 'b.key')} FROM hat_etl.backing b LEFT JOIN {intake.seen} s"
            f" ON s.recno = b.recno WHERE b.\"table\" = '{self.entity.table}'"
            f" AND (s.recno IS NOT NULL{kept})",
        ]
        strangers, others = "", [column for column in self.keys if column not in key]
        if others:  # most good rows have the alternate keys of their row in HAT: only the others may have another's
            strangers = (
                f"WITH strangers AS MATERIALIZED (SELECT {sql.names(self.keys, 'g')} FROM {intake.good} g"
                f" LEFT JOIN {self.hat} h ON {sql.equal('h', 'g', key)}"
                f" WHERE ROW({sql.names(others, 'h')}) IS DISTINCT FROM ROW({sql.names(others, 'g')})) "
            )
        for other in self.entity.alternate_keys:
            concerned.append(
                f"SELECT {sql.names(key, 'h')} FROM {self.hat} h JOIN (SELECT {sql.names(other)} FROM strangers"
                f" UNION SELECT {sql.names(other)} FROM {intake.rejected} WHERE {sql.filled(other)}) x"
                f" USING ({sql.names(other)})"
            )
        self.make("concerned", strangers + " UNION ".join(concerned))
        self.make(
            "touched",
            f"SELECT {sql.names(self.keys, 'h')}, e.backing,"
            f" s.recno IS NOT NULL AS superseded FROM {self.hat} h JOIN concerned USING ({sql.names(key)})"
            f" LEFT JOIN hat_etl.backing b ON b.\"table\" = '{self.entity.table}'"
            f" AND b.key = {key_array(self.entity, 'h')}"
            " CROSS JOIN LATERAL (SELECT CASE WHEN b.key IS NULL THEN h.source_recno ELSE b.recno END AS backing) e"
            f" LEFT JOIN {intake.seen} s ON s.recno = e.backing",
        )

    def _judge_duplicates(self) -> None:
        """Of live rows with one key the highest Recno wins; judged on all keys before anything is removed."""
        intake, losers = self.intake, []
        for place, key in enumerate(self.entity.keys):
            names = sql.names(key)
            losers.append(
                f"(WITH rows AS MATERIALIZED (SELECT {names}, source_recno AS recno FROM {intake.good}"
                f" UNION ALL SELECT {names}, source_recno FROM {intake.rejected} WHERE {sql.filled(key)}"
                f" UNION ALL SELECT {names}, backing FROM touched WHERE backing IS NOT NULL AND NOT superseded),"
                f" tops AS (SELECT {names}, max(recno) AS top FROM rows GROUP BY {names} HAVING count(*) > 1)"
                f" SELECT recno, {place} AS by FROM rows JOIN tops USING ({names}) WHERE recno < top)"
            )
        self.fill("losers", f"SELECT recno, min(by) FROM ({' UNION ALL '.join(losers)}) l GROUP BY recno")
        self.tell(f"DELETE FROM {intake.issues} i USING losers l WHERE i.recno = l.recno")
        duplicate = f"NULL, 'duplicate_key', 'reject', {duplicate_reason(self.entity)}, NULL"
        for source, recno in ((intake.good, "source_recno"), (intake.rejected, "source_recno"), ("touched", "backing")):
            unstaged = " WHERE NOT superseded" if source == "touched" else ""
            self.tell(
                f"INSERT INTO {intake.issues} ({ENTRY}) SELECT l.recno, {key_text(self.entity)}, {duplicate}"
                f" FROM {source} r JOIN losers l ON l.recno = r.{recno}{unstaged}"
            )
        self.tell(
            f"WITH gone AS (DELETE FROM {intake.good} g USING losers l WHERE g.source_recno = l.recno RETURNING g.*)"
            f" INSERT INTO {intake.rejected} ({sql.names(self.keys)}, source_recno)"
            f" SELECT {sql.names(self.keys)}, source_recno FROM gone"
        )

    def _choose_last_good(self) -> None:
        """Decide for the rows of HAT that no good row stands behind whether they stay: ``fate``.

        The last good version of a key stays while any live row has the key and no good row has taken one of its keys.
        """
        intake, key = self.intake, self.entity.key
        same = sql.equal("r", "t", key)
        taken = "".join(
            f" AND NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 't', other)})"
            for other in self.entity.alternate_keys
        )
        self.make(
            "fate",
            f"SELECT {sql.names(key, 't')}, (l.recno IS NOT NULL"
            f" OR EXISTS (SELECT FROM {intake.rejected} r WHERE {same})){taken} AS stays"
            " FROM touched t LEFT JOIN losers l ON l.recno = t.backing AND NOT t.superseded"
            f" WHERE NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 't', key)})"
            " AND (t.backing IS NULL OR t.superseded OR l.recno IS NOT NULL)",
        )

    # -- changes of HAT ----------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Find the rows that will change and those that will leave."""
        intake, entity, key = self.intake, self.entity, self.entity.key
        self.make(
            "leaving",
            f"SELECT {sql.names(key)} FROM fate WHERE NOT stays UNION SELECT {typed_key(entity, 'parts')} FROM orphans",
        )
        columns = [column.name for column in entity.columns]
        moved = " OR ".join(
            f"ROW({sql.names(other, 'h')}) IS DISTINCT FROM ROW({sql.names(other, 'g')})"
            for other in entity.alternate_keys
        )
        self.make(
            "differing",
            f"SELECT {sql.names(key, 'g')}, {moved or 'false'} AS moved"
            f" FROM {intake.good} g JOIN {self.hat} h USING ({sql.names(key)})"
            f" WHERE ROW({sql.names(columns, 'h')}) IS DISTINCT FROM ROW({sql.names(columns, 'g')})",
        )

    def _offer(self) -> int:
        """Let the sink take the changes; gives how many rows are held because their outcome is not known."""
        sink = self._merger.sink
        actions = frozenset() if sink is None else sink.actions(self.entity)
        if sink is None or not actions:
            return 0
        table = offering.Offering(self.run.connection, self.run.schema, self.intake)
        refusals = table.offer(sink, actions)
        if refusals:
            table.refuse(refusals)
            self.tell("DROP TABLE leaving, differing")
            self._compare()
        table.drop()
        return sum(refusal.severity == "held" for refusal in refusals)

    def _note_changes(self) -> tuple[Answer, Answer, Answer, Answer]:
        """Keep the rows that will change or leave as they are.

        The answers count the rows that change, that leave, whose keys will be gone, and that have a new key.
        """
        entity, key = self.entity, self.entity.key
        counts = []
        for table, kind in (("differing", "update"), ("leaving", "delete")):
            counts.append(
                self.tell(
                    "INSERT INTO hat_etl.changes"
                    f" SELECT {self.run.number}, '{entity.table}', '{kind}', {key_array(entity, 'h')}, to_jsonb(h)"
                    f" FROM {self.hat} h JOIN {table} d USING ({sql.names(key)})"
                )
            )
        gone = self.tell(
            f"CREATE TEMPORARY TABLE {entity.table}__left ON COMMIT DROP AS"
            f" SELECT {sql.names(self.keys, 'h')} FROM {self.hat} h JOIN leaving USING ({sql.names(key)})"
            f" UNION SELECT {sql.names(self.keys, 'h')} FROM {self.hat} h JOIN differing d USING ({sql.names(key)})"
            " WHERE d.moved"
        )
        return counts[0], counts[1], gone, self.tell("SELECT FROM differing WHERE moved LIMIT 1")

    def _apply(self) -> Answer:
        """Carry the changes out; the answer counts the new rows. A row whose alternate key moves is made anew."""
        intake, entity, key = self.intake, self.entity, self.entity.key
        new = self.tell(
            "INSERT INTO hat_etl.changes"
            f" SELECT {self.run.number}, '{entity.table}', 'insert', {key_array(entity, 'g')}, NULL"
            f" FROM {intake.good} g WHERE NOT EXISTS (SELECT FROM {self.hat} h WHERE {sql.equal('h', 'g', key)})"
        )
        names = sql.names(field.name for field in entity.schema)
        for doomed in ("leaving", "(SELECT * FROM differing WHERE moved)"):
            self.tell(f"DELETE FROM {self.hat} h USING {doomed} d WHERE {sql.equal('h', 'd', key)}")
        changed = ", ".join(f'"{f.name}" = g."{f.name}"' for f in entity.schema if f.name not in key)
        self.tell(
            f"UPDATE {self.hat} h SET {changed} FROM {intake.good} g JOIN differing d USING ({sql.names(key)})"
            f" WHERE NOT d.moved AND {sql.equal('h', 'g', key)}"
        )
        self.tell(
            f"INSERT INTO {self.hat} ({names}) SELECT {names} FROM {intake.good} g"
            f" WHERE NOT EXISTS (SELECT FROM {self.hat} h WHERE {sql.equal('h', 'g', key)})"
        )
        return new

    def _note_backing(self) -> Answer:
        """Keep account of the rows whose Recno is not that of the live row behind them; the answer: versions kept.

        Equal rows are not rewritten, so their Recno may be an old one; a last good version has no live row at all.
        """
        intake, entity, key = self.intake, self.entity, self.entity.key
        self.fill(
            "backed",
            f"SELECT {key_array(entity, 'fate')} AS parts, NULL::bigint AS recno, false AS usual FROM fate WHERE stays"
            f" AND NOT EXISTS (SELECT FROM leaving l WHERE {sql.equal('l', 'fate', key)})"
            f" UNION ALL SELECT {key_array(entity, 'g')}, g.source_recno, g.source_recno = h.source_recno"
            f" FROM {intake.good} g JOIN {self.hat} h USING ({sql.names(key)})"
            f" WHERE g.source_recno <> h.source_recno OR {key_array(entity, 'g')} IN"
            f" (SELECT key FROM hat_etl.backing WHERE \"table\" = '{entity.table}')"
            f" UNION ALL SELECT {key_array(entity, 'l')}, NULL, true FROM leaving l"
            f" WHERE NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 'l', key)})",
        )
        table = f"'{entity.table}'"
        self.fill(
            "rebacked",
            "SELECT n.parts, n.recno, n.usual, b.key IS NOT NULL AS known, b.recno AS before FROM backed n"
            f' LEFT JOIN hat_etl.backing b ON b."table" = {table} AND b.key = n.parts'
            " WHERE n.usual <> (b.key IS NULL) OR (NOT n.usual AND b.recno IS DISTINCT FROM n.recno)",
        )
        self.tell(
            f"INSERT INTO hat_etl.changes SELECT {self.run.number}, {table}, 'backing', parts,"
            " CASE WHEN known THEN jsonb_build_object('recno', before) END FROM rebacked"
        )
        self.tell(f'DELETE FROM hat_etl.backing b USING rebacked n WHERE b."table" = {table} AND b.key = n.parts')
        self.tell(f"INSERT INTO hat_etl.backing SELECT {table}, parts, recno FROM rebacked WHERE NOT usual")
        return self.tell("SELECT count(*) FROM backed WHERE NOT usual AND recno IS NULL")
