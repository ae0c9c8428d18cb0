"""The REST services of PLS: xmlManager takes a lot, protocols tells of its account (BCI).

xmlManager writes folder, BXX and B1R and answers with a protocol (TOTVS documentation, page 852901918). PLS refuses a
file whose name it has, and a lot number that the provider has used: so a lot of which ``protocols`` (page 810581500)
knows nothing, because its account is not made yet, may be handed over again under the same name without harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx

from hat_etl.billing.operators.base import (
    Absent,
    Denials,
    Letter,
    NoAnswer,
    NotSent,
    Rejected,
    Standing,
    Taken,
    Unclear,
    cause,
)
from hat_etl.errors import ConfigurationError
from hat_etl.hat_api.bodies import is_yes
from hat_etl.hat_api.patience import within
from hat_etl.hat_api.tls import trusted
from hat_etl.tenants.billing import Pls
from hat_etl.tenants.config import Tenant

_SUBMITTED = "ja submetido"
"""In the message of a lot that PLS has already."""
_YES, _NO = (True, "true"), (False, "false")
"""What ``success`` may be; of a lot with another word there it is not known whether PLS has taken it."""
_PAGES = 50
"""Pages of accounts of one lot number, at most: there should be one."""
_TURNED_AWAY = (401, 403, 404)
_UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class PlsOperator:
    """PLS behind its REST port."""

    statements_at_once = 0

    def __init__(self, tenant: Tenant, settings: Pls) -> None:
        if (settings.user is None) != (settings.password is None):
            raise ConfigurationError(
                "billing.pls: user and password belong together.", "Write both, or neither.", tenant.name
            )
        auth = None if settings.user is None else httpx.BasicAuth(settings.user, _secret(settings))
        self._client = httpx.Client(
            base_url=settings.url.rstrip("/"),
            auth=auth,
            timeout=settings.timeout_seconds,
            event_hooks=within(settings.timeout_seconds),
            verify=trusted(),
            follow_redirects=False,
            headers={"User-Agent": "hat_etl"},
        )

    def close(self) -> None:
        self._client.close()

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        try:
            response = self._client.post(
                "/totvshealthplans/v1/xmlManager",
                params={
                    "healthProvider": letter.provider,
                    "fileName": file_name(letter),
                    "batchNumber": letter.lot_number,
                    "type": "0",
                },
                content=letter.content,
                headers={"Content-Type": "application/xml"},
            )
        except _UNREACHED as error:
            return NotSent(type(error).__name__)
        except httpx.TransportError as error:
            return Unclear(type(error).__name__)
        if response.status_code in _TURNED_AWAY:
            return NotSent(f"HTTP {response.status_code}")
        answer = _json(response)
        success = answer.get("success") if isinstance(answer, dict) else None
        if isinstance(success, str):
            success = success.strip().lower()
        if success in _YES:
            return Taken(_text(answer.get("protocolo")))
        if success not in _NO:
            return Unclear(f"HTTP {response.status_code}")
        message = str(answer.get("message") or "Recusado pelo PLS sem mensagem.")
        if letter.again and _SUBMITTED in message.replace("á", "a").lower():
            return Taken(_text(answer.get("protocolo")))
        return Rejected((cause("5001", "Lote recusado pelo PLS", message),))

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        found = self._account(letter)
        return Taken(_text(found.get("protocol"))) if isinstance(found, dict) else found

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        found = self._account(letter)
        if not isinstance(found, dict):
            return found
        try:
            status = int(found["status"])
            value, denied = _amount(found.get("value")), _amount(found.get("glossedValue"))
        except (KeyError, TypeError, ValueError, OverflowError):
            return NoAnswer("an account without a status, or with amounts that are none")
        released = None if value is None or denied is None else value - denied
        return Standing(status, _text(found.get("protocol")), value, denied, released)

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        return {}

    def _account(self, letter: Letter) -> dict[str, Any] | Absent | NoAnswer:
        found = self._accounts(letter)
        if isinstance(found, NoAnswer):
            return found
        for item in found:
            if letter.protocol is not None and _text(item.get("protocol")) == letter.protocol:
                return item
        if len(found) > 1:
            return NoAnswer(f"{len(found)} accounts have its number", ambiguous=True)
        return found[0] if found else Absent()

    def _accounts(self, letter: Letter) -> list[dict[str, Any]] | NoAnswer:
        """The accounts with the lot's number, of all pages."""
        seen: list[Any] = []
        asked = {"healthProvider": letter.provider, "batchNumber": letter.lot_number, "pageSize": "10"}
        for page in range(1, _PAGES + 1):
            try:
                response = self._client.get("/totvsHealthPlans/v1/protocols", params=asked | {"page": str(page)})
            except httpx.TransportError as error:
                return NoAnswer(type(error).__name__, down=isinstance(error, _UNREACHED))
            answer = _json(response)
            if not response.is_success or not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
                return NoAnswer(f"HTTP {response.status_code}", turned_away=response.status_code in _TURNED_AWAY)
            new = [item for item in answer["items"] if item not in seen]
            seen += new
            # Where nothing new comes, page is not heeded.
            if not new or not is_yes(answer.get("hasNext")):
                break
        else:
            return NoAnswer(f"more than {_PAGES} pages of accounts")
        items = [item for item in seen if isinstance(item, dict)]
        return [item for item in items if _text(item.get("batchNumber")) == letter.lot_number]


def file_name(letter: Letter) -> str:
    """The name that the file has at the operator, the same each time the lot is handed over."""
    return f"{letter.lot_number.zfill(20)}_{letter.batch_number}.xml"


def _secret(settings: Pls) -> str:
    assert settings.password is not None
    return settings.password.resolve()


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    return None if value is None or not str(value).strip() else str(value).strip()


def _amount(value: Any) -> Decimal | None:
    """The amount, where there is one. Raises ValueError for one without end."""
    try:
        amount = None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None
    if amount is not None and not amount.is_finite():
        raise ValueError
    return amount
