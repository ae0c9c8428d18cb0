"""What a person decides about a lot: go on, stay, try again, or that it has arrived."""

from __future__ import annotations

from hat_etl.billing import store as rows
from hat_etl.billing.commands import about
from hat_etl.billing.deliver import schedule
from hat_etl.billing.operators.base import cause
from hat_etl.billing.pull import CONTENT_CHANGED, DELETED_LATE, enqueue_deletion, latest_content
from hat_etl.billing.push import enqueue_status, is_absent
from hat_etl.billing.states import CHECKED, UNSENT, WITH_OPERATOR, State
from hat_etl.billing.store import Lot, Store, store_of
from hat_etl.billing.validate import NUMBER_REUSED
from hat_etl.errors import DataError
from hat_etl.target.database import Connection
from hat_etl.tenants.config import Tenant

_ARRIVED, _CORRECTED = "arrived, as a person says", "protocol, as a person says"
"""Events of the history with a protocol that a person has told."""


def release(tenant: Tenant, batch_number: str, *, accept: bool, provider: str | None = None) -> Lot:
    """End what a lot waits for; gives the lot as it stands then.

    ``accept``: take the new file, send the reused number all the same, or confirm the deletion in HAT, also of a lot
    that HAT has no more; otherwise keep the old file, refuse the lot, or keep it in HAT. Raises DataError when it waits
    for nothing, or this cannot be.
    """
    with store_of(tenant) as store, store.transaction() as connection:
        lot = only(store, connection, batch_number, provider)
        decided = {"hold": lot.hold, "accept": accept, "number": lot.lot_number}
        match lot.hold:
            case str() if lot.state is State.WITHDRAWN:
                pass  # Left by an earlier version: there is nothing to decide.
            case hold if hold == CONTENT_CHANGED:
                if accept:
                    _take_other_content(store, connection, lot)
            case hold if hold == NUMBER_REUSED:
                if not accept:
                    _refuse(store, connection, lot)
            case hold if hold == DELETED_LATE:
                if accept:
                    _follow_late_deletion(store, connection, lot)
                else:
                    # HAT lists the lot until it is told that this is all there is to say.
                    enqueue_status(store, connection, lot.lot, again=True)
            case None if accept and is_absent(connection, lot.lot):
                _follow_late_deletion(store, connection, lot)
            case _:
                raise _cannot(tenant, lot, "waits for no decision")
        rows.change(connection, lot.lot, "released", decided, hold=None)
        return store.get(connection, lot.lot)


def arrived(tenant: Tenant, batch_number: str, protocol: str, *, provider: str | None = None) -> Lot:
    """The operator has a lot in doubt, under this protocol; or this is the right protocol of a lot that it has.

    So has it one that was checked and waits to be sent, where a restored database has forgotten that it was, and one
    that it has refused as a double then. Raises DataError for other lots, and for a protocol that is empty.
    """
    protocol = protocol.strip()
    with store_of(tenant) as store, store.transaction() as connection:
        lot = only(store, connection, batch_number, provider)
        if not protocol:
            raise _cannot(tenant, lot, "gets no protocol without digits or letters")
        if lot.state in WITH_OPERATOR:
            # What was told of the wrong one is told anew: the statement, too.
            first = protocol if _is_a_persons(connection, lot) else lot.first_protocol
            rows.change(
                connection, lot.lot, _CORRECTED, {"protocol": protocol, "before": lot.protocol},
                protocol=protocol, first_protocol=first, stated_status=None,
            )  # fmt: skip
        elif lot.state in CHECKED | {State.REFUSED} and lot.hold is not None:
            raise _cannot(tenant, lot, f"waits for a decision: {lot.hold}")
        elif lot.state is State.REFUSED and (other := store.holder(connection, lot, protocol)):
            raise _cannot(tenant, lot, f"has not arrived under the protocol of lot {other}")
        elif lot.state in CHECKED | {State.UNKNOWN} or _is_refused_by_operator(connection, lot):
            rows.drop(connection, lot.lot, "deliver")
            rows.move(
                connection, lot.lot, State.PROTOCOLLED, _ARRIVED, {"protocol": protocol},
                protocol=protocol, first_protocol=protocol, tiss_status=1, causes=[],
            )  # fmt: skip
        else:
            raise _cannot(
                tenant, lot, f"is neither in doubt nor about to be sent, nor refused by the operator, but {lot.state}"
            )
        schedule(connection, lot.lot, 0)
        enqueue_status(store, connection, lot.lot)
        return store.get(connection, lot.lot)


