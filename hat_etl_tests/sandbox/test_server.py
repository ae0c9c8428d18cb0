from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi
import psycopg
import pytest

from hat_etl.sandbox import server
from hat_etl.sandbox.server import Sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    server.down(tmp_path)


def test_the_server_outlives_the_process_that_started_it(folder: Path) -> None:
    code = "import sys, pathlib; from hat_etl.sandbox.server import Sandbox; Sandbox.up(pathlib.Path(sys.argv[1]))"
    started = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert (started.stdout, started.stderr) == ("", "")  # nor does it print anything
    assert server.is_running(folder)
    assert _one(Sandbox.up(folder).url("postgres", "postgres"), "SELECT 1") == 1


def test_down_stops_it_and_up_starts_it_again(folder: Path) -> None:
    url = Sandbox.up(folder).url("postgres", "postgres")
    assert server.down(folder)
    assert not server.is_running(folder)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert not server.down(folder)
    assert _one(Sandbox.up(folder).url("postgres", "postgres"), "SELECT 1") == 1


def test_a_process_file_left_behind_does_not_pass_for_a_server(folder: Path) -> None:
    Sandbox.up(folder)
    file = folder / "postgres" / "postmaster.pid"
    text = file.read_text()
    server.down(folder)
    # As after the restart of a container: the number now belongs to another process.
    file.write_text(text.replace(text.splitlines()[0], str(os.getpid()), 1))
    assert not server.is_running(folder)
    assert _one(Sandbox.up(folder).url("postgres", "postgres"), "SELECT 1") == 1


def test_a_folder_too_deep_for_a_socket_works_with_both_drivers(tmp_path: Path) -> None:
    deep = tmp_path / ("long folder name " * 4).strip() / ("x" * 60)
    try:
        url = Sandbox.up(deep).url("postgres", "postgres")
        assert _one(url, "SELECT 1") == 1
        with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 AS one")
            assert cursor.fetch_arrow_table().to_pylist() == [{"one": 1}]
    finally:
        server.down(deep)


def test_durability_is_not_traded_for_speed(clean: tuple[Sandbox, object]) -> None:
    url = clean[0].url("postgres", "postgres")
    settings = ("fsync", "synchronous_commit", "full_page_writes")
    assert [_one(url, f"SHOW {name}") for name in settings] == ["on"] * 3


def _one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]
