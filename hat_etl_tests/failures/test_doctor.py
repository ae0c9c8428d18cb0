"""What the doctor says of a tenant database that others use, or that is not for this version; its mends can be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from hat_etl.sandbox.server import HAT, PLS

from .ground import Ground, Server
from .syncing import assert_told

MAKE_GROUND = Callable[..., Ground]


def checks(ground: Ground, exit_code: int) -> dict[str, Any]:
    """The doctor's checks by their subject."""
    result = ground.run("doctor", ground.name, "--json")
    assert result.exit_code == exit_code, result.err + result.out
    return {check["subject"]: check for check in result.document}


@pytest.mark.parametrize("mode", ["SHARE ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"])
def test_a_table_that_others_use_is_waited_for_shortly_and_is_no_failure(mode: str, ground: Ground) -> None:
    """A vacuum was waited for without limit, and loads behind it; another lock was a failure for the DBA."""
    with ground.in_hat() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE hat.persons IN {mode} MODE")
        check = checks(ground, exit_code=0)["tenant database: rights"]
    assert check["state"] == "warning"
    assert_told(check["detail"], "in use by another session")
    assert_told(check["mend"], "hat-etl doctor demo")
    assert checks(ground, exit_code=0)["tenant database: rights"]["state"] == "ok"
    assert not ground.has_stage()


@pytest.mark.parametrize(("version", "state", "exit_code"), [("9999", "failed", 5), ("0001", "ok", 0)])
def test_a_database_that_a_later_version_keeps_is_told(
    version: str, state: str, exit_code: int, ground: Ground
) -> None:
    """The doctor was green where every load and sync refused."""
    with ground.in_hat() as connection:
        connection.execute("UPDATE hat_etl.schema_version SET version_num = %s", (version,))
        check = checks(ground, exit_code)["tenant database: version"]
        assert check["state"] == state
        assert version in check["detail"]
        assert ("Install the later version" in check["mend"]) is (state == "failed")
        assert connection.execute("SELECT version_num FROM hat_etl.schema_version").fetchone() == (version,)


def test_what_the_doctor_tells_to_run_can_be_run(make_ground: MAKE_GROUND, server: Server) -> None:
    """Names with a hyphen were not quoted."""
    ground = make_ground(hat=server.copy(HAT))
    with server.admin() as admin:
        admin.execute(
            sql.SQL('ALTER DATABASE {} RENAME TO "acme-prod"; CREATE ROLE "hat-weak" LOGIN').format(
                sql.Identifier(ground.hat)
            )
        )
    ground.hat = "acme-prod"
    ground.hat_url = server.url(ground.hat, "hat-weak")
    found = checks(ground, exit_code=5)
    grant, _, _ = found["tenant database: rights"]["mend"].partition(";")
    _, _, parameter = found["tenant database: log"]["mend"].partition(": ")
    with ground.in_hat() as connection:
        connection.execute(grant)
        connection.execute(parameter)
    try:
        found = checks(ground, exit_code=0)
        assert found["tenant database: rights"]["state"] == found["tenant database: log"]["state"] == "ok"
    finally:
        with ground.in_hat() as connection:
            connection.execute('DROP OWNED BY "hat-weak"; DROP ROLE "hat-weak"')


def test_what_the_doctor_tells_to_run_in_the_erp_can_be_run(ground: Ground, server: Server) -> None:
    """The login was not quoted there: a name with a hyphen, or a word such as user, was a syntax error."""
    ground.erp_url = server.url(ground.pls, "erp-weak")
    with server.admin() as admin:
        admin.execute('CREATE ROLE "erp-weak" LOGIN')
        try:
            admin.execute(checks(ground, exit_code=4)["ERP: open transactions"]["mend"])
            assert checks(ground, exit_code=4)["ERP: open transactions"]["state"] == "ok"
        finally:
            admin.execute('DROP ROLE "erp-weak"')


