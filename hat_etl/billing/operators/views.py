"""The ERP itself asked about lots, by the extraction views: account and totals (BCI), files (BXX), denials (BDX).

For operators whose PLS is at hand and whose TISS service tells little: it takes no lots, it is only asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock
from typing import Any

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
    """The views of one tenant, all as of the moment of the first question."""

    statements_at_once = 50

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._open = ExitStack()
        self._lock = Lock()
        self._snapshot: Snapshot | None = None
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
            if account is not None:
                return Taken(str(account["protocol_number"]))
            return self._file(letter)
        except HatEtlError as error:
            return _no_answer(error)

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        try:
            account = self._account(letter)
        except HatEtlError as error:
            return _no_answer(error)
        if account is None:
            return Absent()
        if account["status"] is None:
            return NoAnswer("an account without a status")
        value, denied = account["value"], account["glossed_value"]
        released = None if value is None or denied is None else value - denied
        return Standing(int(account["status"]), str(account["protocol_number"]), value, denied, released)

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        try:
            accounts = {letter.lot: self._account(letter) for letter in letters}
            return {lot: self._denials(account) for lot, account in accounts.items() if account is not None}
        except HatEtlError as error:
            return _no_answer(error)

    def _account(self, letter: Letter) -> Row | None:
        """The account (PEG) of a lot: the one with its protocol, else the latest with one of its numbers."""
        found: list[Row] = []
        for batch in dict.fromkeys((letter.lot_number, letter.batch_number)):
            found += self._rows(_ACCOUNTS, health_provider_id=letter.provider, batch_number=batch)
        named = [row for row in found if letter.protocol is not None and row["protocol_number"] == letter.protocol]
        return max(named or found, key=lambda row: int(row["source_recno"]), default=None)

    def _file(self, letter: Letter) -> Taken | Rejected | Absent:
        files = self._rows(received_files, health_provider_code=letter.provider, file_name=file_name(letter))
        latest = max(files, key=lambda row: int(row["source_recno"]), default=None)
        if latest is None:
            return Absent()
        if latest["status"] == _REJECTED:
            return Rejected((cause("5001", "Arquivo recusado pelo PLS", "As críticas estão no PLS."),))
        return Taken(latest["protocol_number"])

    def _denials(self, account: Row) -> Denials:
        key = {name: account[name] for name in ("health_insurer_id", "typing_location", "protocol_number")}
        rows = sorted(self._rows(denials, **key), key=lambda row: (row["guide_number"], row["sequence"]))
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

    def _rows(self, entity: Entity, **key: str) -> list[Row]:
        """The live rows with these values. Raises SourceError, DecisionNeeded or ConfigurationError."""
        snapshot = self._reading()
        transform = self._transformers[entity.table]
        batches: Iterable[Any] = snapshot.matching(self._shapes[entity.table], key)
        rows = [row for raw in batches for row in transform(raw).good.to_pylist()]
        return [row for row in rows if all(row[name] == value for name, value in key.items())]

    def _reading(self) -> Snapshot:
        with self._lock:
            if self._snapshot is None:
                if not self._tenant.erp.is_open(datetime.now(UTC)):
                    raise WindowClosed(
                        "The ERP may not be read now: its windows are closed.", "Wait.", self._tenant.name
                    )
                source = self._open.enter_context(
                    closing(open_source(self._tenant, f"hat-etl billing poll {self._tenant.name}"))
                )
                self._shapes = {entity.table: source.describe(entity) for entity in _VIEWS}
                self._snapshot = self._open.enter_context(source.snapshot())
            return self._snapshot


def _reais(value: Decimal | None) -> str:
    return "0,00" if value is None else f"{value:.2f}".replace(".", ",")


def _no_answer(error: HatEtlError) -> NoAnswer:
    """Windows of the ERP that are closed are no failure: the lot is asked about later."""
    return NoAnswer(error.cause, down=not isinstance(error, WindowClosed))
