"""Authorizations from HAT (*senhas*): each is kept in the tenant database first, and marked as imported in HAT then.

HAT lists an authorization again when it has changed, as when it is cancelled: every version is kept. After the mark HAT
is asked for it once more, for it may have changed between the list and the mark, and would not be listed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from hat_etl.billing.store import Store, store_of
from hat_etl.billing.work import Breaker, StageReport, each, waiting
from hat_etl.errors import ConfigurationError, HatApiError
from hat_etl.hat_api.bodies import Authorization
from hat_etl.hat_api.client import HatApi, hat_api
from hat_etl.hat_api.transport import Unreachable
from hat_etl.target.database import Connection
from hat_etl.tenants.config import Tenant

STAGE = "authorizations"

_OF_TRACKING = "trackingStatus"
"""The property that the mark itself changes."""


def take(tenant: Tenant) -> StageReport:
    """Take every authorization that waits in HAT.

    Raises ConfigurationError where the tenant's file does not ask for it, Unreachable when HAT does not give its list;
    what was taken until then stays.
    """
    if not tenant.billing.authorizations:
        raise ConfigurationError(
            "billing.authorizations: is not set; authorizations that are marked here reach no other importer.",
            "If nothing else imports them (Protheus may), write authorizations = true under [billing].",
            tenant.name,
        )
    report = StageReport(tenant.name, STAGE)
    with store_of(tenant) as store, store.stage(STAGE), hat_api(tenant) as api:
        _Taking(store, api, report).all()
    return report.finish()


class _Taking:
    def __init__(self, store: Store, api: HatApi, report: StageReport) -> None:
        self._store, self._api, self._report = store, api, report
        self._breaker = Breaker()

    def all(self) -> None:
        """Go through those of which it is not known whether they are marked, then through HAT's list."""
        each(self._unmarked(), self._ask, self._store.tenant.billing.workers)
        self._breaker = Breaker()
        listed = waiting(
            self._api.authorizations, lambda item: item.id_on_health_insurer, self._report,
            "authorizations without a number",
        )  # fmt: skip
        for items in listed:
            latest = {item.id_on_health_insurer: item for item in items}
            each(latest.values(), self._take, self._store.tenant.billing.workers)

    def _unmarked(self) -> list[str]:
        """Those that HAT may list no more, though they were not looked at after the mark."""
        with self._store.connection() as connection:
            found = connection.execute(
                "SELECT id_on_health_insurer FROM hat_etl.authorizations WHERE marked_at IS NULL ORDER BY 1"
            )
            return [str(row[0]) for row in found]

    def _ask(self, number: str) -> None:
        def ask() -> None:
            found = self._api.authorization(number)
            if found is not None:
                self._keep(found)
                self._api.mark_authorization(number)
                found = self._api.authorization(number)
            # Where HAT has it no more, nothing of it can change.
            self._marked(number, found)

        self._call(number, ask)

    def _take(self, item: Authorization) -> None:
        number = item.id_on_health_insurer

        def mark() -> None:
            self._api.mark_authorization(number)
            self._marked(number, self._api.authorization(number))

        self._keep(item)
        # Committed: only now may HAT forget that it waits.
        self._call(number, mark)

    def _call(self, number: str, call: Callable[[], None]) -> None:
        """Ask HAT about an authorization, or tell it, unless it has not answered three times in a row."""
        if self._breaker.is_open:
            return
        try:
            call()
        except HatApiError as error:
            self._breaker.note(down=isinstance(error, Unreachable))
            error.cause = f"Authorization {number}: {error.cause}"
            self._report.problem(error)
        else:
            self._breaker.note(down=False)

    def _keep(self, item: Authorization) -> None:
        with self._store.transaction() as connection:
            self._report.count(keep(connection, item))

    def _marked(self, number: str, later: Authorization | None) -> None:
        """HAT has the mark; ``later``: the authorization as it was after that, where HAT has it."""
        with self._store.transaction() as connection:
            if later is not None and keep(connection, later) == "changed":
                self._report.count("changed")
            connection.execute(
                "UPDATE hat_etl.authorizations SET marked_at = now() WHERE id_on_health_insurer = %s", (number,)
            )


def keep(connection: Connection, item: Authorization) -> str:
    """Write a version of an authorization down; gives whether it is ``new``, ``changed`` or ``known``."""
    document = {name: value for name, value in item.document().items() if name != _OF_TRACKING}
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    number = item.id_on_health_insurer
    columns: dict[str, Any] = {
        "authorization_id": item.authorization_id,
        "authorization_type": item.authorization_type,
        "authorization_date": item.authorization_date,
        "authorization_status": item.authorization_status,
        "health_provider_id": item.provider,
        "sha256": digest,
        "document": text,
    }
    before = connection.execute(
        "SELECT sha256 FROM hat_etl.authorizations WHERE id_on_health_insurer = %s FOR UPDATE", (number,)
    ).fetchone()
    if before is not None and before[0] == digest:
        return "known"
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns)
    connection.execute(
        f"INSERT INTO hat_etl.authorizations (id_on_health_insurer, {names}) VALUES (%s, {places})"
        f" ON CONFLICT (id_on_health_insurer) DO UPDATE SET {changed}, changed_at = now(), marked_at = NULL".encode(),
        (number, *columns.values()),
    )
    connection.execute(
        "INSERT INTO hat_etl.authorization_versions (id_on_health_insurer, sha256, document) VALUES (%s, %s, %s)",
        (number, digest, text),
    )
    return "new" if before is None else "changed"