@pytest.mark.parametrize(
    "foreign",
    [
        "ALTER SCHEMA hat OWNER TO postgres",
        "ALTER TABLE hat.persons OWNER TO postgres",
        "ALTER TABLE hat_etl.runs OWNER TO postgres",
        "ALTER SCHEMA hat_etl OWNER TO postgres; ALTER TABLE hat_etl.rejects OWNER TO postgres",
        "CREATE SCHEMA hat_etl_stage",
    ],
)
def test_what_belongs_to_another_login_is_found_and_the_mend_lets_a_load_through(foreign: str, ground: Ground) -> None:
    """The grant on the database that was named did not help, and of hat_etl's own tables the doctor was green."""
    with ground.in_hat() as connection:
        connection.execute(foreign)
        rights = checks(ground, exit_code=5)["tenant database: rights"]
        assert rights["state"] == "failed"
        connection.execute(rights["mend"])
    assert checks(ground, exit_code=0)["tenant database: rights"]["state"] == "ok"
    ground.load()
    ground.assert_clean()


def test_a_database_that_may_only_be_read_is_called_so(ground: Ground) -> None:
    """It was a number of PostgreSQL's, and the DBA was to be asked."""
    with ground.in_hat() as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(ground.hat))
        )
    rights = checks(ground, exit_code=5)["tenant database: rights"]
    assert_told(rights["detail"], "may only be read", "standby")
    with ground.server.admin() as admin:
        admin.execute(rights["mend"].partition("run: ")[2])
    assert checks(ground, exit_code=0)["tenant database: rights"]["state"] == "ok"


@pytest.mark.parametrize("limited", ["ROLE erp_few", "DATABASE {}"])
def test_a_limit_on_connections_is_told_before_a_load_meets_it(
    limited: str, make_ground: MAKE_GROUND, server: Server
) -> None:
    """Of the limit of a login or of a database the doctor was green, and a load told of an OperationalError."""
    ground = make_ground(pls=server.copy(PLS), connections=2)
    ground.erp_url = server.url(ground.pls, "erp_few")
    alter = f"ALTER {limited.format(ground.pls)} CONNECTION LIMIT"
    with server.admin() as admin:
        admin.execute("CREATE ROLE erp_few LOGIN IN ROLE hat_reader, pg_read_all_stats")
        try:
            for allowed, state in ((2, "warning"), (3, "ok")):
                admin.execute(f"{alter} {allowed}")
                check = checks(ground, exit_code=0)["ERP: connections"]
                assert check["state"] == state, check
                if state == "warning":
                    assert_told(check["detail"], "allows 2 connections", "1 free")
                    assert_told(check["mend"], "CONNECTION LIMIT")
            ground.load()
        finally:
            server.drop(ground.pls)
            admin.execute("DROP ROLE erp_few")


def test_a_view_whose_owner_may_not_read_a_table_names_that_grant(make_ground: MAKE_GROUND, server: Server) -> None:
    """The login was said to lack the view, and the grants that were named were there all the time."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        connection.execute("REVOKE SELECT ON protheus.ba1010 FROM hat_reader")
        check = checks(ground, exit_code=4)["view HAT_BA1_Beneficiario"]
        assert_told(check["detail"], "its owner may not read a table")
        assert check["mend"] == "Let the DBA run: GRANT SELECT ON protheus.ba1010 TO hat_reader;"
        connection.execute(check["mend"].partition(": ")[2])
    assert checks(ground, exit_code=0)["view HAT_BA1_Beneficiario"]["state"] == "ok"


@pytest.mark.parametrize("limited", ["ROLE hat_few", "DATABASE {}"])
def test_a_limit_on_connections_to_hat_is_told_before_a_run_meets_it(
    limited: str, ground: Ground, server: Server
) -> None:
    """The doctor was green; a load sent to it, and a sync that read whole told of an OperationalError alone."""
    ground.hat_url = server.url(ground.hat, "hat_few")
    alter = f"ALTER {limited.format(ground.hat)} CONNECTION LIMIT"
    with server.admin() as admin:
        admin.execute("CREATE ROLE hat_few LOGIN IN ROLE hat_loader")
        try:
            for allowed, state in ((3, "warning"), (4, "ok")):
                admin.execute(f"{alter} {allowed}")
                check = checks(ground, exit_code=0)["tenant database: connections"]
                assert check["state"] == state, check
                if state == "warning":
                    assert_told(check["detail"], "up to 4 connections", "3 free")
                    assert_told(check["mend"], "CONNECTION LIMIT")
            ground.load()
            ground.assert_nobody_left()
            admin.execute(f"{alter} 1")
            told = ground.run("sync", ground.name, "--full")
            assert told.exit_code == 5
            assert_told(told.err, "too many connections", "hat-etl doctor demo")
        finally:
            server.drop(ground.hat)
            admin.execute("DROP ROLE hat_few")
