"""``hat-etl tenant``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from hat_etl.cli.main import main
from hat_etl.cli.tenant import tenant
from hat_etl.errors import ConfigurationError
from hat_etl.tenants import store
from hat_etl_tests.tenants.conftest import GOOD


def test_new_writes_a_file_that_loads(folder: Path) -> None:
    result = CliRunner().invoke(tenant, ["new", "acme", "--ans-registry", "412345", "--window", "20:00-06:00"])
    assert result.exit_code == 0, result.output
    assert "env:ACME_ERP_URL" in result.output
    assert str(store.load("acme").erp.windows[0]) == "20:00-06:00"


def test_new_as_json_is_one_document(folder: Path) -> None:
    result = CliRunner().invoke(tenant, ["new", "acme", "--ans-registry", "412345", "--json"])
    assert json.loads(result.stdout) == {
        "tenant": "acme",
        "file": str(folder / "acme.toml"),
        "secrets": ["env:ACME_ERP_URL", "env:ACME_HAT_URL"],
    }


def test_new_refuses_a_wrong_value(folder: Path) -> None:
    result = CliRunner().invoke(tenant, ["new", "acme", "--ans-registry", "41"])
    assert isinstance(result.exception, ConfigurationError)
    assert "ans_registry" in str(result.exception)


def test_list_shows_good_and_broken_tenants(folder: Path) -> None:
    (folder / "acme.toml").write_text(GOOD, encoding="utf-8")
    (folder / "broken.toml").write_text(GOOD.replace("company", "compny"), encoding="utf-8")
    result = CliRunner().invoke(tenant, ["list"])
    assert result.exit_code == 0
    assert "20:00-06:00" in result.output
    assert "erp.compny: unknown key" in result.output


def test_list_as_json_is_one_document(folder: Path) -> None:
    (folder / "acme.toml").write_text(GOOD, encoding="utf-8")
    (folder / "broken.toml").write_text("", encoding="utf-8")
    good, broken = json.loads(CliRunner().invoke(tenant, ["list", "--json"]).stdout)
    assert good == {
        "name": "acme", "dialect": "postgresql", "company": "01", "connections": 3, "windows": ["20:00-06:00"],
        "error": None,
    }  # fmt: skip
    assert broken["name"] == "broken"
    assert "erp: is missing" in broken["error"]


def test_list_of_no_tenants_says_how_to_create_one(folder: Path) -> None:
    assert "tenant new NAME --ans-registry NUMBER" in CliRunner().invoke(tenant, ["list"]).output
    assert json.loads(CliRunner().invoke(tenant, ["list", "--json"]).stdout) == []


def test_the_package_can_be_run_as_the_command(folder: Path) -> None:
    """It said that hat_etl cannot be directly executed, where the script is not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "hat_etl", "tenant", "new", "acme"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: hat-etl tenant new ")


def test_an_error_is_a_document_whoever_gives_the_words(folder: Path) -> None:
    """The words of the process were looked at, which are others where a program calls the command."""
    result = CliRunner().invoke(main, ["status", "nobody", "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["kind"] == "configuration"
