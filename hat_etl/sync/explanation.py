"""What can be told of a key of a HAT table: the columns' way from the ERP, the rows behind it, what runs did to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from hat_etl.entities.model import Column, Kind
from hat_etl.reports.dictionary import RULE_MEANINGS
from hat_etl.target.lookup import Row

TRIMMED = "trimmed"
"""The step of every text: its control characters become blanks, and the blanks at both ends go."""


@dataclass(frozen=True)
class ColumnStory:
    """Where the value of one column comes from and what is done with it."""

    column: str
    type: str
    alias: str
    """Of the view."""
    source: str
    """The expression of the contract."""
    fields: tuple[str, ...]
    """Table and field in the ERP."""
    steps: tuple[str, ...]
    rules: tuple[str, ...]
    in_view: Any = None
    becomes: Any = None
    """What a run of today would make of the value in the view."""
    in_hat: Any = None


@dataclass(frozen=True)
class Seen:
    """A row of the view as it is now. ``key`` is the one it would have in HAT."""

    recno: int
    deleted: bool
    stamp: datetime | None
    key: str | None
    raw: Row
    becomes: Row
    issues: tuple[Row, ...]

    @property
    def is_rejected(self) -> bool:
        return any(issue["severity"] == "reject" for issue in self.issues)

    def as_dict(self) -> dict[str, Any]:
        return {
            "recno": self.recno,
            "deleted": self.deleted,
            "stamp": self.stamp,
            "key": self.key,
            "would_be_rejected": self.is_rejected,
            "issues": [dict(issue) for issue in self.issues],
        }


@dataclass(frozen=True)
class Version:
    """What a run did to the row or to its quarantine. ``columns``: name to value before and after, None unknown."""

    run: int
    mode: str
    at: datetime | None
    kind: str
    told: str
    columns: Mapping[str, tuple[Any, Any]] | None = None
    undone_by: int | None = None


@dataclass
class Explanation:
    """All that can be told of a key: the object that ``--json`` prints."""

    tenant: str
    table: str
    key: str
    view: str
    erp_tables: tuple[str, ...]
    row_filter: str
    state: str = ""
    """in HAT, kept, rejected, held, deleted, waiting, never seen."""
    why: list[str] = field(default_factory=list)
    hat: Row | None = None
    """Technical columns of the row in HAT and the run that wrote it."""
    columns: list[ColumnStory] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    in_view: list[Seen] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **plain,
            "columns": [asdict(column) for column in self.columns],
            "in_view": [seen.as_dict() for seen in self.in_view],
            "versions": [asdict(version) for version in self.versions],
        }


def steps_of(column: Column, *, keyed: bool) -> Iterator[str]:
    """How a value of the view becomes one of HAT."""
    source = column.source
    if not column.numeric_source:
        yield TRIMMED
    match column.kind:
        case Kind.TEXT:
            if source.is_concatenation:
                yield f"empty unless all {column.width} positions are filled"
            if source.constant:
                yield f"'{source.constant}' where it is empty"
            if column.rule("upper"):
                yield "upper case"
            yield (
                f"more than {column.width} characters reject the row" if keyed else f"cut to {column.width} characters"
            )
        case Kind.DATE:
            yield f"YYYYMMDD to a day; {source.constant or 'empty'} where it is blank or zeros"
        case Kind.FLAG:
            rule = column.rule("map")
            codes = rule.mapping.items() if rule else ()
            yield "code to yes or no: " + ", ".join(f"{code} = {'yes' if yes else 'no'}" for code, yes in codes)
        case Kind.SMALLINT | Kind.INTEGER | Kind.AMOUNT:
            yield f"number of {column.scale} decimal places, rounded half away from zero"


def rules_of(column: Column) -> Iterator[str]:
    """What is asked of the value, and what that means."""
    if column.required:
        yield "required!"
    for rule in column.rules:
        yield f"{rule.token}: {RULE_MEANINGS[rule.name]}"
