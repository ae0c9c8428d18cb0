"""The PLS data dictionary for the tables that the views read: fields, types, sizes, known indexes.

The facts come from public sources (published dictionaries, TOTVS's API schemas, use in operators' code) and are a
fallback: the operator's own SX3 and SIX always win. A field whose type or size nobody published is kept by name only.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Field:
    """One real (not virtual) field; ``type`` is C, D, N, L, M or '' and ``size`` 0 where unknown."""

    name: str
    type: str
    size: int
    decimals: int


@dataclass(frozen=True)
class Index:
    """A known index; ``order`` is the SIX letter, or UNQ for the unique key of the table (X2_UNICO)."""

    order: str
    fields: tuple[str, ...]


@cache
def fields() -> dict[str, dict[str, Field]]:
    """Alias of a table to its fields by name, in dictionary order."""
    tables: dict[str, dict[str, Field]] = {}
    for row in _rows("fields.csv"):
        field = Field(row["field"], row["type"], int(row["size"] or 0), int(row["decimals"] or 0))
        tables.setdefault(row["table"], {})[field.name] = field
    return tables


@cache
def indexes() -> dict[str, tuple[Index, ...]]:
    """Alias of a table to its known indexes."""
    tables: dict[str, tuple[Index, ...]] = {}
    for row in _rows("indexes.csv"):
        names = tuple(re.findall(r"[A-Z0-9]{3}_[A-Z0-9_]+", row["fields"]))
        tables[row["table"]] = (*tables.get(row["table"], ()), Index(row["order"], names))
    return tables


def physical_name(alias: str, company: str) -> str:
    """Name of the table in the database: alias, company, 0 (BA1 of company 01 is ba1010)."""
    return f"{alias}{company}0".lower()


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
