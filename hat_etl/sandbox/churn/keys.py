"""Natural keys that no row has: another number in the key's own field, or another parent that exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Protocol

import numpy as np

from hat_etl.entities import BY_TABLE
from hat_etl.entities.model import Column, Kind, Parent
from hat_etl.sandbox import documents, physical
from hat_etl.sandbox.arrays import Integers, stream
from hat_etl.sandbox.churn.tables import Table, hard_fields, table
from hat_etl.sandbox.physical import PhysicalField

Values = dict[str, str]
"""Field to text; numbers are texts here, too."""

ROUNDS = 8
"""So often a key that turned out to be in use is drawn again; then the row is left out."""

_FIRST_DAY, _DAYS = date(1970, 1, 1), 12_000
_CODES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS_FROM = 4
"""Codes so wide are numbers, narrower ones take letters too, to have enough of them."""
_DOCUMENTS = {"cpf": documents.cpf, "cnpj": documents.cnpj, "cns": documents.cns}
_CNPJ_WIDTH = 14


class Source(Protocol):
    """Where keys are looked up."""

    def read(self, table: Table, recnos: Sequence[int], fields: Sequence[str]) -> list[Values]:
        """These fields of these rows, in this order."""

    def some(self, table: Table, count: int, choice: int) -> list[int]:
        """Recnos of live rows."""

    def taken(self, table: Table, keys: Sequence[Values]) -> set[int]:
        """Places of those keys that some row has, be it deleted, or that were given before."""


@dataclass(frozen=True)
class Fresh:
    """A row to copy or to change, and the fields that give it another key."""

    recno: int
    values: Values


def fresh(source: Source, table: Table, recnos: Sequence[int], seed: Sequence[int]) -> list[Fresh]:
    """A key that is not in use for each of these rows, as far as there are any; same seed, same keys."""
    names = [field.name for field in table.key]
    old = dict(zip(recnos, source.read(table, recnos, names), strict=True))
    waiting, done, seen = list(recnos), list[Fresh](), set[tuple[str, ...]]()
    parents = _parents(source, table, len(recnos), seed[0])
    for turn in range(ROUNDS):
        rng = np.random.default_rng([*seed, turn])
        drawn = _draw(table, [old[recno] for recno in waiting], parents, rng)
        keys = [{**old[recno], **values} for recno, values in zip(waiting, drawn, strict=True)]
        taken = source.taken(table, keys)
        again = []
        for place, (recno, values, key) in enumerate(zip(waiting, drawn, keys, strict=True)):
            identity = tuple(key[name].rstrip() for name in names)
            if not values or place in taken or identity in seen:
                again.append(recno)
            else:
                seen.add(identity)
                done.append(Fresh(recno, values))
        waiting = again
        if not waiting:
            break
    return sorted(done, key=lambda found: found.recno)


def own_field(table: Table) -> str | None:
    """The key field that tells rows of the same parents apart; None where only the parents do."""
    found: dict[str, tuple[int, int]] = {}
    bound = hard_fields(table.entity)
    for column in (table.entity[name] for name in table.entity.key):
        for name in column.source.fields:
            field = table.field(name)
            if name in bound or field.is_number or column.rule("in") or _is_check_digit(table, name):
                continue
            # An insurer of its own, or a field that mostly stays blank, only where there is no other.
            found[name] = (0 if column.source.constant or column.name == "health_insurer_id" else 1, field.size)
    wide = {name: rank for name, rank in found.items() if rank[1] > 1 or not table.entity.hard_parents}
    return max(reversed(wide), key=lambda name: (wide[name][0], wide[name][1])) if wide else None


def _is_check_digit(table: Table, name: str) -> bool:
    return any(column.rule("check_digit") and column.source.fields[-1] == name for column in table.entity.columns)


@dataclass(frozen=True)
class _Parents:
    """Rows that a key may refer to instead."""

    reference: Parent
    rows: list[Values]


def _parents(source: Source, of: Table, count: int, choice: int) -> _Parents | None:
    if own_field(of) is not None:
        return None
    reference = of.entity.hard_parents[0]
    above = BY_TABLE[reference.table]
    fields = tuple(dict.fromkeys(name for c in reference.parent_columns for name in above[c].source.fields))
    parent = table(above.reads[0])
    rows = source.some(parent, max(count, 50), choice)
    return _Parents(reference, source.read(parent, rows, fields))


def _draw(of: Table, old: list[Values], parents: _Parents | None, rng: np.random.Generator) -> list[Values]:
    """Fields to overwrite for each row; empty where the draw does not fit."""
    name = own_field(of)
    if name is None:
        assert parents is not None
        if not parents.rows:
            return [{} for _ in old]
        places = rng.integers(0, len(parents.rows), len(old))
        drawn = [
            _refer(of, row, parents.reference, parents.rows[place]) for row, place in zip(old, places, strict=True)
        ]
    else:
        field = of.field(name)
        digits = any(column.rule("digits") for column in of.entity.columns if name in column.source.fields)
        codes = _codes(field, digits, rng, len(old))
        drawn = [{name: code} for code in codes]
    return _with_check_digits(of, old, drawn)


def _codes(field: PhysicalField, digits: bool, rng: np.random.Generator, count: int) -> list[str]:
    if field.type == "D":
        return [f"{_FIRST_DAY + timedelta(days=int(day)):%Y%m%d}" for day in rng.integers(0, _DAYS, count)]
    if digits or field.size >= _DIGITS_FROM:
        return [str(number).zfill(field.size) for number in rng.integers(0, 10 ** min(field.size, 18), count)]
    picked = rng.integers(0, len(_CODES), (count, field.size))
    return ["".join(_CODES[place] for place in row) for row in picked]


def _refer(of: Table, row: Values, reference: Parent, parent: Values) -> Values:
    """The fields that make the row refer to ``parent``; none where another reference would break."""
    above = BY_TABLE[reference.table]
    values: Values = {}
    for ours, theirs in zip(reference.columns, reference.parent_columns, strict=True):
        shown = "".join(
            parent[name].ljust(physical.fields(name[:3])[name].size) for name in above[theirs].source.fields
        )
        for name in of.entity[ours].source.fields:
            size = of.field(name).size
            values[name], shown = shown[:size], shown[size:]
    others = [of.entity[c].source for other in of.entity.hard_parents if other != reference for c in other.columns]
    fits = all(
        _part(values[name], source.slice) == _part(row[name], source.slice)
        for source in others
        for name in source.fields
        if name in values
    )
    return values if fits else {}


def _part(text: str, places: tuple[int, int] | None) -> str:
    first, last = places or (1, len(text))
    return text[first - 1 : last].rstrip()


def _with_check_digits(of: Table, old: list[Values], drawn: list[Values]) -> list[Values]:
    column = next((column for column in of.entity.columns if column.rule("check_digit")), None)
    if column is None:
        return drawn
    *body, digit = column.source.fields
    for row, values in zip(old, drawn, strict=True):
        card = "".join({**row, **values}[name].ljust(of.field(name).size) for name in body)
        if card.isdecimal() and card.isascii():
            digits: Integers = np.array([[int(character) for character in card]], np.int64)
            values[digit] = str(documents.card_digit(digits)[0])
        elif values:  # a number that is none has no digit: the row keeps what it has
            values.setdefault(digit, row[digit])
    return drawn


def new_documents(of: Table, old: Sequence[Mapping[str, str]], seed: Sequence[int]) -> dict[str, list[str]]:
    """Valid documents of their own for copied rows: field to a text per row."""
    found: dict[str, list[str]] = {}
    for column in document_columns(of):
        rng = np.random.default_rng([*seed, len(found)])
        numbers = rng.integers(0, 10**9, len(old))
        name = column.source.fields[0]
        if column.rule("cpf_or_cnpj"):
            companies, people = documents.cnpj(numbers).to_pylist(), documents.cpf(numbers).to_pylist()
            found[name] = [
                company if len(row[name].rstrip()) == _CNPJ_WIDTH else person
                for row, company, person in zip(old, companies, people, strict=True)
            ]
        else:
            rule = next(rule for rule in _DOCUMENTS if column.rule(rule))
            found[name] = _DOCUMENTS[rule](numbers).to_pylist()
    return found


@cache
def document_columns(of: Table) -> tuple[Column, ...]:
    """Columns that show a person's or company's number."""
    return tuple(
        column
        for column in of.entity.columns
        if column.kind is Kind.TEXT
        and len(column.source.fields) == 1
        and any(column.rule(rule) for rule in (*_DOCUMENTS, "cpf_or_cnpj"))
    )


def seed_of(choice: int, *parts: int | str) -> list[int]:
    """A seed of its own for each thing drawn."""
    return [choice, *(int(stream(0, part).integers(1 << 31)) if isinstance(part, str) else part for part in parts)]
