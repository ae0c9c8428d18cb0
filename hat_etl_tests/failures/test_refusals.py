"""What a load refuses or cannot do: each ends with its exit code, its cause and a next step, and changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.server import HAT, LOADER, PLS, READER

from . import changes
from .changes import table
from .ground import Connection, Ground, Server, eventually

MAKE_GROUND = Callable[..., Ground]
PASSWORD = "s3nha-certa"
WRONG = "s3nha-errada"


@dataclass(frozen=True)
class Case:
    """``prepare`` breaks something; the load then ends with ``exit_code``, and its message says all of ``words``."""

    name: str
    prepare: Callable[[Ground], None]
    exit_code: int
    words: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    own_pls: bool = False
    """Whether ``prepare`` changes the PLS, which then is a copy."""
    staged: bool = False
    """Whether the fault shows only when rows are staged already: they stay, to be resumed."""


@pytest.fixture(scope="module")
def logins(server: Server) -> Iterator[None]:
    """Logins that need a password, and some with fewer rights than the sandbox's own."""
    with server.admin() as admin:
        row = admin.execute("SHOW hba_file").fetchone()
        assert row is not None
        admin.execute("SET password_encryption = 'scram-sha-256'")
        for role in ("erp_login", "hat_login"):
            admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        admin.execute("CREATE ROLE erp_stranger LOGIN")
        admin.execute("CREATE ROLE hat_weak LOGIN")
        admin.execute("CREATE ROLE somebody_else")
        # The file's owner is the server's user: it is rewritten in place, whoever runs the tests.
        hba = server.sandbox.folder / "postgres" / "pg_hba.conf"
        before = hba.read_text(encoding="utf-8")
        hba.write_text(f"local all erp_login,hat_login scram-sha-256\n{before}", encoding="utf-8")
        admin.execute("SELECT pg_reload_conf()")
    with server.admin(PLS) as admin:
        admin.execute("GRANT USAGE ON SCHEMA hat TO erp_stranger")

    def refused() -> bool:
        try:
            psycopg.connect(server.url(PLS, "erp_login", WRONG)).close()
        except psycopg.OperationalError:
            return True
        return False

    eventually(refused, "the server asks for passwords")
    psycopg.connect(server.url(PLS, "erp_login", PASSWORD)).close()
    yield
    with server.admin(PLS) as admin:
        admin.execute("DROP OWNED BY erp_stranger")


def erp(url: Callable[[Ground], str]) -> Callable[[Ground], None]:
    return lambda ground: setattr(ground, "erp_url", url(ground))


def hat(url: Callable[[Ground], str]) -> Callable[[Ground], None]:
    return lambda ground: setattr(ground, "hat_url", url(ground))


def setting(**values: object) -> Callable[[Ground], None]:
    def prepare(ground: Ground) -> None:
        for name, value in values.items():
            setattr(ground, name, value)

    return prepare


def as_reader(change: Callable[[Connection], None]) -> Callable[[Ground], None]:
    """A change of the views, made by who owns them."""

    def prepare(ground: Ground) -> None:
        with psycopg.connect(ground.server.url(ground.pls, READER), autocommit=True) as connection:
            change(connection)

    return prepare


def view_of(table: str) -> str:
    return BY_TABLE[table].view.lower()


def remade(table: str, **changes: str | None) -> Callable[[Connection], None]:
    """Make a view anew with columns that are left out (None) or come from another expression."""

    def change(connection: Connection) -> None:
        view = view_of(table)
        connection.execute(f"ALTER VIEW hat.{view} RENAME TO {view}_was")
        rows = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            (f"hat.{view}_was",),
        ).fetchall()
        names = {name: changes.get(name, name) for (name,) in rows}
        assert changes.keys() <= names.keys()
        columns = ", ".join(f"{expression} AS {name}" for name, expression in names.items() if expression)
        connection.execute(f"CREATE VIEW hat.{view} AS SELECT {columns} FROM hat.{view}_was")

    return change


def run_statement(statement: str) -> Callable[[Connection], None]:
    return lambda connection: connection.execute(statement) and None


