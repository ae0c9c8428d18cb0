"""What a HAT table is: the classes that one declaration per table is made of.

Everything else is derived from these: Arrow schema, DDL, validators, views' expected shape, assets, the dictionary.
"""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import Annotated

import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from hat_etl.entities.expression import Expression, parse

MAX_VIEW_NAME = 30
"""Longest identifier that Oracle 12.1 takes, in bytes."""

RULES = frozenset(
    [
        "cpf",
        "cnpj",
        "cpf_or_cnpj",
        "cns",
        "cep",
        "uf",
        "ans_registry",
        "cnes",
        "digits",
        "email",
        "in",
        "map",
        "not_future",
        "not_before",
        "positive",
        "non_negative",
        "upper",
        "check_digit",
    ]
)
"""The closed list of rule names a column may carry."""

ENGINE_RULES = frozenset(
    ["required", "too_long", "invalid_date", "invalid_number", "control_character", "duplicate_key", "parent_missing"]
)
"""Rules that need no declaration: they follow from types, keys and parents."""


class Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, ignored_types=(cached_property,)
    )


class Kind(Enum):
    """Type family of a column in HAT."""

    TEXT = "text"
    DATE = "date"
    FLAG = "flag"
    SMALLINT = "smallint"
    INTEGER = "integer"
    AMOUNT = "amount"


class Rule(Frozen):
    """One check of a value. ``rejects`` (written ``!``) rejects the row; otherwise a failure is a warning."""

    name: str
    argument: str = ""
    rejects: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """The accepted texts of an ``in`` rule."""
        return tuple(self.argument.split(","))

    @property
    def mapping(self) -> dict[str, bool]:
        """Source text to stored value of a ``map`` rule."""
        pairs = (item.split("=") for item in self.argument.split(","))
        return {source: stored == "true" for source, stored in pairs}

    @property
    def token(self) -> str:
        return self.name + (f":{self.argument}" if self.argument else "") + ("!" if self.rejects else "")

    @classmethod
    def parse(cls, token: str) -> Rule:
        rejects = token.endswith("!")
        name, _, argument = token.removesuffix("!").partition(":")
        if name not in RULES:
            raise ValueError(f"unknown rule {token!r}")
        return cls(name=name, argument=argument, rejects=rejects)


