"""One table in a merge: what was read of it, its rows in HAT, and the temporary tables between the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from psycopg import Cursor

from hat_etl.entities.model import Parent
from hat_etl.target import sql
from hat_etl.target.database import Connection
from hat_etl.target.intake import SMALL, Intake
from hat_etl.target.integrity import SOFT_REASON, label

Answer = Cursor[tuple[Any, ...]]
"""What the server says to a statement: to be looked at when the stream of statements is at its end."""

ENTRY = 'recno, key, "column", rule, severity, reason, value'
"""Columns of an entry of quarantine, as they stand in ``hat_etl.rejects`` and in the tables here."""

_SCRATCH = ("concerned", "touched", "fate", "lacking", "leaving", "differing", "bereft", "toggled")
"""Temporary tables with columns of the table that is merged, in the order in which they are made.

Most have no column that could be long: PostgreSQL makes two more relations for a table that has one.
"""

SHARED = {
    "losers": "recno bigint NOT NULL, by smallint NOT NULL",
    "affected": "recno bigint PRIMARY KEY",
    "orphans": "parts text[], recno bigint, key text, reason text",
    "entries": 'recno bigint, key text, "column" text, rule text, severity text, reason text, value text',
    "quarantined": "recno bigint",
    "backed": "parts text[], recno bigint, usual boolean",
    "rebacked": "parts text[], recno bigint, usual boolean, known boolean, before bigint",
}
"""Temporary tables that are the same for all tables: made once in a run, for making tables is what a merge costs."""


@dataclass
class MergeRun:
    """What holds for all tables that a run merges into the HAT tables of ``schema``; ``present`` are those there."""

    connection: Connection
    schema: str
    number: int
    present: frozenset[str]
    left: set[str] = field(default_factory=set)
    """Tables that keys have left in this run: each has a temporary table of them, for its children to look at."""
    arrived: set[str] = field(default_factory=set)
    """Tables that new keys have come to in this run."""


class MergeTable:
    """A table that is merged. Every method raises psycopg errors."""

    def __init__(self, run: MergeRun, intake: Intake) -> None:
        self.run, self.intake, self.entity = run, intake, intake.entity
        self.tell = run.connection.execute
        self.hat = f"{run.schema}.{self.entity.table}"
        self.keys = tuple(dict.fromkeys(column for key in self.entity.keys for column in key))
        self._few = intake.read <= SMALL

    def make(self, name: str, query: str) -> None:
        """Make one of the tables of ``_SCRATCH``."""
        self.tell(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query}")
        if not self._few:
            self.tell(f"ANALYZE {name}")

    def fill(self, name: str, query: str) -> None:
        """Fill one of the tables of ``SHARED``."""
        self.tell(f"INSERT INTO {name} {query}")
        if not self._few:
            self.tell(f"ANALYZE {name}")

    def clear(self) -> None:
        """Leave nothing behind for the next table."""
        self.tell("DROP TABLE IF EXISTS " + ", ".join(f"pg_temp.{name}" for name in _SCRATCH))
        if self._few:  # what little is in them goes faster one by one
            for name in SHARED:
                self.tell(f"DELETE FROM {name}")
        else:
            self.tell(f"TRUNCATE {', '.join(SHARED)}")

    def absent(self, parent: Parent, child: str) -> str:
        """SQL that is true when the row ``child`` names a parent that HAT does not have."""
        filled = sql.filled(parent.columns, child)
        if parent.table not in self.run.present:
            return f"({filled})"
        return (
            f"({filled} AND NOT EXISTS (SELECT FROM {self.run.schema}.{parent.table} p"
            f" WHERE {sql.equal('p', child, parent.parent_columns, parent.columns)}))"
        )


def keys_left(table: str) -> str:
    """The temporary table of the keys that have left ``table`` in this run."""
    return f"pg_temp.{table}__left"


def soft_reason(parent: Parent) -> str:
    """SQL for the warning of a row whose soft parent is missing."""
    return sql.literal(SOFT_REASON.format(parents=label(parent)))
