"""A tenant in two databases of the test server, driven through the command line as people drive it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
from click.testing import CliRunner
from psycopg import sql
from psycopg.rows import dict_row

from hat_etl.cli.main import main
from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.protheus.dictionary import physical_name
from hat_etl.sandbox.oracle import views as oracle_views
from hat_etl.tenants.config import Dialect
from hat_etl_tests import erps
from hat_etl_tests.conformance.model import STAMP, Entry, HatRow, Key, Pls, PlsRow
from hat_etl_tests.servers import Server
from hat_etl_tests.views import pls as physical

TENANT = "acme"


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, f"exit code {self.code}: {self.err}"
        return json.loads(self.out)


class Site:
    """Tenant ``acme``: PLS tables in schema ``protheus`` of one database, HAT in another.

    ``pls`` is a database with PLS tables that another tenant reads too, through views of its own.
    """

    def __init__(
        self, server: Server, folder: Path, *, dialect: Dialect = "postgresql", encoding: str = "UTF8",
        connections: int = 2, pls: str | None = None,
    ) -> None:  # fmt: skip
        self.server, self.dialect, self.encoding, self.folder = server, dialect, encoding, folder
        self.views_schema = "hat" if pls is None else f"hat_{dialect}"
        self.erp, self.hat = pls or server.create_database("erp", encoding), server.create_database("hat")
        self._open = ExitStack()
        erp_url = self._open.enter_context(erps.address(dialect, server.url(self.erp)))
        for name, url in (("erp_url", erp_url), ("hat_url", server.url(self.hat))):
            (folder / name).write_text(url, encoding="utf-8")
        (folder / f"{TENANT}.toml").write_text(
            f"""
