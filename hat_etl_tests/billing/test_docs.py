"""``docs/billing.md`` says what a tenant file may say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hat_etl.tenants import store
from hat_etl.tenants.config import accepted_keys

TEXT = (Path(__file__).parents[2] / "docs" / "billing.md").read_text(encoding="utf-8")
_HEAD = 'name = "acme"\nans_registry = "412345"\n[erp]\ndialect = "postgresql"\nurl = "env:A"\ncompany = "01"\n'


def test_the_tenant_file_that_it_shows_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "acme.toml").write_text(_HEAD + shown, encoding="utf-8")
    assert store.load("acme").billing.deliver == "soap"


def test_the_object_stores_that_it_shows_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    taken = []
    for shown in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / "acme.toml").write_text(f'{_HEAD}[hat]\nurl = "env:B"\n{shown}', encoding="utf-8")
        billing = store.load("acme").billing
        taken += [billing.store, billing.folder and billing.folder.path]
    assert taken == ["s3://acme-lots/hat", None, None, "s3://acme-inbox/lots"]


def test_every_key_of_the_sections_is_told_and_no_other() -> None:
    known = {
        key
        for section in (("hat", "api"), ("billing",), ("billing", "soap"), ("billing", "pls"), ("billing", "folder"))
        for key in accepted_keys(section)
    } - {"soap", "pls", "folder"}  # sections of their own
    rows = re.findall(r"^\| (`(?:hat\.api|billing)\.[^|]+) \|", TEXT, re.MULTILINE)
    told = {name.rpartition(".")[2] for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}
    assert told <= known
    assert {key for key in known if f"`{key}`" not in TEXT and f"{key} =" not in TEXT} <= told
