"""Quarantine in a merge: the entries of every row concerned are brought to their new state."""

from __future__ import annotations

from hat_etl.target import sql
from hat_etl.target.integrity import key_array, key_text, typed_key
from hat_etl.target.merge_table import ENTRY, MergeTable, keys_left, soft_reason


def settle(table: MergeTable) -> None:
    """Bring the entries of all rows concerned to their new state, rewriting only those that differ."""
    intake, entity = table.intake, table.entity
    named = f"'{entity.table}'"
    old = f'SELECT {ENTRY} FROM hat_etl.rejects WHERE "table" = {named}'
    table.fill(
        "affected",
        f"SELECT recno FROM {intake.seen} UNION SELECT recno FROM losers"
        " UNION SELECT recno FROM orphans WHERE recno IS NOT NULL",
    )
    table.fill(
        "entries",
        f"SELECT {ENTRY} FROM {intake.issues} UNION ALL"
        " SELECT recno, key, NULL, 'parent_missing', 'held', reason, NULL FROM orphans WHERE recno IS NOT NULL"
        f" UNION ALL {old} AND rule <> 'parent_missing' AND recno IN (SELECT recno FROM orphans)",
    )
    _settle_soft(table, old)
    table.fill(
        "quarantined",
        f"SELECT DISTINCT recno FROM (SELECT recno FROM (SELECT {ENTRY}, 1 AS n FROM entries UNION ALL"
        f" SELECT {ENTRY}, -1 FROM ({old} AND recno IN (SELECT recno FROM affected)) o) e"
        f" GROUP BY {ENTRY} HAVING sum(n) <> 0) d",
    )
    table.tell(
        f"INSERT INTO hat_etl.changes SELECT {table.run.number}, {named}, 'rejects', ARRAY[q.recno::text], o.entries"
        " FROM quarantined q LEFT JOIN (SELECT r.recno, jsonb_agg(to_jsonb(r) - 'id' ORDER BY r.id) AS entries"
        f' FROM hat_etl.rejects r WHERE r."table" = {named} AND r.recno IN (SELECT recno FROM quarantined)'
        " GROUP BY r.recno) o USING (recno)"
    )
    table.tell(f'DELETE FROM hat_etl.rejects r USING quarantined q WHERE r."table" = {named} AND r.recno = q.recno')
    table.tell(
        f'INSERT INTO hat_etl.rejects (run, "table", {ENTRY}) SELECT {table.run.number}, {named}, {ENTRY}'
        " FROM entries JOIN quarantined USING (recno) ORDER BY recno"
    )


def _settle_soft(table: MergeTable, old: str) -> None:
    """Warnings of rows that were not read: a soft parent has come, or has left."""
    entity, toggled, bereft = table.entity, list[str](), list[str]()
    of_table = f"b.\"table\" = '{entity.table}'"
    unread = "NOT EXISTS (SELECT FROM affected a WHERE a.recno = {recno})"
    arrived = [parent for parent in entity.soft_parents if parent.table in table.run.arrived]
    warned = (
        f'WITH warned AS MATERIALIZED (SELECT r.recno, r.reason FROM hat_etl.rejects r WHERE r."table" ='
        f" '{entity.table}' AND r.rule = 'parent_missing' AND r.severity = 'warning'"
        f" AND r.reason IN ({', '.join(map(soft_reason, arrived))}) AND {unread.format(recno='r.recno')}) "
    )
    for parent in entity.soft_parents:
        reason = soft_reason(parent)
        if parent in arrived:
            usual = (
                f"{table.hat} h ON h.source_recno = w.recno AND NOT EXISTS (SELECT FROM hat_etl.backing b"
                f" WHERE {of_table} AND b.key = {key_array(entity, 'h')})"
            )
            unusual = (
                f"hat_etl.backing b ON {of_table} AND b.recno = w.recno"
                f" CROSS JOIN LATERAL (SELECT {typed_key(entity, 'b.key')}) k"
                f" JOIN {table.hat} h ON {sql.equal('h', 'k', entity.key)}"
            )
            toggled += [
                f"SELECT w.recno, NULL AS key, w.reason FROM warned w JOIN {row}"
                f" WHERE w.reason = {reason} AND NOT {table.absent(parent, 'h')}"
                for row in (usual, unusual)
            ]
        if parent.table in table.run.left:
            bereft.append(
                f"SELECT h.source_recno, {key_array(entity, 'h')} AS parts, {key_text(entity, 'h')} AS key,"
                f" {reason} AS reason FROM {keys_left(parent.table)} l"
                f" JOIN {table.hat} h ON {sql.equal('l', 'h', parent.parent_columns, parent.columns)}"
                f" WHERE {table.absent(parent, 'h')}"
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
        table.make("bereft", " UNION ".join(bereft))
    table.make("toggled", (warned if arrived else "") + " UNION ".join(toggled))
    table.tell(
        f"INSERT INTO entries {old} AND recno IN (SELECT recno FROM toggled) AND NOT (rule = 'parent_missing'"
        " AND (recno, reason) IN (SELECT recno, reason FROM toggled))"
        " UNION ALL SELECT recno, key, NULL, 'parent_missing', 'warning', reason, NULL FROM toggled"
        " WHERE key IS NOT NULL"
    )
    table.tell("INSERT INTO affected SELECT DISTINCT recno FROM toggled")
