"""HAT's API as the billing loop and the cadastral writes use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from hat_etl.hat_api.transport import Refused, Transport
from hat_etl.tenants.config import Tenant

WAITING, TAKEN = 0, 1
"""trackingStatus of what the operator's side has not taken over yet, and of what it has."""

_FIRST_LOOK, _LONGEST_LOOK = 0.2, 5.0
"""Seconds between two questions about a token: at first, and at most."""

BodyT = TypeVar("BodyT", bound=Body)


@dataclass(frozen=True)
class Receipt:
    """What HAT says to a write at once: the token under which its answer will be found, or that answer."""

    token: str | None = None
    answer: IntegrationAnswer | None = None


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
        """Confirm the deletion of a lot. One that HAT says it has no more is well."""
        params = {"healthProviderId": provider, "codeSusep": self._registry, "force": "true"}
        try:
            self._transport.delete(self._lot_path(batch_number), params)
        except Refused as error:
            if not error.says_absent:
                raise

    def authorizations(self, page: int, tracking_status: int = WAITING) -> Page[Authorization]:
        """Authorizations that the ERP has not imported yet, or has."""
        path = f"{self._settings.path}/authorizations"
        return self._page(Authorization, path, {"trackingStatus": tracking_status, **self._paging(page)})

    def authorization(self, number: str) -> Authorization | None:
        """One authorization as it is now; None when HAT says that it has it no more."""
        path = f"{self._settings.path}/authorizations/{quote(number, safe='')}"
        try:
            response = self._transport.get(path)
        except Refused as error:
            if error.says_absent:
                return None
            raise
        return self._read(Authorization, response, "/authorizations")

    def mark_authorization(self, number: str) -> None:
        """Mark an authorization as imported; the same once or more."""
        path = f"{self._settings.path}/authorizations/{quote(number, safe='')}"
        self._transport.put(path, {}, {"idOnHealthInsurer": number, "trackingStatus": TAKEN})

    def write(self, method: str, path: str, body: Any, *, billing: bool = False) -> Receipt:
        """Write to a cadastral API (``path`` such as ``/healthProviders``), once.

        Unreachable when it is not known what became of the write.
        """
        base = self._settings.billing_path if billing else self._settings.path
        response = self._transport.once(method, f"{base}{path}", body)
        if response.status_code == httpx.codes.ACCEPTED:
            return Receipt(token=self._read(TokenReceipt, response, path).token)
        if not response.content.strip():
            return Receipt(answer=IntegrationAnswer())
        return Receipt(answer=self._read(IntegrationAnswer, response, path))

    def answer(self, token: str, *, wait: bool = True) -> IntegrationAnswer | None:
        """What became of the write with this token, which may be waited for; None when it is not there in time."""
        path = f"{self._settings.path}/integration/{quote(token, safe='')}"
        deadline, pause = time.monotonic() + self._settings.answer_seconds, _FIRST_LOOK
        while True:
            response = self._transport.get(path)
            if response.status_code != httpx.codes.ACCEPTED:
                return self._read(IntegrationAnswer, response, "/integration")
            if not wait or time.monotonic() + pause > deadline:
                return None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_LOOK)

    def read(self, path: str, params: dict[str, Any] | None = None) -> Any:
        """What HAT has under ``path`` of the cadastral APIs; None when it says that it has nothing there."""
        try:
            response = self._transport.get(f"{self._settings.path}{path}", params)
        except Refused as error:
            if error.says_absent:
                return None
            raise
        try:
            found = response.json()
        except ValueError:
            found = None
        if found is None:
            raise self._not_understood(path)
        return found

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
