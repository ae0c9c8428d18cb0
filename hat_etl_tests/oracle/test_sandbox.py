"""``hat-etl sandbox up --erp oracle``: a tenant whose PLS is Oracle, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest

from hat_etl.sandbox import command
from hat_etl.tenants import oracle_address, store
from hat_etl_tests.failures.commands import Command
from hat_etl_tests.servers import place


@pytest.fixture
def folder() -> Iterator[Path]:
    # A short path: that of the server's socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ora", dir=place(), ignore_cleanup_errors=True) as name:
        yield Path(name)
        command.down(Path(name))


def connect(folder: Path, monkeypatch: pytest.MonkeyPatch) -> oracledb.Connection:
    """Log in as the tenant of the sandbox does."""
    monkeypatch.setenv("HAT_ETL_TENANTS", str(folder / "tenants"))
    found = oracle_address.address("demo", "erp.url", store.load("demo").erp.url)
    return oracledb.connect(user=found.user, password=found.password, dsn=found.connect_string)


def test_the_sandbox_offers_its_pls_as_oracle_until_it_is_taken_down(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"HAT_ETL_TENANTS": str(folder / "tenants"), "HAT_ETL_SANDBOX": str(folder), "COLUMNS": "200"}

    def run(*arguments: str) -> str:
        result = Command(arguments, environment).wait()
        assert result.exit_code == 0, result.err
        return result.out

    assert "Next: hat-etl load demo" in run("sandbox", "up", "--erp", "oracle", "--beneficiaries", "200")
    with connect(folder, monkeypatch) as connection:
        connection.ping()
    run("sandbox", "up", "--erp", "oracle", "--beneficiaries", "200")  # joins the one that runs
    assert "texts and live views" in run("views", "check", "demo")
    assert "loaded" in run("load", "demo")
    run("sandbox", "down")
    with pytest.raises(oracledb.OperationalError, match="DPY-6005"):
        connect(folder, monkeypatch)
    run("sandbox", "up", "--erp", "oracle", "--beneficiaries", "200")
    assert "0 rows new, 0 updated, 0 gone" in run("sync", "demo")
    run("sandbox", "up", "--beneficiaries", "200")
    assert store.load("demo").erp.dialect == "postgresql"
    # Made anew while the server runs, which went on with databases that were no more.
    run("sandbox", "up", "--erp", "oracle", "--beneficiaries", "220")
    assert "loaded" in run("load", "demo")
