"""Status, protocol and causes to HAT: only when they have changed, and the same again does no harm."""

from __future__ import annotations

from typing import Any

from hat_etl.billing import store as outbox
from hat_etl.billing.commands import about
from hat_etl.billing.states import State, status_in_hat
from hat_etl.billing.store import Lot, Message, Store, store_of
from hat_etl.billing.work import Breaker, StageReport, each
from hat_etl.errors import HatApiError
from hat_etl.hat_api.bodies import LotUpdate
from hat_etl.hat_api.client import TAKEN, HatApi, hat_api
from hat_etl.hat_api.transport import Refused, Unreachable
from hat_etl.target.database import Connection
from hat_etl.tenants.config import Tenant

_REFUSED_PAUSE = 3600.0
"""Seconds until HAT is told again what it has refused."""


_ABSENT = "HAT has no such lot"


def status_body(tenant: Tenant, lot: Lot) -> dict[str, Any]:
    """What HAT should show of the lot."""
    if lot.state is State.REFUSED:
        status = tenant.billing.refused_status
    elif lot.tiss_status is not None:
        status = status_in_hat(lot.tiss_status)
    else:
        status = 1
    return LotUpdate.model_validate({
        "code_susep": tenant.ans_registry,
        "batch_number": lot.batch_number,
        "health_provider_id": lot.provider,
        "protocol": lot.protocol,
        "status": status,
        "tracking_status": TAKEN,
        "rejection_causes": lot.causes,
    }).document()  # fmt: skip


def enqueue_status(store: Store, connection: Connection, lot: int, *, again: bool = False) -> None:
    """Let HAT be told how the lot stands; not what it knows, nor of a lot that it forgets, unless ``again``."""
    body = status_body(store.tenant, store.get(connection, lot))
    kind, told = outbox.latest(connection, lot) or ("status", None)
    if again or (kind == "status" and told != body):
        outbox.enqueue(connection, lot, "status", body)


def tell(store: Store, api: HatApi, lot: int) -> str | None:
    """Send what waits for HAT about a lot; gives what became of it: ``pushed``, ``deleted``, ``refused`` or None.

    The message stays locked meanwhile, so that a later one cannot overtake it. Raises Unreachable, and then the message
    comes after those that were tried less often.
    """
    with store.transaction() as connection:
        status, deletion = _waiting(connection, lot)
        try:
            if deletion is not None:
                api.delete_lot(deletion.body["batch_number"], deletion.body["provider"])
                _end_deletion(connection, deletion)
                return "deleted"
            if status is not None:
                api.put_lot(LotUpdate.model_validate(status.body))
                outbox.done(connection, status.id)
                outbox.note(connection, lot, "pushed", {"status": status.body.get("status")})
                return "pushed"
            return None
        except Refused as error:
            failure: HatApiError = error
            why, pause = _ABSENT if error.says_absent else f"HTTP {error.status}", _REFUSED_PAUSE
        except Unreachable as error:
            failure, why, pause = error, "no answer", float(store.tenant.billing.retry_seconds)
        for message in (status, deletion):
            if message is not None:
                outbox.put_off(connection, message.id, why, pause)
    if isinstance(failure, Unreachable):
        raise failure
    return "refused"


def settle_deletion(store: Store, lot: int) -> bool:
    """End a deletion that waits to be told, as HAT has the lot no more; whether one waited."""
    with store.transaction() as connection:
        _, deletion = _waiting(connection, lot)
        if deletion is not None:
            _end_deletion(connection, deletion)
    return deletion is not None


def _waiting(connection: Connection, lot: int) -> tuple[Message | None, Message | None]:
    """Status and deletion that wait for HAT, locked always in this order."""
    return outbox.waiting(connection, lot, "status"), outbox.waiting(connection, lot, "delete")


def _end_deletion(connection: Connection, deletion: Message) -> None:
    outbox.done(connection, deletion.id)
    outbox.drop(connection, deletion.lot, "status")
    outbox.note(connection, deletion.lot, "deletion confirmed")


def push(tenant: Tenant) -> StageReport:
    """Tell HAT all that has changed; when it does not answer three times in a row, the rest goes with the next push."""
    report, breaker = StageReport(tenant.name, "push"), Breaker()
    with store_of(tenant) as store, store.stage("push"), hat_api(tenant) as api:
        with store.connection() as connection:
            rows = connection.execute(
                "SELECT lot FROM hat_etl.billing_outbox WHERE kind IN ('status', 'delete') AND state = 'waiting'"
                " AND not_before <= now() GROUP BY lot ORDER BY min(attempts), lot"
            ).fetchall()

        def work(lot: int) -> None:
            if breaker.is_open:
                return
            try:
                became = tell(store, api, lot)
            except Unreachable as error:
                breaker.note(down=True)
                report.count("not told")
                report.problem(error)
                return
            breaker.note(down=False)
            if became is not None:
                report.count(became)
            if became == "refused":
                with store.connection() as connection:
                    report.problem(refusal(store, connection, lot))

        each((int(row[0]) for row in rows), work, tenant.billing.workers)
    return report.finish()


def is_absent(connection: Connection, lot: int) -> bool:
    """Whether HAT itself has answered that it has no such lot, when it was told the status that waits."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM hat_etl.billing_outbox WHERE lot = %s AND kind = 'status' AND state = 'waiting'"
        " AND error = %s)",
        (lot, _ABSENT),
    ).fetchone()
    return row == (True,)


def refusal(store: Store, connection: Connection, number: int) -> HatApiError:
    """HAT takes no word on a lot."""
    tenant, lot = store.tenant, store.get(connection, number)
    if is_absent(connection, number):
        ending = f"let it be told nothing: {about(tenant.name, lot, 'release', '--accept')}"
        if lot.hold is not None:
            # To accept means something else as long as another decision is awaited.
            ending = f"decide first about {lot.hold}, for which it waits: {about(tenant.name, lot, 'show')}"
        return HatApiError(
            f"HAT has no lot {lot.batch_number} of provider {lot.provider}, whose status it is told.",
            f"It is told again in an hour. If HAT is to have the lot no more, {ending}",
            tenant.name,
        )
    hurry = f", or after: {about(tenant.name, lot, 'retry')}"
    if lot.state in (State.REFUSED, State.UNKNOWN):
        hurry = ""  # to retry these means to send the lot again
    return HatApiError(
        f"HAT refuses what it is told of lot {lot.batch_number} of provider {lot.provider}.",
        f"See its messages with: {about(tenant.name, lot, 'show')}. It is told again in an hour{hurry}.",
        tenant.name,
    )
