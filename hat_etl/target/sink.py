"""What else takes the changes of a merge beside the HAT tables: it is offered them before they are carried out.

A change that the sink does not take is not carried out either: its row goes to quarantine with the reason, and the
version that HAT has stays, as with every rejected row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hat_etl.entities.model import Entity

INCLUDE, CHANGE, EXCLUDE = "include", "change", "exclude"

RULE = "hat_api"
"""Rule of the entries of quarantine that a sink makes."""


@dataclass(frozen=True)
class Change:
    """One change of one row of a HAT table. ``row`` is the row afterwards, or the one that goes, as JSON text."""

    action: str
    key: tuple[str, ...]
    recno: int
    row: str


@dataclass(frozen=True)
class Refusal:
    """Why a change is not carried out: it was refused, or (``held``) nobody knows yet what became of it."""

    change: Change
    severity: Literal["reject", "held"]
    reason: str


class Sink(Protocol):
    """Takes the changes of one run, table by table, parents before children."""

    def actions(self, entity: Entity) -> frozenset[str]:
        """Those changes of a table that it wants to be offered; others are carried out without it."""

    def take(self, entity: Entity, changes: Sequence[Change]) -> list[Refusal]:
        """Take what can be taken; gives the rest. Raises HatEtlError when nothing can be taken now."""
