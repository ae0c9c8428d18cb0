"""Lots to the operator, through the outbox: written first, sent after, and asked about where the outcome is not known.

Lots of one provider go one after the other, in the order in which the provider sent them to HAT; one that is in doubt,
or waits for its next attempt, lets none pass; one that waits for a person does. Providers go side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from math import inf
from typing import Any

from hat_etl.billing import store as rows
from hat_etl.billing.commands import about
from hat_etl.billing.contents import OutOfReach
from hat_etl.billing.due import UNCHECKED_BEFORE
from hat_etl.billing.operators.base import Absent, Letter, NoAnswer, NotSent, Operator, Rejected, Taken, Unclear
from hat_etl.billing.operators.profile import operator_of
from hat_etl.billing.push import enqueue_status
from hat_etl.billing.states import State
from hat_etl.billing.store import Lot, Store, store_of
from hat_etl.billing.work import Breaker, StageReport, each
from hat_etl.errors import DataError, DecisionNeeded
from hat_etl.target.database import Connection
from hat_etl.tenants.config import Tenant

_LONGEST_PAUSE = 3600.0


def send(tenant: Tenant) -> StageReport:
    """Deliver what waits, and settle what was left in doubt."""
    report = StageReport(tenant.name, "send")
    with store_of(tenant) as store, store.stage("send"), operator_of(tenant) as operator:
        _doubt_interrupted(store, report)
        _queue(store)
        breaker = Breaker()

        def work(lots: list[int]) -> None:
            _Provider(store, operator, report, breaker).go(lots)

        each(_by_provider(store), work, tenant.billing.workers)
        if breaker.is_open or report.counts["not sent"]:
            report.problem(breaker.problem(tenant.name))
    return report.finish()


def _doubt_interrupted(store: Store, report: StageReport) -> None:
    """Lots whose delivery nobody drives any more: the stage is ours, so whoever began them is gone."""
    for lot in store.lots("state = 'sent'"):
        with store.transaction() as connection:
            rows.move(connection, lot.lot, State.UNKNOWN, "delivery interrupted", next_poll=None)
        report.count("unknown")


def _queue(store: Store) -> None:
    """Write the deliveries into the outbox."""
    for lots in store.portions(f"state = 'validated' AND hold IS NULL AND NOT EXISTS ({UNCHECKED_BEFORE})"):
        with store.transaction() as connection:
            for number in (lot.lot for lot in lots):
                lot = store.get(connection, number, lock=True)
                # A person may have decided about it meanwhile.
                if lot.state is State.VALIDATED and lot.hold is None:
                    rows.move(connection, number, State.QUEUED, "queued")
                    rows.enqueue(connection, number, "deliver", {"sha256": lot.sha256})


def _by_provider(store: Store) -> Iterator[list[int]]:
    with store.connection() as connection:
        found = connection.execute(
            "SELECT provider, lot FROM hat_etl.billing_lots WHERE state IN ('queued', 'unknown')"
            f" AND hold IS NULL ORDER BY {rows.ORDER}"
        ).fetchall()
    for _, lots in groupby(found, key=lambda row: row[0]):
        yield [int(row[1]) for row in lots]


class _Provider:
    """The lots of one provider, in their order."""

    def __init__(self, store: Store, operator: Operator, report: StageReport, breaker: Breaker) -> None:
        self._store, self._operator, self._report, self._breaker = store, operator, report, breaker
        self._poll_seconds = store.tenant.billing.poll_minutes * 60.0

    def go(self, lots: list[int]) -> None:
        """Deliver them until one has to wait."""
        try:
            for lot in lots:
                if self._breaker.is_open or not self._one(lot):
                    return
        except (DataError, OutOfReach) as error:
            # What is wrong with one lot concerns its provider only.
            self._report.problem(error)

    def _one(self, number: int) -> bool:
        """Whether the next one may go."""
        with self._store.connection() as connection:
            lot = self._store.get(connection, number)
        if lot.hold is None and lot.state is State.UNKNOWN and not self._ask(lot):
            return False
        return self._deliver(number)

    def _ask(self, lot: Lot) -> bool:
        """Ask the operator about a lot in doubt; whether the doubt is over."""
        ripe_seconds = self._ripe_seconds(lot)
        if ripe_seconds < 0:
            self._report.count("waiting")
            return False
        found = self._operator.find(question_about(self._store, lot, ripe_seconds))
        with self._store.transaction() as connection:
            lot = self._store.get(connection, lot.lot, lock=True)
            if lot.state is not State.UNKNOWN:
                return True
            other = isinstance(found, Taken) and self._store.holder(connection, lot, found.protocol)
            if other:
                found = NoAnswer(f"it tells a protocol that lot {other} has", ambiguous=True)
            match found:
                case Taken() | Rejected():
                    self._settle(connection, lot, found, "found at the operator")
                case Absent():
                    rows.move(connection, lot.lot, State.QUEUED, "not at the operator")
                    rows.enqueue(connection, lot.lot, "deliver", {"sha256": lot.sha256})
                case NoAnswer(later=True):
                    schedule(connection, lot.lot, self._poll_seconds)
                    self._report.count("waiting")
                    return False
                case NoAnswer(why, down):
                    schedule(connection, lot.lot, self._poll_seconds)
                    self._breaker.note(down=down, why=why)
                    rows.note(connection, lot.lot, "asked in vain", {"why": why})
                    self._report.count("unknown")
                    self._report.problem(_doubt(self._store.tenant, lot, why))
                    return False
        return True

    def _ripe_seconds(self, lot: Lot) -> float:
        """For how long the operator may be asked about the lot; less than nothing while it may not."""
        with self._store.connection() as connection:
            row = connection.execute(
                "SELECT extract(epoch FROM now() - state_since) FROM hat_etl.billing_lots WHERE lot = %s", (lot.lot,)
            ).fetchone()
        assert row is not None
        return float(row[0]) - self._store.tenant.billing.unknown_wait_seconds

    def _deliver(self, number: int) -> bool:
        with self._store.transaction() as connection:
            lot = self._store.get(connection, number, lock=True)
            if lot.hold is not None or lot.state is not State.QUEUED:
                return True
            if not _is_due(connection, lot.lot):
                self._report.count("waiting")
                return False
            content = self._store.content(connection, lot)
            again = _may_be_there(connection, lot)
            rows.move(connection, lot.lot, State.SENT, "sent", {"sha256": lot.sha256})
        # Committed: from here on a break leaves a lot in doubt, never one that is sent twice.
        outcome = self._operator.deliver(letter_of(lot, content, again=again))
        with self._store.transaction() as connection:
            message = rows.waiting(connection, lot.lot, "deliver")
            if again and isinstance(outcome, Taken) and self._store.holder(connection, lot, outcome.protocol):
                outcome = Unclear("its double is another lot")
            match outcome:
                case Taken() | Rejected():
                    self._breaker.note(down=False)
                    if message is not None:
                        rows.done(connection, message.id)
                    self._settle(connection, lot, outcome, "delivered")
                    return True
                case NotSent(why):
                    self._breaker.note(down=True, why=why)
                    rows.move(connection, lot.lot, State.QUEUED, "not sent", {"why": why})
                    if message is not None:
                        rows.put_off(connection, message.id, why, self._pause(message.attempts))
                    self._report.count("not sent")
                case Unclear(why):
                    rows.move(connection, lot.lot, State.UNKNOWN, "no answer", {"why": why}, next_poll=None)
                    self._report.count("unknown")
        return False

    def _pause(self, attempts: int) -> float:
        return min(self._store.tenant.billing.retry_seconds * 2.0 ** min(attempts, 20), _LONGEST_PAUSE)

    def _settle(self, connection: Connection, lot: Lot, outcome: Taken | Rejected, how: str) -> None:
        rows.drop(connection, lot.lot, "deliver")
        causes = [item.document() for item in outcome.causes]
        if isinstance(outcome, Rejected):
            detail: dict[str, Any] = {"codes": [item["code"] for item in causes]}
            rows.move(connection, lot.lot, State.REFUSED, f"{how}: refused", detail, causes=causes)
            self._report.count("refused")
        else:
            rows.move(
                connection, lot.lot, State.PROTOCOLLED, how, {"protocol": outcome.protocol},
                causes=causes, first_protocol=outcome.protocol, protocol=outcome.protocol, tiss_status=1,
            )  # fmt: skip
            schedule(connection, lot.lot, self._poll_seconds)
            self._report.count("protocolled")
        enqueue_status(self._store, connection, lot.lot)


def schedule(connection: Connection, lot: int, seconds: float | None) -> None:
    """Ask the operator about the lot after so many seconds; None: not any more."""
    connection.execute(
        "UPDATE hat_etl.billing_lots SET next_poll = now() + make_interval(secs => %s) WHERE lot = %s", (seconds, lot)
    )


def _is_due(connection: Connection, lot: int) -> bool:
    row = connection.execute(
        "SELECT not_before <= now() FROM hat_etl.billing_outbox WHERE lot = %s AND kind = 'deliver'"
        " AND state = 'waiting'",
        (lot,),
    ).fetchone()
    return row == (True,)


def _may_be_there(connection: Connection, lot: Lot) -> bool:
    """Whether a delivery of these bytes ended in doubt, and the operator has not refused the lot since."""
    doubt, digest = False, None
    for state, sha256 in connection.execute(
        "SELECT to_state, detail ->> 'sha256' FROM hat_etl.billing_history"
        " WHERE lot = %s AND to_state IN ('sent', 'unknown', 'refused') ORDER BY id",
        (lot.lot,),
    ):
        if state == State.SENT:
            digest = sha256
        elif state == State.REFUSED:
            doubt = False
        elif digest == lot.sha256:
            doubt = True
    return doubt


def letter_of(lot: Lot, content: bytes = b"", *, again: bool = False) -> Letter:
    """The lot as the operator gets it, or is asked about it."""
    return Letter(
        lot=lot.lot,
        batch_number=lot.batch_number,
        provider=lot.provider,
        lot_number=lot.lot_number or "",
        origin_kind=lot.origin_kind,
        origin_code=lot.origin_code,
        auth_type=lot.auth_type,
        version=lot.version,
        protocol=lot.protocol,
        again=again,
        content=content,
        sha256=lot.sha256,
        pulled_at=lot.pulled_at,
    )


def question_about(store: Store, lot: Lot, ripe_seconds: float = inf) -> Letter:
    """The lot as the operator is asked about it."""
    with store.connection() as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM hat_etl.billing_lots WHERE provider = %s AND lot_number = %s AND lot <> %s)",
            (lot.provider, lot.batch_number, lot.lot),
        ).fetchone()
    return replace(letter_of(lot), named_elsewhere=row == (True,), ripe_seconds=ripe_seconds)


def _doubt(tenant: Tenant, lot: Lot, why: str) -> DecisionNeeded:
    return DecisionNeeded(
        f"It is not known whether lot {lot.batch_number} of provider {lot.provider} has reached the operator, and"
        f" asking did not tell ({why}). Later lots of the provider wait.",
        "It is asked again with the next run. Or look at the operator's portal, then:"
        f" {about(tenant.name, lot, 'release', '--protocol', 'NUMBER')} (it has arrived), or"
        f" {about(tenant.name, lot, 'retry')} (it has not).",
        tenant.name,
    )
