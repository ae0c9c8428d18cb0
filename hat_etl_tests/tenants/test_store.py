"""Tenant files: loading, creating, and what is said of a wrong one."""

from __future__ import annotations

import resource
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hat_etl.errors import ConfigurationError
from hat_etl.tenants import store
from hat_etl_tests.tenants.conftest import GOOD

CANARY = "c4n4ry"


def write(folder: Path, text: str, name: str = "acme") -> None:
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def refused(name: str = "acme") -> ConfigurationError:
    with pytest.raises(ConfigurationError) as raised:
        store.load(name)
    assert raised.value.exit_code == 3
    assert CANARY not in "".join(traceback.format_exception(raised.value))
    return raised.value


def test_a_good_file_is_loaded(folder: Path) -> None:
    write(folder, GOOD)
    tenant = store.load("acme")
    assert tenant.name == "acme"
    assert tenant.ans_registry == "412345"
    assert (tenant.erp.schema_name, tenant.erp.views_schema, tenant.erp.connections) == ("protheus", "hat", 3)
    assert [str(window) for window in tenant.erp.windows] == ["20:00-06:00"]
    assert str(tenant.hat.url) == "env:ACME_HAT_URL"


def test_a_file_that_windows_notepad_has_saved_is_loaded(folder: Path) -> None:
    """Its byte order mark was told as TOML that is not valid, and was part of secrets."""
    (folder / "acme.toml").write_text(GOOD.replace("env:ACME_HAT_URL", "file:hat.url"), encoding="utf-8-sig")
    (folder / "hat.url").write_text("postgresql://hat/acme\n", encoding="utf-8-sig")
    assert store.load("acme").hat.url.resolve() == "postgresql://hat/acme"


