"""Time in the ERP: restored backups, clocks and stamps that are wrong or missing, transactions that take long."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

import psycopg
import pytest

from hat_etl.sandbox.server import PLS, PROTHEUS, READER

from . import changes
from .changes import table
from .ground import Connection, Ground, Server
from .syncing import MOVED, Shown, Untouched, assert_told, last_run, synced

MAKE_GROUND = Callable[..., Ground]
STRICT = "[sync]\nlookback_minutes = 0"
"""Nothing is read twice by way of precaution: what arrives, arrives because the sync knows that it must."""


@pytest.fixture
def ground(make_ground: MAKE_GROUND, server: Server) -> Ground:
    """A loaded tenant with an ERP of its own."""
    return make_ground(pls=server.copy(PLS))


@pytest.fixture(scope="module")
def unmoved(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """What HAT shows of ``PLS`` after a second load."""
    loaded = Ground(server, tmp_path_factory.mktemp("unmoved"), hat=server.copy("hat_loaded"))
    shown = Shown.by(loaded)
    server.drop(loaded.hat)
    return shown


def loaded(ground: Ground, make_ground: MAKE_GROUND) -> Shown:
    """What HAT shows when the ERP, as it is now, is loaded over the same beginning."""
    other = make_ground(pls=ground.pls)
    other.load()
    return Shown.by(other)


def watermarks(ground: Ground) -> dict[str, datetime]:
    with ground.in_hat() as connection:
        return dict(connection.execute('SELECT "table", horizon FROM hat_etl.watermarks').fetchall())


def name_of(ground: Ground, recno: int) -> str | None:
    with ground.in_hat() as connection:
        row = connection.execute("SELECT name FROM hat.persons WHERE source_recno = %s", (recno,)).fetchone()
    return None if row is None else row[0]


def persons(connection: Connection, count: int, seed: int = 1) -> list[int]:
    """Recnos of persons who are in HAT."""
    return changes.live(connection, random.Random(seed), "BTS", count, "bts_nomusr <> '' AND r_e_c_n_o_ < 2000")


@contextmanager
def without_stamps(connection: Connection, alias: str) -> Iterator[None]:
    """Write rows with stamps of one's own."""
    connection.execute(f"ALTER TABLE {table(alias)} DISABLE TRIGGER USER")
    yield
    connection.execute(f"ALTER TABLE {table(alias)} ENABLE TRIGGER USER")


# -- back in time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latest", ["an update", "an insert"])
def test_a_restored_backup(latest: str, ground: Ground, unmoved: Shown, server: Server) -> None:
    with ground.in_erp() as connection:
        changes.some(connection, seed=4)
        if latest == "an insert":
            # Of every table that has changed the newest row is new: when the backup is back, it is not there.
            for alias in ("BTS", "BA1", "BA3", "BFG", "BFE", "BR8"):
                pattern = changes.live(connection, random.Random(1), alias, 1)
                key = {"BTS": {"matvid": "80000001"}, "BR8": {"codpsa": "98765432"}}.get(alias, {"codint": "9999"})
                changes.insert(connection, alias, pattern, **key)
    synced(ground)
    assert Shown.by(ground) != unmoved
    ground.pls = PLS
    untouched = Untouched(ground)
    result = ground.run("sync", ground.name)
    assert result.exit_code == 7, result.err
    assert_told(result.err, "demo", "gone back in time", "backup was restored", "hat-etl sync demo --accept")
    assert_told(result.err, "Nothing was changed")
    assert last_run(ground)[1:3] == ("sync", "stopped")
    untouched.check()
    synced(ground, "--accept")
    assert Shown.by(ground) == unmoved
    synced(ground)
    assert Shown.by(ground) == unmoved
    ground.assert_clean()


def test_a_backup_is_restored_after_a_load(ground: Ground, unmoved: Shown) -> None:
    with ground.in_erp() as connection:
        changes.update(connection, "BTS", persons(connection, 2), nomusr="NOME NOVO")
    ground.load()
    ground.pls = PLS
    result = ground.run("sync", ground.name)
    assert result.exit_code == 7, result.err
    assert_told(result.err, "demo / persons", "gone back in time")
    synced(ground, "--accept")
    assert Shown.by(ground) == unmoved


