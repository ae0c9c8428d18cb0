"""What activity has to know of each PLS table: its natural key, its live rows, who refers to it; as pieces of SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Column, Entity, Parent
from hat_etl.protheus import dictionary
from hat_etl.sandbox import physical
from hat_etl.sandbox.physical import DELETED, RECNO, PhysicalField

FILTERS = {"BCI": "BCI_LOTGUI", "BEA": "BEA_CANEDI", "BR4": "BR4_SEGMEN"}
"""Tables whose view shows some rows only, and the field that decides."""
_ONLY_FILLED = ("BCI", "BEA")


@dataclass(frozen=True)
class Table:
    """One PLS table; ``of`` names a row of it in the SQL pieces."""

    alias: str

    @cached_property
    def entity(self) -> Entity:
        """The HAT table whose view this one drives."""
        return next(entity for entity in ENTITIES if entity.reads[0] == self.alias)

    @cached_property
    def key(self) -> tuple[PhysicalField, ...]:
        """The fields that the natural keys are made of."""
        return tuple(self.field(name) for name in _fields_of(self.entity, (c for key in self.entity.keys for c in key)))

    @cached_property
    def children(self) -> tuple[tuple[Table, Parent], ...]:
        """Tables whose rows are held without their parent here."""
        return tuple(
            (Table(entity.reads[0]), parent)
            for entity in ENTITIES
            for parent in entity.hard_parents
            if parent.table == self.entity.table
        )

    @cached_property
    def joined_by(self) -> tuple[Table, ...]:
        """Tables whose view takes values from this one."""
        return tuple(Table(entity.reads[0]) for entity in ENTITIES if self.alias in entity.reads[1:])

    @property
    def is_unique(self) -> bool:
        """Has a physical unique index (X2_UNICO): a second live row of the same key needs another FILIAL."""
        return any(index.order == "UNQ" for index in dictionary.indexes().get(self.alias, ()))

    def field(self, name: str) -> PhysicalField:
        return physical.fields(self.alias)[name]

    def live(self, of: str = "a") -> str:
        """Not deleted and, where the view shows only some rows, shown."""
        shown = f" AND {of}.{FILTERS[self.alias].lower()} <> ''" if self.alias in _ONLY_FILLED else ""
        return f"{of}.{DELETED} = ' '{shown}"

    def same_key(self, of: str, other: str) -> str:
        return " AND ".join(f"{of}.{field.column} = {other}.{field.column}" for field in self.key)

    def is_last_of_its_key(self, rows: str, of: str = "a", among: str = "") -> str:
        """No live row of table ``rows`` has the key, nor a later one of ``among`` (the same table)."""
        return (
            f"NOT EXISTS (SELECT 1 FROM {rows} k WHERE {self.same_key('k', of)} AND k.{DELETED} = ' ')"
            f" AND NOT EXISTS (SELECT 1 FROM {among or rows} k"
            f" WHERE {self.same_key('k', of)} AND k.{RECNO} > {of}.{RECNO})"
        )

    def refers(self, parent: Parent, child: str, of: str) -> str:
        """The row ``child`` of this table refers to the row ``of`` of the parent's."""
        above = next(entity for entity in ENTITIES if entity.table == parent.table)
        return " AND ".join(
            _equal(self.entity[ours], child, above[theirs], of)
            for ours, theirs in zip(parent.columns, parent.parent_columns, strict=True)
        )

    def joins(self, other: Table, row: str, of: str) -> str:
        """The row ``row`` of this table shows the row ``of`` of the joined one."""
        pairs = next(column.source.join for column in self.entity.columns if column.source.join)
        return " AND ".join(f"{row}.{ours.lower()} = {of}.{theirs.lower()}" for ours, theirs in pairs)


@cache
def table(alias: str) -> Table:
    return Table(alias)


def _fields_of(entity: Entity, columns: Iterable[str]) -> tuple[str, ...]:
    """The fields of these columns, once each; a slice is part of a field that is there as a whole."""
    sources = [entity[column].source for column in columns]
    return tuple(dict.fromkeys(name for source in sources if not source.slice for name in source.fields))


def hard_fields(entity: Entity) -> frozenset[str]:
    """The fields that refer to hard parents."""
    return frozenset(_fields_of(entity, (column for parent in entity.hard_parents for column in parent.columns)))


def _equal(ours: Column, child: str, theirs: Column, of: str) -> str:
    left, right = _parts(ours), _parts(theirs)
    if ours.source.slice or [field.size for field in left] != [field.size for field in right]:
        return f"{_text(ours, child)} = {_text(theirs, of)}"
    # Field by field, so that indexes serve.
    return " AND ".join(f"{child}.{a.column} = {of}.{b.column}" for a, b in zip(left, right, strict=True))


def _parts(column: Column) -> list[PhysicalField]:
    return [physical.fields(name[:3])[name] for name in column.source.fields]


def _text(column: Column, of: str) -> str:
    """The value that the column shows, less blanks at its end."""
    whole = " || ".join(f"rpad({of}.{field.column}, {field.size})" for field in _parts(column))
    if column.source.slice:
        first, last = column.source.slice
        whole = f"substr({whole}, {first}, {last - first + 1})"
    return f"rtrim({whole})"
