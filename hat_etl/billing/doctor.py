"""The doctor's look at the billing loop: each Mastertoken, the store of the bytes, and the operator's services.

Changes nothing; what it writes into the store it deletes again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from hat_etl.billing.contents import Contents
from hat_etl.billing.objects import Failed, ObjectStore
from hat_etl.billing.operators.base import Letter, NoAnswer
from hat_etl.billing.operators.profile import operator_of
from hat_etl.errors import HatEtlError, OperatorError
from hat_etl.hat_api.client import hat_api
from hat_etl.sync.doctor import Check
from hat_etl.tenants.billing import Folder
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.location import LOCAL
from hat_etl.tenants.secrets import SecretRef

_PROBE = Letter(0, "0", "0", "0", None, None, None, "4.03.00", "0")
"""A lot that no operator has."""


def examine(tenant: Tenant) -> list[Check]:
    """Every check that applies: none where the tenant's file says nothing of HAT's API or of billing."""
    checks: list[Check] = []
    if tenant.hat.api_url is not None:
        checks += _tokens(tenant)
    if tenant.billing.store is not None:
        checks.append(_store(tenant, tenant.billing.store))
    if tenant.billing.deliver is not None:
        checks += _operators(tenant)
    return checks


def _tokens(tenant: Tenant) -> Iterator[Check]:
    hat = tenant.hat
    yield _token(tenant, "HAT API: Mastertoken", hat.master_token)
    if hat.api.previous_master_token is not None:
        before = _token(tenant, "HAT API: Mastertoken before", hat.api.previous_master_token)
        if before.state == "failed":
            mend = "If the new one is accepted, remove previous_master_token from [hat.api]."
            before = Check(before.subject, "warning", before.detail, mend)
        yield before


def _token(tenant: Tenant, subject: str, reference: SecretRef | None) -> Check:
    """Whether HAT accepts the one token."""
    api = tenant.hat.api.model_copy(update={"previous_master_token": None})
    alone = tenant.model_copy(update={"hat": tenant.hat.model_copy(update={"master_token": reference, "api": api})})
    try:
        with hat_api(alone) as client:
            page = client.waiting_lots(1)
    except HatEtlError as error:
        return Check(subject, "failed", error.cause, error.next_step, error.exit_code)
    more = " or more" if page.has_next else ""
    return Check(subject, "ok", f"accepted; {len(page.items)}{more} lots wait")


def _operators(tenant: Tenant) -> Iterator[Check]:
    """Whoever takes the lots and whoever is asked about them, each by itself."""
    billing = tenant.billing
    yield _operator(_only(tenant, ask=None), "operator: service")
    asked = "operator: asked about lots"
    if billing.ask == "views":
        yield _operator(tenant, asked)
    elif billing.ask == "pls" and billing.deliver != "pls":
        yield _operator(_only(tenant, ask=None, deliver="pls"), asked)


def _only(tenant: Tenant, **keys: str | None) -> Tenant:
    return tenant.model_copy(update={"billing": tenant.billing.model_copy(update=keys)})


def _operator(tenant: Tenant, subject: str) -> Check:
    """Whether whoever answers for the tenant can be asked: ``ask``, or where that is not set, whoever delivers."""
    try:
        with operator_of(tenant) as operator:
            answer = operator.status(_PROBE)
        folder = tenant.billing.folder
        if tenant.billing.ask is None and tenant.billing.deliver == "folder" and folder is not None:
            _try_folder(tenant, folder)
    except HatEtlError as error:
        return Check(subject, "failed", error.cause, error.next_step, error.exit_code)
    if isinstance(answer, NoAnswer) and answer.down:
        mend = "See that it is up and that the network lets this machine reach it."
        return Check(subject, "failed", f"Cannot be reached ({answer.why}).", mend, OperatorError.exit_code)
    if isinstance(answer, NoAnswer) and answer.turned_away:
        mend = "Compare addresses and login under [billing] with those that the operator has given."
        return Check(subject, "failed", f"Turns questions away ({answer.why}).", mend, OperatorError.exit_code)
    told = answer.why if isinstance(answer, NoAnswer) else "answers"
    return Check(subject, "ok", f"{tenant.billing.ask or tenant.billing.deliver}: {told}")


def _try_folder(tenant: Tenant, folder: Folder) -> None:
    """Raises OperatorError where no lot can be put into the folder, as far as looking can tell."""
    path = Path(urlsplit(folder.path).path)
    if urlsplit(folder.path).scheme in LOCAL:
        if not os.access(path, os.W_OK):
            raise OperatorError(
                "The folder is not there, or nobody may write into it.",
                f"Make {path}, writable by the user who runs hat-etl.",
                tenant.name,
            )
        return
    try:
        # An operator might take an object that is written to try it out.
        ObjectStore(folder.path, folder.options, tenant.name).look()
    except Failed as error:
        raise OperatorError(
            f"{folder.path} cannot be looked into: {error}.",
            "See that the store is up, that the bucket is there, and that [billing.folder.options] are right.",
            tenant.name,
        ) from None


def _store(tenant: Tenant, url: str) -> Check:
    subject = "billing: store"
    try:
        Contents(tenant).probe(url)
    except HatEtlError as error:
        return Check(subject, "failed", error.cause, error.next_step, error.exit_code)
    return Check(subject, "ok", f"{url}: a small object was written, read and deleted")
