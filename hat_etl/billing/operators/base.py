"""What the loop asks of an operator, and what an operator may answer. Only ``Taken`` and ``Rejected`` are certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from math import inf
from typing import Protocol

from hat_etl.hat_api.bodies import RejectionCause


@dataclass(frozen=True)
class Letter:
    """A lot as it goes to the operator."""

    lot: int
    batch_number: str
    provider: str
    """The provider's code at the operator, as HAT has it."""
    lot_number: str
    """numeroLote of the file."""
    origin_kind: str | None
    """How the file names its provider: ``CNPJ``, ``CPF`` or ``codigoPrestadorNaOperadora``."""
    origin_code: str | None = field(repr=False)
    auth_type: str | None
    version: str | None
    protocol: str | None
    again: bool = False
    """Whether an earlier delivery may have arrived, so that being refused as a double means that it had."""
    content: bytes = field(default=b"", repr=False)
    """The file as HAT gave it; empty where only the status is asked for."""
    sha256: str = ""
    """Of the file, in hexadecimal."""
    pulled_at: datetime | None = None
    named_elsewhere: bool = False
    """Whether HAT's number is the numeroLote of another lot of the provider."""
    ripe_seconds: float = inf
    """For how long an answer about its arrival has counted: what was read before that tells nothing."""


@dataclass(frozen=True)
class Taken:
    """The operator has the lot. ``protocol`` is None where it will come later."""

    protocol: str | None
    causes: tuple[RejectionCause, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """The operator does not take the lot, and says why."""

    causes: tuple[RejectionCause, ...]


@dataclass(frozen=True)
class NotSent:
    """Nothing has reached the operator: it may be sent again at once."""

    why: str


@dataclass(frozen=True)
class Unclear:
    """It may have arrived or not."""

    why: str


@dataclass(frozen=True)
class Absent:
    """Asked, the operator does not have the lot."""


@dataclass(frozen=True)
class NoAnswer:
    """The operator did not answer a question, or cannot be asked it.

    ``down``: it could not be reached; ``turned_away``: its address or the login is wrong; ``later``: it may not be
    asked now, which is no failure; ``ambiguous``: only a person can tell.
    """

    why: str
    down: bool = False
    later: bool = False
    ambiguous: bool = False
    turned_away: bool = False


@dataclass(frozen=True)
class Standing:
    """Status of a lot at the operator (Tabela 45), with amounts in reais where they are known."""

    status: int
    protocol: str | None = None
    processed: Decimal | None = None
    denied: Decimal | None = None
    released: Decimal | None = None


@dataclass(frozen=True)
class Denials:
    """What the statement of a lot says: why something was denied, and amounts in reais."""

    causes: tuple[RejectionCause, ...]
    processed: Decimal | None = None
    denied: Decimal | None = None
    released: Decimal | None = None


class Operator(Protocol):
    """An operator's service. Threads may share it. Nothing raises but for a configuration that is wrong."""

    @property
    def statements_at_once(self) -> int:
        """Lots that one statement may be about; 0 where there is none."""

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        """Hand a lot over."""

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        """Ask whether the lot has arrived."""

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        """Ask where the lot stands."""

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        """What was denied of these lots (their ``lot`` to it); those that are not ready are left out."""

    def close(self) -> None:
        """Give up its connections."""


def cause(code: str, description: str, detail: str = "") -> RejectionCause:
    """A cause, cut to what HAT's schema takes."""
    return RejectionCause(code=code[:4], description=description[:500], detailed_description=detail[:500])
