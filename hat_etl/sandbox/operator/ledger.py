"""The lots that the sandbox's operator has, in SQLite: what it took, how often each came, and how far each is."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from pydantic import TypeAdapter

from hat_etl.sandbox.operator.course import Course, Denied, Guide, course

_TABLE = """
CREATE TABLE IF NOT EXISTS lots (
    protocol INTEGER PRIMARY KEY AUTOINCREMENT,
    provider TEXT NOT NULL,
    number TEXT NOT NULL,
    digest TEXT NOT NULL,
    dental INTEGER NOT NULL,
    guides BLOB NOT NULL,
    arrivals INTEGER NOT NULL DEFAULT 1,
    step INTEGER NOT NULL DEFAULT 0,
    UNIQUE (provider, number)
)
"""


@dataclass(frozen=True)
class Lot:
    """A lot as the operator has it."""

    order: int
    """Its place in the order of arrival, counted from 1: its protocol, too."""
    provider: str
    number: str
    digest: str
    """SHA-256 of what was delivered, in hexadecimal."""
    dental: bool
    guides: tuple[Guide, ...]
    arrivals: int
    """How often it was delivered; it was taken the first time only."""
    step: int

    @property
    def protocol(self) -> str:
        """The protocol as the operator writes it."""
        return protocol(self.order)

    @property
    def course(self) -> Course:
        """What becomes of it."""
        return course(self.order)

    @property
    def status(self) -> str:
        """Its status now, of terminology table 45."""
        return self.course.statuses[self.step]

    @property
    def denials(self) -> tuple[Denied, ...]:
        """What is denied as far as the operator has said."""
        return self.course.denials(self.guides) if self.step >= 2 else ()

    @property
    def total(self) -> Decimal:
        """What the provider asks for, in reais."""
        return sum((guide.total for guide in self.guides), Decimal(0))


def protocol(order: int) -> str:
    """A protocol of 12 digits."""
    return f"{order:012d}"


class Ledger:
    """The lots, in a file or in memory. Safe to use from several threads."""

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file or ":memory:", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(_TABLE)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def take(
        self, provider: str, number: str, digest: str, dental: bool, guides: tuple[Guide, ...]
    ) -> tuple[Lot, bool]:
        """The lot, and whether it is new: a number that a provider has used already is not taken again."""
        with self._lock:
            done = self._database.execute(
                "INSERT INTO lots (provider, number, digest, dental, guides) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (provider, number) DO UPDATE SET arrivals = arrivals + 1 RETURNING *",
                (provider, number, digest, dental, _packed(guides)),
            ).fetchone()
        lot = _lot(done)
        return lot, lot.arrivals == 1

    def by_protocol(self, provider: str, wanted: str) -> Lot | None:
        """The provider's lot under a protocol."""
        if not wanted.isdigit():
            return None
        return self._one("protocol = ? AND provider = ?", int(wanted), provider)

    def by_number(self, provider: str, number: str) -> Lot | None:
        """The provider's lot of a number."""
        return self._one("provider = ? AND number = ?", provider, number)

    def all(self) -> Iterator[Lot]:
        """All lots in the order of their arrival."""
        with self._lock:
            rows = self._database.execute("SELECT * FROM lots ORDER BY protocol").fetchall()
        return map(_lot, rows)

    def advance(self) -> int:
        """Bring every lot one status further; gives the number of lots that moved."""
        moved = 0
        for lot in self.all():
            if lot.step + 1 < len(lot.course.statuses):
                with self._lock:
                    self._database.execute("UPDATE lots SET step = step + 1 WHERE protocol = ?", (lot.order,))
                moved += 1
        return moved

    def _one(self, condition: str, *values: object) -> Lot | None:
        with self._lock:
            row = self._database.execute(f"SELECT * FROM lots WHERE {condition}", values).fetchone()
        return _lot(row) if row else None


_GUIDES = TypeAdapter(tuple[Guide, ...])


def _packed(guides: tuple[Guide, ...]) -> bytes:
    return zlib.compress(_GUIDES.dump_json(guides), 1)


def _lot(row: tuple[int, str, str, str, int, bytes, int, int]) -> Lot:
    order, provider, number, digest, dental, guides, arrivals, step = row
    return Lot(
        order, provider, number, digest, bool(dental), _GUIDES.validate_json(zlib.decompress(guides)), arrivals, step
    )