def test_rows_that_were_deleted_and_are_purged_are_no_restored_backup(ground: Ground) -> None:
    """A wrong entry of several tables that was deleted, and packed some days later, stopped every sync from then on."""
    with ground.in_erp() as connection:
        wrong = {
            alias: changes.insert(connection, alias, changes.live(connection, random.Random(1), alias, 1), **key)
            for alias, key in (("BTS", {"matvid": "80000001"}), ("BR8", {"codpsa": "98765432"}))
        }
    synced(ground)
    with ground.in_erp() as connection:
        for alias, recnos in wrong.items():
            changes.delete(connection, alias, recnos)
    synced(ground)
    with ground.in_erp() as connection:
        for alias, recnos in wrong.items():
            changes.purge(connection, alias, recnos)
    synced(ground)
    ground.assert_clean()


def test_purged_rows_are_no_restored_backup_while_later_ones_are_there(ground: Ground) -> None:
    """A purge that took the latest rows of several quiet tables stopped the sync, whatever had been written since."""
    with ground.in_erp() as connection:
        wrong = {
            alias: changes.insert(connection, alias, changes.live(connection, random.Random(1), alias, 1), **key)
            for alias, key in (("BTS", {"matvid": "80000001"}), ("BR8", {"codpsa": "98765432"}))
        }
    with ground.in_erp() as connection:
        one, other = changes.live(connection, random.Random(1), "BG9", 2)
        changes.update(connection, "BG9", [one], descri="NOME NOVO")
    synced(ground)
    with ground.in_erp() as connection:
        for alias, recnos in wrong.items():
            changes.purge(connection, alias, recnos)
        changes.update(connection, "BG9", [other], descri="OUTRO NOME")
    synced(ground)
    ground.assert_clean()


def test_rows_that_leave_the_filters_of_their_views_are_no_restored_backup(ground: Ground) -> None:
    """Lots and cancellations that were taken back together stopped the sync, as though a backup were in place."""
    with ground.in_erp() as connection:
        for alias, field in (("BCI", "lotgui"), ("BEA", "canedi")):
            recnos = changes.live(connection, random.Random(1), alias, 1, f"{alias}_{field} <> ''")
            changes.update(connection, alias, recnos, **{field: "9"})
    synced(ground)
    with ground.in_erp() as connection:
        for alias, field in (("BCI", "lotgui"), ("BEA", "canedi")):
            changes.update(
                connection, alias, changes.live(connection, random.Random(1), alias, 1, f"{alias}_{field} = '9'"),
                **{field: ""},
            )  # fmt: skip
    report = synced(ground)
    left = {table["table"]: table["deleted"] for table in report["tables"] if table["deleted"]}
    assert left == {"batch_authorizations": 1, "authorization_cancellations": 1}
    ground.assert_clean()


def test_the_clock_of_the_erp_is_behind(ground: Ground, moved: Shown) -> None:
    ground.pls = MOVED
    with ground.in_hat() as connection:
        connection.execute("UPDATE hat_etl.watermarks SET horizon = horizon + interval '2 hours'")
    untouched, ahead = Untouched(ground), watermarks(ground)
    result = ground.run("sync", ground.name)
    assert result.exit_code == 7, result.err
    assert_told(result.err, "demo", "clock shows", "synchronised up to", "hat-etl sync demo --accept")
    untouched.check()
    report = synced(ground, "--accept")
    assert {table["strategy"].partition(" ")[0] for table in report["tables"]} == {"full"}
    assert Shown.by(ground) == moved
    assert max(watermarks(ground).values()) < min(ahead.values())
    synced(ground)
    ground.assert_clean()


def test_nothing_has_changed(ground: Ground, unmoved: Shown) -> None:
    synced(ground)
    before = watermarks(ground)
    with ground.in_hat() as connection:
        rest = connection.execute(
            'SELECT "table", live_rows, live_recnos, top_recno, top_stamp FROM hat_etl.watermarks ORDER BY 1'
        ).fetchall()
    report = synced(ground)
    assert not any(table["loaded"] or table["updated"] or table["deleted"] for table in report["tables"])
    after = watermarks(ground)
    assert all(after[name] > before[name] for name in before)
    with ground.in_hat() as connection:
        assert rest == connection.execute(
            'SELECT "table", live_rows, live_recnos, top_recno, top_stamp FROM hat_etl.watermarks ORDER BY 1'
        ).fetchall()  # fmt: skip
    assert Shown.by(ground) == unmoved


