"""The spade that dirt is planted with: finds rows, changes or copies them, keeps count of what a load must report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, TypeAlias

import numpy as np
import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict

from hat_etl.entities import BY_TABLE
from hat_etl.protheus import dictionary
from hat_etl.sandbox import documents, physical
from hat_etl.sandbox.arrays import stream
from hat_etl.sandbox.server import ERP_SCHEMA

Severity: TypeAlias = Literal["reject", "held", "warning"]
Value: TypeAlias = str | float | sql.SQL
"""A constant, or an expression over the fields of the row."""

_FIXED_SIZE = frozenset(["BA0", "BGD", "BR8", "BG8", "BB2"])
"""Tables that do not grow with the number of beneficiaries: they get each kind just so many times."""


class Planted(BaseModel):
    """One line that the rejects of a load must hold; ``column`` is None where the rule is about the row."""

    model_config = ConfigDict(frozen=True)

    table: str
    recno: int
    rule: str
    severity: Severity
    column: str | None = None


@dataclass
class Planter:
    connection: psycopg.Connection
    company: str
    seed: int
    scale: int
    today: date
    planted: list[Planted] = field(default_factory=list)
    used: dict[str, set[int]] = field(default_factory=dict)
    """Rows that carry dirt or served as a pattern: none does so twice."""
    added: int = 0

    def __post_init__(self) -> None:
        self.rng = stream(self.seed, "dirt")

    def rejects(self, rule: str, place: str, recnos: Iterable[int]) -> None:
        """The load must reject these rows; ``place`` is table.column, or the table where the rule is about the row."""
        self._expect(rule, "reject", place, recnos)

    def warns(self, rule: str, place: str, recnos: Iterable[int]) -> None:
        """The load must keep these rows and warn."""
        self._expect(rule, "warning", place, recnos)

    def holds(self, table: str, recnos: Iterable[int]) -> None:
        """The load must hold these rows until their parent comes."""
        self._expect("parent_missing", "held", table, recnos)

    def _expect(self, rule: str, severity: Severity, place: str, recnos: Iterable[int]) -> None:
        table, _, column = place.partition(".")
        if column:
            BY_TABLE[table][column]  # a wrong name would be expected in vain
        self.planted += [
            Planted(table=table, recno=recno, rule=rule, severity=severity, column=column or None) for recno in recnos
        ]

    def rows(self, alias: str, count: int, where: str = "true") -> list[int]:
        """Live rows that no other dirt has touched: those that follow a random place in the table."""
        wanted = count if alias in _FIXED_SIZE else count * self.scale
        used = self.used.setdefault(alias, set())
        last = self._one("SELECT max(r_e_c_n_o_) FROM {table}", alias)
        start = int(self.rng.integers(1, last + 1))
        recnos: list[int] = []
        for side in ("r_e_c_n_o_ >= %s", "r_e_c_n_o_ < %s"):
            query = (
                f"SELECT r_e_c_n_o_ FROM {{table}} WHERE d_e_l_e_t_ = ' ' AND ({where}) AND {side}"
                " AND r_e_c_n_o_ <> ALL(%s) ORDER BY r_e_c_n_o_ LIMIT %s"
            )
            found = self.connection.execute(self._for(alias, query), (start, list(used), wanted - len(recnos)))
            recnos += [recno for (recno,) in found]
        if len(recnos) < wanted:
            raise ValueError(f"{alias} has only {len(recnos)} of {wanted} rows to soil: make the population larger")
        used.update(recnos)
        return recnos

    def change(self, alias: str, count: int, where: str = "true", **fields: Value) -> list[int]:
        """Overwrite fields of live rows; gives their numbers."""
        recnos = self.rows(alias, count, where)
        for recno in recnos:
            self.overwrite(alias, recno, fields)
        return recnos

    def add(self, alias: str, count: int, *, fresh: Callable[[int], Mapping[str, Value]], **fields: Value) -> list[int]:
        """Add copies of live rows with other fields; ``fresh`` gives a key by a number never given before."""
        return [self.copy(alias, pattern, **{**fields, **fresh(self.number())}) for pattern in self.rows(alias, count)]

    def copy(self, alias: str, pattern: int, **fields: Value) -> int:
        """Add one copy of a row; the pattern stays as it is."""
        columns = ", ".join(form.column for form in physical.fields(alias).values())
        query = (
            f"INSERT INTO {{table}} ({columns})"
            f" SELECT {columns} FROM {{table}} WHERE r_e_c_n_o_ = %s RETURNING r_e_c_n_o_"
        )
        recno = int(self._one(query, alias, pattern))
        self.used.setdefault(alias, set()).add(recno)
        self.overwrite(alias, recno, fields)
        return recno

    def delete(self, alias: str, recno: int) -> None:
        """Exclude a row as Protheus does: it is marked, not removed."""
        query = "UPDATE {table} SET d_e_l_e_t_ = '*', r_e_c_d_e_l_ = r_e_c_n_o_ WHERE r_e_c_n_o_ = %s"
        self.connection.execute(self._for(alias, query), (recno,))

    def overwrite(self, alias: str, recno: int, fields: Mapping[str, Value]) -> None:
        if not fields:
            return
        assignments = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(
                sql.Identifier(f"{alias}_{name}".lower()), value if isinstance(value, sql.SQL) else sql.Literal(value)
            )
            for name, value in fields.items()
        )
        query = sql.SQL("UPDATE {} SET {} WHERE r_e_c_n_o_ = {}").format(self._name(alias), assignments, recno)
        self.connection.execute(query)

    def add_card(self, pattern: int, **key: str) -> int:
        """Copy a card under another key, with the digit that belongs to it."""
        recno = self.copy("BA1", pattern, **key)
        query = "SELECT ba1_codint || ba1_codemp || ba1_matric || ba1_tipreg FROM {table} WHERE r_e_c_n_o_ = %s"
        digits = np.array([[int(character) for character in self._one(query, "BA1", recno)]])
        self.overwrite("BA1", recno, {"DIGITO": str(documents.card_digit(digits)[0])})
        return recno

    def add_cards(self, count: int, **fields: Value) -> list[int]:
        """Add a card to each of some families, then overwrite fields."""
        recnos = [self.add_card(pattern, TIPREG="70") for pattern in self.rows("BA1", count, "ba1_tipreg = '00'")]
        for recno in recnos:
            self.overwrite("BA1", recno, fields)
        return recnos

    def number(self) -> int:
        """A number never given before."""
        self.added += 1
        return self.added

    def _one(self, query: str, alias: str, *values: int) -> Any:
        row = self.connection.execute(self._for(alias, query), values).fetchone()
        assert row is not None
        return row[0]

    def _for(self, alias: str, query: str) -> sql.Composed:
        return sql.SQL(query).format(table=self._name(alias))

    def _name(self, alias: str) -> sql.Identifier:
        return sql.Identifier(ERP_SCHEMA, dictionary.physical_name(alias, self.company))


def numbered(first: str, width: int) -> sql.SQL:
    """A code of ``width`` characters that differs from row to row, so that no two soiled rows share a key."""
    digits = width - len(first)
    return sql.SQL(f"'{first}' || lpad((r_e_c_n_o_ % {10**digits})::text, {digits}, '0')")