def in_hat(statement: str) -> Callable[[Ground], None]:
    def prepare(ground: Ground) -> None:
        with ground.in_hat() as connection:
            connection.execute(statement)

    return prepare


def weak_login(ground: Ground) -> None:
    ground.hat_url = ground.server.url(ground.hat, "hat_weak")


def latin1(ground: Ground) -> None:
    ground.server.drop(ground.hat)
    with ground.server.admin() as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'").format(
                sql.Identifier(ground.hat), sql.Identifier(LOADER)
            )
        )


def closed_port(ground: Ground) -> str:
    return f"postgresql://{READER}@127.0.0.1:1/{ground.pls}"


CASES = (
    Case(
        "wrong ERP password", erp(lambda g: g.server.url(g.pls, "erp_login", WRONG)), 4,
        ("demo", "ERP database cannot be reached", "password", "hat-etl doctor demo"),
    ),
    Case(
        "wrong password of the tenant database", hat(lambda g: g.server.url(g.hat, "hat_login", WRONG)), 5,
        ("demo", "tenant database cannot be reached", "password", "hat-etl doctor demo"),
    ),
    Case(
        "unknown ERP host", erp(lambda g: f"postgresql://{READER}@erp.invalid/pls"), 4,
        ("demo", "ERP database cannot be reached", "hat-etl doctor demo"),
    ),
    Case(
        "unknown host of the tenant database", hat(lambda g: f"postgresql://{LOADER}@hat.invalid/hat"), 5,
        ("demo", "tenant database cannot be reached", "hat-etl doctor demo"),
    ),
    Case("nobody listens in the ERP", erp(closed_port), 4, ("demo", "ERP database cannot be reached", "doctor")),
    Case("nobody listens in HAT", hat(closed_port), 5, ("demo", "tenant database cannot be reached", "hat-etl doctor")),
    Case(
        "missing views",
        as_reader(run_statement(f"DROP VIEW hat.{view_of('persons')}, hat.{view_of('families')}")), 4,
        ("demo", "persons", "families", BY_TABLE["persons"].view, "hat-etl views install demo"), own_pls=True,
    ),
    Case(
        "view with a column dropped", as_reader(remade("persons", nome=None)), 6,
        ("demo", "persons", BY_TABLE["persons"].view, "Nome is missing", "hat-etl views install"), own_pls=True,
    ),
    Case(
        "view with a column renamed",
        as_reader(run_statement(f"ALTER VIEW hat.{view_of('procedures')} RENAME descricao TO nome_do_procedimento")), 6,
        ("demo", "procedures", "is missing", "hat-etl views install"), own_pls=True,
    ),
    Case(
        "view with a text that has become a number", as_reader(remade("persons", nome="length(nome)")), 6,
        ("demo", "persons", "Nome must be a text and is int4", "hat-etl views install"), own_pls=True,
    ),
    Case(
        "view with a number that has become a text",
        as_reader(remade("beneficiary_procedure_coverages", quantidade="quantidade::text")), 6,
        ("demo", "beneficiary_procedure_coverages", "must be a number and is text", "hat-etl views install"),
        own_pls=True,
    ),
    Case(
        "view without Recno", as_reader(remade("persons", recno=None)), 6,
        ("demo", "persons", "Recno is missing", "hat-etl views install"), own_pls=True,
    ),
    Case(
        "views over another schema's tables", setting(schemas='schema = "teste"\nviews_schema = "hat"'), 6,
        ("demo", "protheus.bts010", "teste.bts010", "another company", "hat-etl views install demo"),
    ),
    Case(
        "no right on a view", erp(lambda g: g.server.url(g.pls, "erp_stranger")), 4,
        ("demo", "may not read the view", "GRANT", "hat-etl views render demo"),
    ),
    Case(
        "no right to make schemas in the tenant database", weak_login, 5,
        ("demo", "lacks a right", "hat-etl doctor demo"),
    ),
    Case(
        "a HAT table that belongs to somebody else", in_hat("ALTER TABLE hat.persons OWNER TO somebody_else"), 5,
        ("demo", "lacks a right", "persons", "hat-etl doctor demo"), staged=True,
    ),
    Case(
        "database of another tenant", in_hat("UPDATE hat_etl.identity SET tenant = 'another'"), 5,
        ("demo", "belongs to tenant another", "Correct [hat] url"),
    ),
    Case(
        "database of another operator", setting(ans_registry="999999"), 5,
        ("demo", "412345", "999999", "Correct [hat] url or ans_registry"),
    ),
    Case("database that is not UTF8", latin1, 5, ("demo", "LATIN1", "UTF8", "Have the database made anew")),
    Case(
        "unknown key in the tenant file", setting(extra='skema = "hat"'), 3, ("demo", "hat.skema", "unknown key"),
    ),
    Case(
        "ERP secret not set", setting(extra="", erp_reference="env:NOBODY_SET_THIS"), 3,
        ("demo", "env:NOBODY_SET_THIS", "not set", "Set the environment variable"),
    ),
    Case(
        "secret of the tenant database not set", setting(hat_reference="env:NOBODY_SET_THIS"), 3,
        ("demo", "env:NOBODY_SET_THIS", "not set", "Set the environment variable"),
    ),
    Case("unknown table", setting(), 3, ("No such HAT table: persns", "persons"), arguments=("--only", "persns")),
    Case("resume and restart at once", setting(), 2, ("--resume or --restart",), arguments=("--resume", "--restart")),
    Case(
        "address of another database than the ERP's", setting(dialect="oracle"), 3,
        ("demo", "oracle", "no address of an Oracle database"),
    ),
)  # fmt: skip


