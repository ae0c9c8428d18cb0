"""HAT's API as the billing loop and the cadastral writes use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from hat_etl.errors import HatApiError
from hat_etl.hat_api.bodies import (
    Authorization,
    Body,
    IntegrationAnswer,
    ItemT,
    LotItem,
    LotUpdate,
    Page,
    TokenReceipt,
    page_of,
)
from hat_etl.hat_api.transport import Refused, Transport, Unreachable
from hat_etl.tenants.config import Tenant

WAITING, TAKEN = 0, 1
"""trackingStatus of what the operator's side has not taken over yet, and of what it has."""

_FIRST_LOOK, _LONGEST_LOOK = 0.2, 5.0
"""Seconds between two questions about a token: at first, and at most."""

BodyT = TypeVar("BodyT", bound=Body)


class HatApi:
    """The API of one tenant.

    Every method raises HatApiError: Unreachable when the outcome is not known, else Refused.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant.name
        self._registry = tenant.ans_registry
        self._settings = tenant.hat.api
        self._transport = Transport(tenant)

    def close(self) -> None:
        self._transport.close()

    def waiting_lots(self, page: int) -> Page[LotItem]:
        """Lots that wait to be taken, deleted ones too. Pages begin at 1."""
        path = f"{self._settings.billing_path}/batchesAuthorization"
        params: dict[str, int | str] = {"trackingStatus": WAITING, "codeSusep": self._registry, **self._paging(page)}
        return self._page(LotItem, path, params)

    def put_lot(self, update: LotUpdate) -> None:
        """Set status, protocol and causes of a lot; the same once or more."""
        self._transport.put(self._lot_path(update.batch_number), {"codeSusep": self._registry}, update.document())

    def delete_lot(self, batch_number: str, provider: str) -> None:
        """Confirm the deletion of a lot. One that is gone already is well."""
        params = {"healthProviderId": provider, "codeSusep": self._registry, "force": "true"}
        try:
            self._transport.delete(self._lot_path(batch_number), params)
        except Refused as error:
            if error.status != 404:
                raise

    def authorizations(self, page: int, tracking_status: int = WAITING) -> Page[Authorization]:
        """Authorizations that the ERP has not imported yet, or has."""
        path = f"{self._settings.path}/authorizations"
        return self._page(Authorization, path, {"trackingStatus": tracking_status, **self._paging(page)})

    def submit(self, path: str, body: dict[str, Any]) -> IntegrationAnswer:
        """Write to a cadastral API (``path`` such as ``/healthProviders``) and wait for its answer.

        Unreachable when the answer does not come in time: then it is not known what became of the write.
        """
        response = self._transport.post(f"{self._settings.path}{path}", body)
        receipt = self._read(TokenReceipt, response, path)
        return self._answer(receipt.token)

    def _answer(self, token: str) -> IntegrationAnswer:
        path = f"{self._settings.path}/integration/{quote(token, safe='')}"
        deadline, pause = time.monotonic() + self._settings.answer_seconds, _FIRST_LOOK
        while True:
            response = self._transport.get(path)
            if response.status_code != httpx.codes.ACCEPTED:
                return self._read(IntegrationAnswer, response, "/integration")
            if time.monotonic() + pause > deadline:
                raise Unreachable(
                    f"HAT has not answered a write within {self._settings.answer_seconds:.0f} s.",
                    "It may be done later: ask HAT for the token's answer before you write again.",
                    self._tenant,
                )
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_LOOK)

    def _paging(self, page: int) -> dict[str, int]:
        return {"page": page, "pageSize": self._settings.page_size}

    def _lot_path(self, batch_number: str) -> str:
        return f"{self._settings.billing_path}/batchesAuthorization/{quote(batch_number, safe='')}"

    def _page(self, item: type[ItemT], path: str, params: dict[str, int | str]) -> Page[ItemT]:
        response = self._transport.get(path, params)
        try:
            return page_of(item, response.json())
        except ValueError:
            raise self._not_understood(path) from None

    def _read(self, body: type[BodyT], response: httpx.Response, path: str) -> BodyT:
        try:
            return body.model_validate_json(response.content)
        except ValidationError:
            raise self._not_understood(path) from None

    def _not_understood(self, path: str) -> HatApiError:
        return HatApiError(
            f"HAT's answer to {path} is not what its API promises.",
            "Compare api_url, path and billing_path with HAT's documentation of this installation.",
            self._tenant,
        )


@contextmanager
def hat_api(tenant: Tenant) -> Iterator[HatApi]:
    """The API of ``tenant`` for as long as the block runs. Raises ConfigurationError."""
    api = HatApi(tenant)
    try:
        yield api
    finally:
        api.close()