# -- stamps ----------------------------------------------------------------------------------------------------------


def test_a_stamp_of_the_year_2999_moves_nothing(ground: Ground) -> None:
    ground.extra = STRICT
    with ground.in_erp() as connection:
        early, late = persons(connection, 2)
        with without_stamps(connection, "BTS"):
            changes.update(connection, "BTS", [early], nomusr="DO FUTURO")
            connection.execute(f"UPDATE {table('BTS')} SET s_t_a_m_p_ = '2999-12-31' WHERE r_e_c_n_o_ = %s", (early,))
    synced(ground, "--only", "persons")
    assert name_of(ground, early) == "DO FUTURO"
    with ground.in_erp() as connection:
        now = connection.execute("SELECT now()").fetchall()[0][0]
        assert watermarks(ground)["persons"] < now
        changes.update(connection, "BTS", [late], nomusr="DE HOJE")
    synced(ground, "--only", "persons")
    assert name_of(ground, late) == "DE HOJE"
    with ground.in_erp() as connection:
        changes.update(connection, "BTS", [early], nomusr="DE HOJE")
    synced(ground, "--only", "persons")
    assert name_of(ground, early) == "DE HOJE"


def test_one_old_stamp_for_all_rows_is_no_reason_to_read_them_again(ground: Ground) -> None:
    """So it is after a migration of the ERP: the latest row is one of many."""
    with ground.in_erp() as connection, without_stamps(connection, "BTS"):
        connection.execute(f"UPDATE {table('BTS')} SET s_t_a_m_p_ = '2020-02-02'")
    ground.load("--only", "persons")
    for _ in range(2):
        (outcome,) = synced(ground, "--only", "persons")["tables"]
        assert outcome["read"] < 100  # quarantine


def test_a_stamp_from_shortly_before_the_last_sync_is_read_all_the_same(ground: Ground) -> None:
    """Application servers stamp by clocks of their own, which may be behind that of the database."""
    synced(ground)
    with ground.in_erp() as connection, without_stamps(connection, "BTS"):
        (recno,) = persons(connection, 1)
        changes.update(connection, "BTS", [recno], nomusr="TARDE")
        connection.execute(
            f"UPDATE {table('BTS')} SET s_t_a_m_p_ = now() AT TIME ZONE 'utc' - interval '3 minutes'"
            " WHERE r_e_c_n_o_ = %s",
            (recno,),
        )
    synced(ground)
    assert name_of(ground, recno) == "TARDE"


def test_a_date_of_tomorrow_is_taken_when_its_day_has_come(ground: Ground) -> None:
    """The quarantine is settled for the day on which it was judged, and no longer."""
    ground.extra, ground.erp_extra = STRICT, 'timezone = "Pacific/Pago_Pago"'
    tomorrow = datetime.now(ZoneInfo("Pacific/Kiritimati"))  # is never the same day there
    with ground.in_erp() as connection:
        (recno,) = persons(connection, 1)
        changes.update(connection, "BTS", [recno], datnas=f"{tomorrow:%Y%m%d}")

    def told() -> list[str]:
        return [entry[4] for entry in ground.reported() if entry[:2] == ("persons", recno)]

    synced(ground)
    assert "not_future" in told()
    ground.erp_extra = 'timezone = "Pacific/Kiritimati"'
    synced(ground)
    assert "not_future" not in told()


