"""The swap among others who use the HAT tables: their grants, views and triggers stay, their transactions go on."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from hat_etl.sandbox.server import LOADER

from .conftest import behind
from .ground import CHANGED, Ground, Server, eventually
from .proxy import Proxy
from .watcher import AT_ONCE, COLUMNS, TABLES, look

PROXIES = tuple[Proxy, Proxy]


@pytest.fixture
def application(server: Server) -> Iterator[str]:
    """The role of the HAT application."""
    with server.admin() as admin:
        admin.execute("CREATE ROLE hat_application LOGIN")
        yield "hat_application"
        for database in server.databases():
            with server.admin(database) as inside:
                inside.execute("DROP OWNED BY hat_application")
        admin.execute("DROP ROLE hat_application")


def test_grants_survive(ground: Ground, application: str) -> None:
    with ground.in_hat() as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA hat TO {application}")
        connection.execute(f"GRANT SELECT ON hat.persons TO {application}")
        connection.execute(f"GRANT SELECT, UPDATE ON hat.procedures TO {application} WITH GRANT OPTION")
        connection.execute(f"GRANT SELECT (subscriber_id), UPDATE (name) ON hat.beneficiaries TO {application}")
        connection.execute("GRANT SELECT ON hat.products TO PUBLIC")
        before = granted(connection)
    oids = ground.state()
    ground.load()
    assert all(ground.state()[table][0] != oid for table, (oid, _, _) in oids.items()), "the tables are new ones"
    with ground.in_hat() as connection:
        assert granted(connection) == before
    with psycopg.connect(ground.server.url(ground.hat, application)) as connection:
        for query in ("name FROM hat.persons", "subscriber_id FROM hat.beneficiaries", "1 FROM hat.products"):
            connection.execute(f"SELECT {query}").fetchone()


def granted(connection: psycopg.Connection[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT table_name::text, NULL, grantee::text, privilege_type::text, is_grantable::text"
        " FROM information_schema.table_privileges WHERE table_schema = 'hat'"
        " UNION SELECT table_name::text, column_name::text, grantee::text, privilege_type::text, is_grantable::text"
        " FROM information_schema.column_privileges WHERE table_schema = 'hat' ORDER BY 1, 2, 3, 4"
    ).fetchall()


@pytest.fixture
def built_on(ground: Ground) -> Ground:
    """A HAT database in which the application has built on some tables; the PLS has changed since it was loaded."""
    ground.pls = CHANGED
    with ground.in_hat() as connection:
        connection.execute("CREATE SCHEMA application")
        connection.execute("CREATE VIEW application.people AS SELECT person_name.* FROM hat.persons AS person_name")
        connection.execute("CREATE TABLE application.heard (rows bigint)")
        connection.execute(
            "CREATE FUNCTION application.hear() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO application.heard SELECT count(*) FROM hat.procedures; RETURN NULL; END $$"
        )
        connection.execute("GRANT USAGE ON SCHEMA application TO hat_loader")
        connection.execute("GRANT INSERT ON application.heard TO hat_loader")
        connection.execute(
            "CREATE TRIGGER hear AFTER INSERT ON hat.procedures FOR EACH STATEMENT EXECUTE FUNCTION application.hear()"
        )
    return ground


@pytest.mark.usefixtures("changed_pls")
def test_views_and_triggers_survive(built_on: Ground) -> None:
    before = built_on.state()
    result = built_on.run("load", built_on.name)
    assert result.exit_code == 0, result.err
    rewritten = next(line for line in result.out.splitlines() if line.startswith("Rewritten in place"))
    assert "persons" in rewritten
    assert "procedures" in rewritten
    after = built_on.state()
    for table in ("persons", "procedures"):
        assert after[table][0] == before[table][0]
        assert after[table][2] != before[table][2]
    with built_on.in_hat() as connection:
        rows = connection.execute("SELECT count(*), max(loaded_run) FROM application.people").fetchone()
        assert rows == (after["persons"][1], 2)
        heard = connection.execute("SELECT rows FROM application.heard").fetchall()
        assert heard == [(after["procedures"][1],)]
    built_on.assert_clean()


@pytest.mark.usefixtures("changed_pls")
@pytest.mark.parametrize(
    "built",
    [
        "nothing built on the tables",
        "a view and a trigger",
    ],
)
def test_a_transaction_that_began_in_the_swap_sees_all_old_or_all_new(
    built: str, request: pytest.FixtureRequest, proxies: PROXIES
) -> None:
    ground: Ground = request.getfixturevalue("built_on" if built == "a view and a trigger" else "ground")
    ground.pls = CHANGED
    behind(ground, *proxies)
    gate = proxies[1].hold_at("DELETE FROM hat_etl.rejects")
    load = ground.start("load", ground.name)
    gate.await_closed()
    with psycopg.connect(ground.server.url(ground.hat, LOADER)) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # It has its snapshot now, and has touched no table yet.
        reader.execute("SELECT 1").fetchall()
        gate.open()
        assert load.wait().exit_code == 0
        runs = {
            table: {run for (run,) in reader.execute(f"SELECT DISTINCT loaded_run FROM hat.{table}")} - {1}
            for table in TABLES
        }
        counts = {table: reader.execute(f"SELECT {COLUMNS} FROM hat.{table}").fetchone() for table in TABLES}
    old = [table for table, found in runs.items() if not found and counts[table] != (0, 0, 0)]
    assert not old or len(old) == len(TABLES), f"old: {old}"


@pytest.mark.usefixtures("changed_pls")
def test_a_long_transaction_delays_the_swap(ground: Ground) -> None:
    ground.pls = CHANGED
    before = ground.state()
    with psycopg.connect(ground.server.url(ground.hat, LOADER)) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        first = reader.execute(AT_ONCE).fetchall()
        load = ground.start("load", ground.name)
        eventually(lambda: waits(ground, "SELECT pg_sleep"), "the load waits for the transaction")
        assert load.is_running
        assert reader.execute(AT_ONCE).fetchall() == first
    assert load.wait().exit_code == 0
    assert ground.state() != before
    ground.assert_clean()


@pytest.mark.usefixtures("changed_pls")
def test_a_transaction_that_holds_a_table_delays_the_swap_and_may_take_another(
    ground: Ground, proxies: PROXIES
) -> None:
    ground.pls = CHANGED
    behind(ground, *proxies)
    gate = proxies[1].hold_at("IN ACCESS EXCLUSIVE MODE")
    load = ground.start("load", ground.name)
    gate.await_closed()
    with psycopg.connect(ground.server.url(ground.hat, LOADER)) as reader:
        reader.execute("SELECT count(*) FROM hat.persons").fetchall()
        gate.open()
        eventually(lambda: waits(ground, "LOCK TABLE"), "the swap asks for the tables")
        seen = look(reader)
        assert load.is_running
        assert {run for _, _, run in seen}, "the reader is served in between"
    assert load.wait().exit_code == 0
    ground.assert_clean()


def waits(ground: Ground, statement: str) -> bool:
    with ground.server.admin() as admin:
        found = admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND datname = %s AND wait_event IS NOT NULL"
            " AND state = 'active' AND query LIKE %s",
            (f"hat_etl {ground.name}", ground.hat, f"{statement}%"),
        ).fetchall()
    return bool(found)
