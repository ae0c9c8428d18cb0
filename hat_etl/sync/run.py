"""What all runs share: who watches them, what they report, how the ledger learns of their failure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import psycopg

from hat_etl.errors import DecisionNeeded, HatEtlError
from hat_etl.target import ledger
from hat_etl.target.database import Connection
from hat_etl.target.ledger import TableOutcome


@dataclass(frozen=True)
class Problem:
    """Why a table was left out of a run."""

    table: str
    message: str
    next_step: str

    def as_dict(self) -> dict[str, str]:
        return {"table": self.table, "message": self.message, "next_step": self.next_step}


class Progress(Protocol):
    """Told of a run's advance, from several threads."""

    def planned(self, table: str, estimated_rows: int) -> None:
        """A table will be read; the estimate is the ERP's own."""

    def advanced(self, table: str, rows: int) -> None:
        """So many more rows are read."""

    def phase(self, name: str) -> None:
        """What the run does now, in a few words."""


class Silent:
    """Progress that nobody watches."""

    def planned(self, table: str, estimated_rows: int) -> None: ...

    def advanced(self, table: str, rows: int) -> None: ...

    def phase(self, name: str) -> None: ...


@dataclass(frozen=True)
class RunReport:
    """What a run did: the object that ``--json`` prints."""

    tenant: str
    run: int
    mode: str
    state: str
    seconds: float
    peak_mib: float
    tables: tuple[TableOutcome, ...]
    rewritten: tuple[str, ...] = ()
    """Tables whose rows were rewritten in place because other objects depend on some of them."""
    problems: tuple[Problem, ...] = ()
    """Tables that were left out, and why."""
    remarks: tuple[str, ...] = ()
    """What else is to be told of the views."""
    horizon: datetime | None = None
    """The moment of the ERP that the tables show."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "run": self.run,
            "mode": self.mode,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "peak_mib": round(self.peak_mib, 1),
            "tables": [table.as_dict() for table in self.tables],
            "problems": [problem.as_dict() for problem in self.problems],
            "remarks": list(self.remarks),
            "horizon": None if self.horizon is None else self.horizon.isoformat(),
        }


def close_ledger(control: Connection, run: int, error: BaseException) -> None:
    """Let the ledger know why a run has failed; where it cannot be told, the next run marks this one as abandoned."""
    state = "stopped" if isinstance(error, DecisionNeeded) else "failed"
    text = str(error) if isinstance(error, HatEtlError) else f"broken off ({type(error).__name__})"
    with suppress(psycopg.Error):  # what the run has failed of is what is to be told
        ledger.fail(control, run, state, text)
