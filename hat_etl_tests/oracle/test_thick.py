"""Tenants that are read with Oracle's client libraries: what is told without them, and that all others stay thin.

No libraries are at hand here, so that nothing is ever read with them.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import oracledb
import pytest

from hat_etl.billing.loop import run_all
from hat_etl.errors import ConfigurationError
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.source import oracle_client
from hat_etl.source.oracle_refusals import connection_failed
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.oracle_address import OracleAddress
from hat_etl_tests.failures.ground import Ground, Server
from hat_etl_tests.failures.syncing import assert_told
from hat_etl_tests.oracle.conftest import address
from hat_etl_tests.oracle.test_faults import opened

NOWHERE = "/opt/oracle/nowhere"


@pytest.mark.parametrize("command", ["doctor", "plan", "load", "sync"])
def test_libraries_that_are_not_there_are_told_and_nothing_changes(command: str, ground: Ground) -> None:
    before, ground.erp_extra = ground.state(), f'client_library = "{NOWHERE}"'
    result = ground.run(command, ground.name, "--json")
    assert result.exit_code == 3
    assert_told(
        result.out, f"{NOWHERE} cannot be loaded (DPI-1047", "No such file", "client_library in [erp]", "ldconfig"
    )
    assert ground.state() == before


def test_a_library_that_is_broken_is_told(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "libclntsh.so").write_text("no library" * 100, encoding="ascii")
    ground.erp_extra = f'client_library = "{tmp_path}"'
    result = ground.run("plan", ground.name)
    assert result.exit_code == 3
    assert_told(result.err, f"{tmp_path} cannot be loaded (DPI-1047", "invalid ELF header")


def refused_libraries() -> None:
    """Called in the process of a command."""
    with pytest.raises(ConfigurationError, match="DPI-1047"):
        oracle_client.settle("other", NOWHERE, None)


def test_after_libraries_were_refused_the_same_process_reads_thin(oracle: OracleServer, ground: Ground) -> None:
    before = ground.contents()
    result = ground.start("load", ground.name, "--only", "kinships", prepare=refused_libraries).wait()
    assert result.exit_code == 0, result.err
    assert ground.contents() == before
    assert oracle.statements


def test_a_process_that_has_read_thin_turns_away_who_needs_libraries(ground: Ground) -> None:
    with closing(opened(ground)) as source:
        source.health()
        with pytest.raises(ConfigurationError) as caught:
            oracle_client.settle("other", NOWHERE, None)
        assert "without Oracle's client libraries (DPY-2019)" in caught.value.cause
        assert "alone" in caught.value.next_step
        assert caught.value.tenant == "other"
        assert oracledb.is_thin_mode()
        source.health()


def test_of_all_tenants_one_with_libraries_has_a_process_of_its_own(
    oracle: OracleServer, from_oracle: str, server: Server, tmp_path: Path
) -> None:
    tenants = {name: _tenant(server, tmp_path, oracle, from_oracle, name) for name in ("a", "b", "c")}
    tenants["b"].erp_extra = f'client_library = "{NOWHERE}"'
    for tenant in tenants.values():
        tenant.write()
    try:
        result = tenants["a"].run("sync", "--all", "--json")
        told = {outcome["tenant"]: outcome for outcome in result.document}
        assert {name: outcome["state"] for name, outcome in told.items()} == {
            "a": "succeeded", "b": "failed", "c": "succeeded",
        }  # fmt: skip
        # In the process that has read the first one, the reason would be that it has.
        assert "DPI-1047" in told["b"]["error"]["cause"]
        assert result.exit_code == 3
    finally:
        for tenant in tenants.values():
            server.drop(tenant.hat)


def _tenant(server: Server, folder: Path, oracle: OracleServer, loaded: str, name: str) -> Ground:
    made = Ground(
        server, folder / "all", name=name, dialect="oracle", erp_url=address(oracle), hat=server.copy(loaded),
        connections=1, erp_reference=f"file:{name}.erp", hat_reference=f"file:{name}.hat",
    )  # fmt: skip
    with made.in_hat() as hat:
        hat.execute("UPDATE hat_etl.identity SET tenant = %s", (name,))
    return made


def described(**billing: str) -> Tenant:
    erp = {"dialect": "oracle", "url": "env:NONE", "company": "01", "client_library": NOWHERE}
    hat = {"url": "env:NONE"}
    return Tenant.model_validate(
        {"name": "demo", "ans_registry": "412345", "erp": erp, "hat": hat, "billing": billing}, by_name=False
    )


def test_in_the_billing_of_all_a_tenant_with_libraries_whose_views_are_asked_is_told_to_come_alone() -> None:
    (report,) = run_all([described(ask="views")])
    (problem,) = report.problems
    assert_told(str(problem), "demo", "Oracle's client libraries", "hat-etl billing run demo")
    assert problem.exit_code == 3
    assert len(run_all([described()])) > 1, "its ERP is not read"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ORA-12154", "PLS is not in tnsnames.ora"),
        ("ORA-12514", "knows no such service"),
        ("ORA-12541", "nothing answers at PLS"),
        ("ORA-29024", "signed by nobody"),
        ("ORA-28759", "no wallet that they can open"),
        ("ORA-28040", "no common way to log in"),
    ],
)
def test_what_the_libraries_say_of_a_refusal_is_told_in_the_same_words(code: str, words: str) -> None:
    error = connection_failed(
        described(), OracleAddress("u", "s3nha", "PLS"), oracledb.DatabaseError(f"{code}: TNS:s3nha")
    )
    assert_told(str(error), words, f"({code})", "hat-etl doctor demo")
    assert "s3nha" not in str(error)


@pytest.mark.parametrize("code", ["ORA-03113", "ORA-03135", "ORA-12537", "ORA-12547", "ORA-12570"])
def test_a_connection_that_is_closed_before_the_login_is_told_as_one_with_the_libraries_too(code: str) -> None:
    """Behind the driver's own code stands that of the libraries: the cause was said to be unknown."""
    text = f"DPY-4011: the database or network closed the connection\n{code}: TNS:s3nha"
    error = connection_failed(described(), OracleAddress("u", "s3nha", "PLS"), oracledb.DatabaseError(text))
    assert_told(str(error), "closes the connection before the login", f"({code})", "write tcps:// before the host")
    assert "s3nha" not in str(error)
