"""From a tenant file to the operator that it describes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hat_etl.billing.objects import ObjectStore
from hat_etl.billing.operators.base import (
    Absent,
    Denials,
    Letter,
    NoAnswer,
    NotSent,
    Operator,
    Rejected,
    Standing,
    Taken,
    Unclear,
)
from hat_etl.billing.operators.folder import FolderOperator
from hat_etl.billing.operators.pls import PlsOperator
from hat_etl.billing.operators.soap import SoapOperator
from hat_etl.billing.operators.views import ViewsOperator
from hat_etl.errors import ConfigurationError
from hat_etl.tenants.config import Tenant


@dataclass(frozen=True)
class Divided:
    """One way delivers, another one is asked."""

    delivers: Operator
    asked: Operator

    @property
    def statements_at_once(self) -> int:
        return self.delivers.statements_at_once

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        return self.delivers.deliver(letter)

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        return _found(self.asked, self.delivers, letter)

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        own = self.delivers.status(letter)
        return own if isinstance(own, Standing) else self.asked.status(letter)

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        return self.delivers.statement(letters)

    def close(self) -> None:
        self.delivers.close()
        self.asked.close()


@dataclass(frozen=True)
class Watched:
    """One way delivers; all else is read in the ERP."""

    delivers: Operator
    erp: Operator

    @property
    def statements_at_once(self) -> int:
        return self.erp.statements_at_once

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        return self.delivers.deliver(letter)

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        return _found(self.erp, self.delivers, letter)

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        return self.erp.status(letter)

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        return self.erp.statement(letters)

    def close(self) -> None:
        self.delivers.close()
        self.erp.close()


def _found(asked: Operator, delivers: Operator, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
    found = asked.find(letter)
    if isinstance(found, Absent) and isinstance(delivers, FolderOperator):
        # What the ERP does not know yet may lie in the folder, or have been taken from it.
        return delivers.find(letter)
    return found


@contextmanager
def operator_of(tenant: Tenant) -> Iterator[Operator]:
    """The operator of ``tenant`` for as long as the block runs. Raises ConfigurationError."""
    operator = _delivering(tenant)
    if tenant.billing.ask == "pls" and tenant.billing.deliver != "pls":
        operator = Divided(operator, _pls(tenant))
    elif tenant.billing.ask == "views":
        operator = Watched(operator, ViewsOperator(tenant))
    try:
        yield operator
    finally:
        operator.close()


def _delivering(tenant: Tenant) -> Operator:
    match tenant.billing.deliver:
        case "soap":
            if tenant.billing.soap is None:
                raise _missing(tenant, "billing.soap")
            return SoapOperator(tenant, tenant.billing.soap)
        case "pls":
            return _pls(tenant)
        case "folder":
            if tenant.billing.folder is None:
                raise _missing(tenant, "billing.folder")
            folder = tenant.billing.folder
            return FolderOperator(ObjectStore(folder.path, folder.options, tenant.name))
        case None:
            raise _missing(tenant, "billing.deliver")


def _pls(tenant: Tenant) -> PlsOperator:
    if tenant.billing.pls is None:
        raise _missing(tenant, "billing.pls")
    return PlsOperator(tenant, tenant.billing.pls)


def _missing(tenant: Tenant, key: str) -> ConfigurationError:
    return ConfigurationError(
        f"{key}: is missing; nobody knows how lots reach the operator.",
        "Write it into the tenant's file; docs/billing.md shows each way.",
        tenant.name,
    )
