"""The swap among others who use the HAT tables: their grants, views and triggers stay, their transactions go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.server import HAT, LOADER, PLS
from hat_etl.target.dependents import dependents

from . import changes
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


def test_ownership_and_rights_that_were_taken_away_survive(ground: Ground, application: str) -> None:
    """The owner lost its own table, and default privileges gave back what had been revoked."""
    with ground.in_hat() as connection:
        connection.execute(f"GRANT USAGE, CREATE ON SCHEMA hat TO {application}")
        connection.execute(f"GRANT {application} TO {LOADER}")
        connection.execute(f"ALTER TABLE hat.persons OWNER TO {application}")
        connection.execute(f"ALTER DEFAULT PRIVILEGES FOR ROLE {LOADER} GRANT SELECT ON TABLES TO {application}")
        connection.execute(f"REVOKE ALL ON hat.beneficiaries FROM {application}")
    try:
        ground.load()
        with ground.in_hat() as connection:
            owners = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'hat.persons'::regclass"
            assert connection.execute(owners).fetchone() == (application,)
            may = "SELECT has_table_privilege(%s, %s, 'SELECT')"
            assert connection.execute(may, (application, "hat.persons")).fetchone() == (True,)
            assert connection.execute(may, (application, "hat.beneficiaries")).fetchone() == (False,)
        ground.load()
    finally:
        with ground.server.admin(ground.hat) as admin:
            admin.execute(f"ALTER DEFAULT PRIVILEGES FOR ROLE {LOADER} REVOKE SELECT ON TABLES FROM {application}")
            admin.execute(f"REVOKE {application} FROM {LOADER}")


def test_default_privileges_of_the_schema_hold_for_the_first_load(
    make_ground: Callable[..., Ground], server: Server, application: str
) -> None:
    """Tables are born in another schema: the application could not read what the first load had brought."""
    ground = make_ground(hat=server.copy(HAT))
    with ground.in_hat() as connection:
        connection.execute(f"CREATE SCHEMA hat AUTHORIZATION {LOADER}")
        connection.execute(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {LOADER} IN SCHEMA hat GRANT SELECT ON TABLES TO {application}"
        )
    ground.load()
    with ground.in_hat() as connection:
        may = "SELECT bool_and(has_table_privilege(%s, oid, 'SELECT')) FROM pg_class WHERE relkind = 'r'"
        may += " AND relnamespace = 'hat'::regnamespace"
        assert connection.execute(may, (application,)).fetchone() == (True,)


BUILT = {
    "a function that gives rows": "CREATE FUNCTION app.f() RETURNS SETOF hat.persons LANGUAGE sql"
    " AS 'TABLE hat.persons'",
    "a table that inherits": "CREATE TABLE app.child () INHERITS (hat.persons)",
    "a policy of another table": "CREATE TABLE app.notes (person varchar); CREATE POLICY p ON app.notes"
    " USING (person IN (SELECT person_id FROM hat.persons))",
    "a column": "ALTER TABLE hat.persons ADD COLUMN app_flag boolean; UPDATE hat.persons SET app_flag = true",
    "an index": "CREATE INDEX app_index ON hat.persons (lower(name))",
    "a constraint": "ALTER TABLE hat.persons ADD CONSTRAINT app_check CHECK (length(person_id) > 0)",
    "statistics": "CREATE STATISTICS app.s ON name, person_id FROM hat.persons",
    "row level security": "ALTER TABLE hat.persons ENABLE ROW LEVEL SECURITY",
    "a rule": "CREATE RULE app_rule AS ON UPDATE TO hat.persons WHERE false DO ALSO NOTHING",
    "a storage parameter": "ALTER TABLE hat.persons SET (autovacuum_vacuum_scale_factor = 0.01)",
}


@pytest.mark.parametrize("built", BUILT)
def test_what_others_have_built_on_a_table_is_seen(built: str, ground: Ground) -> None:
    """It was dropped without a word, or stood in the way of every load."""
    with ground.in_hat() as connection, connection.transaction(force_rollback=True):
        assert dependents(connection, BY_TABLE["persons"], "hat") == []
        connection.execute("CREATE SCHEMA app")
        connection.execute(BUILT[built])
        assert len(dependents(connection, BY_TABLE["persons"], "hat")) == 1


@pytest.mark.usefixtures("changed_pls")
def test_what_others_have_built_on_a_table_survives(ground: Ground) -> None:
    with ground.in_hat() as connection:
        connection.execute("CREATE SCHEMA app")
        for statement in BUILT.values():
            connection.execute(statement)
        before = dependents(connection, BY_TABLE["persons"], "hat")
        (kept,) = connection.execute("SELECT count(*) FROM hat.persons").fetchall()
    doctor = ground.run("doctor", ground.name, "--json").document
    (check,) = [check for check in doctor if check["subject"] == "tenant database: persons"]
    assert check["state"] == "warning"
    assert all(what in check["detail"] for what in before)
    ground.pls = CHANGED
    ground.load()
    with ground.in_hat() as connection:
        assert dependents(connection, BY_TABLE["persons"], "hat") == before
        flags = "SELECT count(*) FILTER (WHERE app_flag) BETWEEN 1 AND %s FROM hat.persons"
        assert connection.execute(flags, kept).fetchone() == (True,)
        contents, reported = ground.contents(), ground.reported()
        connection.execute("DROP SCHEMA app CASCADE")
    ground.load()
    assert (ground.contents(), ground.reported()) == (contents, reported)


def test_a_table_that_lacks_a_column_of_ours_is_replaced_whatever_was_added_to_it(ground: Ground) -> None:
    """As one that an earlier version has made: it cannot be brought to rows that have the column."""
    contents = ground.contents()
    with ground.in_hat() as connection:
        connection.execute("ALTER TABLE hat.kinships DROP COLUMN description")
        connection.execute("CREATE INDEX app_index ON hat.kinships (loaded_run)")
    ground.load()
    assert ground.contents() == contents


@pytest.mark.usefixtures("changed_pls")
@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "NO ACTION"])
def test_rows_of_others_that_refer_to_ours_stay(action: str, ground: Ground) -> None:
    """A load took all rows away before it put the new ones in their place, and theirs went, too."""
    with ground.in_hat() as connection:
        connection.execute("CREATE SCHEMA app")
        connection.execute(f"CREATE TABLE app.favorites (person varchar REFERENCES hat.persons ON DELETE {action})")
        connection.execute("INSERT INTO app.favorites SELECT person_id FROM hat.persons ORDER BY 1 LIMIT 40")
    ground.load()
    favorites = "SELECT count(*), count(person) FROM app.favorites"
    with ground.in_hat() as connection:
        assert connection.execute(favorites).fetchone() == (40, 40)
        (gone,) = connection.execute(
            "UPDATE app.favorites SET person = (SELECT max(person_id) FROM hat.persons) WHERE person ="
            " (SELECT min(person) FROM app.favorites) RETURNING person"
        ).fetchall()[0]
    ground.pls = ground.server.copy(PLS)
    with ground.in_erp() as connection:
        connection.execute(f"UPDATE {changes.table('BTS')} SET d_e_l_e_t_ = '*' WHERE bts_matvid = %s", (gone,))
    result = ground.run("load", ground.name)
    if action == "NO ACTION":
        assert result.exit_code == 5, result.err
        for word in ("hat.persons", "app.favorites", "favorites_person_fkey", "let go of these rows"):
            assert word in result.err
        assert gone not in result.err
    else:
        assert result.exit_code == 0, result.err
        with ground.in_hat() as connection:
            left = {"CASCADE": (39, 39), "SET NULL": (40, 39)}[action]
            assert connection.execute(favorites).fetchone() == left


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
