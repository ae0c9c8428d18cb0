"""What reconciliations found, in the ledger: counts, columns and the first keys of each table; never values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any

from hat_etl.target import ledger
from hat_etl.target.database import Connection
from hat_etl.target.ledger import TableOutcome

KINDS = ("missing", "extra", "differing")
"""Kinds of mismatch."""


@dataclass
class Bucket:
    """Neighbouring Recnos among which something differs: live rows of the view, rows of HAT, mismatches."""

    low: int
    high: int
    source_rows: int
    hat_rows: int
    missing: int = 0
    extra: int = 0
    differing: int = 0
    columns: dict[str, int] = field(default_factory=dict)


@dataclass
class Comparison:
    """One table of the ERP against the same of HAT, in rows.

    ``source_rows`` are the live rows of the view, ``hat_rows`` all rows of the table, ``compared`` those that both
    have. ``kept``: last good versions in HAT, behind which no row of the view stands.
    """

    table: str
    source_rows: int = 0
    hat_rows: int = 0
    compared: int = 0
    missing: int = 0
    extra: int = 0
    differing: int = 0
    in_flight: int = 0
    quarantined: int = 0
    kept: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    """Column to the number of rows in which it differs."""
    keys: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    """Recno, key and columns of the first mismatches of each kind."""
    buckets: int = 0
    differing_buckets: list[Bucket] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def mismatches(self) -> int:
        return self.missing + self.extra + self.differing

    def add(self, kind: str, columns: Sequence[str], bucket: Bucket) -> None:
        """Count a mismatch."""
        for counts in (self, bucket):
            setattr(counts, kind, getattr(counts, kind) + 1)
            for column in columns:
                counts.columns[column] = counts.columns.get(column, 0) + 1

    def show(self, kind: str, entries: Iterable[tuple[int, str, Sequence[str]]], shown: int) -> None:
        """Keep Recno, key and columns of mismatches of a kind, as far as they are the first ``shown`` by Recno."""
        told = [
            {"recno": recno, "key": key, **({"columns": list(columns)} if columns else {})}
            for recno, key, columns in entries
        ]
        self.keys[kind] = sorted(self.keys[kind] + told, key=itemgetter("recno", "key"))[:shown]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def record(connection: Connection, run: int, comparisons: Sequence[Comparison], state: str, told: str | None) -> None:
    """Write what a reconciliation found, and close its run."""
    outcomes = [TableOutcome(c.table, "reconcile", read=c.source_rows, seconds=c.seconds) for c in comparisons]
    ledger.record_tables(connection, run, outcomes)
    for comparison in comparisons:
        values = {name: value for name, value in asdict(comparison).items() if name != "seconds"}
        names = ", ".join(f'"{name}"' for name in values)
        kept = [json.dumps(value) if isinstance(value, dict | list) else value for value in values.values()]
        connection.execute(
            f"INSERT INTO hat_etl.reconciliations (run, {names}) VALUES (%s, {', '.join(['%s'] * len(kept))})",
            (run, *kept),
        )
    connection.execute(
        "UPDATE hat_etl.runs SET state = %s, finished_at = now(), error = %s WHERE run = %s", (state, told, run)
    )