def _expression(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


class Column(Frozen):
    """One column of a HAT table and how it is had from the view."""

    name: str
    alias: str
    source: Annotated[Expression, BeforeValidator(_expression)]
    kind: Kind
    meaning: str
    width: int = 0
    """Characters of a text; digits before and after the point of an amount."""
    scale: int = 0
    required: bool = False
    rules: tuple[Rule, ...] = ()
    assumed: bool = False
    """Type or size is not confirmed by a published dictionary: ask the operator's SX3."""
    secret: bool = False
    """Never shown nor kept outside its own column, not even among the rejects."""
    numeric_source: bool = False
    """The view delivers a number (Protheus type N) rather than text."""

    @property
    def sql_type(self) -> str:
        match self.kind:
            case Kind.TEXT:
                return f"varchar({self.width})"
            case Kind.AMOUNT:
                return f"numeric({self.width},{self.scale})"
            case Kind.FLAG:
                return "boolean"
            case Kind.DATE | Kind.SMALLINT | Kind.INTEGER:
                return str(self.kind.value)

    @property
    def arrow_type(self) -> pa.DataType:
        match self.kind:
            case Kind.TEXT:
                return pa.string()
            case Kind.DATE:
                return pa.date32()
            case Kind.FLAG:
                return pa.bool_()
            case Kind.SMALLINT:
                return pa.int16()
            case Kind.INTEGER:
                return pa.int32()
            case Kind.AMOUNT:
                return pa.decimal128(self.width, self.scale)

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


def _rules(text: str) -> tuple[Rule, ...]:
    return tuple(Rule.parse(token) for token in text.split("|")) if text else ()


def text(
    name: str, width: int, alias: str, source: str, meaning: str, *, rule: str = "", required: bool = False,
    assumed: bool = False, secret: bool = False,
) -> Column:  # fmt: skip
    """A text column of at most ``width`` characters."""
    return Column(name=name, alias=alias, source=source, kind=Kind.TEXT, width=width, meaning=meaning,  # type: ignore[arg-type]
                  rules=_rules(rule), required=required, assumed=assumed, secret=secret)  # fmt: skip


def date(
    name: str, alias: str, source: str, meaning: str, *, rule: str = "", required: bool = False, assumed: bool = False
) -> Column:
    """A calendar day; the view passes the text ``YYYYMMDD``."""
    return Column(name=name, alias=alias, source=source, kind=Kind.DATE, meaning=meaning,  # type: ignore[arg-type]
                  rules=_rules(rule), required=required, assumed=assumed)  # fmt: skip


def flag(name: str, alias: str, source: str, meaning: str, *, rule: str, assumed: bool = False) -> Column:
    """A boolean; the one-character code of the view is translated by the ``map`` rule."""
    return Column(name=name, alias=alias, source=source, kind=Kind.FLAG, meaning=meaning,  # type: ignore[arg-type]
                  rules=_rules(rule), assumed=assumed)  # fmt: skip


def number(
    name: str, kind: Kind, alias: str, source: str, meaning: str, *, scale: int = 0, rule: str = "",
    required: bool = False, assumed: bool = False, from_text: bool = False,
) -> Column:  # fmt: skip
    """A number: Protheus N (a double in the view) or, with ``from_text``, digits in a text field."""
    width = 16 if kind is Kind.AMOUNT else 0
    return Column(name=name, alias=alias, source=source, kind=kind, width=width, scale=scale, meaning=meaning,  # type: ignore[arg-type]
                  rules=_rules(rule), required=required, assumed=assumed, numeric_source=not from_text)  # fmt: skip


class Parent(Frozen):
    """A reference: these columns must be found in ``table`` under ``parent_columns`` (its key or an alternate key)."""

    columns: tuple[str, ...]
    table: str
    parent_columns: tuple[str, ...]


def parent(table: str, columns: str, parent_columns: str = "") -> Parent:
    """``columns`` (blank-separated) refer to ``table``, under the same names unless ``parent_columns`` differ."""
    return Parent(
        table=table, columns=tuple(columns.split()), parent_columns=tuple((parent_columns or columns).split())
    )


class Entity(Frozen):
    """One HAT table: what a row is, where it comes from, what makes it good."""

    table: str
    area: str
    view: str
    reads: tuple[str, ...]
    """Protheus aliases the view reads, the driving one first."""
    key: tuple[str, ...]
    alternate_keys: tuple[tuple[str, ...], ...] = ()
    parents: tuple[Parent, ...] = ()
    hat_api: str = ""
    meaning: str
    grain: str
    row_filter: str = ""
    """Row filter of the view, in words, if it has one."""
    columns: tuple[Column, ...]

    @model_validator(mode="after")
    def _coherent(self) -> Entity:
        if len(self.view.encode()) > MAX_VIEW_NAME:
            raise ValueError(f"{self.table}: view name {self.view} is longer than {MAX_VIEW_NAME} bytes")
        names, aliases = [c.name for c in self.columns], [c.alias.lower() for c in self.columns]
        for what, items in (("column", names), ("alias", aliases)):
            if len(set(items)) != len(items):
                raise ValueError(f"{self.table}: a {what} is declared twice")
        for key in self.keys:
            for column in key:
                if not self[column].required:
                    raise ValueError(f"{self.table}.{column}: a key column must be required")
        for parent in self.parents:
            for column in parent.columns:
                self[column]
        return self

    def __getitem__(self, column: str) -> Column:
        found = self._by_name.get(column)
        if found is None:
            raise KeyError(f"{self.table} has no column {column}")
        return found

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The natural key, then the alternate keys: each must be unique among the rows of the table."""
        return (self.key, *self.alternate_keys)

    def is_hard(self, parent: Parent) -> bool:
        """A reference none of whose columns may be empty: a row without its parent is held."""
        return all(self[column].required for column in parent.columns)

    @property
    def hard_parents(self) -> tuple[Parent, ...]:
        return tuple(parent for parent in self.parents if self.is_hard(parent))

    @property
    def soft_parents(self) -> tuple[Parent, ...]:
        return tuple(parent for parent in self.parents if not self.is_hard(parent))

    @cached_property
    def key_columns(self) -> frozenset[str]:
        """Columns in which a text that is too long rejects the row: keys, alternate keys, hard references."""
        columns = {column for key in self.keys for column in key}
        return frozenset(columns.union(*(parent.columns for parent in self.hard_parents)))

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema of the rows as loaded, technical columns last."""
        fields = [pa.field(c.name, c.arrow_type, nullable=not c.required) for c in self.columns]
        return pa.schema([*fields, *TECHNICAL])


TECHNICAL: tuple[pa.Field, ...] = (
    pa.field("source_recno", pa.int64(), nullable=False),
    pa.field("source_stamp", pa.timestamp("us", "UTC"), nullable=True),
    pa.field("loaded_run", pa.int64(), nullable=False),
)
"""Columns every HAT table has after its own: Recno and Carimbo of the view, the run that last changed the row."""

RECNO, DELETED, STAMP = "Recno", "Excluido", "Carimbo"
"""Aliases of the technical columns that every view has before its own."""
