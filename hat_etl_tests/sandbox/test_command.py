from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox import command, server
from hat_etl.sandbox.server import HAT, LOADER, PLS, PROTHEUS, Sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox"
    command.down(tmp_path / "sandbox")


def _up(folder: Path, size: int, **arguments: object) -> tuple[Sandbox, list[str]]:
    told: list[str] = []
    sandbox, _ = command.up(folder, beneficiaries=size, tenants=folder / "tenants", tell=told.append, **arguments)  # type: ignore[arg-type]
    return sandbox, told


def _cards(sandbox: Sandbox) -> int:
    with psycopg.connect(sandbox.url(PLS, PROTHEUS)) as connection:
        row = connection.execute("SELECT count(*) FROM protheus.ba1010 WHERE d_e_l_e_t_ = ' '").fetchone()
    assert row is not None
    return int(row[0])


def test_up_builds_once_reuses_and_rebuilds_for_another_size(folder: Path) -> None:
    sandbox, told = _up(folder, 100)
    assert told
    with psycopg.connect(sandbox.url(HAT, LOADER)) as connection:
        connection.execute("CREATE SCHEMA hat")
    again, told = _up(folder, 100)
    assert (again, told) == (sandbox, [])
    assert _cards(again) == 100
    assert _schemas(again) == ["hat"]  # what was loaded stays too
    command.down(folder)
    assert not server.is_running(folder)
    _, told = _up(folder, 100)
    assert told == []
    larger, told = _up(folder, 130)
    assert told
    assert _cards(larger) == 130
    assert _schemas(larger) == []


def _schemas(sandbox: Sandbox) -> list[str]:
    with psycopg.connect(sandbox.url(HAT, LOADER)) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^public$|^information'")
        return [name for (name,) in rows]


@pytest.mark.parametrize(("where", "variable"), [("folder", "HAT_ETL_SANDBOX"), ("tenants", "HAT_ETL_TENANTS")])
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_built(
    where: str, variable: str, tmp_path: Path
) -> None:
    """Something unexpected was to be reported."""
    (tmp_path / "file").touch()
    places = {"folder": tmp_path / "sandbox", "tenants": tmp_path / "tenants", where: tmp_path / "file" / "below"}
    with pytest.raises(ConfigurationError, match="below cannot be written to") as caught:
        command.up(places["folder"], beneficiaries=10, tenants=places["tenants"])
    assert variable in caught.value.next_step
    assert not (tmp_path / "sandbox" / "postgres").exists()


def test_a_seed_below_zero_is_refused_before_anything_is_made_anew(folder: Path) -> None:
    """Both databases were dropped, and only then something unexpected was to be reported."""
    sandbox, _ = _up(folder, 100)
    with pytest.raises(ConfigurationError, match="seed -1"):
        _up(folder, 100, seed=-1)
    assert _cards(sandbox) == 100


def test_a_build_that_was_cut_short_starts_anew(folder: Path) -> None:
    sandbox, _ = _up(folder, 100)
    with psycopg.connect(sandbox.url(PLS, PROTHEUS)) as connection:
        connection.execute("DROP TABLE protheus.ba1010")
    (folder / "manifest.json").unlink()
    assert _cards(_up(folder, 100)[0]) == 100


def test_up_writes_a_tenant_whose_secrets_only_the_owner_reads(folder: Path) -> None:
    _up(folder, 100, company="07")
    text = (folder / "tenants" / "demo.toml").read_text(encoding="utf-8")
    tenant = tomllib.loads(text)
    assert (tenant["name"], tenant["ans_registry"], tenant["erp"]["company"]) == ("demo", "412345", "07")
    assert "postgresql://" not in text
    for part in ("erp", "hat"):
        file = Path(tenant[part]["url"].removeprefix("file:"))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with psycopg.connect(file.read_text(encoding="utf-8")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_tenant_file_that_no_sandbox_has_written_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    """A sandbox overwrote the file of a real tenant of that name."""
    file = tmp_path / "real" / "demo.toml"
    file.parent.mkdir()
    file.write_text('name = "demo"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        command.up(folder, beneficiaries=100, tenants=file.parent)
    assert str(file) in raised.value.cause
    assert "HAT_ETL_TENANTS" in raised.value.next_step
    assert file.read_text(encoding="utf-8") == 'name = "demo"\n'
    assert not folder.exists()


@pytest.mark.parametrize(("size", "dirt"), [(0, False), (100, True)])
def test_a_size_that_cannot_be_built_is_refused_before_anything_starts(folder: Path, size: int, dirt: bool) -> None:
    with pytest.raises(ConfigurationError):
        command.up(folder, beneficiaries=size, dirt=dirt)
    assert not folder.exists()
