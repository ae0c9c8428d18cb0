"""Where the failures happen: copies of a filled PLS and of HAT databases on one real server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.sandbox.command import Manifest
from hat_etl.sandbox.server import HAT, LOADER, PLS, READER, Sandbox

from .commands import Command, Result

Connection = psycopg.Connection[tuple[Any, ...]]

TENANT = "demo"
LOADED = "hat_loaded"
"""Database that a load has filled; tests take copies of it."""
CHANGED = "pls_changed"
"""A PLS in which every table has changed since."""

DEADLINE = 60.0
_NUMBERS = count(1)

State = dict[str, tuple[int, int, int]]
"""Table to its oid, number of rows and checksum."""
Contents = dict[str, tuple[int, int]]
"""Table to its number of rows and a checksum without ``loaded_run``."""


def eventually(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not in {deadline:.0f} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Server:
    """The embedded PostgreSQL with the databases that tests copy."""

    sandbox: Sandbox
    manifest: Manifest

    @contextmanager
    def admin(self, database: str = "postgres") -> Iterator[Connection]:
        with psycopg.connect(self.sandbox.url(database, "postgres"), autocommit=True) as connection:
            yield connection

    def url(self, database: str, user: str, password: str | None = None) -> str:
        """Address over the server's own socket."""
        login = user if password is None else f"{user}:{quote(password)}"
        return f"postgresql://{login}@/{database}?host={quote(str(self.sandbox.socket))}"

    def copy(self, template: str) -> str:
        """A copy of a database; gives its name."""
        name = f"{template}_{next(_NUMBERS)}"
        with self.admin() as connection:
            owner = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (template,)
            ).fetchone()
            assert owner is not None
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(owner[0])
                )
            )
        return name

    def databases(self) -> list[str]:
        with self.admin() as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate")
            return [name for (name,) in rows]

    def drop(self, database: str) -> None:
        with self.admin() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


