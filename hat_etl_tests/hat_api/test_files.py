"""Files of lots: byte by byte, from allowed hosts only, and each failure with its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from hat_etl.hat_api.bodies import LotItem
from hat_etl.hat_api.client import HatApi
from hat_etl.hat_api.files import Files, HostNotAllowed, NotDownloaded, NotThere, Redirected, TooLarge
from hat_etl.sandbox.hat.lots import make
from hat_etl.sandbox.web import serving

from .conftest import Hat, recipe
from .trickle import trickling


@pytest.fixture
def fetch(hat: Hat, connect: Callable[..., HatApi]) -> Iterator[Callable[..., bytes]]:
    """Fetches the only lot that waits."""
    with ExitStack() as stack:

        def fetch_(**sections: dict[str, Any]) -> bytes:
            files = Files(hat.tenant(**sections))
            stack.callback(files.close)
            (item,) = connect().waiting_lots(1).items
            return files.fetch(item)

        yield fetch_


def test_the_bytes_are_those_of_the_file_whatever_its_folder_is_called(hat: Hat, fetch: Callable[..., bytes]) -> None:
    hat.state.add(recipe(5, guides=3))
    assert fetch() == make(recipe(5, guides=3))


def test_a_file_that_trickles_is_not_waited_for_without_end(hat: Hat, connect: Callable[..., HatApi]) -> None:
    """Each piece came in time, so that a store could hold a run for ever."""
    hat.state.add(recipe(5))
    (item,) = connect().waiting_lots(1).items
    with serving(trickling(b"<x/>")) as url:
        files = Files(replace(hat, url=url).tenant(api={"timeout_seconds": 0.2, "attempts": 1}))
        with closing(files), pytest.raises(NotDownloaded, match="ReadTimeout"):
            files.fetch(item.model_copy(update={"azure_storage_file_path": f"{url}/5.xml"}))


def test_a_path_that_is_encoded_already_is_not_encoded_again(hat: Hat, connect: Callable[..., HatApi]) -> None:
    hat.state.add(recipe(5))
    (item,) = connect().waiting_lots(1).items
    encoded = item.model_copy(update={"azure_storage_file_path": str(item.azure_storage_file_path).replace(" ", "%20")})
    assert Files(hat.tenant()).fetch(encoded) == make(recipe(5))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("parent_not_found", NotThere), ("missing", NotThere), ("empty", NotThere), ("redirect", Redirected),
        ("large", TooLarge), ("elsewhere", HostNotAllowed),
    ],
)  # fmt: skip
def test_each_failure_has_its_kind_and_shows_no_address(
    fault: Any, kind: type[NotDownloaded], hat: Hat, fetch: Callable[..., bytes]
) -> None:
    hat.state.add(recipe(5), file_fault=fault)
    with pytest.raises(kind) as caught:
        fetch()
    assert "sig=" not in str(caught.value)
    assert "lotes" not in str(caught.value)


def test_a_store_that_fails_now_and_then_gives_the_file_in_the_end(hat: Hat, fetch: Callable[..., bytes]) -> None:
    hat.state.add(recipe(5))
    content = make(recipe(5))
    hat.faults(fail=0.3, lose=0.3, seed=1)
    for _ in range(5):
        assert fetch(api={"attempts": 20}) == content


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://a.files.example/x", True),
        ("https://files.example/x", False),
        ("https://a.files.example.evil.example/x", False),
        ("https://evil.example/a.files.example", False),
        ("https://a.files.example@evil.example/x", False),
        ("https://user:pw@a.files.example/x", False),
        ("https://a.files.example:8443/x", False),
        ("http://a.files.example/x", False),
        ("https://A.FILES.EXAMPLE/x", True),
        ("https://127.0.0.1/x", False),
        ("http://127.0.0.1:80/x", False),
        ("file:///etc/passwd", False),
        ("//a.files.example/x", False),
        ("ftp://a.files.example/x", False),
    ],
)
def test_only_allowed_hosts_are_asked(address: str, allowed: bool, hat: Hat) -> None:
    files = Files(hat.tenant(billing={"download_hosts": ["*.files.example", "http://127.0.0.1:81"]}))
    item = LotItem(
        batch_number="1",
        health_provider_id="1",
        azure_storage_file_path=address,
        azure_storage_sas_token=SecretStr("?s=1"),
    )
    if allowed:
        assert files._address(item).query == b"s=1"
    else:
        with pytest.raises(HostNotAllowed):
            files._address(item)


@pytest.mark.parametrize(
    ("name", "path"),
    [("lote #12.xml", "lote%20%2312.xml"), ("lote%20%2312.xml", "lote%20%2312.xml"), ("josé.xml", "jos%C3%A9.xml")],
)
def test_the_signature_stays_whatever_the_file_is_called(name: str, path: str, hat: Hat) -> None:
    """A # in its name cut off the rest of the name, and the signature."""
    files = Files(hat.tenant(billing={"download_hosts": ["*.files.example"]}))
    item = LotItem(
        batch_number="1",
        health_provider_id="1",
        azure_storage_file_path=f"https://a.files.example/lotes/{name}",
        azure_storage_sas_token=SecretStr("?sv=1&sig=ab%2Bc"),
    )
    assert files._address(item).raw_path == f"/lotes/{path}?sv=1&sig=ab%2Bc".encode()


def test_a_lot_without_an_address_is_not_there(hat: Hat) -> None:
    with pytest.raises(NotThere):
        Files(hat.tenant()).fetch(LotItem(batch_number="1", health_provider_id="1"))
