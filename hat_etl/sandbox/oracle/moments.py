"""Moments of the past: each SCN is a snapshot that a connection to PostgreSQL keeps open, up to a number of them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import psycopg

from hat_etl.sandbox.oracle.errors import OracleError

_DEFINITIONS = """
WITH RECURSIVE used (oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN unnest(%s::text[], %s::text[]) AS asked (schema, name)
      ON c.relname = asked.name AND n.nspname = coalesce(asked.schema, n.nspname)
    UNION
    SELECT d.refobjid FROM used
    JOIN pg_rewrite r ON r.ev_class = used.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
)
SELECT md5(string_agg(concat_ws(',', c.relname, c.relfilenode, a.attname, a.attnum, a.atttypid, a.atttypmod, r.rule),
                      ';' ORDER BY c.oid, a.attnum))
FROM used
JOIN pg_class c USING (oid)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN LATERAL (SELECT string_agg(xmin::text, '') AS rule FROM pg_rewrite WHERE ev_class = c.oid) r ON true
"""
_PAST = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Relations = Sequence[tuple[str | None, str]]


class Moments:
    """The moments that can still be shown; the oldest is forgotten when there are more than ``kept``."""

    def __init__(self, dsn: str, kept: int = 16) -> None:
        self._dsn = dsn
        self._kept = kept
        self._held: OrderedDict[int, tuple[psycopg.Connection, str]] = OrderedDict()
        self._last = 0
        self._lock = threading.Lock()
        self._present: psycopg.Connection | None = None

    def take(self) -> int:
        """The SCN of this moment, which can be asked for from now on."""
        with self._lock:
            connection = psycopg.connect(self._dsn, autocommit=True)
            connection.execute(_PAST)
            ((snapshot,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
            # Milliseconds, so that the numbers go on growing when the server is started anew.
            self._last = max(self._last + 1, int(time.time() * 1000))
            self._held[self._last] = (connection, snapshot)
            while len(self._held) > self._kept:
                self._held.popitem(last=False)[1][0].close()
            return self._last

    def forget(self) -> None:
        """As if undo had been overwritten: no moment so far can be shown any more."""
        with self._lock:
            for connection, _ in self._held.values():
                connection.close()
            self._held.clear()

    def go_back(self, connection: psycopg.Connection, scn: int, relations: Relations) -> None:
        """Begin a transaction that shows a moment. Raises OracleError: 8180 and 1466."""
        with self._lock:
            if scn not in self._held:
                raise OracleError(8180)
            connection.execute(_PAST)
            connection.execute(f"SET TRANSACTION SNAPSHOT '{self._held[scn][1]}'".encode())
            if relations and self._definitions(connection, relations) != self._definitions(self._now(), relations):
                connection.execute("ROLLBACK")
                raise OracleError(1466)

    def close(self) -> None:
        self.forget()
        if self._present is not None:
            self._present.close()

    def _now(self) -> psycopg.Connection:
        if self._present is None:
            self._present = psycopg.connect(self._dsn, autocommit=True)
        return self._present

    @staticmethod
    def _definitions(connection: psycopg.Connection, relations: Relations) -> object:
        schemas, names = [schema for schema, _ in relations], [name for _, name in relations]
        return connection.execute(_DEFINITIONS, (schemas, names)).fetchone()