@pytest.mark.usefixtures("logins")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_refused_load_says_why_and_changes_nothing(case: Case, make_ground: MAKE_GROUND, server: Server) -> None:
    ground = make_ground(pls=server.copy(PLS) if case.own_pls else None)
    case.prepare(ground)
    before, reported = ground.state(), ground.reported()
    result = ground.run("load", ground.name, *case.arguments, "--json")
    assert result.exit_code == case.exit_code, result.err
    assert_told(result.err, case.words)
    assert PASSWORD not in result.err + result.out
    assert WRONG not in result.err + result.out
    if case.exit_code != 2:
        error = result.document["error"]
        assert error["exit_code"] == case.exit_code
        assert_told(f"{error['tenant']} {error['table']} {error['cause']} {error['next_step']}", case.words)
    assert ground.state() == before
    assert ground.reported() == reported
    assert ground.has_stage() == case.staged
    ground.assert_nobody_left()


def assert_told(text: str, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in text


def test_a_tenant_that_nobody_knows(ground: Ground) -> None:
    result = ground.run("load", "nobody")
    assert result.exit_code == 3
    assert_told(result.err, ("nobody", "There is no tenant file", "hat-etl tenant new nobody"))


def test_a_right_that_was_lacking_is_granted_and_the_load_goes_on(ground: Ground) -> None:
    with ground.in_hat() as connection:
        connection.execute("ALTER TABLE hat.persons OWNER TO postgres")
    assert ground.run("load", ground.name).exit_code == 5
    with ground.in_hat() as connection:
        connection.execute(f"ALTER TABLE hat.persons OWNER TO {LOADER}")
    report = ground.load("--resume")
    assert report["run"] == 2
    ground.assert_clean()


def test_a_load_that_failed_before_anything_was_staged_is_made_by_resume(
    make_ground: MAKE_GROUND, server: Server
) -> None:
    """The load before it has succeeded, and was not the one that was asked for."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        connection.execute(f"ALTER VIEW hat.{view_of('persons')} RENAME TO gone")
    assert ground.run("load", ground.name, "--only", "persons").exit_code == 4
    with ground.in_erp() as connection:
        connection.execute(f"ALTER VIEW hat.gone RENAME TO {view_of('persons')}")
        (recno,) = changes.live(connection, random.Random(3), "BTS", 1, "bts_nomusr <> ''")
        changes.update(connection, "BTS", [recno], nomusr="NOVO")
    assert ground.load("--resume", "--only", "persons")["run"] == 3
    with ground.in_hat() as connection:
        names = connection.execute("SELECT name FROM hat.persons WHERE source_recno = %s", (recno,)).fetchall()
    assert names == [("NOVO",)]


def test_rows_that_were_purged_after_all_was_staged_do_not_come_back(make_ground: MAKE_GROUND, server: Server) -> None:
    """A range that had become empty left no gap, so that it stayed; and no sync found what the watermark knew of."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        (copied,) = changes.live(connection, random.Random(3), "BIH", 1)
        (far,) = changes.insert(connection, "BIH", [copied], codtip="Z")
        connection.execute(f"UPDATE {table('BIH')} SET r_e_c_n_o_ = 600000 WHERE r_e_c_n_o_ = %s", (far,))
    with ground.in_hat() as connection:
        connection.execute("ALTER TABLE hat.user_types OWNER TO postgres")
    assert ground.run("load", ground.name, "--only", "user_types").exit_code == 5
    with ground.in_hat() as connection:
        connection.execute(f"ALTER TABLE hat.user_types OWNER TO {LOADER}")
    with ground.in_erp() as connection:
        changes.purge(connection, "BIH", [600000])
    ground.load("--resume")
    with ground.in_hat() as connection:
        assert connection.execute("SELECT count(*) FROM hat.user_types WHERE source_recno = 600000").fetchone() == (0,)
    ground.assert_clean()


def test_what_another_version_has_staged_is_not_gone_on_with(ground: Ground) -> None:
    with ground.in_hat() as connection:
        connection.execute("ALTER TABLE hat.persons OWNER TO postgres")
        assert ground.run("load", ground.name).exit_code == 5
        connection.execute(f"ALTER TABLE hat.persons OWNER TO {LOADER}")
        connection.execute("UPDATE hat_etl.runs SET version = '0.0.1' WHERE run = 2")
    result = ground.run("load", ground.name, "--resume")
    assert result.exit_code == 7, result.err
    assert_told(result.err, ("demo", "0.0.1", "hat-etl load demo --restart"))
    ground.load("--restart")


@pytest.mark.parametrize("command", ["status", "runs", "rejects"])
def test_a_database_of_another_tenant_shows_nothing(command: str, ground: Ground) -> None:
    with ground.in_hat() as connection:
        connection.execute("UPDATE hat_etl.identity SET tenant = 'another'")
    result = ground.run(command, ground.name)
    assert result.exit_code == 5
    assert "belongs to tenant another" in result.err
    assert not result.out


@pytest.mark.usefixtures("logins")
@pytest.mark.parametrize("command", ["status", "runs", "rejects"])
def test_a_login_that_may_not_read_the_ledger_is_told_so(command: str, ground: Ground) -> None:
    weak_login(ground)
    result = ground.run(command, ground.name)
    assert result.exit_code == 5, result.err
    assert_told(result.err, ("demo", "lacks a right"))


@pytest.mark.usefixtures("logins")
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.exit_code in (4, 5, 6) or "secret" in case.name],
    ids=lambda case: case.name,
)
def test_the_doctor_sees_it_first(case: Case, make_ground: MAKE_GROUND, server: Server) -> None:
    ground = make_ground(pls=server.copy(PLS) if case.own_pls else None)
    case.prepare(ground)
    before = ground.state()
    result = ground.run("doctor", ground.name, "--json")
    failed = [check for check in result.document if check["state"] == "failed"]
    assert failed
    assert all(check["mend"] for check in failed)
    assert result.exit_code == case.exit_code
    assert ground.state() == before
    assert not ground.has_stage()
    ground.assert_nobody_left()


def test_a_first_load_into_an_empty_database(make_ground: MAKE_GROUND, server: Server) -> None:
    ground = make_ground(hat=server.copy(HAT))
    assert ground.state() == {}
    ground.load()
    assert set(ground.state()) == set(BY_TABLE)
    ground.assert_clean()
