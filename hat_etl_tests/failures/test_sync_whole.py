"""Syncs that read whole views, or much of them: what HAT shows already does not go there, and all else is mended."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.server import PLS, READER
from hat_etl_tests.oracle.conftest import address, started

from . import changes
from .changes import table
from .conftest import BENEFICIARIES, Measured
from .ground import Connection, Ground, Server
from .proxy import Proxy
from .syncing import MOVED, Shown, Untouched, assert_told, behind, directly, synced
from .test_refusals import remade

MAKE_GROUND = Callable[..., Ground]
PERSONS = BY_TABLE["persons"]


def test_rows_that_hat_shows_already_do_not_go_there_again(
    ground: Ground, proxies: tuple[Proxy, Proxy], measured: Measured
) -> None:
    """Once all of them went to HAT, to be compared there: most of the time of a sync of views without stamps."""
    erp, hat = proxies
    before = Shown.by(ground)
    behind(ground, erp, hat)
    report = synced(ground, "--full")
    assert all(t["strategy"] == "full" and not t["updated"] + t["loaded"] + t["deleted"] for t in report["tables"])
    assert sum(t["read"] for t in report["tables"]) > 20_000
    assert hat.passed["to_server"] < measured.to_hat_staged / 3
    directly(ground)
    assert Shown.by(ground) == before
    assert {t["strategy"] for t in synced(ground)["tables"]} == {"window"}  # and no keys to be compared


def test_a_full_sync_leaves_what_a_load_leaves(make_ground: MAKE_GROUND, moved: Shown) -> None:
    ground = make_ground(pls=MOVED)
    synced(ground, "--full", "--accept")
    assert Shown.by(ground) == moved


@pytest.mark.parametrize("dialect", ["postgresql", "oracle"])
def test_an_erp_that_is_another_database_is_read_whole(dialect: str, make_ground: MAKE_GROUND, server: Server) -> None:
    """HAT kept what the ERP's copy for tests had had, in rows that the ERP had changed between copy and load."""
    pls = server.copy(PLS)
    with server.admin(pls) as connection:
        people = changes.live(connection, random.Random(8), "BTS", 3)
        connection.execute(f"ALTER TABLE {table('BTS')} DISABLE TRIGGER USER")
        changes.update(connection, "BTS", people, nomusr="NOME MUDADO")
    with ExitStack() as stack:
        ground = make_ground(dialect=dialect, moved=True)
        if dialect == "oracle":
            oracles = [stack.enter_context(closing(started(server, database))) for database in (PLS, pls)]
            ground.erp_url = address(oracles[0])
            synced(ground, "--accept")
            ground.erp_url = address(oracles[1])
        ground.pls = pls
        report = synced(ground)
        assert {t["strategy"] for t in report["tables"]} == {"full"}
        assert "another database" in " ".join(report["remarks"])
        with ground.in_hat() as connection:
            changed = connection.execute("SELECT count(*) FROM hat.persons WHERE name = 'NOME MUDADO'").fetchone()
        assert changed == (3,)
        assert {t["strategy"] for t in synced(ground)["tables"]} == {"window"}


def take_stamps(ground: Ground, how: str) -> None:
    """Let the ERP keep no stamps of persons."""
    with ground.in_erp() as connection:
        if how == "no Carimbo":
            remade("persons", carimbo=None)(connection)
            connection.execute(f"GRANT SELECT ON hat.{PERSONS.view} TO {READER}")
        else:
            connection.execute(f"ALTER TABLE {table('BTS')} DISABLE TRIGGER USER")
            connection.execute(f"UPDATE {table('BTS')} SET s_t_a_m_p_ = NULL")


stampless = pytest.mark.parametrize("how", ["no Carimbo", "none filled"])


@stampless
def test_an_erp_without_stamps_sends_to_hat_only_what_differs(
    how: str, make_ground: MAKE_GROUND, server: Server, proxies: tuple[Proxy, Proxy]
) -> None:
    """Rows that were there before the ERP began to stamp are read with every sync; all of them went to HAT."""
    ground, (erp, hat) = make_ground(pls=server.copy(PLS)), proxies
    take_stamps(ground, how)
    only = ("--only", "persons")
    synced(ground, "--accept", *only)
    behind(ground, erp, hat)
    (outcome,) = synced(ground, *only)["tables"]
    assert outcome["strategy"] == ("full" if how == "no Carimbo" else "window")
    assert outcome["read"] > BENEFICIARIES
    assert hat.passed["to_server"] < erp.passed["from_server"] / 3
    directly(ground)
    with ground.in_erp() as connection:
        rng = random.Random(3)
        changes.update(connection, "BTS", changes.live(connection, rng, "BTS", 9), nomusr="NOVO NOME", email="x")
        changes.delete(connection, "BTS", changes.live(connection, rng, "BTS", 9))
        changes.purge(connection, "BTS", changes.live(connection, rng, "BTS", 9))
        changes.insert(connection, "BTS", changes.live(connection, rng, "BTS", 1), nomusr="VENCEDOR")
        twins = changes.insert(connection, "BTS", changes.live(connection, rng, "BTS", 5))
        changes.insert(connection, "BTS", changes.live(connection, rng, "BTS", 1), matvid="87654321")
    with ground.in_hat() as connection:
        _cell(connection)
    synced(ground, "--accept")
    with ground.in_erp() as connection:
        changes.purge(connection, "BTS", twins)  # the rows they were copied from are good again, as HAT has them
    synced(ground, "--accept")
    other = make_ground(pls=ground.pls)
    other.load()
    assert Shown.by(ground) == Shown.by(other)


