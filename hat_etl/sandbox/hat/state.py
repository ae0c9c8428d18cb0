"""What the HAT of the sandbox knows, in one SQLite file (or in memory): it outlives the server."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from hat_etl.sandbox.hat import lots
from hat_etl.sandbox.hat.lots import Recipe

FileFault = Literal["parent_not_found", "missing", "redirect", "large", "empty", "elsewhere"]
"""What may be wrong with a file in the store, rather than in the lot."""

_TABLES = """
CREATE TABLE IF NOT EXISTS lots (
    batch_number TEXT, provider TEXT, batch_date TEXT, auth_type TEXT, recipe TEXT, content BLOB,
    file_fault TEXT, status INTEGER, protocol TEXT, tracking INTEGER DEFAULT 0, is_deleted INTEGER DEFAULT 0,
    causes TEXT DEFAULT '[]', is_gone INTEGER DEFAULT 0, PRIMARY KEY (provider, batch_number)
);
CREATE INDEX IF NOT EXISTS lots_waiting ON lots (tracking, batch_number);
CREATE TABLE IF NOT EXISTS puts (id INTEGER PRIMARY KEY, batch_number TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS records (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS refusals (path TEXT, property TEXT, value TEXT, message TEXT);
CREATE TABLE IF NOT EXISTS writes (
    id INTEGER PRIMARY KEY, token TEXT UNIQUE, path TEXT, body TEXT, looks INTEGER, answer TEXT
);
CREATE TABLE IF NOT EXISTS authorizations (id TEXT PRIMARY KEY, tracking INTEGER, body TEXT);
"""


@dataclass(frozen=True)
class Lot:
    """A lot as HAT shows it to the provider."""

    batch_number: str
    provider: str
    batch_date: str
    auth_type: str
    status: int | None
    protocol: str | None
    tracking: int
    is_deleted: bool
    causes: list[dict[str, str]]
    is_gone: bool
    """Deleted for good, as the operator's side has confirmed."""


_COLUMNS = "batch_number, provider, batch_date, auth_type, status, protocol, tracking, is_deleted, causes, is_gone"
_NAMED = "batch_number = ? AND provider = coalesce(?, provider)"
"""Providers may use one number: who means one of their lots names the provider, too."""


class State:
    """Threads may share it; each call is whole."""

    def __init__(self, file: Path | None = None) -> None:
        self._connection = sqlite3.connect(file or ":memory:", check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_TABLES)
        self._lock = RLock()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def add(self, recipe: Recipe, *, batch_number: str | None = None, file_fault: FileFault | None = None) -> str:
        """A provider sends a lot; gives its number in HAT."""
        number = batch_number or recipe.number
        self._do(
            "INSERT INTO lots (batch_number, provider, batch_date, auth_type, recipe, file_fault)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (number, recipe.provider, "2026-11-03", "01", recipe.model_dump_json(), file_fault),
        )
        return number

    def replace_file(self, batch_number: str, content: bytes) -> None:
        """The lot has another file from now on, and waits again."""
        self._do("UPDATE lots SET content = ?, tracking = 0 WHERE batch_number = ?", (content, batch_number))

    def mend_file(self, batch_number: str, provider: str | None = None) -> None:
        self._do(f"UPDATE lots SET file_fault = NULL WHERE {_NAMED}", (batch_number, provider))

    def mark_deleted(self, batch_number: str, provider: str | None = None) -> None:
        """The provider takes the lot back: it waits to be seen as deleted."""
        self._do(f"UPDATE lots SET is_deleted = 1, tracking = 0 WHERE {_NAMED}", (batch_number, provider))

    def lot(self, batch_number: str, provider: str | None = None) -> Lot | None:
        rows = self._ask(f"SELECT {_COLUMNS} FROM lots WHERE {_NAMED}", (batch_number, provider))
        return _lot(rows[0]) if rows else None

    def lots(self) -> list[Lot]:
        return [_lot(row) for row in self._ask(f"SELECT {_COLUMNS} FROM lots ORDER BY batch_number, provider")]

    def waiting(self, tracking: int, offset: int, limit: int) -> tuple[list[tuple[Lot, str | None]], bool]:
        """Lots with this trackingStatus and the fault of the file of each; whether there are more."""
        rows = self._ask(
            f"SELECT {_COLUMNS}, file_fault FROM lots WHERE tracking = ? AND NOT is_gone"
            " ORDER BY batch_number, provider LIMIT ? OFFSET ?",
            (tracking, limit + 1, offset),
        )
        return [(_lot(row[:-1]), row[-1]) for row in rows[:limit]], len(rows) > limit

    def file(self, batch_number: str, provider: str) -> tuple[bytes, str | None] | None:
        """The bytes of a lot's file, and what is wrong with it."""
        rows = self._ask(f"SELECT recipe, content, file_fault FROM lots WHERE {_NAMED}", (batch_number, provider))
        if not rows:
            return None
        recipe, content, fault = rows[0]
        return (content or lots.make(Recipe.model_validate_json(recipe))), fault

    def put(self, batch_number: str, body: dict[str, Any]) -> bool:
        """Take an update; False when there is no such lot."""
        provider = body.get("healthProviderId")
        with self._lock:
            if self.lot(batch_number, provider) is None:
                return False
            self._do(
                "UPDATE lots SET status = coalesce(?, status), protocol = coalesce(?, protocol), tracking = ?,"
                f" causes = ? WHERE {_NAMED}",
                (
                    body.get("status"), body.get("protocol"), body.get("trackingStatus", 0),
                    json.dumps(body.get("rejectionCauses", [])), batch_number, provider,
                ),
            )  # fmt: skip
            self._do("INSERT INTO puts (batch_number, body) VALUES (?, ?)", (batch_number, json.dumps(body)))
        return True

    def puts(self, batch_number: str) -> list[dict[str, Any]]:
        """Every update of a lot, the oldest first."""
        rows = self._ask("SELECT body FROM puts WHERE batch_number = ? ORDER BY id", (batch_number,))
        return [json.loads(body) for (body,) in rows]

    def delete(self, batch_number: str, provider: str | None) -> bool:
        with self._lock:
            if self.lot(batch_number, provider) is None:
                return False
            self._do(f"UPDATE lots SET is_gone = 1 WHERE {_NAMED}", (batch_number, provider))
        return True

    def write(self, token: str, path: str, body: Any, looks: int, answer: dict[str, Any]) -> None:
        """Take a cadastral write, whose answer is ready after so many looks at it."""
        self._do(
            "INSERT INTO writes (token, path, body, looks, answer) VALUES (?, ?, ?, ?, ?)",
            (token, path, json.dumps(body), looks, json.dumps(answer)),
        )

    def writes(self) -> list[tuple[str, Any]]:
        """Path and body of every cadastral write, in their order; a method other than POST stands before the path."""
        return [(path, json.loads(body)) for path, body in self._ask("SELECT path, body FROM writes ORDER BY id")]

    def note(self, path: str, body: Any) -> None:
        """Take a cadastral write that is answered at once."""
        self._do("INSERT INTO writes (path, body) VALUES (?, ?)", (path, json.dumps(body)))

    def keep(self, kind: str, key: str, row: dict[str, Any]) -> None:
        """Include or change a row of a register."""
        self._do("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (kind, key, json.dumps(row)))

    def forget(self, kind: str, key: str) -> None:
        self._do("DELETE FROM records WHERE kind = ? AND key = ?", (kind, key))

    def record(self, kind: str, key: str) -> dict[str, Any] | None:
        rows = self._ask("SELECT body FROM records WHERE kind = ? AND key = ?", (kind, key))
        return json.loads(rows[0][0]) if rows else None

    def kept(self, kind: str) -> list[dict[str, Any]]:
        """The rows of a register."""
        rows = self._ask("SELECT body FROM records WHERE kind = ? ORDER BY key", (kind,))
        return [json.loads(body) for (body,) in rows]

    def refuse(self, path: str, name: str, value: str, message: str) -> None:
        """Refuse rows from now on whose property is this."""
        self._do("INSERT INTO refusals VALUES (?, ?, ?, ?)", (path, name, value, message))

    def refuse_no_more(self) -> None:
        self._do("DELETE FROM refusals")

    def refusal(self, path: str, row: dict[str, Any]) -> str | None:
        """Why a row is refused, if it is."""
        rules = self._ask("SELECT property, value, message FROM refusals WHERE path = ?", (path,))
        return next((message for name, value, message in rules if str(row.get(name, "")) == value), None)

    def answer(self, token: str) -> tuple[bool, dict[str, Any]] | None:
        """Whether a write is done, and its answer; None for an unknown token."""
        with self._lock:
            rows = self._ask("SELECT looks, answer FROM writes WHERE token = ?", (token,))
            if not rows:
                return None
            self._do("UPDATE writes SET looks = looks - 1 WHERE token = ?", (token,))
        return rows[0][0] <= 0, json.loads(rows[0][1])

    def add_authorizations(self, bodies: Iterable[dict[str, Any]]) -> None:
        for body in bodies:
            self._do(
                "INSERT OR REPLACE INTO authorizations VALUES (?, 0, ?)",
                (body["idOnHealthInsurer"], json.dumps(body)),
            )

    def authorization(self, number: str) -> dict[str, Any] | None:
        rows = self._ask("SELECT tracking, body FROM authorizations WHERE id = ?", (number,))
        return {"trackingStatus": rows[0][0], **json.loads(rows[0][1])} if rows else None

    def track_authorization(self, number: str, tracking: int) -> bool:
        """Take a trackingStatus; False when there is no such authorization."""
        with self._lock:
            if self.authorization(number) is None:
                return False
            self._do("UPDATE authorizations SET tracking = ? WHERE id = ?", (tracking, number))
            self._do("INSERT INTO puts (batch_number, body) VALUES (?, ?)", (f"authorization {number}", str(tracking)))
        return True

    def authorizations(self, tracking: int, offset: int, limit: int) -> tuple[list[dict[str, Any]], bool]:
        rows = self._ask(
            "SELECT body FROM authorizations WHERE tracking = ? ORDER BY id LIMIT ? OFFSET ?",
            (tracking, limit + 1, offset),
        )
        return [json.loads(body) for (body,) in rows[:limit]], len(rows) > limit

    def _do(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        with self._lock:
            self._connection.execute(statement, values)

    def _ask(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()


def _lot(row: tuple[Any, ...]) -> Lot:
    number, provider, day, kind, status, protocol, tracking, is_deleted, causes, is_gone = row
    return Lot(
        number, provider, day, kind, status, protocol, tracking, bool(is_deleted), json.loads(causes), bool(is_gone)
    )
