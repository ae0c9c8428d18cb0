"""``hat-etl demo`` on a machine where nothing is set up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hat_etl.entities import ENTITIES
from hat_etl.sandbox.command import down, read_manifest
from hat_etl.sandbox.server import HAT, Sandbox
from hat_etl_tests.servers import place

BENEFICIARIES = "2000"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where the demo is run: an empty folder."""
    with tempfile.TemporaryDirectory(prefix="demo", dir=place(), ignore_cleanup_errors=True) as name:
        yield Path(name)
        down(Path(name) / ".sandbox")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HAT_ETL_")}
    return subprocess.run(
        [sys.executable, "-m", "hat_etl.cli.main", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_it_works_without_settings_and_again(folder: Path) -> None:
    for _ in range(2):
        result = run(folder, "demo", "--beneficiaries", BENEFICIARIES)
        assert result.returncode == 0, result.stderr
        for entity in ENTITIES:
            assert entity.table in result.stdout
        for words in ("exactly the planted ones", "hat-etl rejects demo", "hat-etl sandbox down"):
            assert words in result.stdout


def test_it_works_after_one_that_was_broken_off(folder: Path) -> None:
    with psycopg.connect(Sandbox.up(folder / ".sandbox").url(HAT, "hat_loader"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA hat_etl_stage")
    result = run(folder, "demo", "--beneficiaries", BENEFICIARIES, "--json")
    assert result.returncode == 0, result.stderr


def test_it_fails_when_the_rejects_are_not_the_planted_ones(folder: Path) -> None:
    manifest = read_manifest(folder / ".sandbox")
    assert manifest is not None
    kept = manifest.model_copy(update={"planted": manifest.planted[1:]})
    (folder / ".sandbox" / "manifest.json").write_text(kept.model_dump_json(), encoding="utf-8")
    result = run(folder, "demo", "--beneficiaries", BENEFICIARIES)
    assert result.returncode == 6
    assert "1 reported but not planted" in result.stderr
