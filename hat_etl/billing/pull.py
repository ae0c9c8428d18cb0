"""Lots from HAT: stored and committed first, marked as taken in HAT afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing

from hat_etl.billing import store as rows
from hat_etl.billing.commands import about
from hat_etl.billing.operators.profile import operator_of
from hat_etl.billing.push import enqueue_status, refusal, settle_deletion, tell
from hat_etl.billing.states import UNSENT, State
from hat_etl.billing.store import Lot, Store, store_of
from hat_etl.billing.validate import validate_pulled
from hat_etl.billing.work import Breaker, StageReport, each, waiting
from hat_etl.errors import DecisionNeeded, HatApiError
from hat_etl.hat_api.bodies import LotItem, LotUpdate, Page, RejectionCause
from hat_etl.hat_api.client import WAITING, HatApi, hat_api
from hat_etl.hat_api.files import Files, NotDownloaded
from hat_etl.hat_api.transport import Refused, Unreachable
from hat_etl.target.database import Connection
from hat_etl.tenants.config import Tenant

CONTENT_CHANGED, DELETED_LATE = "content_changed", "deleted_after_delivery"
"""Why a lot waits for a person: HAT has another file under its number; it was deleted when the operator had it."""

_ASKED = {CONTENT_CHANGED: "other content", DELETED_LATE: "deleted in HAT"}
"""Events of the history with which a lot begins to wait for these."""

_A_WHILE_AGO = "now() - interval '1 hour'"
"""What all lists have missed since then is no longer there: one may miss what moves between its pages meanwhile."""

_UNLISTED = "not_listed"
"""Code of a missing file whose lot the last list has missed, since ``last_at``."""

_MISSED, _BACK = "no longer listed in HAT", "listed in HAT"
"""Events of the history of a lot whose deletion waits to be told."""

_UNREADABLE = "lots without number or provider, or with an isDeleted that is neither true nor false,"

_TOLD_AFTER = 5
"""Failed downloads after which HAT is told, with code 5012."""


def pull(tenant: Tenant) -> StageReport:
    """Take every lot that waits in HAT, and check it.

    Raises ConfigurationError where nothing could deliver them, Unreachable when HAT does not give its list; what was
    taken until then stays, and where there is more to tell of it, the error is the last problem of the report.
    """
    report = StageReport(tenant.name, "pull")
    with (
        store_of(tenant) as store,
        store.stage("pull"),
        # Lots for which there is no operator stay in HAT's list, for whatever takes them from there.
        operator_of(tenant),
        hat_api(tenant) as api,
        closing(Files(tenant)) as files,
    ):
        lots = _Pull(store, api, files, report)
        try:
            lots.all()
        except HatApiError as error:
            if not report.problems:
                raise
            report.problem(error)
        else:
            # Only when the list is through: before that, a lot may be known whose predecessor is not.
            validate_pulled(store, report)
            lots.settle_unlisted()
    return report.finish()


class _Pull:
    def __init__(self, store: Store, api: HatApi, files: Files, report: StageReport) -> None:
        self._store, self._api, self._files, self._report = store, api, files, report
        self._breaker = Breaker()
        self._listed = set[tuple[str, str]]()
        self._is_read_whole = True

    def all(self) -> None:
        """Go through the list."""
        listed = waiting(self._page, _key, self._report, _UNREADABLE)
        for lots in listed:
            each(lots, self._take, self._store.tenant.billing.workers)

    def _page(self, page: int) -> Page[LotItem]:
        found = self._api.waiting_lots(page)
        self._listed.update(map(_key, found.items))
        self._is_read_whole &= not found.broken and (bool(found.items) or not found.has_next)
        return found

    def settle_unlisted(self) -> None:
        """Wait no more for what HAT lists no more, once its whole list is through."""
        if self._is_read_whole:
            self._forget_files()
            self._end_deletions()

    def _forget_files(self) -> None:
        with self._store.transaction() as connection:
            missing = connection.execute(
                f"SELECT provider, batch_number, code = '{_UNLISTED}', last_at < {_A_WHILE_AGO}"
                " FROM hat_etl.billing_missing_files ORDER BY first_at"
            ).fetchall()
            unlisted = [row for row in missing if row[:2] not in self._listed]
            gone = [(str(row[0]), str(row[1])) for row in unlisted if row[2:] == (True, True)]
            for key in gone:
                _forget_missing(connection, key)
            connection.cursor().executemany(
                f"UPDATE hat_etl.billing_missing_files SET code = '{_UNLISTED}', last_at = now()"
                " WHERE provider = %s AND batch_number = %s",
                [row[:2] for row in unlisted if not row[2]],
            )
        for provider, number in gone:
            self._report.count("no longer listed")
            self._report.problem(
                HatApiError(
                    f"HAT no longer lists lot {number} of provider {provider}, whose file could not be had.",
                    "It is waited for no more. If it is to be billed, have it set to trackingStatus 0 in HAT, or sent"
                    " anew by the provider.",
                    self._store.tenant.name,
                )
            )

    def _end_deletions(self) -> None:
        """A deleted lot is listed until its deletion is confirmed: HAT's answer was lost, or not understood."""
        with self._store.connection() as connection:
            untold = connection.execute(
                f"SELECT o.lot, l.provider, l.batch_number, h.event, h.at < {_A_WHILE_AGO}"
                " FROM hat_etl.billing_outbox o JOIN hat_etl.billing_lots l USING (lot) LEFT JOIN LATERAL"
                " (SELECT event, at FROM hat_etl.billing_history WHERE lot = o.lot AND event = ANY (%s)"
                " ORDER BY id DESC LIMIT 1) h ON true WHERE kind = 'delete' AND o.state = 'waiting'",
                ([_MISSED, _BACK, _ASKED[DELETED_LATE], "released"],),
            ).fetchall()
            for lot, provider, number, last, is_past in untold:
                if (provider, number) in self._listed:
                    if last == _MISSED:
                        rows.note(connection, lot, _BACK)
                elif last != _MISSED:
                    rows.note(connection, lot, _MISSED)
                elif is_past and settle_deletion(self._store, lot):
                    self._report.count("deleted")

    def _take(self, item: LotItem) -> None:
        try:
            self._follow(item)
        except (Refused, Unreachable) as error:
            # HAT takes no word on this one; it lists it again.
            error.cause = f"{_named(item)}: {error.cause}"
            self._report.problem(error)

    def _follow(self, item: LotItem) -> None:
        if item.is_deleted:
            self._follow_deletion(item)
            return
        self._drop_deletion(item)
        try:
            content = self._files.fetch(item)
        except NotDownloaded as error:
            self._miss(item, error)
            return
        with self._store.transaction() as connection:
            lot = self._keep(connection, item, content)
            _forget_missing(connection, _key(item))
        # Committed: only now may HAT forget that the lot waits.
        self._tell(lot)

    def _drop_deletion(self, item: LotItem) -> None:
        """HAT has the lot, whatever was to be told of a deletion, and whether or not its file can be had."""
        with self._store.transaction() as connection:
            known = self._store.find(connection, item.health_provider_id, item.batch_number)
            if known is not None:
                rows.drop(connection, known.lot, "delete")

    def _tell(self, lot: int) -> None:
        if self._call(lambda: tell(self._store, self._api, lot)) == "refused":
            with self._store.connection() as connection:
                self._report.problem(refusal(self._store, connection, lot))

    def _call(self, call: Callable[[], str | None]) -> str | None:
        """Tell HAT something, unless it has not answered three times in a row; counts refusals and deletions."""
        if self._breaker.is_open:
            return None
        try:
            became = call()
        except Unreachable:
            self._breaker.note(down=True)
            raise
        self._breaker.note(down=False)
        if became in ("refused", "deleted"):
            self._report.count(became)
        return became

    def _keep(self, connection: Connection, item: LotItem, content: bytes) -> int:
        # Two lists may name the lot at the same time.
        _serialise(connection, item)
        known = self._store.find(connection, item.health_provider_id, item.batch_number)
        if known is None:
            lot = rows.add(
                connection,
                batch_number=item.batch_number,
                provider=item.health_provider_id,
                batch_date=item.batch_date,
                auth_type=item.auth_type,
                content=content,
                place=self._store.contents.put(item.health_provider_id, item.batch_number, content),
            )
            self._report.count("pulled")
            enqueue_status(self._store, connection, lot)
            return lot
        # A person may have confirmed the deletion meanwhile.
        rows.drop(connection, known.lot, "delete")
        if known.state is State.WITHDRAWN:
            known = self._take_back(connection, known)
        digest = hashlib.sha256(content).hexdigest()
        if digest != known.sha256 and not _is_declined(connection, known, digest):
            self._stop(connection, known, content)
        else:
            self._report.count("known")
            if known.hold in (CONTENT_CHANGED, DELETED_LATE):
                rows.change(connection, known.lot, "as before in HAT", {"hold": known.hold}, hold=None)
        enqueue_status(self._store, connection, known.lot, again=True)
        return known.lot

    def _take_back(self, connection: Connection, known: Lot) -> Lot:
        """Let a lot that was withdrawn go on: from its check, or in doubt, if it was that."""
        row = connection.execute(
            "SELECT from_state FROM hat_etl.billing_history WHERE lot = %s AND to_state = 'withdrawn'"
            " ORDER BY id DESC LIMIT 1",
            (known.lot,),
        ).fetchone()
        state = State.UNKNOWN if row == (str(State.UNKNOWN),) else State.PULLED
        rows.move(connection, known.lot, state, "listed again in HAT", causes=[], tiss_status=None)
        return self._store.get(connection, known.lot)

    def _stop(self, connection: Connection, known: Lot, content: bytes) -> None:
        place = self._store.contents.put(known.provider, known.batch_number, content)
        digest = rows.add_content(connection, known.lot, content, place)
        detail = {"sha256": digest, "state": str(known.state)}
        rows.change(connection, known.lot, _ASKED[CONTENT_CHANGED], detail, hold=CONTENT_CHANGED)
        self._report.count("stopped")
        self._report.problem(
            DecisionNeeded(
                f"HAT has another file for lot {known.batch_number} of provider {known.provider} than the one that was"
                f" pulled; the lot is {known.state}.",
                "Ask the provider which one counts. Then:"
                f" {about(self._store.tenant.name, known, 'release', '--accept')} (the new one), or with --keep (the"
                " old one).",
                self._store.tenant.name,
            )
        )

    def _follow_deletion(self, item: LotItem) -> None:
        with self._store.transaction() as connection:
            _serialise(connection, item)
            _forget_missing(connection, _key(item))
            known = self._store.find(connection, item.health_provider_id, item.batch_number)
            if known is not None and not self._settle_deletion(connection, known):
                return
        if known is None:
            self._call(lambda: self._delete(item))
        else:
            self._tell(known.lot)

    def _delete(self, item: LotItem) -> str:
        self._api.delete_lot(item.batch_number, item.health_provider_id)
        return "deleted"

    def _settle_deletion(self, connection: Connection, known: Lot) -> bool:
        """Whether it is known what HAT is to be told of the deletion."""
        if _is_decided(connection, known, DELETED_LATE):
            return True
        if known.state in UNSENT | {State.REFUSED}:
            rows.drop(connection, known.lot, "deliver")
            rows.move(connection, known.lot, State.WITHDRAWN, "deleted in HAT", hold=None)
        elif known.state is not State.WITHDRAWN:
            self._deleted_late(connection, known)
            return False
        enqueue_deletion(connection, known)
        return True

    def _deleted_late(self, connection: Connection, known: Lot) -> None:
        if known.hold == DELETED_LATE:
            return
        rows.change(connection, known.lot, _ASKED[DELETED_LATE], {"state": str(known.state)}, hold=DELETED_LATE)
        self._report.count("stopped")
        self._report.problem(
            DecisionNeeded(
                f"Lot {known.batch_number} of provider {known.provider} was deleted in HAT, but the operator has it,"
                f" or may have it ({known.state}).",
                "Have it cancelled at the operator. Then:"
                f" {about(self._store.tenant.name, known, 'release', '--accept')} (confirm the deletion in HAT), or"
                " with --keep.",
                self._store.tenant.name,
            )
        )

    def _miss(self, item: LotItem, error: NotDownloaded) -> None:
        """Note a file that could not be had; after several times HAT is told, and the lot goes on waiting there."""
        with self._store.transaction() as connection:
            row = connection.execute(
                "INSERT INTO hat_etl.billing_missing_files AS m (provider, batch_number, code) VALUES (%s, %s, %s)"
                " ON CONFLICT (provider, batch_number) DO UPDATE SET attempts = m.attempts + 1, last_at = now(),"
                " code = excluded.code RETURNING attempts, told",
                (item.health_provider_id, item.batch_number, error.code),
            ).fetchone()
            assert row is not None
        self._report.count("missing")
        self._report.problem(type(error)(f"{_named(item)}: {error.cause}", error.next_step, self._store.tenant.name))
        if row[0] >= _TOLD_AFTER and not row[1]:
            self._call(lambda: self._tell_missing(item))

    def _tell_missing(self, item: LotItem) -> None:
        self._api.put_lot(_transport_failure(self._store.tenant, item))
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE hat_etl.billing_missing_files SET told = true WHERE provider = %s AND batch_number = %s",
                (item.health_provider_id, item.batch_number),
            )


