"""Which live rows of a view the tenant database stands for: those behind HAT's rows and those in quarantine.

After every run these are exactly the live rows of the view. So their number and the sum of their Recnos tell whether
rows have come or gone in a way that no stamp shows: purges, views that hide deleted rows, rows committed late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from hat_etl.entities.model import Entity
from hat_etl.source.reader import WORD, Recnos
from hat_etl.target.database import Connection
from hat_etl.target.intake import Intake
from hat_etl.target.integrity import key_array


@dataclass(frozen=True)
class Live:
    """Number of live rows and the sum of their Recnos modulo 2**64."""

    rows: int
    recnos: int

    def __sub__(self, other: Live) -> Live:
        return Live(self.rows - other.rows, (self.recnos - other.recnos) % WORD)

    def __add__(self, other: Live) -> Live:
        return Live(self.rows + other.rows, (self.recnos + other.recnos) % WORD)


def waiting(connection: Connection, entity: Entity) -> Recnos:
    """Recnos of the rows that every sync reads again: rejected, held, or warned of what a new day may mend."""
    rows = connection.execute(
        'SELECT DISTINCT recno FROM hat_etl.rejects WHERE "table" = %s'
        " AND (severity <> 'warning' OR rule = 'not_future')",
        (entity.table,),
    ).fetchall()
    return np.array([recno for (recno,) in rows], dtype=np.int64)


def latest(connection: Connection, entity: Entity, schema: str, until: datetime) -> tuple[int, datetime] | None:
    """Recno and stamp of the row of HAT that the ERP changed last, as it was when HAT took it in."""
    row = connection.execute(
        f"SELECT h.source_recno, h.source_stamp FROM {schema}.{entity.table} h WHERE h.source_stamp <= %s"
        f" AND NOT EXISTS (SELECT FROM hat_etl.backing b WHERE b.\"table\" = '{entity.table}'"
        f" AND b.key = {key_array(entity, 'h')}) ORDER BY h.source_stamp DESC LIMIT 1",
        (until,),
    ).fetchone()
    return None if row is None else (int(row[0]), row[1])


def live_now(connection: Connection, intake: Intake) -> Live:
    """The live rows among those that were read."""
    return _live(connection, f"SELECT recno FROM {intake.seen} WHERE live")


def known_before(connection: Connection, intake: Intake, schema: str) -> Live:
    """The rows among those that were read or asked for that the tenant database stood for until now."""
    table = f"'{intake.entity.table}'"
    hat = f"{schema}.{intake.entity.table}"
    return _live(
        connection,
        f"SELECT h.source_recno AS recno FROM {hat} h JOIN {intake.seen} s ON s.recno = h.source_recno"
        f' WHERE NOT EXISTS (SELECT FROM hat_etl.backing b WHERE b."table" = {table}'
        f" AND b.key = {key_array(intake.entity, 'h')})"
        f' UNION SELECT b.recno FROM hat_etl.backing b JOIN {intake.seen} s USING (recno) WHERE b."table" = {table}'
        f' UNION SELECT r.recno FROM hat_etl.rejects r JOIN {intake.seen} s USING (recno) WHERE r."table" = {table}'
        " AND r.severity <> 'warning'",
    )


def compare_all(connection: Connection, intake: Intake, schema: str) -> tuple[Recnos, Recnos]:
    """Rows that have gone (known, and not in ``intake.all``) and rows that came unseen (in it, and not known).

    Both leave out what was read.
    """
    table = f"'{intake.entity.table}'"
    known = (
        f"SELECT CASE WHEN b.key IS NULL THEN h.source_recno ELSE b.recno END AS recno"
        f" FROM {schema}.{intake.entity.table} h LEFT JOIN hat_etl.backing b"
        f' ON b."table" = {table} AND b.key = {key_array(intake.entity, "h")}'
        f" UNION ALL SELECT recno FROM hat_etl.rejects WHERE \"table\" = {table} AND severity <> 'warning'"
    )
    connection.execute(f"ANALYZE {intake.all}")
    found = []
    for left, right in ((known, f"SELECT recno FROM {intake.all}"), (f"SELECT recno FROM {intake.all}", known)):
        rows = connection.execute(
            f"SELECT DISTINCT recno FROM ({left}) l WHERE recno IS NOT NULL"
            f" AND NOT EXISTS (SELECT FROM ({right}) r WHERE r.recno = l.recno)"
            f" AND NOT EXISTS (SELECT FROM {intake.seen} s WHERE s.recno = l.recno)"
        ).fetchall()
        found.append(np.array([recno for (recno,) in rows], dtype=np.int64))
    return found[0], found[1]


def _live(connection: Connection, query: str) -> Live:
    row = connection.execute(f"SELECT count(*), coalesce(sum(recno), 0) FROM ({query}) k").fetchone()
    assert row is not None
    return Live(int(row[0]), int(row[1]) % WORD)
