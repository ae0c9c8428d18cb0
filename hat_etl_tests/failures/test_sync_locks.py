"""The HAT application works on the rows that a sync changes: one of the two gives way, and nothing is halved."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from hat_etl.sandbox.server import LOADER

from .changes import table
from .ground import Connection, Ground, eventually
from .phases import Phase
from .syncing import MOVED, Shown, Untouched, assert_told, last_run, synced
from .watcher import Watcher, look

MAKE_GROUND = Callable[..., Ground]


@pytest.fixture
def application(make_ground: MAKE_GROUND, moved: Shown) -> tuple[Ground, Connection]:
    """A tenant whose ERP has moved, and a session of the HAT application with a transaction open."""
    assert moved.rows
    ground = make_ground(pls=MOVED)
    return ground, psycopg.connect(ground.server.url(ground.hat, "postgres"))


def changed_row(ground: Ground, alias: str, where: str) -> int:
    """Recno of a row that the sync will change."""
    with ground.in_erp() as connection:
        row = connection.execute(
            f"SELECT r_e_c_n_o_ FROM {table(alias)} WHERE d_e_l_e_t_ = ' ' AND {where} ORDER BY 1 LIMIT 1"
        ).fetchone()
    assert row is not None
    return int(row[0])


def take(connection: Connection, hat_table: str, recno: int) -> None:
    done = connection.execute(
        f"UPDATE hat.{hat_table} SET source_recno = source_recno WHERE source_recno = %s", (recno,)
    )
    assert done.rowcount == 1


def waits_for_a_lock(ground: Ground) -> bool:
    with ground.in_hat() as connection:
        return connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND application_name = %s",
            (f"hat_etl {ground.name}",),
        ).fetchone() == (1,)


PERSON, FAMILY = ("BTS", "bts_nomusr LIKE 'NOME MUDADO%'"), ("BA3", "ba3_codpla = ''")


def test_a_row_stays_locked(application: tuple[Ground, Connection], moved: Shown) -> None:
    ground, app = application
    ground.extra = "[sync]\nlock_wait_seconds = 1"
    untouched = Untouched(ground)
    take(app, "persons", changed_row(ground, *PERSON))
    began = time.monotonic()
    result = ground.run("sync", ground.name)
    assert time.monotonic() - began < 30  # half of what it waits unless the tenant file says less
    assert result.exit_code == 5, result.err
    assert_told(result.err, "demo / persons", "Tables of the tenant database stay locked", "hat-etl sync demo")
    assert last_run(ground)[1:3] == ("sync", "failed")
    app.rollback()
    untouched.check()
    app.close()
    synced(ground)
    assert Shown.by(ground) == moved


def test_a_row_is_locked_for_a_while(application: tuple[Ground, Connection], moved: Shown) -> None:
    ground, app = application
    take(app, "persons", changed_row(ground, *PERSON))
    sync = ground.start("sync", ground.name)
    eventually(lambda: waits_for_a_lock(ground), "the sync waits")
    app.rollback()
    app.close()
    assert sync.wait().exit_code == 0
    assert Shown.by(ground) == moved
    ground.assert_clean()


@pytest.mark.parametrize("victim", ["sync", "application"])
def test_a_deadlock_with_the_application(victim: str, application: tuple[Ground, Connection], moved: Shown) -> None:
    """The sync has changed persons and wants families, the application the other way; PostgreSQL ends one."""
    ground, app = application
    with ground.server.admin() as admin:
        patience = "2s" if victim == "sync" else "10min"
        admin.execute(f"ALTER DATABASE {ground.hat} SET deadlock_timeout = '{patience}'")
    app.execute(f"SET deadlock_timeout = '{'10min' if victim == 'sync' else '100ms'}'")
    app.commit()
    person, family = changed_row(ground, *PERSON), changed_row(ground, *FAMILY)
    untouched, phase = Untouched(ground), Phase("merged persons")
    sync = ground.start("sync", ground.name, prepare=phase)
    phase.await_reached()
    take(app, "families", family)
    phase.go_on()
    eventually(lambda: waits_for_a_lock(ground), "the sync waits")
    if victim == "sync":
        take(app, "persons", person)
    else:
        with pytest.raises(psycopg.errors.DeadlockDetected):
            take(app, "persons", person)
    app.rollback()
    app.close()
    result = sync.wait()
    if victim == "sync":
        assert result.exit_code == 5, result.err
        assert_told(result.err, "demo / families", "stay locked", "hat-etl sync demo")
        untouched.check()
        synced(ground)
    else:
        assert result.exit_code == 0, result.err
    assert Shown.by(ground) == moved
    ground.assert_clean()


def test_readers_see_all_old_or_all_new(moved: Shown, make_ground: MAKE_GROUND) -> None:
    ground, phase = make_ground(pls=MOVED), Phase("committing")
    with Watcher(ground.server.url(ground.hat, LOADER)) as watcher, ground.in_hat() as connection:
        old = look(connection)
        sync = ground.start("sync", ground.name, prepare=phase)
        phase.await_reached()
        assert look(connection) == old
        phase.go_on()
        assert sync.wait().exit_code == 0
        new = look(connection)
        eventually(lambda: new in watcher.seen, "the readers see the new rows")
    assert not watcher.failures
    assert watcher.seen == {old, new}
    assert sum(before != after for before, after in zip(old, new, strict=True)) > 2
    assert Shown.by(ground) == moved
