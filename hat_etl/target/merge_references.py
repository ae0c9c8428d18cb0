"""References in a merge: rows without their hard parent in HAT are held, and those without a soft one warned of."""

from __future__ import annotations

from collections.abc import Iterable

from hat_etl.entities.model import Entity
from hat_etl.target import sql
from hat_etl.target.integrity import HELD_REASON, key_array, key_text, label
from hat_etl.target.merge_table import ENTRY, Answer, MergeTable, keys_left, soft_reason


def hold_staged(table: MergeTable) -> list[Answer]:
    """Hold good rows without a hard parent, warn of missing soft ones; the answer counts the rows held."""
    intake, entity = table.intake, table.entity
    if not entity.parents:
        return []
    joins, flags = [], []
    for number, parent in enumerate(entity.parents):
        there = f'p{number}."{parent.parent_columns[0]}" IS NOT NULL'
        if parent.table in table.run.present:
            on = sql.equal(f"p{number}", "c", parent.parent_columns, parent.columns)
            joins.append(f"LEFT JOIN {table.run.schema}.{parent.table} p{number} ON {on}")
        else:
            there = "false"
        flags.append(f"({sql.filled(parent.columns, 'c')} AND NOT {there}) AS m{number}")
    table.make(
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
            table.tell(
                f"INSERT INTO {intake.issues} ({ENTRY}) SELECT source_recno, key, NULL, 'parent_missing', 'held',"
                f" {_held_reason(entity, hard)}, NULL FROM lacking WHERE {orphan}"
            )
        )
        table.tell(
            f"DELETE FROM {intake.good} g USING lacking WHERE g.source_recno = lacking.source_recno AND ({orphan})"
        )
        table.tell(f"DELETE FROM lacking WHERE {orphan}")
        table.tell(  # the version that HAT has of a held row leaves
            f"INSERT INTO fate SELECT {sql.names(entity.key, 't')}, false FROM touched t"
            f" WHERE NOT EXISTS (SELECT FROM {intake.good} g WHERE {sql.equal('g', 't', entity.key)})"
            f" AND NOT EXISTS (SELECT FROM fate f WHERE {sql.equal('f', 't', entity.key)})"
            " AND (t.backing IS NULL OR t.superseded OR EXISTS (SELECT FROM losers l WHERE l.recno = t.backing))"
        )
    for number, parent in enumerate(entity.parents):
        if number not in hard:
            table.tell(
                f"INSERT INTO {intake.issues} ({ENTRY}) SELECT source_recno, key, NULL, 'parent_missing',"
                f" 'warning', {soft_reason(parent)}, NULL FROM lacking WHERE m{number}"
            )
    return held


def hold_orphans(table: MergeTable) -> list[Answer]:
    """Hold the rows of HAT, not read in this run, whose hard parent has left; the answer counts them.

    A last good version goes, too, but is not held: its row is in quarantine already.
    """
    entity, key = table.entity, table.entity.key
    hard = [number for number, parent in enumerate(entity.parents) if entity.is_hard(parent)]
    moved = [entity.parents[n] for n in hard if entity.parents[n].table in table.run.left]
    if not moved:
        return []
    found = " UNION ".join(
        f"SELECT {sql.names(key, 'h')} FROM {table.hat} h JOIN {keys_left(parent.table)} l"
        f" ON {sql.equal('l', 'h', parent.parent_columns, parent.columns)} WHERE {table.absent(parent, 'h')}"
        for parent in moved
    )
    flags = ", ".join(f"{table.absent(entity.parents[number], 'h')} AS m{number}" for number in hard)
    held = table.tell(
        f"WITH found AS ({found}), rows AS (SELECT {sql.names(key, 'h')}, {key_array(entity, 'h')} AS parts,"
        f" {key_text(entity, 'h')} AS key, CASE WHEN b.key IS NULL THEN h.source_recno ELSE b.recno END AS recno,"
        f" {flags} FROM {table.hat} h JOIN found USING ({sql.names(key)})"
        f" LEFT JOIN hat_etl.backing b ON b.\"table\" = '{entity.table}' AND b.key = {key_array(entity, 'h')}"
        f" WHERE NOT EXISTS (SELECT FROM {table.intake.good} g WHERE {sql.equal('g', 'h', key)})),"
        f" noted AS (INSERT INTO orphans SELECT r.parts, CASE WHEN f.stays IS NULL THEN r.recno"
        f" END, r.key, {_held_reason(entity, hard)} FROM rows r LEFT JOIN fate f USING ({sql.names(key)})"
        " RETURNING recno) SELECT FROM noted WHERE recno IS NOT NULL"
    )
    return [held]


def _held_reason(entity: Entity, hard: Iterable[int]) -> str:
    """SQL for the reason of a row whose flags ``m<number>`` tell which hard parents are missing."""
    before, after = HELD_REASON.split("{parents}")
    labels = ", ".join(f"CASE WHEN m{number} THEN {sql.literal(label(entity.parents[number]))} END" for number in hard)
    return f"{sql.literal(before)} || array_to_string(ARRAY[{labels}], ' e ') || {sql.literal(after)}"
