"""The commands ``hat-etl tiss``, as a user runs them."""

from __future__ import annotations

import json
import pwd
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result

from hat_etl.cli.main import main
from hat_etl.sandbox.lots import sealed
from hat_etl_tests.tiss.test_package import FILES, NEXT, zipped
from hat_etl_tests.tiss.texts import REGISTRY, SADT, VERSION


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAT_ETL_TISS_SCHEMAS", str(tmp_path / "schemas"))
    (tmp_path / "good.xml").write_bytes(sealed(SADT))
    (tmp_path / "bad.xml").write_bytes(sealed(SADT)[:900])
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["tiss", *map(str, arguments)])


def test_good_files_end_with_0(folder: Path) -> None:
    result = run("check", folder / "good.xml", folder / "good.xml")
    assert result.exit_code == 0
    assert result.stdout.count(f"accepted (version {VERSION}, hash iso-8859-1)") == 2


def test_a_file_that_is_not_accepted_ends_with_the_code_for_data(folder: Path) -> None:
    result = run("check", folder / "good.xml", folder / "bad.xml")
    assert result.exit_code == 6
    assert "xml.truncado" in result.stdout


def test_json_is_a_list_in_the_order_of_the_files(folder: Path) -> None:
    result = run("check", folder / "bad.xml", folder / "good.xml", "--json")
    bad, good = json.loads(result.stdout)
    assert result.exit_code == 6
    assert good == {
        "file": str(folder / "good.xml"),
        "version": VERSION,
        "accepted": True,
        "xsd_valid": True,
        "hash": "iso-8859-1",
        "findings": [],
    }
    assert (bad["version"], bad["accepted"], bad["xsd_valid"], bad["hash"]) == (None, False, False, "none")
    assert [list(finding) for finding in bad["findings"]] == [["code", "severity", "where", "message"]]


def test_a_registry_can_be_asked_for(folder: Path) -> None:
    assert run("check", folder / "good.xml", "--registry", REGISTRY).exit_code == 0
    assert "destino.outra_operadora" in run("check", folder / "good.xml", "--registry", "999999").stdout


@pytest.mark.parametrize("registry", ["abc", "41234", "4123456", ""])
def test_a_registry_that_is_none_is_refused(registry: str, folder: Path) -> None:
    """A good file was said to be another operator's."""
    result = run("check", folder / "good.xml", "--registry", registry)
    assert result.exit_code == 2
    assert "6 digits" in result.stderr


def test_a_version_is_added_and_then_known(folder: Path) -> None:
    (folder / "next.xml").write_bytes(sealed(SADT.replace(f"Padrao>{VERSION}", f"Padrao>{NEXT}")))
    assert run("check", folder / "next.xml").exit_code == 6
    assert run("add", zipped(folder / "a.zip", FILES)).exit_code == 0
    assert run("check", folder / "next.xml").exit_code == 0
    assert NEXT in run("versions").stdout.split()


def test_a_zip_that_reaches_beyond_itself_ends_with_the_code_for_data(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../evil.xsd", b"x")
    result = run("add", folder / "a.zip")
    assert result.exit_code == 6
    assert "points outside" in result.stderr


def test_a_user_without_a_home_is_told_how_to_name_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without HOME, for a user whom it does not know, nobody had foreseen it."""

    def unknown(uid: int) -> NoReturn:
        raise KeyError(uid)

    for name in ("HOME", "XDG_DATA_HOME", "HAT_ETL_TISS_SCHEMAS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    result = run("versions")
    assert result.exit_code == 3
    assert "HAT_ETL_TISS_SCHEMAS" in result.stderr


def test_a_folder_of_schemas_can_be_named(folder: Path) -> None:
    run("add", zipped(folder / "a.zip", FILES), "--schemas", folder / "other")
    assert NEXT in run("versions", "--schemas", folder / "other").stdout.split()
    assert NEXT not in run("versions").stdout.split()
