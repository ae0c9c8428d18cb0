"""One key of a HAT table, and all that the tenant database knows of it. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import errors as pg

from hat_etl.entities.model import TECHNICAL, Entity, Kind
from hat_etl.errors import ConfigurationError
from hat_etl.target.database import Connection
from hat_etl.target.integrity import key_array, key_text

Row = dict[str, Any]

RECNO, STAMP, RUN = (field.name for field in TECHNICAL)


@dataclass(frozen=True)
class Backing:
    """What ``hat_etl.backing`` says: the Recno of the live row behind the row of HAT, or None for a version kept."""

    recno: int | None


@dataclass(frozen=True)
class Event:
    """What a run did to the key (or to the quarantine of one of its Recnos), and how it was before."""

    run: int
    mode: str
    at: datetime | None
    kind: str
    """A kind of ``hat_etl.changes``; or ``load``: the table was replaced, and no image was kept."""
    before: Any = None
    recno: int | None = None
    """Of ``rejects`` only."""
    undone_by: int | None = None


class Lookup:
    """Questions about one key."""

    def __init__(self, connection: Connection, schema: str, entity: Entity, parts: Sequence[str]) -> None:
        """``parts`` are the texts of the key's columns. Raises ConfigurationError when one is not of its type."""
        self._connection, self._entity = connection, entity
        self._hat = f"{schema}.{entity.table}"
        self.parts = self._as_hat_writes(parts)

    @property
    def key(self) -> str:
        """The key as reports show it."""
        return "|".join(self.parts)

    def _as_hat_writes(self, parts: Sequence[str]) -> list[str]:
        written = []
        for name, text in zip(self._entity.key, parts, strict=True):
            column = self._entity[name]
            if column.kind is Kind.TEXT or not text:
                written.append(text)
                continue
            try:
                answer = self._connection.execute(f"SELECT (%s)::text::{column.sql_type}::text", (text,)).fetchall()
            except pg.DataError:
                raise ConfigurationError(
                    f"The part {name} of the key is no {column.kind.value}.",
                    "Write the key as hat-etl rejects shows it: parts divided by |, days as 2024-12-31.",
                    table=self._entity.table,
                ) from None
            written.append(str(answer[0][0]))
        return written

    def is_there(self) -> bool:
        """Whether HAT has the table."""
        return self._connection.execute("SELECT to_regclass(%s) IS NOT NULL", (self._hat,)).fetchone() == (True,)

    def row(self) -> tuple[Row, Row] | None:
        """The row of HAT with its technical columns, and the same as a before-image would have it."""
        if not all(self.parts):
            return None
        names = [field.name for field in self._entity.schema]
        where = " AND ".join(
            f'h."{name}" = (%s)::{"text" if self._entity[name].kind is Kind.TEXT else self._entity[name].sql_type}'
            for name in self._entity.key
        )
        columns = ", ".join(f'h."{name}"' for name in names)
        found = self._connection.execute(
            f"SELECT to_jsonb(h), {columns} FROM {self._hat} h WHERE {where}", self.parts
        ).fetchone()
        return None if found is None else (dict(zip(names, found[1:], strict=True)), found[0])

    def backing(self) -> Backing | None:
        """The live row behind the row of HAT where that is not the one of its ``source_recno``."""
        found = self._connection.execute(
            'SELECT recno FROM hat_etl.backing WHERE "table" = %s AND key = %s', (self._entity.table, self.parts)
        ).fetchone()
        return None if found is None else Backing(found[0])

    def other_keys(self, recnos: Collection[int]) -> dict[str, int]:
        """Other keys in HAT that these Recnos are written under."""
        rows = self._connection.execute(
            f"SELECT {key_text(self._entity, 'h')}, source_recno FROM {self._hat} h"
            f" WHERE source_recno = ANY (%s) AND {key_array(self._entity, 'h')} <> %s ORDER BY 1",
            (list(recnos), self.parts),
        ).fetchall()
        return {str(key): int(recno) for key, recno in rows}

    def rejects(self, recnos: Collection[int]) -> list[Row]:
        """The entries of quarantine of this key or of these Recnos."""
        names = ("run", "recno", "key", "column", "rule", "severity", "reason", "value")
        columns = ", ".join(f'"{name}"' for name in names)
        rows = self._connection.execute(
            f'SELECT {columns} FROM hat_etl.rejects WHERE "table" = %s AND (key = %s OR recno = ANY (%s)) ORDER BY id',
            (self._entity.table, self.key, list(recnos)),
        ).fetchall()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def horizon(self) -> datetime | None:
        """Moment of the ERP that the table shows; None when it was never loaded."""
        found = self._connection.execute(
            'SELECT horizon FROM hat_etl.watermarks WHERE "table" = %s', (self._entity.table,)
        ).fetchone()
        return None if found is None else found[0]

    def wants_all(self) -> bool:
        """Whether the next sync is to read the table whole: so an undo leaves it."""
        found = self._connection.execute(
            'SELECT live_rows IS NULL OR live_recnos IS NULL FROM hat_etl.watermarks WHERE "table" = %s',
            (self._entity.table,),
        ).fetchone()
        return found == (True,)

    def view_digest(self) -> str:
        """Digest of the text of the view when the table was last read whole; empty when that is not known."""
        found = self._connection.execute(  # which a ledger of an older hat_etl does not have
            "SELECT to_jsonb(s) ->> 'definition' FROM hat_etl.shapes s WHERE \"table\" = %s", (self._entity.table,)
        ).fetchone()
        return "" if found is None else found[0] or ""

    def run(self, number: int) -> Row | None:
        """A run of the ledger."""
        names = ("run", "mode", "state", "started_at", "finished_at", "horizon")
        found = self._connection.execute(
            f"SELECT {', '.join(names)} FROM hat_etl.runs WHERE run = %s", (number,)
        ).fetchone()
        return None if found is None else dict(zip(names, found, strict=True))

    def events(self) -> list[Event]:
        """What the before-images tell of the key itself, and the loads of its table: latest first."""
        rows = self._connection.execute(
            "SELECT c.run, r.mode, r.finished_at, c.kind, c.before, r.undone_by FROM hat_etl.changes c"
            ' JOIN hat_etl.runs r USING (run) WHERE c."table" = %(table)s AND c.key = %(key)s'
            " AND c.kind IN ('insert', 'update', 'delete', 'backing')"
            " UNION ALL SELECT t.run, r.mode, r.finished_at, 'load', NULL, NULL FROM hat_etl.run_tables t"
            " JOIN hat_etl.runs r USING (run) WHERE t.\"table\" = %(table)s AND r.mode = 'load'"
            " AND r.state = 'succeeded' ORDER BY 1 DESC, 4",
            {"table": self._entity.table, "key": self.parts},
        ).fetchall()
        return [Event(run, mode, at, kind, before, undone_by=by) for run, mode, at, kind, before, by in rows]

    def entry_events(self, recnos: Collection[int]) -> list[Event]:
        """Changes of the quarantine of these Recnos, latest first."""
        rows = self._connection.execute(
            "SELECT c.run, r.mode, r.finished_at, c.kind, c.before, c.key[1], r.undone_by"
            " FROM hat_etl.changes c JOIN hat_etl.runs r USING (run)"
            " WHERE c.\"table\" = %s AND c.kind = 'rejects' AND c.key = ANY"
            " (SELECT ARRAY[recno::text] FROM unnest(%s::bigint[]) recno) ORDER BY 1 DESC",
            (self._entity.table, list(recnos)),
        ).fetchall()
        return [Event(run, mode, at, kind, before, int(recno), by) for run, mode, at, kind, before, recno, by in rows]
