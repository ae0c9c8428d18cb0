"""An ERP that is read on a standby: what its primary has committed comes there later."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from hat_etl.sandbox import command
from hat_etl.sandbox.server import HAT, PLS, READER, Sandbox
from hat_etl_tests.servers import place

from . import changes
from .ground import Connection, Ground, Server, eventually
from .syncing import synced


@dataclass(frozen=True)
class Pair:
    """A tenant whose ERP is read on the standby, with connections to that server and to its primary's PLS."""

    ground: Ground
    standby: Connection
    primary: Connection

    def have_replayed(self) -> None:
        (now,) = self.primary.execute("SELECT pg_current_wal_lsn()").fetchall()[0]
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        eventually(lambda: self.standby.execute(replayed, (now,)).fetchone() == (True,), "the standby follows")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with (
        tempfile.TemporaryDirectory(prefix="prim", dir=place()) as first,
        tempfile.TemporaryDirectory(prefix="stby", dir=place()) as second,
    ):
        one, other = Path(first), Path(second)
        try:
            _, manifest = command.up(one, beneficiaries=100, tenants=tmp_path / "tenants")
            command.down(one)
            _copy(one / "postgres", other / "postgres")
            (other / "postgres" / "standby.signal").touch()
            primary = Sandbox.up(one)
            with (other / "postgres" / "postgresql.auto.conf").open("a", encoding="utf-8") as conf:
                conf.write(f"primary_conninfo = 'host={primary.socket} user=postgres'\nhot_standby_feedback = on\n")
            standby = Sandbox.up(other)
            server = Server(primary, manifest)
            ground = Ground(server, tmp_path / "tenants", hat=HAT, extra="[sync]\nlookback_minutes = 0")
            installed = ground.run("views", "install", ground.name)
            assert installed.exit_code == 0, installed.err
            with (
                psycopg.connect(standby.url("postgres", "postgres"), autocommit=True) as there,
                psycopg.connect(primary.url(PLS, "postgres"), autocommit=True) as here,
            ):
                ground.erp_url = Server(standby, manifest).url(PLS, READER)
                yield Pair(ground, there, here)
        finally:
            command.down(other)
            command.down(one)


def _copy(source: Path, target: Path) -> None:
    """A data folder as it is, for the same user."""
    shutil.copytree(source, target)
    owner = source.stat()
    for path in (target, *target.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


def test_rows_that_the_standby_shows_late_are_read_all_the_same(pair: Pair) -> None:
    """The horizon went by the standby's clock, past rows that were still on their way to it."""
    pair.have_replayed()
    pair.ground.load()
    (updated,) = changes.live(pair.primary, random.Random(1), "BTS", 1, "bts_nomusr <> ''")
    pair.standby.execute("SELECT pg_wal_replay_pause()")
    changes.update(pair.primary, "BTS", [updated], nomusr="ATRASADO")
    synced(pair.ground)
    pair.standby.execute("SELECT pg_wal_replay_resume()")
    pair.have_replayed()
    synced(pair.ground)
    with pair.ground.in_hat() as connection:
        names = connection.execute("SELECT name FROM hat.persons WHERE source_recno = %s", (updated,)).fetchall()
    assert names == [("ATRASADO",)]


def test_the_doctor_tells_what_a_standby_does_not_show(pair: Pair) -> None:
    pair.have_replayed()
    checks = pair.ground.run("doctor", pair.ground.name, "--json").document
    (check,) = (check for check in checks if check["subject"] == "ERP: open transactions")
    assert check["state"] == "warning"
    assert "standby" in str(check)
    assert "primary" in check["mend"]