def latest_content(connection: Connection, lot: Lot) -> str:
    """SHA-256 of the file that came last for the lot."""
    row = connection.execute(
        "SELECT sha256 FROM hat_etl.billing_contents WHERE lot = %s ORDER BY pulled_at DESC LIMIT 1", (lot.lot,)
    ).fetchone()
    assert row is not None, "each lot has a content"
    return str(row[0])


def enqueue_deletion(connection: Connection, lot: Lot) -> None:
    """Let HAT be told that the deletion of the lot is followed."""
    rows.enqueue(connection, lot.lot, "delete", {"batch_number": lot.batch_number, "provider": lot.provider})


def _key(item: LotItem) -> tuple[str, str]:
    return item.health_provider_id, item.batch_number


def _named(item: LotItem) -> str:
    """Providers may use one number."""
    return f"Lot {item.batch_number} of provider {item.health_provider_id}"


def _serialise(connection: Connection, item: LotItem) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", ("/".join(_key(item)),))


def _forget_missing(connection: Connection, key: tuple[str, str]) -> None:
    connection.execute("DELETE FROM hat_etl.billing_missing_files WHERE provider = %s AND batch_number = %s", key)


def _is_decided(connection: Connection, lot: Lot, hold: str) -> bool:
    """Whether a person has decided about what the lot waited for, and HAT has been told nothing since."""
    row = connection.execute(
        "SELECT detail ->> 'hold' = %s AND NOT EXISTS (SELECT FROM hat_etl.billing_outbox o WHERE o.lot = h.lot"
        " AND kind IN ('status', 'delete') AND o.state = 'done' AND done_at >= at)"
        " FROM hat_etl.billing_history h WHERE lot = %s AND event IN (%s, 'released')"
        " ORDER BY id DESC LIMIT 1",
        (hold, lot.lot, _ASKED[hold]),
    ).fetchone()
    untold = rows.waiting(connection, lot.lot, "delete") or rows.waiting(connection, lot.lot, "status")
    return row == (True,) and untold is not None


def _is_declined(connection: Connection, lot: Lot, sha256: str) -> bool:
    """Whether a person has kept the old file rather than this one, and HAT has been told nothing since."""
    return sha256 == latest_content(connection, lot) and _is_decided(connection, lot, CONTENT_CHANGED)


def _transport_failure(tenant: Tenant, item: LotItem) -> LotUpdate:
    cause = RejectionCause(
        code="5012",
        description="Recebimento do arquivo não finalizado",
        detailed_description="O arquivo do lote não pôde ser baixado. Nova tentativa será feita automaticamente.",
    )
    return LotUpdate(
        code_susep=tenant.ans_registry,
        batch_number=item.batch_number,
        health_provider_id=item.health_provider_id,
        tracking_status=WAITING,
        rejection_causes=[cause],
    )