@stampless
def test_a_repair_reads_the_rows_that_differ_and_leaves_the_others(
    how: str, make_ground: MAKE_GROUND, server: Server
) -> None:
    ground = make_ground(pls=server.copy(PLS))
    take_stamps(ground, how)
    synced(ground, "--accept", "--only", "persons")
    before = Shown.by(ground)
    with ground.in_hat() as connection:
        _cell(connection)
    repaired = ground.run("reconcile", ground.name, "--table", "persons", "--repair")
    assert repaired.exit_code == 0, repaired.err
    assert Shown.by(ground) == before


def _cell(connection: Connection) -> None:
    connection.execute("UPDATE hat.persons SET name = name || ' X' WHERE source_recno % 500 = 7")


def _missing(connection: Connection) -> None:
    connection.execute("DELETE FROM hat.persons WHERE source_recno % 50 = 3")


def _second_of_its_recno(connection: Connection) -> None:
    names = ", ".join(f'"{field.name}"' for field in PERSONS.schema if field.name != "person_id")
    connection.execute(
        f"INSERT INTO hat.persons (person_id, {names}) SELECT '9' || right(person_id, 7), {names} FROM hat.persons"
        " WHERE source_recno % 500 = 7"
    )


def _beyond_the_view(connection: Connection) -> None:
    _second_of_its_recno(connection)
    connection.execute("UPDATE hat.persons SET source_recno = source_recno + 10000000 WHERE person_id LIKE '9%'")


@pytest.mark.parametrize("harm", [_cell, _missing, _second_of_its_recno, _beyond_the_view], ids=lambda f: f.__name__)
def test_what_others_have_done_to_hat_is_undone(harm: Callable[[Connection], None], ground: Ground) -> None:
    before = Shown.by(ground)
    with ground.in_hat() as connection:
        connection.execute("SET session_replication_role = replica")
        harm(connection)
    assert Shown.by(ground) != before
    synced(ground, "--full", "--only", "persons")
    assert Shown.by(ground) == before


def test_a_view_that_shows_nothing_any_more_takes_all_rows_of_its_table(
    make_ground: MAKE_GROUND, server: Server
) -> None:
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        connection.execute(f"DELETE FROM {table('BF3')}")
    report = synced(ground, "--full", "--accept", "--only", "pre_existing_diseases")
    (outcome,) = report["tables"]
    assert (outcome["read"], outcome["deleted"] > 0) == (0, True)
    with ground.in_hat() as connection:
        assert connection.execute("SELECT count(*) FROM hat.pre_existing_diseases").fetchone() == (0,)


def test_hat_that_goes_while_it_tells_its_hashes_stays_as_it_was(ground: Ground, proxies: tuple[Proxy, Proxy]) -> None:
    _, hat = proxies
    untouched = Untouched(ground)
    behind(ground, hat=hat)
    gate = hat.hold_at("hash_record_extended(ROW(h.")
    sync = ground.start("sync", ground.name, "--full")
    gate.await_closed()
    hat.cut()
    result = sync.wait()
    assert result.exit_code == 5
    assert_told(result.err, ground.name, "tenant database", f"hat-etl sync {ground.name}")
    directly(ground)
    untouched.check()
    synced(ground, "--full")


def show_otherwise(connection: Connection, excluido: str, beside: str = "(SELECT) n") -> None:
    """Let the view of persons show this in its column ``Excluido``; its rows ``v`` are joined with what is beside."""
    ((text,),) = connection.execute("SELECT pg_get_viewdef(('hat.' || %s)::regclass)", (PERSONS.view,)).fetchall()
    names = [column.name for column in connection.execute(f"SELECT * FROM hat.{PERSONS.view}").description or ()]
    chosen = ", ".join(f'{excluido if name.lower() == "excluido" else f"v.{name}"} AS "{name}"' for name in names)
    connection.execute(
        f"CREATE OR REPLACE VIEW hat.{PERSONS.view} AS SELECT {chosen} FROM ({text.rstrip('; ')}) v, {beside}"
    )


