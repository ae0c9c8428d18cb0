"""The ERP itself asked about lots, by the extraction views: account and totals (BCI), files (BXX), denials (BDX).

For operators whose PLS is at hand and whose TISS service tells little: it takes no lots, it is only asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from threading import Condition
from typing import Any
from zoneinfo import ZoneInfo

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
from hat_etl.billing.operators.pls import file_name
from hat_etl.entities import BY_TABLE
from hat_etl.entities.billing import denials, received_files
from hat_etl.entities.model import Entity
from hat_etl.errors import HatEtlError, WindowClosed
from hat_etl.source.erp import open_source
from hat_etl.source.reader import Snapshot, ViewShape
from hat_etl.tenants.config import Tenant
from hat_etl.transform import Transformer

_ACCOUNTS = BY_TABLE["batch_authorizations"]
_VIEWS = (_ACCOUNTS, received_files, denials)
_REJECTED = "2"
"""BXX_STATUS of a file that PLS does not take."""
_MOST_CAUSES = 50
_OTHER_REASON = "1899"
"""Code of table 38 of TISS for a reason that has no code there."""

Row = Mapping[str, Any]


class ViewsOperator:
    """The views of one tenant, as of the moment of the first question, or of a later one that asks for it."""

    statements_at_once = 50

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._open = ExitStack()
        self._free = Condition()
        self._readers = 0
        self._snapshot: Snapshot | None = None
        self._begun = 0.0
        self._shapes: dict[str, ViewShape] = {}
        today = datetime.now(UTC).date()
        self._transformers = {entity.table: Transformer(entity, run=0, today=today) for entity in _VIEWS}

    def close(self) -> None:
        self._open.close()

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        return NotSent("the ERP's views take nothing")

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        try:
            account = self._account(letter)
            if account is None:
                return self._file(letter)
        except HatEtlError as error:
            return _no_answer(error)
        return account if isinstance(account, NoAnswer) else Taken(str(account["protocol_number"]))

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        try:
            account = self._account(letter)
        except HatEtlError as error:
            return _no_answer(error)
        if account is None or isinstance(account, NoAnswer):
            return account or Absent()
        if account["status"] is None:
            return NoAnswer("an account without a status")
        value, denied = account["value"], account["glossed_value"]
        released = None if value is None or denied is None else value - denied
        return Standing(int(account["status"]), str(account["protocol_number"]), value, denied, released)

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        try:
            accounts = [(letter, self._account(letter)) for letter in letters]
            return {
                letter.lot: self._denials(account, letter)
                for letter, account in accounts
                if account is not None and not isinstance(account, NoAnswer)
            }
        except HatEtlError as error:
            return _no_answer(error)

    def _account(self, letter: Letter) -> Row | NoAnswer | None:
        """The account (PEG) of a lot: the one with its protocol, else the only one of its number since it came.

        Of its numeroLote, or where nothing has that, of HAT's number.
        """
        found = {
            number: self._rows(_ACCOUNTS, letter, health_provider_id=letter.provider, batch_number=number)
            for number in (letter.lot_number, letter.batch_number)
        }
        for rows in found.values():
            for row in rows:
                if row["protocol_number"] == letter.protocol:
                    return row
        candidates = [row for row in found[letter.lot_number] if not self._is_older(row, letter)]
        if not candidates and not letter.named_elsewhere:
            candidates = [row for row in found[letter.batch_number] if not self._is_older(row, letter)]
        if len(candidates) > 1:
            return NoAnswer(f"{len(candidates)} accounts have its number", ambiguous=True)
        return candidates[0] if candidates else None

    def _is_older(self, account: Row, letter: Letter) -> bool:
        """Whether the account was there before the lot came. The ERP keeps days only, of its own time zone."""
        day, pulled_at = account["receipt_date"], letter.pulled_at
        if day is None or pulled_at is None:
            return False
        return bool(day < pulled_at.astimezone(ZoneInfo(self._tenant.erp.timezone)).date())

    def _file(self, letter: Letter) -> Taken | Rejected | Absent:
        files = self._rows(received_files, letter, health_provider_code=letter.provider, file_name=file_name(letter))
        latest = max(files, key=lambda row: int(row["source_recno"]), default=None)
        if latest is None:
            return Absent()
        if latest["status"] == _REJECTED:
            return Rejected((cause("5001", "Arquivo recusado pelo PLS", "As críticas estão no PLS."),))
        return Taken(latest["protocol_number"])

    def _denials(self, account: Row, letter: Letter) -> Denials:
        key = {name: account[name] for name in ("health_insurer_id", "typing_location", "protocol_number")}
        rows = sorted(self._rows(denials, letter, **key), key=lambda row: (row["guide_number"], row["sequence"]))
        causes = [
            cause(
                row["tiss_code"] or _OTHER_REASON,
                row["denial_description"] or f"Glosa {row['denial_code']}",
                f"Guia {row['guide_number']}, item {row['sequence']}, procedimento {row['procedure_code']}:"
                f" R$ {_reais(row['denied_value'])}",
            )
            for row in rows[:_MOST_CAUSES]
        ]
        if len(rows) > _MOST_CAUSES:
            causes.append(cause(_OTHER_REASON, "Mais glosas", f"Há mais {len(rows) - _MOST_CAUSES} glosas neste lote."))
        value, denied = account["value"], account["glossed_value"]
        released = None if value is None or denied is None else value - denied
        return Denials(tuple(causes), value, denied, released)

    def _rows(self, entity: Entity, letter: Letter, **key: str) -> list[Row]:
        """The live rows with these values. Raises SourceError, DecisionNeeded or ConfigurationError."""
        transform = self._transformers[entity.table]
        with self._reading(letter.ripe_seconds) as snapshot:
            batches: Iterable[Any] = snapshot.matching(self._shapes[entity.table], key)
            rows = [row for raw in batches for row in transform(raw).good.to_pylist()]
        return [row for row in rows if all(row[name] == value for name, value in key.items())]

    @contextmanager
    def _reading(self, oldest: float) -> Iterator[Snapshot]:
        """A snapshot that was begun at most so many seconds ago."""
        with self._free:
            while self._snapshot is not None and time.monotonic() - self._begun > oldest:
                if self._readers:
                    self._free.wait()
                else:
                    self._snapshot = None
                    self._open.close()
            snapshot = self._snapshot = self._snapshot or self._begin()
            self._readers += 1
        try:
            yield snapshot
        finally:
            with self._free:
                self._readers -= 1
                self._free.notify_all()

    def _begin(self) -> Snapshot:
        if not self._tenant.erp.is_open(datetime.now(UTC)):
            raise WindowClosed("The ERP may not be read now: its windows are closed.", "Wait.", self._tenant.name)
        self._begun = time.monotonic()
        source = self._open.enter_context(
            closing(open_source(self._tenant, f"hat-etl billing poll {self._tenant.name}"))
        )
        self._shapes = {entity.table: source.describe(entity) for entity in _VIEWS}
        return self._open.enter_context(source.snapshot())


def _reais(value: Decimal | None) -> str:
    return "0,00" if value is None else f"{value:.2f}".replace(".", ",")


def _no_answer(error: HatEtlError) -> NoAnswer:
    """Windows of the ERP that are closed are no failure: the lot is asked about later."""
    closed = isinstance(error, WindowClosed)
    return NoAnswer(error.cause, down=not closed, later=closed)