def retry(tenant: Tenant, batch_number: str, *, provider: str | None = None) -> Lot:
    """Try again: a refused lot from its check on, one in doubt that has not arrived, what waits for its next attempt.

    Raises DataError for a lot of which there is nothing to try.
    """
    with store_of(tenant) as store, store.transaction() as connection:
        lot = only(store, connection, batch_number, provider)
        hurried = connection.execute(
            "UPDATE hat_etl.billing_outbox SET not_before = now() WHERE lot = %s AND state = 'waiting'", (lot.lot,)
        ).rowcount
        match lot.state:
            case State.REFUSED:
                rows.move(connection, lot.lot, State.PULLED, "tried again", causes=[], tiss_status=None)
            case State.UNKNOWN:
                rows.move(connection, lot.lot, State.QUEUED, "has not arrived, as a person says")
                rows.enqueue(connection, lot.lot, "deliver", {"sha256": lot.sha256})
            case _ if hurried:
                rows.note(connection, lot.lot, "hurried")
            case _:
                raise _cannot(tenant, lot, f"is {lot.state} and has nothing that could be tried again")
        return store.get(connection, lot.lot)


def only(store: Store, connection: Connection, batch_number: str, provider: str | None) -> Lot:
    """The lot with this number, locked. Raises DataError when there is none, or several providers have one."""
    found = connection.execute(
        "SELECT lot, provider FROM hat_etl.billing_lots WHERE batch_number = %s AND provider = coalesce(%s, provider)",
        (batch_number, provider),
    ).fetchall()
    if not found:
        raise DataError(
            "There is no such lot.", f"List the lots with: hat-etl billing show {store.tenant.name}", store.tenant.name
        )
    if len(found) > 1:
        raise DataError(
            f"Several providers have a lot {batch_number}: {', '.join(sorted(str(row[1]) for row in found))}.",
            "Name the provider with --provider.",
            store.tenant.name,
        )
    return store.get(connection, int(found[0][0]), lock=True)


def _is_a_persons(connection: Connection, lot: Lot) -> bool:
    """Whether a person, not the operator, has told the lot's first protocol: then it may be another lot's."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM hat_etl.billing_history WHERE lot = %s AND event IN (%s, %s)"
        " AND detail ->> 'protocol' = %s)",
        (lot.lot, _ARRIVED, _CORRECTED, lot.first_protocol),
    ).fetchone()
    return row == (True,)


def _is_refused_by_operator(connection: Connection, lot: Lot) -> bool:
    """Whether it was the operator that has refused the lot, and not the check."""
    row = connection.execute(
        "SELECT from_state FROM hat_etl.billing_history WHERE lot = %s AND to_state = 'refused'"
        " ORDER BY id DESC LIMIT 1",
        (lot.lot,),
    ).fetchone()
    return lot.state is State.REFUSED and row in ((str(State.SENT),), (str(State.UNKNOWN),))


def _take_other_content(store: Store, connection: Connection, lot: Lot) -> None:
    if lot.state not in UNSENT | {State.REFUSED}:
        raise _cannot(
            store.tenant, lot, f"is {lot.state}: the operator has the old file, or may have it, and gets no other"
        )
    latest = latest_content(connection, lot)
    rows.drop(connection, lot.lot, "deliver")
    if lot.state is State.PULLED:
        rows.change(connection, lot.lot, "other content taken", {"sha256": latest}, sha256=latest)
    else:
        rows.move(
            connection, lot.lot, State.PULLED, "other content taken", {"sha256": latest}, sha256=latest, causes=[]
        )


def _follow_late_deletion(store: Store, connection: Connection, lot: Lot) -> None:
    if lot.state is State.SENT:
        raise _cannot(store.tenant, lot, "is on its way to the operator: decide when it is known how that has ended")
    if lot.state not in WITH_OPERATOR | {State.WITHDRAWN}:
        # Nothing may deliver any more what HAT is told to forget.
        rows.drop(connection, lot.lot, "deliver")
        rows.move(connection, lot.lot, State.WITHDRAWN, "deleted in HAT")
    enqueue_deletion(connection, lot)


def _refuse(store: Store, connection: Connection, lot: Lot) -> None:
    reason = cause("5053", "Número de lote repetido", "O prestador já usou este número de lote em outro lote.")
    rows.move(connection, lot.lot, State.REFUSED, "refused: number reused", causes=[reason.document()])
    enqueue_status(store, connection, lot.lot)


def _cannot(tenant: Tenant, lot: Lot, why: str) -> DataError:
    return DataError(
        f"Lot {lot.batch_number} of provider {lot.provider} {why}.",
        f"Look at it with: {about(tenant.name, lot, 'show')}",
        tenant.name,
    )
