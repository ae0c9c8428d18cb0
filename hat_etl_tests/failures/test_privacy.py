"""No value of a personal field and no secret leaves the databases: not in output, errors, reports or the ledger."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Kind
from hat_etl.sandbox import physical
from hat_etl.sandbox.server import LOADER, PLS, READER

from .changes import table
from .commands import Result
from .conftest import behind
from .ground import Connection, Ground, Server
from .proxy import Proxy
from .test_refusals import remade

CANARY, SECRET = "KNRY", "s3gr3d0"
CPF, CNS, SEED = "31415926535", "927182818284590", "KNRYSEMENTE"
CANARIES = (CANARY, SECRET, CPF, CNS, CANARY.lower())

COMMANDS = (
    ("load", "demo"),
    ("load", "demo", "--json"),
    ("rejects", "demo"),
    ("rejects", "demo", "--json"),
    ("rejects", "demo", "--table", "persons"),
    ("status",),
    ("status", "demo"),
    ("status", "demo", "--json"),
    ("runs", "demo"),
    ("runs", "demo", "--json"),
    ("plan", "demo"),
    ("plan", "demo", "--json"),
    ("doctor", "demo", "--all"),
    ("doctor", "demo", "--json"),
    ("views", "check", "demo"),
    ("views", "check", "demo", "--json"),
    ("views", "render", "demo"),
    ("tenant", "list"),
    ("tenant", "list", "--json"),
)


def soil(connection: Connection) -> None:
    """Put canaries into every field that no key is made of, so that rows fail by every rule that there is.

    Reports show keys, which is why those stay as they are.
    """
    values: dict[str, dict[str, str]] = {}
    for entity in ENTITIES:
        keys = {name for c in entity.columns if c.name in entity.key_columns for name in c.source.all_fields}
        for column in entity.columns:
            for name in set(column.source.fields) - keys:
                form = physical.fields(entity.reads[0]).get(name)
                if form is not None and not form.is_number:
                    value = _canary(column.name, column.kind, form.size)
                    values.setdefault(entity.reads[0], {})[form.column] = value
    for alias, fields in values.items():
        assignments = ", ".join(f"{name} = %s" for name in fields)
        connection.execute(f"UPDATE {table(alias)} SET {assignments} WHERE r_e_c_n_o_ %% 10 = 0", list(fields.values()))
    # Documents that look like some, but whose check digits are wrong.
    connection.execute(f"UPDATE {table('BTS')} SET bts_cpfusr = %s WHERE r_e_c_n_o_ %% 10 = 1", (CPF,))
    connection.execute(f"UPDATE {table('BA1')} SET ba1_cpfusr = %s WHERE r_e_c_n_o_ %% 10 = 1", (CPF,))
    connection.execute(f"UPDATE {table('BTS')} SET bts_nrcrna = %s WHERE r_e_c_n_o_ %% 10 = 1", (CNS,))
    # A token seed that a rule has something to say about.
    connection.execute(f"UPDATE {table('BA1')} SET ba1_tkseed = %s WHERE r_e_c_n_o_ %% 10 = 3", (f"{SEED}\x01",))


def _canary(name: str, kind: Kind, size: int) -> str:
    if kind is Kind.DATE:
        return f"{CANARY}DATA"
    return f"{CANARY}@{name.upper()}"[:size] if size >= len(CANARY) else "?"


@pytest.fixture(scope="module")
def canaries(server: Server) -> Iterator[str]:
    """A PLS full of canaries."""
    database = server.copy(PLS)
    with server.admin(database) as connection:
        soil(connection)
    yield database
    server.drop(database)


@pytest.fixture
def soiled(canaries: str, make_ground: Callable[..., Ground], server: Server) -> Ground:
    """A PLS full of canaries, and addresses with secrets; the server trusts its socket, whatever the password."""
    ground = make_ground(pls=server.copy(canaries))
    ground.erp_url = server.url(ground.pls, READER, SECRET)
    ground.hat_url = server.url(ground.hat, LOADER, SECRET)
    return ground


def assert_silent(*results: Result) -> None:
    for result in results:
        for canary in CANARIES:
            assert canary not in result.out
            assert canary not in result.err


def assert_ledger_silent(ground: Ground) -> None:
    with ground.in_hat() as connection:
        texts = [
            *connection.execute("SELECT runs::text FROM hat_etl.runs"),
            *connection.execute("SELECT run_tables::text FROM hat_etl.run_tables"),
            *connection.execute("SELECT concat_ws(' ', key, \"column\", rule, reason) FROM hat_etl.rejects"),
        ]
        seeds = connection.execute(
            "SELECT count(*) FROM hat_etl.rejects"
            " WHERE value LIKE %s OR (\"column\" = 'token_seed' AND value IS NOT NULL)",
            (f"%{SEED}%",),
        ).fetchone()
    for (text,) in texts:
        for canary in CANARIES:
            assert canary not in text
    assert seeds == (0,)


def test_commands_show_no_value_and_no_secret(soiled: Ground, tmp_path: Path) -> None:
    for arguments in COMMANDS:
        result = soiled.run(*arguments)
        assert result.exit_code == 0, (arguments, result.err)
        assert_silent(result)
    with soiled.in_hat() as connection:
        rows = connection.execute(
            'SELECT DISTINCT rule, "column", value LIKE %s FROM hat_etl.rejects', (f"%{CANARY}%",)
        )
        reported = rows.fetchall()
    rules = {rule for rule, _, _ in reported}
    assert {"cpf", "cns", "cep", "uf", "email", "digits", "in", "map", "invalid_date", "control_character"} <= rules
    assert "token_seed" in {column for _, column, _ in reported}
    assert any(kept for _, _, kept in reported), "values are kept where they may be"
    assert_ledger_silent(soiled)
    file = tmp_path / "rejects.xlsx"
    result = soiled.run("rejects", "demo", "--xlsx", str(file))
    assert result.exit_code == 0
    assert_silent(result)
    with zipfile.ZipFile(file) as book:
        for part in book.namelist():
            for canary in CANARIES:
                assert canary.encode() not in book.read(part)


def break_view(ground: Ground) -> None:
    """The ERP refuses a row and quotes it."""
    with psycopg.connect(ground.server.url(ground.pls, READER), autocommit=True) as connection:
        change = remade("persons", nome=f"CASE WHEN nome LIKE '{CANARY}%' THEN nome::int::text ELSE nome::text END")
        change(connection)


def break_trigger(ground: Ground) -> None:
    """HAT refuses a row and quotes it.

    The rows that are full of canaries never get so far: what was quoted once was the first row, which holds none.
    """
    with ground.in_hat() as connection:
        connection.execute(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'not %, {CANARY}', NEW.name USING DETAIL = '{CANARY}' || NEW::text; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON hat.persons FOR EACH ROW EXECUTE FUNCTION public.refuse()"
        )


def break_passwords(ground: Ground) -> None:
    ground.erp_url = f"postgresql://{READER}:{SECRET}@erp.invalid/pls"
    ground.hat_url = f"postgresql://{LOADER}:{SECRET}@hat.invalid/hat"


def break_address(ground: Ground) -> None:
    """A password with a character that an address cannot have as it is."""
    ground.erp_url = f"postgresql://{READER}:{SECRET}@{SECRET}/x@nowhere/pls"
    ground.hat_url = f"postgres//{LOADER}:{SECRET}@nowhere/hat"


@pytest.mark.parametrize("broken", [break_view, break_trigger, break_passwords, break_address])
@pytest.mark.parametrize("json", [(), ("--json",)], ids=["text", "json"])
def test_failures_show_no_value_and_no_secret(
    broken: Callable[[Ground], None], json: tuple[str, ...], soiled: Ground
) -> None:
    broken(soiled)
    results = [
        soiled.run(*command, "demo", *json) for command in (("load",), ("doctor",), ("status",), ("views", "check"))
    ]
    assert results[0].exit_code in (3, 4, 5)
    assert_silent(*results)
    assert_ledger_silent(soiled)


def test_a_cut_connection_shows_no_value(soiled: Ground, proxies: tuple[Proxy, Proxy]) -> None:
    behind(soiled, *proxies)
    gate = proxies[1].hold_at(CANARY)
    load = soiled.start("load", soiled.name)
    gate.await_closed()
    proxies[1].cut()
    result = load.wait()
    assert result.exit_code == 5
    assert_silent(result)
    assert_ledger_silent(soiled)


def test_keys_that_are_in_the_way_do_not_reach_the_log_of_the_tenant_database(ground: Ground) -> None:
    """The server told in its log which key was doubled, and which parent was missing."""
    log = ground.server.sandbox.folder / "postgres" / "log"
    before = len(log.read_bytes())
    ground.load()
    written = log.read_bytes()[before:].decode(errors="replace")
    assert "could not create unique index" in written
    assert "violates foreign key constraint" in written
    assert "DETAIL" not in written
