"""What syncs are held against: HAT as it was, and HAT as a load of the same ERP leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.server import LOADER, READER

from .ground import Connection, Ground, present
from .proxy import Proxy

MOVED = "pls_moved"
"""A PLS in which a little of everything has changed since ``LOADED`` was filled."""

Rows = dict[str, tuple[int, int]]
"""Table to its number of rows and a checksum of the columns that come from the view."""

KEPT = ("rejects", "watermarks", "backing", "changes", "shapes", "identity")
"""Technical tables that only a run that commits may change."""


def rows(connection: Connection) -> Rows:
    """What every HAT table shows, wherever it came from."""
    selects = []
    for table in present(connection):
        row = "ROW(" + ", ".join(f'"{column.name}"' for column in BY_TABLE[table].columns) + ")"
        selects.append(
            f"SELECT '{table}', count(*), coalesce(sum(hashtextextended({row}::text, 0)::numeric), 0) FROM hat.{table}"
        )
    return {name: (number, checksum) for name, number, checksum in connection.execute(" UNION ALL ".join(selects))}


@dataclass(frozen=True)
class Shown:
    """What HAT and its quarantine show, whichever runs brought it."""

    rows: Rows
    reported: list[tuple[Any, ...]]

    @classmethod
    def by(cls, ground: Ground) -> Shown:
        with ground.in_hat() as connection:
            return cls(rows(connection), ground.reported())


class Untouched:
    """Remembers HAT with all that syncs keep beside it."""

    def __init__(self, ground: Ground) -> None:
        ground.forget_place()
        self._ground, self._before = ground, _everything(ground)

    def check(self, *, temporary: bool = False) -> None:
        """All is as it was, and nothing and nobody is left behind.

        ``temporary``: but for temporary tables, which a server that crashed removes when their place is needed.
        """
        self._ground.assert_nobody_left()
        now = _everything(self._ground)
        assert [name for name in {**now, **self._before} if now.get(name) != self._before.get(name)] == []
        with self._ground.in_hat() as connection:
            left = connection.execute("SELECT relname FROM pg_class WHERE relpersistence = 't'").fetchall()
        assert temporary or left == []


def _everything(ground: Ground) -> dict[str, Any]:
    with ground.in_hat() as connection:
        found: dict[str, Any] = dict(ground.state())
        for table in KEPT:
            found[table] = connection.execute(
                f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM hat_etl.{table} t"
            ).fetchone()
        found["relations"] = connection.execute(
            "SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE relpersistence <> 't' ORDER BY 1, 2"
        ).fetchall()
    return found


def last_run(ground: Ground) -> tuple[int, str, str, str | None]:
    """Number, mode, state and error of the latest run in the ledger."""
    with ground.in_hat() as connection:
        run = connection.execute(
            "SELECT run, mode, state, error FROM hat_etl.runs ORDER BY run DESC LIMIT 1"
        ).fetchone()
    assert run is not None
    return run


def synced(ground: Ground, *arguments: str) -> dict[str, Any]:
    """A sync that must succeed; gives what it printed."""
    result = ground.run("sync", ground.name, "--json", *arguments)
    assert result.exit_code == 0, result.err
    document: dict[str, Any] = result.document
    assert document["state"] == "succeeded"
    return document


def assert_told(text: str, *words: str) -> None:
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"


def behind(ground: Ground, erp: Proxy | None = None, hat: Proxy | None = None, options: str = "") -> None:
    """Let the runs of ``ground`` go through the proxies; ``options`` are added to the addresses (``&name=value``)."""
    if erp is not None:
        ground.erp_url = erp.url(ground.pls, READER) + options
    if hat is not None:
        ground.hat_url = hat.url(ground.hat, LOADER) + options


def directly(ground: Ground) -> None:
    """Let the runs of ``ground`` go to the servers themselves again."""
    ground.erp_url = ground.hat_url = None