def test_rows_without_a_stamp(ground: Ground, make_ground: MAKE_GROUND) -> None:
    ground.extra = STRICT
    with ground.in_erp() as connection:
        updated, deleted = persons(connection, 2)
        pattern = persons(connection, 1, seed=9)
        with without_stamps(connection, "BTS"):
            connection.execute(f"ALTER TABLE {table('BTS')} ALTER s_t_a_m_p_ DROP DEFAULT")
            changes.update(connection, "BTS", [updated], nomusr="SEM CARIMBO")
            changes.delete(connection, "BTS", [deleted])
            connection.execute(
                f"UPDATE {table('BTS')} SET s_t_a_m_p_ = NULL WHERE r_e_c_n_o_ IN (%s, %s)", (updated, deleted)
            )
            (new,) = changes.insert(connection, "BTS", pattern, matvid="87654321")
            connection.execute(f"UPDATE {table('BTS')} SET s_t_a_m_p_ = NULL WHERE r_e_c_n_o_ = %s", (new,))
    synced(ground)
    assert name_of(ground, updated) == "SEM CARIMBO"
    assert Shown.by(ground) == loaded(ground, make_ground)


# -- transactions that take long -------------------------------------------------------------------------------------


@pytest.fixture
def blind(server: Server) -> Iterator[None]:
    """The ERP's login sees nothing of the other users' sessions but that they are there."""
    with server.admin() as admin:
        admin.execute(f"REVOKE pg_read_all_stats FROM {READER}")
        yield
        admin.execute(f"GRANT pg_read_all_stats TO {READER}")


def test_rows_that_are_committed_late_with_their_old_stamps(ground: Ground, make_ground: MAKE_GROUND) -> None:
    assert_they_arrive(ground, make_ground, lambda: synced(ground))


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("during", ["a sync", "a load"])
def test_rows_that_are_committed_late_by_transactions_that_cannot_be_seen(
    during: str, ground: Ground, make_ground: MAKE_GROUND
) -> None:
    assert_they_arrive(ground, make_ground, ground.load if during == "a load" else lambda: synced(ground))


def test_rows_of_a_prepared_transaction(ground: Ground) -> None:
    """Nobody is told when it began, and the horizon went past the stamps of its rows."""
    ground.extra = STRICT
    with psycopg.connect(ground.server.url(ground.pls, PROTHEUS)) as user:
        (updated,) = persons(user, 1)
        changes.update(user, "BTS", [updated], nomusr="TARDE")
        user.execute("PREPARE TRANSACTION 'of the ERP'")
    synced(ground)
    with ground.in_erp() as connection:
        connection.execute("COMMIT PREPARED 'of the ERP'")
    synced(ground)
    assert name_of(ground, updated) == "TARDE"


def assert_they_arrive(ground: Ground, make_ground: MAKE_GROUND, run: Callable[[], object]) -> None:
    """A user of the ERP goes on with a transaction while ``run`` and a sync go by, and then commits."""
    ground.extra = STRICT
    with psycopg.connect(ground.server.url(ground.pls, PROTHEUS)) as user:
        updated, deleted = persons(user, 2)
        changes.update(user, "BTS", [updated], nomusr="TARDE")
        run()
        changes.delete(user, "BTS", [deleted])
        (new,) = changes.insert(user, "BTS", persons(user, 1, seed=9), matvid="87654321")
        assert name_of(ground, updated) != "TARDE"
        synced(ground)
        user.commit()
    synced(ground)
    assert name_of(ground, updated) == "TARDE"
    assert name_of(ground, new) is not None
    assert name_of(ground, deleted) is None
    assert Shown.by(ground) == loaded(ground, make_ground)


@pytest.mark.parametrize("stamp", ["infinity", "-infinity", "0044-03-15 BC", "294276-12-31"])
def test_a_stamp_that_is_no_moment_of_our_calendar_is_none(stamp: str, ground: Ground) -> None:
    """One such row ended loads and syncs of the whole tenant with an error that named neither table nor row."""
    with ground.in_erp() as connection:
        (recno,) = persons(connection, 1)
        connection.execute(f"ALTER TABLE {table('BTS')} DISABLE TRIGGER USER")
        connection.execute(
            f"UPDATE {table('BTS')} SET bts_nomusr = 'NOVO', s_t_a_m_p_ = %s WHERE r_e_c_n_o_ = %s", (stamp, recno)
        )
    synced(ground)
    synced(ground, "--full")
    assert name_of(ground, recno) == "NOVO"
    shown = Shown.by(ground)
    ground.load()
    assert Shown.by(ground) == shown
    synced(ground)
