"""Which live rows of a view the tenant database stands for: those behind HAT's rows and those in quarantine.

After every run these are exactly the live rows of the view. So their number and the sum of their Recnos tell whether
rows have come or gone in a way that no stamp shows: purges, views that hide deleted rows, rows committed late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from hat_etl.entities.model import Entity
from hat_etl.source.reader import BUCKET, WORD, Buckets, Range, Recnos
from hat_etl.target import sql
from hat_etl.target.database import Connection
from hat_etl.target.intake import Intake
from hat_etl.target.integrity import key_array, key_text, typed_key

_SPREAD = 100
_RIVALS = 1_000


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
    """The live rows among those that were read, without those that HAT shows as they are."""
    return _live(connection, f"SELECT recno FROM {intake.seen} WHERE live")


def known_before(connection: Connection, intake: Intake, schema: str) -> Live:
    """The rows among those that were read or asked for that the tenant database stood for until now."""
    return _live(connection, _known_and_seen(intake, schema))


def by_bucket(connection: Connection, intake: Intake, schema: str) -> Buckets:
    """Live rows of the view by bucket of Recno, as they must be where nothing came or went unseen.

    That is what the tenant database stood for until now, with what was read.
    """
    seen, known = intake.seen, _known(intake.entity, schema)
    rows = connection.execute(
        f"SELECT bucket, sum(n), sum(s) FROM ("
        f"SELECT recno / {BUCKET} AS bucket, count(*) AS n, sum(recno) AS s FROM ({known}) k GROUP BY 1"
        f" UNION ALL SELECT recno / {BUCKET}, -1, -recno FROM ({_known_and_seen(intake, schema)}) k"
        f" UNION ALL SELECT recno / {BUCKET}, 1, recno FROM {seen} WHERE live) b GROUP BY 1"
    ).fetchall()
    return {int(bucket): (int(n), int(recnos) % WORD) for bucket, n, recnos in rows if n}


def differing(expected: Buckets, found: Buckets) -> list[Range]:
    """Ranges of Recno of the buckets in which the rows ``found`` are not those ``expected``."""
    buckets = sorted(n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n))
    return [Range(bucket * BUCKET, bucket * BUCKET + BUCKET - 1) for bucket in buckets]


def compare_all(
    connection: Connection, intake: Intake, schema: str, ranges: Sequence[Range] = ()
) -> tuple[Recnos, Recnos]:
    """Rows that have gone (known, and not in ``intake.all``) and rows that came unseen (in it, and not known).

    Both leave out what was read, and what lies outside ``ranges`` where there are any.
    """
    among = " OR ".join(f"recno BETWEEN {range_.low} AND {range_.high}" for range_ in ranges) or "true"
    known = f"SELECT recno FROM ({_known(intake.entity, schema)}) k WHERE {among}"
    connection.execute(f"ANALYZE {intake.all}")
    found = []
    for left, right in ((known, f"SELECT recno FROM {intake.all}"), (f"SELECT recno FROM {intake.all}", known)):
        rows = connection.execute(
            f"SELECT recno FROM (({left}) EXCEPT ({right})) d"
            f" WHERE NOT EXISTS (SELECT FROM {intake.seen} s WHERE s.recno = d.recno)"
        ).fetchall()
        found.append(np.array([recno for (recno,) in rows], dtype=np.int64))
    return found[0], found[1]


def standing(connection: Connection, intake: Intake, schema: str) -> dict[int, str]:
    """Recnos of some live rows that were not read, each with the key that HAT has of it.

    They are spread over the whole table, stand behind rows of HAT whose keys were read with another Recno, or are the
    last ones: where a table is packed, all rows from a gap on move up.
    """
    entity, hat, key = intake.entity, f"{schema}.{intake.entity.table}", sql.names(intake.entity.key)
    unread = f"NOT EXISTS (SELECT FROM {intake.seen} s WHERE s.recno ="
    rows = connection.execute(
        f"WITH ends AS (SELECT min(source_recno) AS low, max(source_recno) AS high FROM {hat}),"
        f" spread AS (SELECT h.* FROM ends CROSS JOIN generate_series(0, {_SPREAD}) n CROSS JOIN LATERAL"
        f" (SELECT {key} FROM {hat}"
        f" WHERE source_recno >= low + trunc((high::numeric - low) * n / {_SPREAD})::bigint"
        f" ORDER BY source_recno LIMIT 1) h),"
        f" last AS (SELECT {sql.names(entity.key, 'h')} FROM {hat} h WHERE {unread} h.source_recno)"
        f" AND NOT EXISTS (SELECT FROM hat_etl.backing b WHERE b.\"table\" = '{entity.table}'"
        f" AND b.key = {key_array(entity, 'h')}) ORDER BY h.source_recno DESC LIMIT 1),"
        f" last_backing AS (SELECT {typed_key(entity, 'b.key')} FROM hat_etl.backing b"
        f" WHERE b.\"table\" = '{entity.table}' AND {unread} b.recno) AND b.recno IS NOT NULL"
        " ORDER BY b.recno DESC LIMIT 1),"
        f" rivals AS (SELECT {key} FROM {hat} JOIN (SELECT {key} FROM {intake.good} UNION ALL SELECT {key}"
        f" FROM {intake.rejected} WHERE {sql.filled(entity.key)}) arrived USING ({key}) LIMIT {_RIVALS})"
        f" SELECT e.recno, {key_text(entity, 'h')} FROM {hat} h"
        f" JOIN (SELECT * FROM spread UNION SELECT * FROM rivals UNION SELECT * FROM last"
        f" UNION SELECT * FROM last_backing) picked USING ({key})"
        f" LEFT JOIN hat_etl.backing b ON b.\"table\" = '{entity.table}' AND b.key = {key_array(entity, 'h')}"
        " CROSS JOIN LATERAL (SELECT CASE WHEN b.key IS NULL THEN h.source_recno ELSE b.recno END AS recno) e"
        f" WHERE e.recno IS NOT NULL AND {unread} e.recno)"
    ).fetchall()
    return {int(recno): str(text) for recno, text in rows}


def _known(entity: Entity, schema: str) -> str:
    """SQL for the Recnos of all live rows that the tenant database stands for."""
    table, hat = f"'{entity.table}'", f"{schema}.{entity.table}"
    excepted = (
        f"SELECT h.ctid FROM hat_etl.backing b CROSS JOIN LATERAL (SELECT {typed_key(entity, 'b.key')}) k"
        f' JOIN {hat} h USING ({", ".join(entity.key)}) WHERE b."table" = {table}'
    )
    return (
        f"SELECT source_recno AS recno FROM {hat} WHERE ctid NOT IN ({excepted})"
        f' UNION ALL SELECT recno FROM hat_etl.backing WHERE "table" = {table} AND recno IS NOT NULL'
        f" UNION ALL SELECT DISTINCT recno FROM hat_etl.rejects WHERE \"table\" = {table} AND severity <> 'warning'"
    )


def _known_and_seen(intake: Intake, schema: str) -> str:
    """SQL for those of them that were read or asked for."""
    table, hat = f"'{intake.entity.table}'", f"{schema}.{intake.entity.table}"
    return (
        f"SELECT h.source_recno AS recno FROM {hat} h JOIN {intake.seen} s ON s.recno = h.source_recno"
        f' WHERE NOT EXISTS (SELECT FROM hat_etl.backing b WHERE b."table" = {table}'
        f" AND b.key = {key_array(intake.entity, 'h')})"
        f' UNION SELECT b.recno FROM hat_etl.backing b JOIN {intake.seen} s USING (recno) WHERE b."table" = {table}'
        f' UNION SELECT r.recno FROM hat_etl.rejects r JOIN {intake.seen} s USING (recno) WHERE r."table" = {table}'
        " AND r.severity <> 'warning'"
    )


def _live(connection: Connection, query: str) -> Live:
    row = connection.execute(f"SELECT count(*), coalesce(sum(recno), 0) FROM ({query}) k").fetchone()
    assert row is not None
    return Live(int(row[0]), int(row[1]) % WORD)
