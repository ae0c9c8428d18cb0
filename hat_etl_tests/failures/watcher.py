"""Readers of HAT that look all along, as its application does, and remember every state they saw."""

from __future__ import annotations

import threading
from types import TracebackType

import psycopg

from hat_etl.entities import ENTITIES

from .ground import Connection

Seen = tuple[tuple[int, int, int], ...]
"""Per table: rows, sum of Recno, sum of the run that loaded each row."""

TABLES = tuple(entity.table for entity in ENTITIES)
COLUMNS = "count(*), coalesce(sum(source_recno), 0)::int8, coalesce(sum(loaded_run), 0)::int8"
AT_ONCE = " UNION ALL ".join(f"SELECT {COLUMNS} FROM hat.{table}" for table in TABLES)
_PAUSE, _LATE = 0.05, 0.25


def look(connection: Connection) -> Seen:
    """All tables in one statement."""
    return tuple(connection.execute(AT_ONCE).fetchall())  # type: ignore[arg-type]


class Watcher:
    """Two readers, for as long as the block runs: one statement after the other, and transactions with one snapshot.

    The second touches the tables long after its snapshot, one by one.
    """

    def __init__(self, url: str) -> None:
        self.seen: set[Seen] = set()
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(way,)) for way in (self._statement, self._snapshot)]

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, way: object) -> None:
        assert callable(way)
        try:
            with psycopg.connect(self._url, autocommit=True, application_name="watcher") as connection:
                while not self._stop.is_set():
                    self.seen.add(way(connection))
                    self._stop.wait(_PAUSE)
        except psycopg.Error as error:
            self.failures.append(str(error))

    @staticmethod
    def _statement(connection: Connection) -> Seen:
        return look(connection)

    def _snapshot(self, connection: Connection) -> Seen:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT 1").fetchall()
            self._stop.wait(_LATE)
            return tuple(connection.execute(f"SELECT {COLUMNS} FROM hat.{table}").fetchone() for table in TABLES)  # type: ignore[misc]
