"""What becomes of a lot at the sandbox's operator: its statuses one after another, and its denials.

Both follow from the order in which lots arrived, so that a run can be told beforehand what it must find.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

CENT = Decimal("0.01")
RECEIVED = "1"
TAKEN_BACK = "3"


@dataclass(frozen=True)
class Item:
    """A line of a guide; amounts in reais."""

    sequence: str
    table: str
    code: str
    done_on: str
    total: Decimal


@dataclass(frozen=True)
class Guide:
    """A guide as the operator keeps it."""

    number: str
    card: str
    newborn: str
    total: Decimal
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Denied:
    """A denial of a whole guide (``item`` None) or of one line of it."""

    guide: str
    item: str | None
    code: str
    description: str
    value: Decimal


@dataclass(frozen=True)
class Course:
    """``statuses`` from terminology table 45, in their order; denials are known from the second one on."""

    statuses: tuple[str, ...]
    denies: str
    """``nothing``, ``item`` (half of one line) or ``all``."""

    def denials(self, guides: tuple[Guide, ...]) -> tuple[Denied, ...]:
        """What is denied of the guides of a lot."""
        if self.denies == "all":
            return tuple(
                Denied(guide.number, None, "1702", "COBRANÇA DE PROCEDIMENTO EM DUPLICIDADE", guide.total)
                for guide in guides
            )
        if self.denies == "item":
            guide = guides[0]
            item = guide.items[0]
            half = (item.total / 2).quantize(CENT)
            return (Denied(guide.number, item.sequence, "1705", "VALOR APRESENTADO A MAIOR", half),)
        return ()


PAID = Course((RECEIVED, "2", "3", "6"), "nothing")
PAID_IN_PART = Course((RECEIVED, "2", "5", "3", "6"), "item")
DENIED = Course((RECEIVED, "2", "4"), "all")
PAYMENT_TAKEN_BACK = Course((RECEIVED, "2", "3", "6", TAKEN_BACK, "6"), "nothing")


def course(order: int) -> Course:
    """The course of the lot that arrived as the ``order``-th, counted from 1."""
    if order % 20 == 0:
        return DENIED
    if order % 33 == 0:
        return PAYMENT_TAKEN_BACK
    return PAID_IN_PART if order % 5 == 0 else PAID
