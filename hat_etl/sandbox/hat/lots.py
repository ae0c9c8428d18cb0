"""Lots as recipes, good ones and ones with a known fault: the same recipe gives the same bytes, so none is kept."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hat_etl.sandbox.lots import Guide, Procedure, consultation_lot_text, sadt_lot_text, sealed

Kind = Literal[
    "consulta", "sadt", "wrong_hash", "too_many", "other_operator", "repeated_guide", "truncated", "doctype",
]  # fmt: skip
GOOD: tuple[Kind, ...] = ("consulta", "sadt")

_MOST_GUIDES = 100
"""More are refused by the standard."""


class Recipe(BaseModel):
    """What a lot is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str
    provider: str
    number: str
    """numeroLote: at most 12 digits, the provider's own."""
    guides: int = 2
    kind: Kind = "consulta"
    version: str = "4.03.00"
    seed: int = 0


def make(recipe: Recipe) -> bytes:
    """The file."""
    count = _MOST_GUIDES + 1 if recipe.kind == "too_many" else recipe.guides
    numbers = [f"{recipe.number.zfill(8)}{i:04d}" for i in range(1, count + 1)]
    if recipe.kind == "repeated_guide":
        numbers[-1] = numbers[0]
    of = {
        "registry": "999999" if recipe.kind == "other_operator" else recipe.registry,
        "provider": recipe.provider,
        "version": recipe.version,
    }
    if recipe.kind == "sadt":
        dice = random.Random(f"{recipe.seed} {recipe.provider} {recipe.number}")
        text = sadt_lot_text(recipe.number, [_guide(number, dice) for number in numbers], **of)
    else:
        text = consultation_lot_text(recipe.number, numbers, **of)
    content = sealed(text)
    match recipe.kind:
        case "wrong_hash":
            return content.replace(b"<ans:valorProcedimento>", b"<ans:valorProcedimento>9", 1)
        case "truncated":
            return content[: len(content) * 2 // 3]
        case "doctype":
            return content.replace(b"?>", b'?><!DOCTYPE a [<!ENTITY b "c">]>', 1)
    return content


def _guide(number: str, dice: random.Random) -> Guide:
    procedures = [
        Procedure(quantity=dice.randrange(1, 4), unit_price=Decimal(dice.randrange(1000, 20000)) / 100)
        for _ in range(dice.randrange(1, 3))
    ]
    return Guide(number, f"{dice.randrange(10**17):017d}", procedures)