@dataclass
class Ground:
    """A tenant of one test: a PLS, a HAT database, a tenant file, and commands on them."""

    server: Server
    folder: Path
    pls: str = PLS
    hat: str = HAT
    name: str = TENANT
    ans_registry: str = "412345"
    dialect: str = "postgresql"
    connections: int = 2
    erp_url: str | None = None
    """Instead of the server's own address."""
    hat_url: str | None = None
    erp_reference: str = "file:erp.url"
    hat_reference: str = "file:hat.url"
    schemas: str = 'schema = "protheus"\nviews_schema = "hat"'
    """Lines in section [erp] that say where tables and views are."""
    erp_extra: str = ""
    """Lines at the end of section [erp]."""
    extra: str = ""
    """Lines at the end of the tenant file, in section [hat]."""
    environment: Mapping[str, str] = field(default_factory=dict)
    moved: bool = False
    """Whether another ``pls`` is to be known as another database, and not as the same one at a later moment."""
    _read: str = PLS

    def write(self) -> None:
        """Write the tenant file as things stand."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for reference, url in (
            (self.erp_reference, self.erp_url or self.server.url(self.pls, READER)),
            (self.hat_reference, self.hat_url or self.server.url(self.hat, LOADER)),
        ):
            if reference.startswith("file:"):
                (self.folder / reference.removeprefix("file:")).write_text(url, encoding="utf-8")
        (self.folder / f"{self.name}.toml").write_text(
            f'name = "{self.name}"\nans_registry = "{self.ans_registry}"\n'
            f'[erp]\ndialect = "{self.dialect}"\nurl = "{self.erp_reference}"\n'
            f"{self.schemas}\n"
            f'company = "01"\nconnections = {self.connections}\n{self.erp_extra}\n'
            f'[hat]\nurl = "{self.hat_reference}"\n{self.extra}\n',
            encoding="utf-8",
        )

    def start(self, *arguments: str, prepare: Callable[[], None] | None = None) -> Command:
        """Begin a ``hat-etl`` command; ``prepare`` is called in its process first."""
        self.write()
        self.forget_place()
        environment = {**os.environ, "HAT_ETL_TENANTS": str(self.folder), "COLUMNS": "200", **self.environment}
        return Command(arguments, environment, prepare)

    def forget_place(self) -> None:
        """Let HAT not know that it was read from another copy of the PLS, unless that is what the test is about."""
        if self.pls == self._read or self.moved:
            return
        self._read = self.pls
        with self.in_hat() as connection:
            for table in ("hat_etl.shapes", "hat_etl.checkpoints"):
                if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
                    connection.execute(sql.SQL("UPDATE {} SET definition = ''").format(sql.SQL(table)))

    def run(self, *arguments: str) -> Result:
        """Run a ``hat-etl`` command to its end."""
        return self.start(*arguments).wait()

    def load(self, *arguments: str) -> dict[str, Any]:
        """A load that must succeed; gives what it printed."""
        result = self.run("load", self.name, "--json", *arguments)
        assert result.exit_code == 0, result.err
        document: dict[str, Any] = result.document
        assert document["state"] == "succeeded"
        return document

    def in_hat(self) -> AbstractContextManager[Connection]:
        return self.server.admin(self.hat)

    def in_erp(self) -> AbstractContextManager[Connection]:
        return self.server.admin(self.pls)

    def state(self) -> State:
        """Every HAT table as it is."""
        with self.in_hat() as connection:
            return state(connection)

    def contents(self) -> Contents:
        """What every HAT table holds, whichever run brought it."""
        with self.in_hat() as connection:
            return contents(connection)

    def reported(self) -> list[tuple[Any, ...]]:
        """The quarantine, without the numbers of runs."""
        with self.in_hat() as connection:
            if connection.execute("SELECT to_regclass('hat_etl.rejects')").fetchone() == (None,):
                return []
            return connection.execute(
                'SELECT "table", recno, key, "column", rule, severity, reason, value FROM hat_etl.rejects'
                ' ORDER BY "table", recno, rule, severity, "column", reason'
            ).fetchall()

    def sessions(self, *databases: str) -> int:
        """Sessions of hat_etl in this test's databases."""
        with self.server.admin() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = ANY (%s)",
                (f"hat_etl {self.name}", list(databases or (self.pls, self.hat))),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def assert_nobody_left(self) -> None:
        """No session of hat_etl, no advisory lock."""
        eventually(lambda: self.sessions() == 0, "the sessions of hat_etl end")
        with self.in_hat() as connection:
            locks = connection.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchone()
        assert locks == (0,)

    def has_stage(self) -> bool:
        with self.in_hat() as connection:
            return connection.execute("SELECT to_regnamespace('hat_etl_stage') IS NOT NULL").fetchone() == (True,)

    def assert_clean(self) -> None:
        """Nothing of an unfinished load is left behind."""
        self.assert_nobody_left()
        assert not self.has_stage()
        with self.in_hat() as connection:
            assert connection.execute("SELECT count(*) FROM hat_etl.checkpoints").fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM hat_etl.runs WHERE finished_at IS NULL").fetchone() == (0,)


def present(connection: Connection, schema: str = "hat") -> list[str]:
    """The HAT tables that are there."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'", (schema,)
    ).fetchall()
    found = {name for (name,) in rows}
    return [entity.table for entity in ENTITIES if entity.table in found]


def count_and_sum(tables: Iterable[str], *, loaded_run: bool = True) -> str:
    """One statement that gives name, oid, rows and a checksum of each table, with or without ``loaded_run``."""
    selects = []
    for table in tables:
        names = [field.name for field in BY_TABLE[table].schema if loaded_run or field.name != "loaded_run"]
        row = "ROW(" + ", ".join(f'"{name}"' for name in names) + ")"
        selects.append(
            f"SELECT '{table}', 'hat.{table}'::regclass::oid::int8, count(*),"
            f" coalesce(sum(hashtextextended({row}::text, 0)::numeric), 0) FROM hat.{table}"
        )
    return " UNION ALL ".join(selects)


def state(connection: Connection) -> State:
    tables = present(connection)
    rows = connection.execute(count_and_sum(tables)) if tables else ()
    return {name: (oid, count, checksum) for name, oid, count, checksum in rows}


def contents(connection: Connection) -> Contents:
    rows = connection.execute(count_and_sum(present(connection), loaded_run=False))
    return {name: (count, checksum) for name, _, count, checksum in rows}
