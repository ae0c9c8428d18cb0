"""Lots to break: texts of valid lots, and the means to change one thing in them."""

from __future__ import annotations

from decimal import Decimal

from hat_etl.sandbox import lots
from hat_etl.sandbox.lots import Guide, Procedure

REGISTRY = "412345"
PROVIDER = "PREST0001"
VERSION = "4.03.00"

SADT = lots.sadt_lot_text(
    "7",
    [
        Guide("S1", procedures=[Procedure("40304361", 2, Decimal("10.50")), Procedure("40302547", 1, Decimal("5.00"))]),
        Guide("S2"),
    ],
    registry=REGISTRY,
    provider=PROVIDER,
    version=VERSION,
)
CONSULTATION = lots.consultation_lot_text("8", ["C1", "C2"], registry=REGISTRY, provider=PROVIDER, version=VERSION)


def consultations(number: int) -> str:
    """A lot of so many consultations."""
    guides = [f"C{position}" for position in range(number)]
    return lots.consultation_lot_text("9", guides, registry=REGISTRY, provider=PROVIDER, version=VERSION)


def changed(text: str, old: str, new: str) -> str:
    """The text with the first ``old`` replaced, which must be there."""
    assert old in text, old
    return text.replace(old, new, 1)


def without(text: str, start: str, end: str) -> str:
    """The text without what stands from the first ``start`` to the next ``end``, both included."""
    head, found, rest = text.partition(start)
    assert found, start
    _, found, tail = rest.partition(end)
    assert found, end
    return head + tail


def between(text: str, start: str, end: str) -> str:
    """What stands from the first ``start`` to the next ``end``, both included."""
    at = text.index(start)
    return text[at : text.index(end, at) + len(end)]