name = "{TENANT}"
ans_registry = "412345"
[erp]
dialect = "{dialect}"
url = "file:erp_url"
schema = "protheus"
views_schema = "{self.views_schema}"
company = "01"
connections = {connections}
[hat]
url = "file:hat_url"
""",
            encoding="utf-8",
        )
        self._environment = {"HAT_ETL_TENANTS": str(folder)}

    def close(self) -> None:
        self._open.close()

    @property
    def environment(self) -> dict[str, str]:
        """What commands of this tenant find in their environment."""
        return self._environment

    @contextmanager
    def tenant_lines(self, lines: str) -> Iterator[None]:
        """For as long as the block runs, the tenant's file ends with these lines; it ends in section [hat]."""
        file = self.folder / f"{TENANT}.toml"
        before = file.read_text(encoding="utf-8")
        file.write_text(before + lines, encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(before, encoding="utf-8")

    # -- ERP ---------------------------------------------------------------------------------------------------------

    def create_tables(self, pls: Pls) -> None:
        with self.server.connect(self.erp) as connection:
            physical.create(connection, "protheus", stampless=pls.stampless, widths=pls.widths)

    def fill_tables(self, pls: Pls) -> None:
        """Make the ERP hold exactly these rows, in one transaction."""
        with self.server.connect(self.erp, autocommit=False) as connection:
            names = [f"protheus.{physical_name(alias, '01')}" for alias in physical.tables()]
            connection.execute(f"TRUNCATE {', '.join(names)}".encode())
            for alias, fields in physical.tables().items():
                self._copy(connection, alias, fields, pls)

    def _copy(self, connection: psycopg.Connection[Any], alias: str, fields: list[str], pls: Pls) -> None:
        stamp = [] if alias in pls.stampless else [STAMP]
        names = [f"{alias}_FILIAL", *fields, "D_E_L_E_T_", "R_E_C_N_O_", *stamp]
        defaults: PlsRow = {name: 0.0 if physical.is_number(name) else "" for name in fields}
        defaults |= {f"{alias}_FILIAL": "", "D_E_L_E_T_": " ", STAMP: None}
        table = sql.Identifier("protheus", physical_name(alias, "01"))
        columns = sql.SQL(", ").join(sql.Identifier(name.lower()) for name in names)
        # The bytes go in as they are, whatever the database takes them for: that is how Protheus writes.
        command = sql.SQL("COPY {} ({}) FROM STDIN (ENCODING {})").format(table, columns, self.encoding)
        with connection.cursor().copy(command) as copy:
            for row in pls.rows(alias):
                line = "\t".join(_copied(row.get(name, defaults.get(name))) for name in names) + "\n"
                copy.write(line.encode() if self.encoding == "UTF8" else cp1252(line))

    def execute(self, *statements: str | bytes) -> None:
        """Run statements in the ERP."""
        with self.server.connect(self.erp) as connection:
            for statement in statements:
                connection.execute(statement if isinstance(statement, bytes) else statement.encode())

    # -- commands ----------------------------------------------------------------------------------------------------

    def run(self, *arguments: str) -> Answer:
        result = CliRunner().invoke(main, arguments, env=self._environment)
        return Answer(result.exit_code, result.stdout, result.stderr)

    def run_apart(self, *arguments: str) -> Answer:
        """In a process of its own, as the installed command runs."""
        program = "from hat_etl.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **self._environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def install_views(self) -> None:
        if self.dialect == "postgresql":
            assert self.run("views", "install", TENANT, "--json").json["tenant"] == TENANT
            return
        script = self.run("views", "render", TENANT, "--json").json["script"]
        with self.server.connect(self.erp) as connection:
            connection.execute(f"CREATE SCHEMA {self.views_schema}".encode())  # on Oracle that is a user
            oracle_views.install(connection, script)

    def load(self, *options: str) -> dict[str, Any]:
        report: dict[str, Any] = self.run("load", TENANT, "--json", *options).json
        return report

    # -- HAT ---------------------------------------------------------------------------------------------------------

    def renew_hat(self) -> None:
        """Go on with an empty HAT database."""
        self.hat = self.server.create_database("hat")
        (self.folder / "hat_url").write_text(self.server.url(self.hat), encoding="utf-8")

    def rows(self) -> dict[str, dict[Key, HatRow]]:
        """Table to its rows by natural key, of the tables that are there."""
        return self.rows_of(self.server, self.hat)

    @classmethod
    def rows_of(cls, server: Server, hat: str) -> dict[str, dict[Key, HatRow]]:
        """The same of any HAT database."""
        with server.connect(hat, row_factory=dict_row) as connection:
            connection.execute("SET timezone = 'UTC'")
            there = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'hat'::regnamespace")
            names = {row["relname"] for row in there}
            return {entity.table: cls._rows(connection, entity) for entity in ENTITIES if entity.table in names}

    @staticmethod
    def _rows(connection: psycopg.Connection[dict[str, Any]], entity: Entity) -> dict[Key, HatRow]:
        rows: dict[Key, HatRow] = {}
        for values in connection.execute(f"SELECT * FROM hat.{entity.table}".encode()).fetchall():
            recno, stamp, run = (values.pop(name) for name in ("source_recno", "source_stamp", "loaded_run"))
            naive = stamp.astimezone(UTC).replace(tzinfo=None) if isinstance(stamp, datetime) else None
            row = HatRow(values, recno, naive, run)
            assert row.key(entity.key) not in rows
            rows[row.key(entity.key)] = row
        return rows

    def rejects(self, *options: str) -> list[Entry]:
        listed = self.run("rejects", TENANT, "--json", *options).json
        assert all(entry["reason"] for entry in listed)
        return [
            Entry(e["table"], e["recno"], e["key"] or "", e["column"] or "", e["rule"], e["severity"]) for e in listed
        ]

    def day_of(self, run: int) -> date:
        """The day on which a run judged dates."""
        with self.server.connect(self.hat) as connection:
            row = connection.execute("SELECT reference_day FROM hat_etl.runs WHERE run = %s", (run,)).fetchone()
        assert row is not None
        day: date = row[0]
        return day


def _copied(value: Any) -> str:
    """A value in the text format of COPY."""
    if value is None:
        return r"\N"
    text = str(value)
    for character, escaped in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(character, escaped)
    return text


def cp1252(text: str) -> bytes:
    """CP1252, in which the five bytes that mean nothing stand for the control characters of the same number."""
    return b"".join(
        character.encode("latin-1" if character in "\x81\x8d\x8f\x90\x9d" else "cp1252") for character in text
    )


def only(tables: Iterable[str]) -> Collection[str]:
    """The options that narrow a load to ``tables``."""
    return [word for table in tables for word in ("--only", table)]