@pytest.mark.parametrize("copies", ["both live", "one deleted"])
def test_a_view_that_multiplies_rows_is_refused(copies: str, make_ground: MAKE_GROUND, server: Server) -> None:
    """Of two live copies both are equal to HAT's row and go no further; that must hide nothing."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_hat() as connection:
        recno = _spotless(connection)
    again = {"both live": "v.excluido", "one deleted": "CASE n WHEN 1 THEN v.excluido ELSE '1' END"}[copies]
    with ground.in_erp() as connection:
        show_otherwise(
            connection, excluido=again, beside=f"generate_series(1, CASE WHEN v.recno = {recno} THEN 2 ELSE 1 END) n"
        )
    untouched = Untouched(ground)
    result = ground.run("sync", ground.name, "--full", "--only", "persons")
    assert result.exit_code == 6
    assert_told(result.err, ground.name, "persons", "HAT_BTS_Vida", "more than once", "views install")
    untouched.check()


@pytest.mark.parametrize("dialect", ["postgresql", "oracle"])
def test_a_row_of_which_the_view_does_not_tell_whether_it_is_deleted_is_live(
    dialect: str, make_ground: MAKE_GROUND, server: Server
) -> None:
    """A CASE without ELSE: the load took such rows in, the next sync counted none of them and took all out of HAT."""
    pls = server.copy(PLS)
    with ExitStack() as stack:
        ground = make_ground(pls=pls)
        if dialect == "oracle":
            oracle = started(server, pls)
            stack.callback(oracle.close)
            ground = make_ground(pls=pls, dialect="oracle", erp_url=address(oracle))
            ground.load()
        with ground.in_erp() as connection:
            show_otherwise(connection, excluido="nullif(v.excluido, 0)")
        synced(ground, "--only", "persons")  # reads it whole, for the view is another one
        with ground.in_erp() as connection:
            changes.update(connection, "BTS", changes.live(connection, random.Random(4), "BTS", 3), nomusr="NOVO")
            gone = changes.live(connection, random.Random(5), "BTS", 2)
            changes.delete(connection, "BTS", gone)
        outcome = synced(ground, "--only", "persons")["tables"][0]
        assert (outcome["deleted"], outcome["strategy"]) == (2, "window")
        synced(ground, "--only", "persons", "--full")
        shown = Shown.by(ground)
        ground.load("--restart", "--only", "persons")
        assert Shown.by(ground) == shown


def test_a_duplicate_is_told_the_key_that_both_have(make_ground: MAKE_GROUND, server: Server) -> None:
    """The reason named the main key always: the operator looked for a second card of that number, and found none."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_hat() as connection:
        ((recno,),) = connection.execute("SELECT max(source_recno) FROM hat.beneficiaries").fetchall()
    with ground.in_erp() as connection:
        ((digit,),) = connection.execute(
            f"SELECT ba1_digito FROM {table('BA1')} WHERE r_e_c_n_o_ = %s", (recno,)
        ).fetchall()
        changes.insert(connection, "BA1", [recno], digito=str((int(digit) + 1) % 10))
        same = changes.live(connection, random.Random(7), "BTS", 1)
        changes.insert(connection, "BTS", same)

    def reasons() -> list[str]:
        with ground.in_hat() as connection:
            rows = connection.execute(
                "SELECT reason FROM hat_etl.rejects WHERE rule = 'duplicate_key' AND (\"table\", recno) IN"
                " (('beneficiaries', %s), ('persons', %s)) ORDER BY \"table\"",
                (recno, *same),
            ).fetchall()
        return [reason for (reason,) in rows]

    synced(ground)
    told = reasons()
    assert ["(beneficiary_id)" in told[0], "(person_id)" in told[1]] == [True, True]
    ground.load("--restart")
    assert reasons() == told


def _spotless(connection: Connection) -> int:
    """Recno of a row of HAT that quarantine says nothing of."""
    found = connection.execute(
        "SELECT max(source_recno) FROM hat.persons p WHERE NOT EXISTS"
        " (SELECT FROM hat_etl.rejects r WHERE r.\"table\" = 'persons' AND r.recno = p.source_recno)"
    ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("entry", ["one too many", "one missing"])
def test_warnings_are_told_anew_though_hat_has_the_rows_as_the_erp_has_them(
    entry: str, make_ground: MAKE_GROUND, server: Server
) -> None:
    ground = make_ground(pls=server.copy(PLS))
    before = Shown.by(ground)
    with ground.in_hat() as connection:
        if entry == "one too many":
            connection.execute(
                'INSERT INTO hat_etl.rejects (run, "table", recno, key, "column", rule, severity, reason, value)'
                " SELECT max(run), 'persons', %s, '', 'email', 'invalid_email', 'warning', '', '' FROM hat_etl.runs",
                (_spotless(connection),),
            )
        else:
            connection.execute(
                "DELETE FROM hat_etl.rejects r USING hat.persons p WHERE r.\"table\" = 'persons'"
                " AND r.severity = 'warning' AND p.source_recno = r.recno"
            )
    assert Shown.by(ground) != before
    synced(ground, "--full", "--only", "persons")
    assert Shown.by(ground) == before
