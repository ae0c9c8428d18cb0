"""References to secrets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hat_etl.errors import ConfigurationError
from hat_etl.tenants.address import connection_string
from hat_etl.tenants.secrets import SecretRef

CANARY = "postgresql://user:c4n4ry@host/db"


class Holder(BaseModel):
    secret: SecretRef


def test_an_environment_variable_is_resolved_without_its_trailing_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", CANARY + "\r\n")
    assert SecretRef.parse("env:SOME_URL").resolve() == CANARY


def test_a_relative_file_is_looked_for_beside_the_tenant_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "url").write_text(CANARY + "\n", encoding="utf-8")
    assert SecretRef.parse("file:secrets/url", tmp_path).resolve() == CANARY


def test_an_absolute_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(CANARY, encoding="utf-8")
    assert SecretRef.parse(f"file:{tmp_path / 'url'}", Path("/nowhere")).resolve() == CANARY


def test_showing_a_reference_never_shows_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", CANARY)
    secret = Holder.model_validate({"secret": "env:SOME_URL"})
    shown = f"{secret} {secret!r} {secret.secret} {secret.secret!r} {secret.model_dump_json()} {secret.model_dump()}"
    assert "c4n4ry" not in shown
    assert "env:SOME_URL" in shown


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_variable_that_is_unset_or_empty_is_named_with_the_next_step(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_URL", value)
    with pytest.raises(ConfigurationError) as raised:
        SecretRef.parse("env:SOME_URL", tenant="acme").resolve()
    assert "env:SOME_URL" in raised.value.cause
    assert "SOME_URL" in raised.value.next_step
    assert raised.value.tenant == "acme"


def test_a_variable_that_is_no_utf8_text_is_named_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter of Latin-1 in the password of an Oracle was told as a server at which nothing answers."""
    monkeypatch.setenv("SOME_URL", os.fsdecode(CANARY.encode() + b"\xe9"))
    with pytest.raises(ConfigurationError) as raised:
        SecretRef.parse("env:SOME_URL", tenant="acme").resolve()
    assert "env:SOME_URL is not UTF-8 text" in raised.value.cause
    assert "SOME_URL" in raised.value.next_step
    assert "c4n4ry" not in str(raised.value)
    assert raised.value.tenant == "acme"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"c4n4ry\xff\xfe"])
def test_a_file_that_is_missing_empty_or_no_text_is_named_with_the_next_step(
    content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        SecretRef.parse("file:url", tmp_path).resolve()
    assert "file:url" in raised.value.cause
    assert str(tmp_path / "url") in raised.value.next_step
    assert "c4n4ry" not in str(raised.value)


def test_a_home_that_there_is_not_is_named_with_the_next_step() -> None:
    """An error that nobody foresaw hid the status of all other tenants."""
    with pytest.raises(ConfigurationError) as raised:
        SecretRef.parse("file:~nobody-here/url", tenant="acme").resolve()
    assert "file:~nobody-here/url" in raised.value.cause
    assert "whole path" in raised.value.next_step
    assert raised.value.tenant == "acme"


@pytest.mark.parametrize(
    "text",
    [CANARY, f"env:{CANARY}", f"file:{CANARY}", "env:", "file:", "file: ", "env:1A", "ENV:A", "file:a\nb", "", 7],
)
def test_anything_but_a_reference_is_refused_without_repeating_it(text: object) -> None:
    with pytest.raises(ValueError, match="reference") as raised:
        SecretRef.parse(text)
    assert "c4n4ry" not in str(raised.value)


@given(st.text())
def test_a_text_is_a_reference_that_shows_itself_or_is_refused(text: str) -> None:
    try:
        said = {str(SecretRef.parse(text)), repr(SecretRef.parse(text))}
    except ValueError as error:
        said = {str(error)}
    assert said in ({text}, {"must be a reference, env:NAME or file:PATH, not the secret itself"})


@pytest.mark.parametrize(
    "password", ["p@c4n4ry", "p@c4n4ry/more", "p@/c4n4ry", "p@c4n4ry?host=h", "p@c4n4ry:1,h/more", "p/c4n4ry"]
)
def test_no_part_of_a_password_that_was_not_encoded_is_taken_for_a_place(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With @ and / in it, one half was the host and the other the database, which messages show."""
    monkeypatch.setenv("HAT_URL", f"postgresql://loader:{password}@127.0.0.1:1/hat")
    with pytest.raises(ConfigurationError) as caught:
        connection_string("acme", "hat.url", SecretRef.parse("env:HAT_URL"))
    assert "c4n4ry" not in str(caught.value)
    assert "@ is %40" in caught.value.next_step


def test_a_time_limit_that_is_no_number_is_refused_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that connected ended with an error that nobody foresaw."""
    monkeypatch.setenv("HAT_URL", "postgresql://loader:c4n4ry@127.0.0.1:1/hat?connect_timeout=soon")
    with pytest.raises(ConfigurationError, match="no address that PostgreSQL understands"):
        connection_string("acme", "hat.url", SecretRef.parse("env:HAT_URL"))
