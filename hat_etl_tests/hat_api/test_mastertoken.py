"""The Mastertoken: its shape, its rotation, and that it never shows."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hat_etl.errors import ConfigurationError
from hat_etl.hat_api.client import HatApi
from hat_etl.hat_api.mastertoken import Keyring, Mastertoken, read
from hat_etl.hat_api.transport import Refused
from hat_etl.tenants.secrets import SecretRef

from .conftest import TOKEN, Hat

OTHER = "abcdef0123456789"


@pytest.mark.parametrize(
    "value", ["abc", "g" * 32, "Bearer " + "a" * 32, "a" * 15, "a" * 300, "a" * 20 + "\n" + "b" * 20]
)
def test_what_is_no_mastertoken_is_refused_without_repeating_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", value)
    with pytest.raises(ConfigurationError) as caught:
        read("acme", "hat.master_token", SecretRef.parse("env:THE_TOKEN"))
    assert value not in str(caught.value)
    assert "env:THE_TOKEN" in str(caught.value)


@given(st.text("0123456789abcdefABCDEF", min_size=16, max_size=256))
def test_a_token_shows_its_origin_only(value: str) -> None:
    token = Mastertoken(value, "env:THE_TOKEN")
    assert token.reveal() == value
    assert {repr(token), str(token), f"{token}"} == {"Mastertoken(env:THE_TOKEN)"}
    with pytest.raises(TypeError):
        pickle.dumps(token)


def test_a_tenant_without_a_token_is_told_where_to_write_it(hat: Hat) -> None:
    tenant = hat.tenant()
    bare = tenant.model_copy(update={"hat": tenant.hat.model_copy(update={"master_token": None})})
    with pytest.raises(ConfigurationError, match=r"hat\.master_token"):
        Keyring.of(bare)


def test_two_tokens_are_valid_while_one_takes_the_place_of_the_other(hat: Hat, connect: Callable[..., HatApi]) -> None:
    (hat.folder / "before").write_text(OTHER)
    api = connect(api={"previous_master_token": "file:before"})
    hat.server.tokens = {OTHER}
    assert api.waiting_lots(1).items == ()
    hat.server.tokens = {TOKEN}
    assert api.waiting_lots(1).items == ()
    hat.server.tokens = {"0" * 32}
    with pytest.raises(Refused) as caught:
        api.waiting_lots(1)
    told = str(caught.value)
    assert "file:token" in told
    assert "file:before" in told
    assert TOKEN not in told
    assert OTHER not in told
