"""PLS's REST services as the loop asks them, with answers as PLS gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from hat_etl.billing.operators.base import Absent, Letter, NoAnswer, Rejected, Standing, Taken, Unclear
from hat_etl.billing.operators.pls import PlsOperator
from hat_etl.sandbox.web import serving
from hat_etl.tenants.billing import Pls
from hat_etl.tenants.config import Tenant
from hat_etl_tests.hat_api.trickle import trickling

LETTER = Letter(1, "1", "000123", "7", None, None, None, "4.03.00", None)
_DOCUMENT = {
    "name": "acme", "ans_registry": "412345", "hat": {"url": "env:NOT_SET"},
    "erp": {"dialect": "postgresql", "url": "env:NOT_SET", "company": "01"},
}  # fmt: skip


def account(number: str, protocol: str) -> dict[str, Any]:
    return {"batchNumber": number, "protocol": protocol, "status": "3", "value": 10.0, "glossedValue": 0.0}


@dataclass
class Accounts:
    """The accounts that ``protocols`` lists, ten on a page unless it ``repeats`` the first."""

    operator: PlsOperator
    items: list[dict[str, Any]] = field(default_factory=list)
    repeats: bool = False

    async def answer(self, request: Request) -> JSONResponse:
        begin = 0 if self.repeats else 10 * (int(request.query_params["page"]) - 1)
        has_next = self.repeats or len(self.items) > begin + 10
        return JSONResponse({"items": self.items[begin : begin + 10], "hasNext": has_next})


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    async def answer(request: Request) -> JSONResponse:
        return await made.answer(request)

    tenant = Tenant.model_validate(_DOCUMENT, context={"folder": None, "tenant": "acme"}, by_name=False)
    with serving(Starlette(routes=[Route("/rest/totvsHealthPlans/v1/protocols", answer)])) as url:
        made = Accounts(PlsOperator(tenant, Pls(url=f"{url}/rest")))
        yield made
        made.operator.close()


def test_an_answer_that_trickles_is_not_waited_for_without_end() -> None:
    """Each piece came in time, so that a server could hold a run for ever."""
    tenant = Tenant.model_validate(_DOCUMENT, context={"folder": None, "tenant": "acme"}, by_name=False)
    with serving(trickling(b'{"success": true, "protocolo": "1"}')) as url:
        operator = PlsOperator(tenant, Pls(url=f"{url}/rest", timeout_seconds=0.5))
        assert operator.deliver(LETTER) == Unclear("ReadTimeout")
        assert operator.status(LETTER) == NoAnswer("ReadTimeout")
        operator.close()


@pytest.mark.parametrize(
    ("success", "kind"),
    [(True, Taken), ("true", Taken), ("True ", Taken), (False, Rejected), ("false", Rejected), (None, Unclear),
     ({}, Unclear), ([], Unclear), ("", Unclear), (".T.", Unclear), ("ok", Unclear), ("verdadeiro", Unclear)],
)  # fmt: skip
def test_a_lot_is_refused_only_where_pls_says_so(success: object, kind: type[object]) -> None:
    """A lot that PLS had taken was shown as refused where success came as a text: the provider sent it anew.

    Then the same came of texts that are neither true nor false.
    """
    answer = JSONResponse({"success": success, "protocolo": "1", "message": "x"})
    tenant = Tenant.model_validate(_DOCUMENT, context={"folder": None, "tenant": "acme"}, by_name=False)
    with serving(answer) as url:
        operator = PlsOperator(tenant, Pls(url=f"{url}/rest"))
        assert isinstance(operator.deliver(LETTER), kind)
        operator.close()


def test_an_account_on_a_later_page_is_found(accounts: Accounts) -> None:
    """A lot in doubt with an account on the second page passed for one that PLS does not know, and was sent again."""
    accounts.items = [account(str(number), str(number)) for number in range(100, 125)]
    assert accounts.operator.find(LETTER) == Absent()
    accounts.items.append(account("7", "77"))
    assert accounts.operator.find(LETTER) == Taken("77")
    standing = accounts.operator.status(LETTER)
    assert isinstance(standing, Standing)
    assert standing.protocol == "77"


def test_accounts_of_one_number_on_two_pages_are_not_told_apart(accounts: Accounts) -> None:
    accounts.items = [account("7", "70"), *(account("8", str(number)) for number in range(9)), account("7", "77")]
    found = accounts.operator.find(LETTER)
    assert isinstance(found, NoAnswer)
    assert found.ambiguous


def test_a_list_that_does_not_end_is_read_as_far_as_it_brings_something(accounts: Accounts) -> None:
    accounts.items, accounts.repeats = [account("7", "77")], True
    assert accounts.operator.find(LETTER) == Taken("77")
    accounts.items = []
    assert accounts.operator.find(LETTER) == Absent()


def test_a_list_without_regard_to_the_number_is_not_read_for_ever(accounts: Accounts) -> None:
    accounts.items = [account(str(number), str(number)) for number in range(100, 700)]
    assert isinstance(accounts.operator.find(LETTER), NoAnswer)
