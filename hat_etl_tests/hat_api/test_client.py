"""Calls against a real HAT that fails, loses replies and gives lists in any order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import HTMLResponse, JSONResponse

from hat_etl.errors import ConfigurationError
from hat_etl.hat_api import transport
from hat_etl.hat_api.bodies import LotItem, LotUpdate, page_of
from hat_etl.hat_api.client import HatApi, hat_api
from hat_etl.hat_api.transport import LONGEST_PAUSE, Refused, Unreachable, _asked_pause
from hat_etl.sandbox.web import serving

from .conftest import PROVIDER, REGISTRY, TOKEN, Hat, recipe
from .trickle import trickling


def update(number: str, status: int = 1) -> LotUpdate:
    return LotUpdate(
        code_susep=REGISTRY, batch_number=number, health_provider_id=PROVIDER, status=status, tracking_status=1
    )


def test_all_pages_come_until_there_is_no_next(hat: Hat, connect: Callable[..., HatApi]) -> None:
    for number in range(1, 8):
        hat.state.add(recipe(number))
    api = connect(api={"page_size": 3})
    pages = [api.waiting_lots(page) for page in (1, 2, 3)]
    assert [page.has_next for page in pages] == [True, True, False]
    assert [item.batch_number for page in pages for item in page.items] == [str(n) for n in range(1, 8)]


def test_an_answer_that_trickles_is_not_waited_for_without_end(hat: Hat) -> None:
    """Each piece came in time, so that a server could hold a run for ever."""
    with serving(trickling(b'{"items": [], "hasNext": false}')) as url:
        tenant = replace(hat, url=url).tenant(api={"timeout_seconds": 0.5, "attempts": 1})
        with hat_api(tenant) as api, pytest.raises(Unreachable, match="ReadTimeout"):
            api.waiting_lots(1)


def test_a_lot_that_is_put_waits_no_more(hat: Hat, connect: Callable[..., HatApi]) -> None:
    hat.state.add(recipe(5))
    api = connect()
    api.put_lot(update("5", status=3))
    assert api.waiting_lots(1).items == ()
    lot = hat.state.lot("5")
    assert lot is not None
    assert (lot.status, lot.tracking) == (3, 1)


def test_another_operators_lots_are_not_seen(hat: Hat, connect: Callable[..., HatApi]) -> None:
    hat.state.add(recipe(5))
    hat.server.registry = "999999"
    assert connect().waiting_lots(1).items == ()


def test_calls_that_may_be_repeated_get_through_failures_and_lost_replies(
    hat: Hat, connect: Callable[..., HatApi]
) -> None:
    hat.state.add(recipe(5))
    hat.faults(fail=0.2, lose=0.5, seed=2)
    api = connect(api={"attempts": 20})
    for status in range(1, 7):
        api.put_lot(update("5", status))
        assert len(api.waiting_lots(1).items) == 0
    assert {body["status"] for body in hat.state.puts("5")} == {1, 2, 3, 4, 5, 6}
    assert len(hat.state.puts("5")) > 6, "some of them were done and asked for again"


@pytest.mark.parametrize("fault", ["lose", "late"])
def test_a_write_is_not_made_again_when_it_may_have_been_done(
    fault: str, hat: Hat, connect: Callable[..., HatApi]
) -> None:
    hat.faults(**{fault: 1})
    with pytest.raises(Unreachable):
        connect().write("POST", "/healthProviders", {"ansRegistry": REGISTRY})
    assert len(hat.state.writes()) == 1


def test_an_answer_is_waited_for(hat: Hat, connect: Callable[..., HatApi]) -> None:
    hat.server.cadastral.looks = 2
    api = connect()
    token = api.write("POST", "/healthProviders", {"ansRegistry": REGISTRY}).token
    assert token is not None
    answer = api.answer(token)
    assert answer is not None
    assert (answer.code, answer.message) == ("200", "Processado com sucesso")


def test_an_answer_that_does_not_come_is_an_unknown_outcome(hat: Hat, connect: Callable[..., HatApi]) -> None:
    hat.server.cadastral.looks = 1000
    api = connect(api={"answer_seconds": 0.01})
    token = api.write("POST", "/healthProviders", {}).token
    assert token is not None
    assert api.answer(token) is None


def test_a_deletion_that_was_made_already_is_well(hat: Hat, connect: Callable[..., HatApi]) -> None:
    hat.state.add(recipe(5))
    api = connect()
    api.delete_lot("5", PROVIDER)
    api.delete_lot("6", PROVIDER)
    lot = hat.state.lot("5")
    assert lot is not None
    assert lot.is_gone


def test_a_server_that_is_not_there_is_told_without_secrets(hat: Hat) -> None:
    tenant = hat.tenant()
    gone = tenant.model_copy(update={"hat": tenant.hat.model_copy(update={"api_url": "http://127.0.0.1:1"})})
    with pytest.raises(Unreachable) as caught:
        HatApi(gone).waiting_lots(1)
    assert "ConnectError" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("key", ["tenant_name", "tenant_id"])
def test_settings_that_are_missing_are_named(key: str, hat: Hat) -> None:
    with pytest.raises(ConfigurationError, match=rf"hat\.api\.{key}"):
        HatApi(hat.tenant(api={key: None}))


def test_an_answer_of_something_else_is_told(hat: Hat, connect: Callable[..., HatApi]) -> None:
    with pytest.raises(Refused, match="HTTP 404"):
        connect(api={"billing_path": "/elsewhere"}).waiting_lots(1)


def test_a_page_of_a_firewall_is_not_taken_for_a_wrong_mastertoken(hat: Hat, connect: Callable[..., HatApi]) -> None:
    """One was sent to compare a Mastertoken that was right."""
    for answer, told in (
        (HTMLResponse("<h1>Forbidden</h1>", 403), "firewall"),
        (JSONResponse({}, 403), "Mastertoken"),
        (HTMLResponse("Token inválido", 401), "Mastertoken"),
    ):
        hat.faulty._app = answer
        with pytest.raises(Refused, match=told) as caught:
            connect().waiting_lots(1)
        assert caught.value.is_of_the_token is (told == "Mastertoken")
        assert ("Mastertoken" in str(caught.value)) is (told == "Mastertoken")


def test_one_broken_item_hides_no_other() -> None:
    page = page_of(LotItem, {"items": [{"batchNumber": 7, "healthProviderId": "1"}, {"batchNumber": ""}, "x"]})
    assert [item.batch_number for item in page.items] == ["7"]
    assert (page.broken, page.has_next) == (2, False)
    with pytest.raises(ValueError, match="no items"):
        page_of(LotItem, [])


def test_what_hat_leaves_empty_is_not_broken() -> None:
    empty = {"isDeleted": None, "status": "", "protocol": None, "batchDate": " ", "azureStorageSasToken": None}
    page = page_of(LotItem, {"items": [{"batchNumber": "7", "healthProviderId": 1, **empty}], "hasNext": None})
    (item,) = page.items
    assert (item.is_deleted, item.batch_date, page.has_next) == (False, None, False)
    odd = {"status": "Recebido", "trackingStatus": "pendente", "protocol": {}}
    assert page_of(LotItem, {"items": [{"batchNumber": "7", "healthProviderId": "1", **odd}]}).broken == 0, "not used"
    deleted = page_of(LotItem, {"items": [{"batchNumber": "7", "healthProviderId": "1", "isDeleted": "true"}]})
    assert deleted.items[0].is_deleted


@pytest.mark.parametrize("told", ["false", "False", "0", 0, False, None, "", "N"])
def test_a_list_ends_however_hat_says_so(told: object) -> None:
    """The word false counted as true, and the list had no end."""
    assert not page_of(LotItem, {"items": [], "hasNext": told}).has_next


@pytest.mark.parametrize("told", ["true", "True", "1", 1, True, "S"])
def test_a_list_goes_on_however_hat_says_so(told: object) -> None:
    assert page_of(LotItem, {"items": [], "hasNext": told}).has_next


@pytest.mark.parametrize(("told", "pause"), [("3", 3), ("nan", 1), ("inf", 30), ("-1", 0), ("Wed, 21 Oct 2026", 1)])
def test_the_pause_that_hat_asks_for_is_a_number_of_seconds(told: str, pause: float) -> None:
    """NaN reached the clock, and the call ended as an unexpected error."""
    assert min(_asked_pause(httpx.Response(429, headers={"Retry-After": told}), 1), LONGEST_PAUSE) == pause


def test_a_pause_that_hat_asks_for_ends_soon(
    hat: Hat, connect: Callable[..., HatApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one answer of a gateway could keep a run for a day."""

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"86400")]})
        await send({"type": "http.response.body", "body": b"{}"})

    hat.faulty._app = busy
    pauses: list[float] = []
    monkeypatch.setattr(transport, "time", SimpleNamespace(sleep=pauses.append))
    with pytest.raises(Unreachable):
        connect().waiting_lots(1)
    assert pauses == [LONGEST_PAUSE] * 2


def test_no_log_holds_an_address_or_a_token(
    hat: Hat, connect: Callable[..., HatApi], caplog: pytest.LogCaptureFixture
) -> None:
    hat.state.add(recipe(5))
    with caplog.at_level(logging.DEBUG):
        (item,) = connect().waiting_lots(1).items
    assert TOKEN not in caplog.text
    assert hat.url not in caplog.text
    assert "sig=" not in repr(item)
