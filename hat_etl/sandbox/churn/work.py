"""The hands of one operation: pick rows, copy and change them, each in one statement however many they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hat_etl.sandbox import physical
from hat_etl.sandbox.churn import keys
from hat_etl.sandbox.churn.activity import Activity, Connection, rows_of
from hat_etl.sandbox.churn.keys import Values
from hat_etl.sandbox.churn.operations import Operation
from hat_etl.sandbox.churn.tables import Table, table
from hat_etl.sandbox.physical import DELETED, RECDEL, RECNO, PhysicalField

DELETION = f"{DELETED} = '*', {RECDEL} = {RECNO}"
LIFE = f"{DELETED} = ' ', {RECDEL} = 0"

_LARGE = 20_000
"""Rows that take too long to be counted for each operation."""
_SPARSE = 20
"""Rows of a large table for each that is picked."""
_MANY, _RUN = 400, 20
"""From so many rows on, activity in a large table comes in runs of neighbours, as that of a company's families does."""


@dataclass(frozen=True)
class Work:
    """An operation in its transaction."""

    operation: Operation
    activity: Activity
    connection: Connection

    @property
    def table(self) -> Table:
        return table(self.operation.alias)

    @property
    def name(self) -> str:
        return self.activity.name(self.table)

    # -- finding rows ------------------------------------------------------------------------------------------------

    def pick(self, where: str) -> list[int]:
        """Recnos of the rows ``a`` of the operation's table that fit, as its ``rows`` and ``choice`` say."""
        return self._numbered(self.table, self.name, where, self.operation.rows, self.operation.choice)

    def pick_live(self, also: str = "true", *, side_by_side: bool = False) -> list[int]:
        """The same among the live rows; ``also`` holds for most of them."""
        where = f"{self.table.live()} AND {also}"
        return self._live(self.table, where, self.operation.rows, self.operation.choice, side_by_side)

    def pick_purged(self, where: str) -> list[int]:
        """The same among the rows purged before."""
        purged = self.activity.purged(self.table)
        return self._numbered(self.table, purged, where, self.operation.rows, self.operation.choice)

    def some(self, table: Table, count: int, choice: int) -> list[int]:
        return self._live(table, table.live(), count, choice, False)

    def _live(self, of: Table, where: str, count: int, choice: int, side_by_side: bool) -> list[int]:
        rows = self.activity.name(of)
        last = self.connection.execute(f"SELECT coalesce(max({RECNO}), 0) FROM {rows}").fetchone()
        assert last is not None
        if last[0] < _LARGE or count * _SPARSE > last[0]:
            return self._numbered(of, rows, where, count, choice, side_by_side)
        # In a large table rows are told by Recno rather than counted: the first that fit from each place on.
        each = count if side_by_side else _RUN if count >= _MANY else 1
        places = -(-count // each)
        found = self.connection.execute(
            f"""
            SELECT DISTINCT f.{RECNO}
            FROM generate_series(0, %(places)s - 1) AS step, LATERAL (
                SELECT {RECNO} FROM {rows} a
                WHERE {RECNO} > mod(%(choice)s + step::bigint * %(apart)s, %(last)s) AND ({where})
                    AND {RECNO} <> ALL(%(held)s::bigint[])
                ORDER BY {RECNO} LIMIT %(each)s
            ) f ORDER BY {RECNO} LIMIT %(count)s
            """,
            {
                "count": count, "places": places, "each": each, "apart": last[0] // places, "last": last[0],
                "choice": choice, "held": self.activity.held(of.alias, self.operation.transaction),
            },
        )  # fmt: skip
        return rows_of(found.fetchall())

    def _numbered(
        self, of: Table, rows: str, where: str, count: int, choice: int, side_by_side: bool = False
    ) -> list[int]:
        # Rows are numbered from place ``choice`` on, round about; of these the first, or every so many-th.
        chosen = "place < %(count)s" if side_by_side else "mod(place * %(count)s, total) < %(count)s"
        # Keys of many fields look rarer than they are: the planner would go through whole tables again and again.
        self.connection.execute("SET LOCAL enable_nestloop = off")
        found = self.connection.execute(
            f"""
            SELECT {RECNO} FROM (
                SELECT {RECNO}, total, mod(mod(number - %(choice)s, total) + total, total) AS place
                FROM (
                    SELECT {RECNO}, row_number() OVER (ORDER BY {RECNO}) - 1 AS number, count(*) OVER () AS total
                    FROM {rows} a WHERE ({where}) AND {RECNO} <> ALL(%(held)s::bigint[])
                ) numbered
            ) placed WHERE {chosen} ORDER BY {RECNO}
            """,
            {"count": count, "choice": choice, "held": self.activity.held(of.alias, self.operation.transaction)},
        ).fetchall()
        self.connection.execute("SET LOCAL enable_nestloop = on")
        return rows_of(found)

    def read(self, table: Table, recnos: Sequence[int], fields: Sequence[str]) -> list[Values]:
        columns = ", ".join(f"a.{name}::text" for name in fields)
        found = self.connection.execute(
            f"SELECT {columns} FROM unnest(%s::bigint[]) WITH ORDINALITY w(recno, place)"
            f" JOIN {self.activity.name(table)} a ON a.{RECNO} = w.recno ORDER BY place",
            (list(recnos),),
        )
        return [dict(zip(fields, row, strict=True)) for row in found]

    def taken(self, table: Table, keys: Sequence[Values]) -> set[int]:
        own = {place for place, key in enumerate(keys) if self.activity.is_given(table.alias, _identity(table, key))}
        wanted = _columns(table.key, {field.name: [key[field.name] for key in keys] for field in table.key})
        equal = " AND ".join(f"a.{field.column} = w.{field.column}" for field in table.key)
        found = self.connection.execute(
            f"SELECT w.place - 1 FROM {wanted.source}"
            f" WHERE EXISTS (SELECT 1 FROM {self.activity.name(table)} a WHERE {equal})",
            wanted.values,
        )
        return own | {int(place) for (place,) in found}

    def fresh_keys(self, recnos: Sequence[int]) -> list[keys.Fresh]:
        """Keys not in use, for rows of the operation's table."""
        last = self.connection.execute(f"SELECT coalesce(max({RECNO}), 0) FROM {self.name}").fetchone()
        assert last is not None
        number = self.activity.number(f"keys {self.table.alias}")
        seed = keys.seed_of(self.operation.choice, self.table.alias, last[0], number)
        found = keys.fresh(self, self.table, recnos, seed) if recnos else []
        old = self.read(self.table, [key.recno for key in found], [field.name for field in self.table.key])
        self.activity.give(
            self.table.alias,
            (_identity(self.table, {**row, **key.values}) for row, key in zip(old, found, strict=True)),
        )
        return found

    # -- writing rows ------------------------------------------------------------------------------------------------

    def assign(self, recnos: Sequence[int], assignments: str) -> list[int]:
        """One UPDATE of these rows; gives those that were there."""
        done = self.connection.execute(
            f"UPDATE {self.name} SET {assignments} WHERE {RECNO} = ANY(%s::bigint[]) RETURNING {RECNO}", (list(recnos),)
        )
        return rows_of(done.fetchall())

    def overwrite(self, recnos: Sequence[int], values: Mapping[str, Sequence[str]]) -> list[int]:
        """One UPDATE that gives each row values of its own."""
        wanted = _columns([self.table.field(name) for name in values], values, recnos)
        assignments = ", ".join(f"{name.lower()} = w.{name.lower()}" for name in values)
        done = self.connection.execute(
            f"UPDATE {self.name} a SET {assignments} FROM {wanted.source} WHERE a.{RECNO} = w.recno"
            f" RETURNING a.{RECNO}",
            wanted.values,
        )
        return rows_of(done.fetchall())

    def copy(
        self, recnos: Sequence[int], values: Mapping[str, Sequence[str]] | None = None, *, source: str = ""
    ) -> list[int]:
        """One INSERT of live copies under new Recnos, with other ``values`` per row; ``source``: unless the table."""
        if not recnos:
            return []
        values = values or {}
        wanted = _columns([self.table.field(name) for name in values], values, recnos)
        names = [field.column for field in physical.fields(self.table.alias).values()]
        taken = ", ".join(f"w.{name}" if name.upper() in values else f"a.{name}" for name in names)
        done = self.connection.execute(
            f"INSERT INTO {self.name} ({', '.join(names)}) SELECT {taken} FROM {wanted.source}"
            f" JOIN {source or self.name} a ON a.{RECNO} = w.recno ORDER BY w.place RETURNING {RECNO}",
            wanted.values,
        )
        return rows_of(done.fetchall())

    def remove(self, recnos: Sequence[int]) -> list[int]:
        """Take rows out of the table; they are remembered."""
        done = self.connection.execute(
            f"WITH gone AS (DELETE FROM {self.name} WHERE {RECNO} = ANY(%s::bigint[]) RETURNING *),"
            f" kept AS (INSERT INTO {self.activity.purged(self.table)} SELECT * FROM gone)"
            f" SELECT {RECNO} FROM gone",
            (list(recnos),),
        )
        return rows_of(done.fetchall())


@dataclass(frozen=True)
class _Wanted:
    """Values per row as a table ``w`` of one statement: its text and its parameters."""

    source: str
    values: list[Any]


def _columns(
    fields: Sequence[PhysicalField], texts: Mapping[str, Sequence[str]], recnos: Sequence[int] | None = None
) -> _Wanted:
    heads = ["recno"] if recnos is not None else []
    heads += [field.column for field in fields]
    marks = ["%s::bigint[]"] if recnos is not None else []
    # An array of texts would be compared as such; the type of the field makes blanks at the end not count.
    marks += [
        "%s::double precision[]" if field.is_number else f"%s::text[]::character({field.size})[]" for field in fields
    ]
    values: list[Any] = [list(recnos)] if recnos is not None else []
    values += [list(texts[field.name]) for field in fields]
    return _Wanted(f"unnest({', '.join(marks)}) WITH ORDINALITY w({', '.join([*heads, 'place'])})", values)


def _identity(table: Table, key: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(key[field.name].rstrip() for field in table.key)
