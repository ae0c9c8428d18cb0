"""Calls to HAT: headers, time limits, repetition where it is safe, and errors that show neither token nor data."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import ValidationError

from hat_etl.errors import ConfigurationError, HatApiError
from hat_etl.hat_api.bodies import IntegrationAnswer
from hat_etl.hat_api.mastertoken import Keyring
from hat_etl.hat_api.patience import within
from hat_etl.hat_api.tls import trusted
from hat_etl.tenants.config import Tenant

# Their lines hold whole addresses, and those of files are signed.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

LONGEST_PAUSE = 30.0
"""Seconds between two attempts, at most, whatever HAT asks for."""

_BUSY = frozenset({429, 502, 503, 504})
"""Answers of something that stands before HAT, or of a HAT that will not act now."""


_OF_THE_TOKEN = frozenset({401, 403})


class Unreachable(HatApiError):
    """HAT did not answer, or answered that it cannot now. What was asked may have been done all the same."""


@dataclass
class Refused(HatApiError):
    """HAT answered no."""

    status: int = 0
    """Of HTTP."""
    answer: IntegrationAnswer | None = field(default=None, repr=False)
    """What HAT said; it may quote the data, so no message shows it."""
    is_page: bool = False
    """Whether it was a page for people: something before HAT says no."""

    @property
    def is_of_the_token(self) -> bool:
        """Whether HAT refuses whatever this Mastertoken asks for."""
        return self.status in _OF_THE_TOKEN and not self.is_page

    @property
    def is_hats(self) -> bool:
        """Whether HAT itself says no: what stands before it has answers of its own, without a code."""
        return self.answer is not None and self.answer.code is not None

    @property
    def says_absent(self) -> bool:
        """Whether HAT itself says that it has no such thing."""
        return self.status == 404 and self.is_hats


class Transport:
    """Calls of one tenant. Threads may share it; ``close`` it at the end."""

    def __init__(self, tenant: Tenant) -> None:
        api = tenant.hat.api
        for key, value in (
            ("hat.api_url", tenant.hat.api_url),
            ("hat.api.tenant_name", api.tenant_name),
            ("hat.api.tenant_id", api.tenant_id),
        ):
            if value is None:
                raise ConfigurationError(
                    f"{key}: is missing; HAT's API cannot be called without.",
                    "Write it into the tenant's file; HAT's administration shows it, menu Integrações.",
                    tenant=tenant.name,
                )
        self._tenant = tenant.name
        self._settings = api
        self._keyring = Keyring.of(tenant)
        self._client = httpx.Client(
            base_url=str(tenant.hat.api_url).rstrip("/"),
            headers={
                "tenantName": str(api.tenant_name),
                "idTenant": str(api.tenant_id),
                "Accept": "application/json",
                "User-Agent": "hat_etl",
            },
            timeout=api.timeout_seconds,
            event_hooks=within(2 * api.timeout_seconds),
            verify=trusted(),
            follow_redirects=False,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32, keepalive_expiry=4),
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> httpx.Response:
        """Raises Unreachable or Refused, as all of these do."""
        return self._repeat("GET", path, params, None)

    def put(self, path: str, params: Mapping[str, str | int], body: Any) -> httpx.Response:
        return self._repeat("PUT", path, params, body)

    def delete(self, path: str, params: Mapping[str, str | int]) -> httpx.Response:
        return self._repeat("DELETE", path, params, None)

    def once(self, method: str, path: str, body: Any) -> httpx.Response:
        """Made again only when the first one certainly did nothing."""
        return self._repeat(method, path, None, body, safe=False)

    def _repeat(
        self, method: str, path: str, params: Mapping[str, str | int] | None, body: Any, *, safe: bool = True
    ) -> httpx.Response:
        for attempt in range(1, self._settings.attempts + 1):
            wait = self._settings.pause_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            try:
                response = self._authorized(method, path, params, body)
            except httpx.RequestError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                failure: HatApiError = self._unreachable(method, path, type(error).__name__)
                again = safe or unsent
            else:
                unheard = response.is_success and method != "GET" and _is_page(response)
                if response.is_success and not unheard:
                    return response
                code = response.status_code
                failure = self._failure(method, path, response)
                again = code == 429 or (safe and (code >= 500 or code == 408 or unheard))
                wait = _asked_pause(response, wait) if code in _BUSY else wait
            if not again or attempt == self._settings.attempts:
                # The cause of a failure quotes addresses and headers.
                raise failure from None
            time.sleep(min(wait, LONGEST_PAUSE))
        raise AssertionError("at least one attempt is made")

    def _authorized(self, method: str, path: str, params: Mapping[str, str | int] | None, body: Any) -> httpx.Response:
        """One attempt, with the other token where HAT does not know the first."""
        tokens = self._keyring.tokens()
        for token in tokens:
            headers = {"Authorization": token.reveal()}
            response = self._client.request(method, path, params=params, json=body, headers=headers)
            if response.status_code not in _OF_THE_TOKEN:
                self._keyring.accepted(token)
                return response
        return response

    def _failure(self, method: str, path: str, response: httpx.Response) -> HatApiError:
        code, is_page = response.status_code, _is_page(response)
        if response.is_success:
            return self._unreachable(method, path, f"a page, HTTP {code}")
        if code in _OF_THE_TOKEN and is_page:
            return Refused(
                f"Something before HAT, such as a firewall, refuses {method} {path} (a page, HTTP {code}).",
                f"See that it lets calls of this machine through to api_url. Then run: hat-etl doctor {self._tenant}",
                self._tenant,
                status=code,
                is_page=True,
            )
        if code in _OF_THE_TOKEN:
            names = " and ".join(token.origin for token in self._keyring.tokens())
            return Refused(
                f"HAT does not accept the Mastertoken behind {names} ({method} {path}, HTTP {code}).",
                "Compare it, tenant_name and tenant_id with HAT's administration, menu Integrações."
                f" Then run: hat-etl doctor {self._tenant}",
                self._tenant,
                status=code,
            )
        if code >= 500 or code in (408, 429):
            return self._unreachable(method, path, f"HTTP {code}")
        return Refused(
            f"HAT refuses {method} {path} (HTTP {code}).",
            "Compare api_url, path and billing_path with HAT's documentation of this installation.",
            self._tenant,
            status=code,
            answer=_answer_in(response),
            is_page=is_page,
        )

    def _unreachable(self, method: str, path: str, why: str) -> Unreachable:
        return Unreachable(
            f"HAT does not answer {method} {path} ({why}).",
            "What was begun goes on with the next run. If this lasts, see that the network lets this machine reach"
            f" api_url, and run: hat-etl doctor {self._tenant}",
            self._tenant,
        )


def _is_page(response: httpx.Response) -> bool:
    """Whether the answer is a page for people: HAT's have none, whatever it calls their type."""
    return response.content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _asked_pause(response: httpx.Response, otherwise: float) -> float:
    """Seconds that the answer asks to wait; ``otherwise`` when it does not say, or gives a date."""
    try:
        asked = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return otherwise
    return otherwise if math.isnan(asked) else max(asked, 0.0)


def _answer_in(response: httpx.Response) -> IntegrationAnswer | None:
    """What HAT says of its refusal, where it says anything."""
    try:
        return IntegrationAnswer.model_validate_json(response.content)
    except ValidationError:
        return None
