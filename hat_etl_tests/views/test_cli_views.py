"""``hat-etl views``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hat_etl.cli.views import views
from hat_etl.entities import ENTITIES
from hat_etl.errors import ConfigurationError
from hat_etl.tenants import store
from hat_etl_tests.views import pls
from hat_etl_tests.views.conftest import Erp


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAT_ETL_TENANTS", str(tmp_path))
    monkeypatch.delenv("ACME_ERP_URL", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(views, list(arguments))


@pytest.mark.parametrize("dialect", ["postgresql", "oracle"])
def test_render_works_without_any_database(dialect: str) -> None:
    store.create("acme", ans_registry="412345", dialect=dialect, schema="protheus")
    own, asked = run("render", "acme"), run("render", "acme", "--dialect", dialect)
    assert own.exit_code == 0, own.output
    assert own.stdout == asked.stdout
    assert own.stdout.count("CREATE OR REPLACE VIEW protheus.HAT_") == len(ENTITIES)
    assert "was not asked" in own.stdout


def test_render_as_json_holds_the_script() -> None:
    store.create("acme", ans_registry="412345")
    document = json.loads(
        run("render", "acme", "--dialect", "oracle", "--reader", "etl", "--stamps", "none", "--json").stdout
    )
    assert (document["tenant"], document["dialect"], document["reader"]) == ("acme", "oracle", "ETL")
    assert "S_T_A_M_P_" not in document["script"]
    assert document["script"].count("TO ETL;") == len(ENTITIES)


def test_a_memo_is_named_where_the_database_is_not_asked() -> None:
    store.create("acme", ans_registry="412345")
    script = run("render", "acme", "--dialect", "oracle", "--memo", "bca_obs").stdout
    assert "CAST(NULL AS VARCHAR(1)) AS Motivo," in script
    assert "BCA_OBS" in script.splitlines()[2]
    refused = run("render", "acme", "--memo", "BTS_NOMUSR")
    assert refused.exit_code == 2
    assert "may be empty" in refused.output


def test_a_field_that_is_longer_than_published_is_named_where_the_database_is_not_asked() -> None:
    """The reading user is not shown the tables, as a rule on Oracle: the view cut the number, and nothing noticed."""
    store.create("acme", ans_registry="412345")
    plain = run("render", "acme", "--dialect", "oracle").stdout
    assert "BEA_NUMAUT 8" in plain.splitlines()[2]
    assert "--wide FIELD" in plain.splitlines()[2]
    script = run("render", "acme", "--dialect", "oracle", "--wide", "bea_numaut").stdout
    assert "RPAD(a.BEA_NUMAUT, 8) || TRIM(SUBSTR(a.BEA_NUMAUT, 9)) AS NumeroAutorizacao" in script
    assert "BEA_NUMAUT" in script.splitlines()[2]
    assert "--wide FIELD" not in script
    refused = run("render", "acme", "--wide", "BTS_NOMUSR")
    assert refused.exit_code == 2
    assert "side by side" in refused.output


@pytest.mark.parametrize("given", ["public", "PUBLIC", "current_user", "Session_User", "current_role", "none"])
@pytest.mark.parametrize("command", ["render", "install"])
def test_a_reader_whom_a_grant_takes_for_others_is_a_wrong_usage(command: str, given: str) -> None:
    """`--reader public` opened all personal data to every login."""
    store.create("acme", ans_registry="412345")
    refused = run(command, "acme", "--reader", given)
    assert refused.exit_code == 2
    assert "--reader" in refused.output
    assert "GRANT" not in refused.output


def test_an_unknown_tenant_is_a_configuration_error() -> None:
    assert isinstance(run("render", "nobody").exception, ConfigurationError)


def test_check_offline_is_good_for_both_databases() -> None:
    store.create("acme", ans_registry="412345")
    for dialect in ("postgresql", "oracle"):
        result = run("check", "acme", "--offline", "--dialect", dialect)
        assert result.exit_code == 0, result.output
        assert result.output.endswith("The texts of the views of acme are good; the live views were not checked.\n")


def test_check_without_an_address_of_the_erp_is_not_taken_for_a_good_one() -> None:
    """The views were called good, with exit code 0, though nobody had looked at any."""
    store.create("acme", ans_registry="412345")
    result = run("check", "acme")
    assert result.exit_code == 3, result.output
    assert "ACME_ERP_URL" in result.output
    assert result.output.endswith("the live views were not checked.\n")
    assert run("check", "acme", "--json").exit_code == 3


def test_install_then_check_and_exit_6_when_a_view_is_gone(erp: Erp, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, target = erp.schemas()
    monkeypatch.setenv("ACME_ERP_URL", erp.url)
    store.create("acme", ans_registry="412345", schema=tables, views_schema=target)
    with erp.connect() as connection:
        pls.create(connection, tables, stampless={"BR8"})
        installed = run("install", "acme")
        assert installed.exit_code == 0, installed.output
        assert "43 views are installed" in installed.output
        assert "BR8" in installed.output
        assert json.loads(run("install", "acme", "--json").stdout)["stampless"] == ["BR8"]
        assert "BR8" in run("render", "acme").stdout.split("BEGIN")[0]
        good = run("check", "acme", "--json")
        assert good.exit_code == 0
        assert json.loads(good.stdout) == {"tenant": "acme", "dialect": "postgresql", "live": True, "findings": []}
        connection.execute(f"DROP VIEW {target}.hat_bts_vida".encode())
    bad = run("check", "acme", "--json")
    assert bad.exit_code == 6
    (finding,) = json.loads(bad.stdout)["findings"]
    assert (finding["view"], finding["level"]) == ("HAT_BTS_Vida", "error")
    assert "wrong (texts and live views)" in run("check", "acme").output
