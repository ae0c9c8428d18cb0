"""A small sandbox with planted faults, and the command line over it as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hat_etl.entities import ENTITIES
from hat_etl.sandbox import command
from hat_etl.sandbox.server import Sandbox


@dataclass(frozen=True)
class Site:
    """A sandbox, its manifest, and the folder of its tenant files."""

    sandbox: Sandbox
    manifest: command.Manifest
    tenants: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = os.environ | {"HAT_ETL_TENANTS": str(self.tenants)}
        return subprocess.Popen(
            [sys.executable, "-m", "hat_etl.cli.main", *words],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    def ask(self, *words: str) -> Any:
        """Output of a command that must succeed, read as JSON."""
        code, out, err = self.run(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    def hat(self, user: str = "hat_loader") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.sandbox.url("hat", user), autocommit=True)

    def pls(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.sandbox.url("pls", "postgres"), autocommit=True)

    def contents(self) -> dict[str, str]:
        """A checksum of each HAT table, without the number of the run that loaded it."""
        with self.hat() as connection:
            return {
                entity.table: str(
                    connection.execute(
                        "SELECT md5(string_agg((to_jsonb(t) - 'loaded_run')::text, '|' ORDER BY source_recno))"
                        f" FROM hat.{entity.table} t".encode()
                    ).fetchall()[0][0]
                )
                for entity in ENTITIES
            }

    def reported(self) -> list[tuple[Any, ...]]:
        """The quarantine, in a fixed order."""
        names = ("table", "recno", "key", "column", "rule", "severity", "reason")
        return sorted((tuple(entry[name] for name in names) for entry in self.ask("rejects", "demo")), key=repr)

    def leftovers(self) -> list[Any]:
        """What a run must not leave behind: stage, locks, sessions of its own."""
        with self.hat("postgres") as connection:
            return connection.execute(
                "SELECT 'stage' WHERE to_regnamespace('hat_etl_stage') IS NOT NULL"
                " UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory'"
                " UNION ALL SELECT 'session' FROM pg_stat_activity WHERE application_name LIKE 'hat_etl%'"
            ).fetchall()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="site", ignore_cleanup_errors=True) as name:
        folder, tenants = Path(name) / "sandbox", Path(name) / "tenants"
        sandbox, manifest = command.up(folder, beneficiaries=2_000, dirt=True, tenants=tenants)
        made = Site(sandbox, manifest, tenants)
        try:
            made.ask("views", "install", "demo")
            made.ask("load", "demo", "--restart")
            yield made
        finally:
            command.down(folder)