def test_a_file_that_could_not_be_written_whole_is_not_left_behind(folder: Path) -> None:
    """The empty file of a full disk was "already there" the next time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(ConfigurationError) as raised:
            store.create("acme", ans_registry="412345")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written (File too large)" in raised.value.cause
    assert list(folder.iterdir()) == []
    store.create("acme", ans_registry="412345")


def test_every_fixed_key_is_taken(folder: Path) -> None:
    write(
        folder,
        GOOD.replace("[hat]", 'timezone = "America/Manaus"\n[hat]\nschema = "care"')
        + 'api_url = "https://hat.example"\nmaster_token = "file:token"\n[schedule]\nincremental = "0 * * * *"\n',
    )
    (folder / "token").write_text("t0ken\n", encoding="utf-8")
    tenant = store.load("acme")
    assert tenant.erp.timezone == "America/Manaus"
    assert tenant.hat.schema_name == "care"
    assert tenant.hat.master_token is not None
    assert tenant.hat.master_token.resolve() == "t0ken"
    assert tenant.schedule.incremental == "0 * * * *"


def test_an_unset_secret_names_the_tenant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, GOOD)
    monkeypatch.delenv("ACME_ERP_URL", raising=False)
    with pytest.raises(ConfigurationError) as raised:
        store.load("acme").erp.url.resolve()
    assert raised.value.tenant == "acme"


def test_an_unknown_key_is_named_with_the_one_that_was_meant(folder: Path) -> None:
    write(folder, GOOD.replace("company", "compny"))
    error = refused()
    assert error.tenant == "acme"
    assert "erp.compny: unknown key" in error.cause
    assert "erp.company: is missing" in error.cause
    assert "Did you mean company?" in error.next_step


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "acme"', 'name = "acme"\nowner = "x"', "owner"),
        ("[hat]", "[hat]\nuser = 1", "hat.user"),
        ("[hat]", '[schedule]\nhourly = "x"\n[hat]', "schedule.hourly"),
        ("[hat]", "[extra]\n[hat]", "extra"),
    ],
)
def test_unknown_keys_are_refused_in_every_section(folder: Path, old: str, new: str, key: str) -> None:
    write(folder, GOOD.replace(old, new, 1))
    assert f"{key}: unknown key" in refused().cause


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"env:ACME_ERP_URL"', f'"postgresql://u:{CANARY}@h/d"', "erp.url"),
        ('"env:ACME_HAT_URL"', f'"{CANARY}"', "hat.url"),
        ('"postgresql"', f'"{CANARY}"', "erp.dialect"),
        ('"protheus"', f'"{CANARY} x"', "erp.schema"),
        ('"01"', f'"{CANARY}"', "erp.company"),
        ("= 3", f'= "{CANARY}"', "erp.connections"),
        ('["20:00-06:00"]', f'["{CANARY}"]', "erp.windows.0"),
        ('["20:00-06:00"]', f'{{ {CANARY} = "{CANARY}" }}', "erp.windows"),
        ('"412345"', f'"{CANARY}"', "ans_registry"),
        ('"412345"', "412345", "ans_registry"),
        ('"acme"', f'"{CANARY}"', "name"),
        ('[hat]\nurl = "env:ACME_HAT_URL"', "", "hat"),
        ('[hat]\nurl = "env:ACME_HAT_URL"', f'[hat]\n"postgresql://u:{CANARY}@h/d" = 1', "hat.(a quoted key)"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_and_never_shown(folder: Path, old: str, new: str, key: str) -> None:
    write(folder, GOOD.replace(old, new, 1))
    assert f"{key}: " in refused().cause


def test_a_section_that_is_no_table_is_refused(folder: Path) -> None:
    write(folder, f'name = "acme"\nans_registry = "412345"\nhat = "{CANARY}"\nerp = "{CANARY}"\n')
    assert "hat: must be a table, [hat]" in refused().cause


@pytest.mark.parametrize(
    "text", [f'name = "{CANARY}', f"{CANARY}", f"a = 1\n[erp]\nurl = {CANARY}", f'url = "a"\nurl = "{CANARY}"']
)
def test_broken_toml_is_refused_by_its_place(folder: Path, text: str) -> None:
    write(folder, text)
    error = refused()
    assert "is not valid TOML" in error.cause
    assert error.tenant == "acme"


def test_a_file_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / "acme.toml").write_bytes(b'name = "\xe7"')
    assert "UTF-8" in refused().cause


def test_a_missing_file_lists_the_known_tenants(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, "", "other")
    error = refused("acne")
    assert "acne.toml" in error.cause
    assert "acme, other" in error.next_step


def test_a_missing_folder_has_no_tenants(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAT_ETL_TENANTS", str(folder / "none"))
    assert store.names() == []
    assert "tenant new acme" in refused().next_step


def test_the_folder_is_tenants_unless_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HAT_ETL_TENANTS")
    assert store.folder() == Path("tenants")


def test_the_name_must_equal_the_name_of_the_file(folder: Path) -> None:
    write(folder, GOOD, "other")
    assert "must equal the name of the file, other" in refused("other").cause


@pytest.mark.parametrize("name", ["", "../acme", "a/b", "Acme", "a b", "a.b"])
def test_a_name_that_could_be_a_path_is_refused(folder: Path, name: str) -> None:
    refused(name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.dictionaries(st.sampled_from(["name", "ans_registry", "erp", "hat", "schedule"]), st.integers()))
def test_any_set_of_wrong_types_is_refused_as_a_whole(folder: Path, values: dict[str, int]) -> None:
    write(folder, "\n".join(f"{key} = {value}" for key, value in values.items()))
    cause = refused().cause
    assert all(f"{key}: " in cause for key in ("name", "ans_registry", "erp", "hat", *values))


def test_a_created_tenant_loads_with_what_was_asked(folder: Path) -> None:
    tenant, file = store.create(
        "acme-2",
        ans_registry="412345",
        dialect="oracle",
        company="02",
        schema="PROTHEUS",
        connections=7,
        windows=["20:00-06:00", "12:00-13:00"],
    )
    assert store.load("acme-2") == tenant
    assert file == folder / "acme-2.toml"
    assert (tenant.erp.dialect, tenant.erp.company, tenant.erp.schema_name) == ("oracle", "02", "PROTHEUS")
    assert (str(tenant.erp.url), str(tenant.hat.url)) == ("env:ACME_2_ERP_URL", "env:ACME_2_HAT_URL")
    assert (tenant.erp.connections, len(tenant.erp.windows)) == (7, 2)


def test_a_created_file_shows_what_else_may_be_set(folder: Path) -> None:
    _, file = store.create("2acme", ans_registry="412345")
    text = file.read_text(encoding="utf-8")
    for key in ("schema", "views_schema", "windows", "api_url", "master_token", "incremental", "timezone"):
        assert key in text
    # Every line that is only commented out is good as it stands.
    file.write_text(text.replace("# windows =", "windows =").replace("# master", "master"), encoding="utf-8")
    assert str(store.load("2acme").hat.master_token) == "env:_2ACME_MASTER_TOKEN"


def test_an_existing_file_is_never_overwritten(folder: Path) -> None:
    write(folder, "mine")
    with pytest.raises(ConfigurationError, match="already there"):
        store.create("acme", ans_registry="412345")
    assert (folder / "acme.toml").read_text(encoding="utf-8") == "mine"


def test_what_would_not_load_is_not_written(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"erp\.url"):
        store.create("acme", ans_registry="412345", erp_url=f"postgresql://u:{CANARY}@h/d")
    assert store.names() == []


def test_the_folder_is_made_when_it_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAT_ETL_TENANTS", str(folder / "a" / "b"))
    store.create("acme", ans_registry="412345")
    assert store.names() == ["acme"]


def test_a_folder_that_is_a_file_is_not_told_as_a_tenant_that_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever named the tenant's file instead of its folder was sent to edit one that there is not."""
    file = folder / "acme.toml"
    file.write_text(GOOD, encoding="utf-8")
    monkeypatch.setenv("HAT_ETL_TENANTS", str(file))
    with pytest.raises(ConfigurationError) as caught:
        store.create("acme", ans_registry="412345")
    assert "cannot be written" in caught.value.cause
    assert "Point HAT_ETL_TENANTS to a folder" in caught.value.next_step
