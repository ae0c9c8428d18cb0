"""The changes of one table on their way to a sink, and what becomes of those that it refuses.

Works on the temporary tables of the merge (``leaving``, ``differing``, ``touched``, ``fate``, ``orphans``) between the
moment at which the changes are known and the one at which they are carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hat_etl.target import calls, sql
from hat_etl.target.database import Connection
from hat_etl.target.intake import Intake
from hat_etl.target.integrity import key_array, key_text
from hat_etl.target.sink import CHANGE, EXCLUDE, INCLUDE, RULE, Change, Refusal, Sink

_AT_ONCE = 1_000
"""Changes in memory at a time."""


@dataclass(frozen=True)
class Offering:
    """The changes of the table of ``intake``, which the merge has found."""

    connection: Connection
    schema: str
    intake: Intake

    def offer(self, sink: Sink, actions: frozenset[str]) -> list[Refusal]:
        """Let the sink take the changes of these kinds; gives what it has not taken."""
        self._set_out(actions)
        refusals: list[Refusal] = []
        for changes in self._changes():
            refusals += sink.take(self.intake.entity, changes)
        return refusals

    def _set_out(self, actions: frozenset[str]) -> None:
        entity, good, hat = self.intake.entity, self.intake.good, f"{self.schema}.{self.intake.entity.table}"
        names = ", ".join(f'"{name}"' for name in entity.key)
        queries = {
            INCLUDE: f"SELECT '{INCLUDE}', {key_array(entity, 'g')}, g.source_recno, to_jsonb(g)::text FROM {good} g"
            f" LEFT JOIN {hat} h USING ({names}) WHERE h.source_recno IS NULL",
            CHANGE: f"SELECT '{CHANGE}', {key_array(entity, 'g')}, g.source_recno, to_jsonb(g)::text FROM {good} g"
            f" JOIN differing d USING ({names})",
            EXCLUDE: f"SELECT '{EXCLUDE}', {key_array(entity, 'h')}, h.source_recno, to_jsonb(h)::text FROM {hat} h"
            f" JOIN leaving l USING ({names})",
        }
        self.connection.execute(
            "CREATE TEMPORARY TABLE offered (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, action text,"
            " parts text[], recno bigint, contents text) ON COMMIT DROP"
        )
        for action, query in (*queries.items(), *self._doubtful(names).items()):
            if action in actions:
                self.connection.execute(f"INSERT INTO offered (action, parts, recno, contents) {query}")

    def _doubtful(self, key: str) -> dict[str, str]:
        """SQL for rows that HAT may have otherwise than the HAT tables, which look as if nothing were to be done."""
        entity, good, hat = self.intake.entity, self.intake.good, f"{self.schema}.{self.intake.entity.table}"
        doubts, unoffered = calls.doubts(entity), "NOT EXISTS (SELECT FROM offered o WHERE o.parts = d.parts)"
        shown = " AND ".join(
            f"NOT EXISTS (SELECT FROM {rows} r WHERE {key_array(entity, 'r')} = d.parts)"
            for rows in (good, self.intake.rejected)
        )
        return {
            CHANGE: f"SELECT '{CHANGE}', d.parts, g.source_recno, to_jsonb(g)::text FROM ({doubts}) d"
            f" JOIN {good} g ON {key_array(entity, 'g')} = d.parts JOIN {hat} h USING ({key}) WHERE {unoffered}",
            EXCLUDE: f"SELECT '{EXCLUDE}', d.parts, d.recno, d.contents::text FROM ({doubts}) d"
            f" JOIN {self.intake.seen} s USING (recno) WHERE {shown} AND {unoffered}"
            # It has left the ERP, or has another key there by now.
            f" AND (NOT s.live OR EXISTS (SELECT FROM {good} g WHERE g.source_recno = d.recno))",
        }

    def _changes(self) -> Iterator[list[Change]]:
        last = 0
        while True:
            rows = self.connection.execute(
                "SELECT number, action, parts, recno, contents FROM offered WHERE number > %s ORDER BY number LIMIT %s",
                (last, _AT_ONCE),
            ).fetchall()
            if not rows:
                return
            last = int(rows[-1][0])
            yield [Change(action, tuple(parts), int(recno), row) for _, action, parts, recno, row in rows]

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Leave these changes out, with an entry of quarantine each.

        The version that HAT has of a row that may not change stays, unless another row has taken one of its keys.
        """
        self._note(refusals)
        entity, good, rejected = self.intake.entity, self.intake.good, self.intake.rejected
        run, columns = self.connection.execute, tuple(dict.fromkeys(name for key in entity.keys for name in key))
        entry = '(recno, key, "column", rule, severity, reason, value)'
        run(
            f"INSERT INTO {self.intake.issues} {entry} SELECT r.recno, {key_text(entity, 'g')}, NULL, '{RULE}',"
            f" r.severity, r.reason, NULL FROM {good} g JOIN refused r ON r.parts = {key_array(entity, 'g')}"
            f" WHERE r.action <> '{EXCLUDE}'"
        )
        run(
            f"WITH gone AS (DELETE FROM {good} g USING refused r WHERE r.parts = {key_array(entity, 'g')}"
            f" AND r.action <> '{EXCLUDE}' RETURNING g.*) INSERT INTO {rejected} ({sql.names(columns)}, source_recno)"
            f" SELECT {sql.names(columns)}, source_recno FROM gone"
        )
        taken = "".join(
            f" AND NOT EXISTS (SELECT FROM {good} g WHERE {sql.equal('g', 't', other)})"
            for other in entity.alternate_keys
        )
        run(
            f"INSERT INTO fate SELECT {sql.names(entity.key, 't')}, true{taken} FROM touched t"
            f" JOIN refused r ON r.parts = {key_array(entity, 't')} WHERE r.action = '{CHANGE}'"
        )
        self._keep_excluded(entry)

    def drop(self) -> None:
        """Remove the temporary tables that were made here."""
        self.connection.execute("DROP TABLE IF EXISTS pg_temp.offered, pg_temp.refused")

    def _note(self, refusals: Sequence[Refusal]) -> None:
        self.connection.execute(
            "CREATE TEMPORARY TABLE refused (action text, parts text[], recno bigint, severity text, reason text)"
            " ON COMMIT DROP"
        )
        self.connection.cursor().executemany(
            "INSERT INTO refused VALUES (%s, %s, %s, %s, %s)",
            [(r.change.action, list(r.change.key), r.change.recno, r.severity, r.reason) for r in refusals],
        )

    def _keep_excluded(self, entry: str) -> None:
        """A row that HAT does not let go stays, with a warning: there is no live row behind it."""
        run, fate = self.connection.execute, key_array(self.intake.entity, "f")
        run(
            f"INSERT INTO {self.intake.issues} {entry} SELECT r.recno, array_to_string(r.parts, '|'), NULL, '{RULE}',"
            f" 'warning', r.reason, NULL FROM refused r WHERE r.action = '{EXCLUDE}'"
        )
        run(f"UPDATE fate f SET stays = true FROM refused r WHERE r.parts = {fate} AND r.action = '{EXCLUDE}'")
        run(f"DELETE FROM orphans o USING refused r WHERE r.parts = o.parts AND r.action = '{EXCLUDE}'")
