"""Status and denials from the operator. A status may go back; every change is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from threading import Lock
from typing import Any

from hat_etl.billing import store as rows
from hat_etl.billing.commands import about
from hat_etl.billing.deliver import question_about, schedule
from hat_etl.billing.operators.base import Denials, NoAnswer, Operator, Standing
from hat_etl.billing.operators.profile import operator_of
from hat_etl.billing.push import enqueue_status
from hat_etl.billing.states import NOT_FOUND, OPEN, WITH_OPERATOR, analysed, state_of
from hat_etl.billing.store import Lot, Store, store_of
from hat_etl.billing.work import Breaker, StageReport, each
from hat_etl.errors import DecisionNeeded, OperatorError
from hat_etl.target.database import Connection
from hat_etl.tenants.config import Tenant

_DAY = 86_400.0
_STATUSES, _MOST = 100, 10**11
"""Statuses of protocols have two digits at most; no lot is worth more, in reais."""
SENDER = ("provider", "origin_code", "version")
"""What lots have in common for whose statements one question may ask."""
GUIDES_AT_ONCE = 300
"""Guides that a question about several lots may be about: the answer, with all denials, is read whole."""


def poll(tenant: Tenant, *, everything: bool = False) -> StageReport:
    """Ask the operator about every lot that is due; ``everything``: about all that it has."""
    report = StageReport(tenant.name, "poll")
    with store_of(tenant) as store, store.stage("poll"), operator_of(tenant) as operator:
        _Poll(store, operator, report).all(everything=everything)
    return report.finish()


class _Poll:
    def __init__(self, store: Store, operator: Operator, report: StageReport) -> None:
        self._store, self._operator, self._report = store, operator, report
        self._breaker = Breaker()
        self._lock = Lock()
        self._unstated: list[int] = []
        self._turned_away = ""
        """How the operator has turned a question away, as with a login that it does not know."""
        self._has_answered = False

    def all(self, *, everything: bool) -> None:
        states = [str(state) for state in WITH_OPERATOR]
        due = "" if everything else " AND next_poll <= now()"
        numbers = self._store.numbers(f"state = ANY (%s){due}", (states,), order="next_poll")
        each(numbers, self._status, self._store.tenant.billing.workers)
        if self._operator.statements_at_once:
            lots = self._store.lots("lot = ANY (%s)", (self._unstated,), order=", ".join(SENDER))
            groups = asked_together(lots, self._operator.statements_at_once)
            each(groups, self._statement, self._store.tenant.billing.workers)
        if self._breaker.is_open:
            self._report.problem(self._breaker.problem(self._store.tenant.name))
        elif self._turned_away and not self._has_answered:
            self._report.problem(
                OperatorError(
                    f"The operator turns away what it is asked about lots ({self._turned_away}).",
                    f"See that addresses and login are right: hat-etl doctor {self._store.tenant.name}",
                    self._store.tenant.name,
                )
            )

    def _status(self, number: int) -> None:
        if self._breaker.is_open:
            return
        with self._store.connection() as connection:
            lot = self._store.get(connection, number)
        answer = self._operator.status(question_about(self._store, lot))
        if isinstance(answer, NoAnswer):
            self._breaker.note(down=answer.down, why=answer.why)
            self._turned_away = answer.why if answer.turned_away else self._turned_away
        else:
            self._breaker.note(down=False)
            self._has_answered = True
        self._report.count("asked")
        if isinstance(answer, Standing) and not (0 <= answer.status < _STATUSES and _fit(answer)):
            answer = NoAnswer("a status or an amount that cannot be")
        if isinstance(answer, Standing) and answer.status != NOT_FOUND:
            doubt = self._take(lot, answer)
            if doubt is None:
                return
            answer = doubt
        self._report.count("no answer" if isinstance(answer, NoAnswer) else "not found")
        if isinstance(answer, NoAnswer) and answer.ambiguous:
            self._report.problem(_ambiguous(self._store.tenant.name, lot, answer.why))
        with self._store.transaction() as connection:
            if self._is_corrected(connection, lot):
                return
            self._schedule(connection, lot)
            if not isinstance(answer, NoAnswer) and lot.tiss_status not in (None, 1):
                # The operator knew it before: worth a line, while what was told last stays.
                rows.note(connection, number, "not found at the operator")

    def _take(self, asked: Lot, answer: Standing) -> NoAnswer | None:
        """Keep what the operator tells; what speaks against that, where it may be about another lot."""
        number = asked.lot
        with self._store.transaction() as connection:
            if self._is_corrected(connection, asked):
                return None
            lot = self._store.get(connection, number)
            if lot.state not in WITH_OPERATOR:
                return None
            protocol = answer.protocol or lot.protocol
            other = None if protocol == lot.protocol else self._store.holder(connection, lot, protocol)
            if other is not None:
                return NoAnswer(f"it tells a protocol that lot {other} has", ambiguous=True)
            before = _told_before(connection, lot)
            told = tuple(old if new is None else new for old, new in zip(before, _decision(answer), strict=True))
            moved = (answer.status, protocol) != (lot.tiss_status, lot.protocol)
            if moved or (analysed(answer.status) and told != before):
                detail = {
                    "status": answer.status, "before": lot.tiss_status, "protocol": protocol,
                    "processed": told[0], "denied": told[1],
                }  # fmt: skip
                rows.move(
                    connection, number, state_of(answer.status), "status" if moved else "amounts", detail,
                    tiss_status=answer.status, protocol=protocol, first_protocol=lot.first_protocol or protocol,
                    **_denials_after(lot, answer, same=told == before), **_amounts(answer),
                )  # fmt: skip
                self._report.count("changed")
                enqueue_status(self._store, connection, number)
            lot = self._store.get(connection, number)
            self._schedule(connection, lot)
        if analysed(answer.status) and lot.stated_status != answer.status:
            with self._lock:
                self._unstated.append(number)
        return None

    def _is_corrected(self, connection: Connection, asked: Lot) -> bool:
        """Whether a person has corrected the protocol meanwhile: the answer is about the wrong one. Locks the lot."""
        return self._store.get(connection, asked.lot, lock=True).protocol != asked.protocol

    def _schedule(self, connection: Connection, lot: Lot) -> None:
        billing, status = self._store.tenant.billing, lot.tiss_status or 0
        unstated = self._operator.statements_at_once and analysed(status) and lot.stated_status != status
        if lot.state in OPEN or unstated:
            schedule(connection, lot.lot, billing.poll_minutes * 60)
            return
        row = connection.execute(
            "SELECT state_since > now() - make_interval(days => %s) FROM hat_etl.billing_lots WHERE lot = %s",
            (billing.reversal_days, lot.lot),
        ).fetchone()
        schedule(connection, lot.lot, _DAY if row == (True,) else None)

    def _statement(self, lots: list[Lot]) -> None:
        if self._breaker.is_open:
            return
        answer = self._operator.statement([question_about(self._store, lot) for lot in lots])
        if isinstance(answer, NoAnswer):
            self._breaker.note(down=answer.down, why=answer.why)
        ready = {} if isinstance(answer, NoAnswer) else answer
        for lot in lots:
            if lot.lot in ready and _fit(ready[lot.lot]):
                self._take_denials(lot, ready[lot.lot])
            else:
                self._report.count("no statement")
                with self._store.transaction() as connection:
                    schedule(connection, lot.lot, self._store.tenant.billing.poll_minutes * 60)

    def _take_denials(self, lot: Lot, denials: Denials) -> None:
        causes = [item.document() for item in denials.causes]
        detail = {"denied": denials.denied, "codes": [item["code"] for item in causes]}
        with self._store.transaction() as connection:
            if self._is_corrected(connection, lot):
                return
            rows.change(
                connection, lot.lot, "statement", detail, causes=causes, stated_status=lot.tiss_status,
                **_amounts(denials),
            )  # fmt: skip
            enqueue_status(self._store, connection, lot.lot)
            self._schedule(connection, self._store.get(connection, lot.lot))
        self._report.count("statements")


def _ambiguous(tenant: str, lot: Lot, why: str) -> DecisionNeeded:
    return DecisionNeeded(
        f"What the operator tells of lot {lot.batch_number} of provider {lot.provider} may be about another: {why}.",
        "Look at the operator's portal which protocol is the lot's, then:"
        f" {about(tenant, lot, 'release', '--protocol', 'NUMBER')}",
        tenant,
    )


def asked_together(lots: Iterable[Lot], at_once: int) -> Iterator[list[Lot]]:
    """Lots, in the order of ``SENDER``, by the questions in which their statements are asked for."""
    for _, of_sender in groupby(lots, key=attrgetter(*SENDER)):
        group, guides = list[Lot](), 0
        for lot in of_sender:
            if group and (len(group) == at_once or guides + (lot.guides or 0) > GUIDES_AT_ONCE):
                yield group
                group, guides = [], 0
            group.append(lot)
            guides += lot.guides or 0
        yield group


def _decision(answer: Standing) -> tuple[Decimal | None, Decimal | None]:
    return answer.processed, answer.denied


def _told_before(connection: Connection, lot: Lot) -> tuple[Decimal | None, Decimal | None]:
    """The same of the answer before: what the lot has may be of a statement, which may count otherwise."""
    row = connection.execute(
        "SELECT (detail ->> 'processed')::numeric, (detail ->> 'denied')::numeric FROM hat_etl.billing_history"
        " WHERE lot = %s AND event IN ('status', 'amounts') AND detail ? 'denied' ORDER BY id DESC LIMIT 1",
        (lot.lot,),
    ).fetchone()
    return (lot.processed, lot.denied) if row is None else (row[0], row[1])


def _denials_after(lot: Lot, answer: Standing, *, same: bool) -> dict[str, Any]:
    """What an answer says of the denials: they last as long as the decision that they came with.

    No statement is asked for where nothing is denied, or nothing else than the last one has told (``same``).
    """
    if not analysed(answer.status):
        return {"causes": [] if analysed(lot.tiss_status or 0) else lot.causes, "stated_status": None}
    if answer.denied == 0:
        return {"causes": [], "stated_status": answer.status}
    known = same and lot.stated_status is not None and None not in _decision(answer)
    return {"causes": lot.causes, "stated_status": answer.status if known else None}


def _fit(told: Standing | Denials) -> bool:
    """Whether the amounts are some that can be kept."""
    return all(amount.is_finite() and abs(amount) < _MOST for amount in _amounts(told).values())


def _amounts(told: Standing | Denials) -> dict[str, Decimal]:
    """The amounts that were told, by column."""
    amounts = {"processed": told.processed, "denied": told.denied, "released": told.released}
    return {name: amount for name, amount in amounts.items() if amount is not None}
