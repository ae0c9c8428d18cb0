"""The connections through which activity reaches a PLS, its long transactions, and what it remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

import psycopg

from hat_etl.protheus import dictionary
from hat_etl.sandbox import physical
from hat_etl.sandbox.churn.tables import Table
from hat_etl.sandbox.physical import STAMP
from hat_etl.sandbox.server import ERP_SCHEMA

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

MEMORY = "activity"
"""Schema beside that of the PLS tables: the purged rows, and the values that spoiled ones had."""

_LOCK_TIMEOUT = "2s"
"""Nothing here should ever wait for a lock; what does is given up rather than hang."""


@dataclass
class _Long:
    connection: Connection
    held: dict[str, set[int]] = field(default_factory=dict)
    """Rows it has written, which others could not write before it ends."""


class Activity:
    """A PLS at work. Not for several threads; transactions left open are rolled back by ``close``.

    ``url`` must be that of a superuser: wrong clocks need the stamp trigger switched off for a transaction.
    """

    def __init__(self, url: str, company: str = "01", schema: str = ERP_SCHEMA) -> None:
        self.company, self.schema, self._url = company, schema, url
        self._main = self._connect(autocommit=True)
        self._long: dict[str, _Long] = {}
        self._given: dict[str, set[tuple[str, ...]]] = {}
        self._numbers = Counter[str]()
        self._stamped = self._remember()

    def __enter__(self) -> Activity:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for name in list(self._long):
            self.end(name, commit=False)
        self._main.close()

    @property
    def open_transactions(self) -> tuple[str, ...]:
        """Names of the long transactions that are neither committed nor rolled back."""
        return tuple(self._long)

    @contextmanager
    def transaction(self, name: str = "") -> Iterator[Connection]:
        """A transaction of its own, or a part of the long one of that name, which is opened if need be."""
        connection = self._main
        if name:
            if name not in self._long:
                self._long[name] = _Long(self._connect(autocommit=False))
                # It begins now, and what follows are parts of it.
                self._long[name].connection.execute("SELECT 1")
            connection = self._long[name].connection
        with connection.transaction():
            yield connection

    def end(self, name: str, *, commit: bool) -> None:
        """End a long transaction; nothing happens when there is none of that name."""
        long = self._long.pop(name, None)
        if long is None:
            return
        if commit:
            long.connection.commit()
        long.connection.close()

    def hold(self, name: str, alias: str, recnos: Iterable[int]) -> None:
        """Note what a long transaction has written."""
        if name in self._long:
            self._long[name].held.setdefault(alias, set()).update(recnos)

    def held(self, alias: str, name: str) -> list[int]:
        """Rows that transactions other than ``name`` have written and not yet committed."""
        return sorted(
            recno for other, long in self._long.items() if other != name for recno in long.held.get(alias, ())
        )

    def number(self, purpose: str) -> int:
        """0, 1, 2 ... for each purpose: draws of one session differ even where nothing else does."""
        self._numbers[purpose] += 1
        return self._numbers[purpose] - 1

    def is_given(self, alias: str, key: tuple[str, ...]) -> bool:
        """This activity has given the key before, perhaps in a transaction that nobody sees yet."""
        return key in self._given.get(alias, ())

    def give(self, alias: str, keys: Iterable[tuple[str, ...]]) -> None:
        self._given.setdefault(alias, set()).update(keys)

    def has_stamp(self, alias: str) -> bool:
        return alias in self._stamped

    def name(self, table: Table) -> str:
        """The table in the database, with its schema."""
        return f"{self.schema}.{dictionary.physical_name(table.alias, self.company)}"

    def purged(self, table: Table) -> str:
        """The store of rows that activity has purged."""
        return f"{MEMORY}.{self.schema}_{dictionary.physical_name(table.alias, self.company)}"

    @property
    def spoiled(self) -> str:
        """The store of values that were good before they were spoiled: (table, recno, field, value)."""
        return f"{MEMORY}.spoiled"

    def _connect(self, *, autocommit: bool) -> Connection:
        connection = psycopg.connect(self._url, autocommit=autocommit, application_name="hat-etl churn")
        # A power cut may take the last second of play.
        connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'; SET synchronous_commit = off")
        if not autocommit:
            # The transaction begins with its first write, not here.
            connection.commit()
        return connection

    def _remember(self) -> frozenset[str]:
        """Make the stores; gives the tables that have stamps."""
        tables = [Table(alias) for alias in physical.aliases()]
        with self._main.transaction():
            self._main.execute(f"CREATE SCHEMA IF NOT EXISTS {MEMORY}")
            self._main.execute(
                f"CREATE TABLE IF NOT EXISTS {self.spoiled}"
                " (source text, recno bigint, field text, value text, PRIMARY KEY (source, recno, field))"
            )
            for table in tables:
                self._main.execute(
                    f"CREATE UNLOGGED TABLE IF NOT EXISTS {self.purged(table)} (LIKE {self.name(table)})"
                )
            found = self._main.execute(
                "SELECT relname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
                " WHERE relnamespace = %s::regnamespace AND attname = %s",
                (self.schema, STAMP),
            ).fetchall()
        stamped = {name for (name,) in found}
        return frozenset(t.alias for t in tables if dictionary.physical_name(t.alias, self.company) in stamped)


def rows_of(found: Sequence[tuple[Any, ...]]) -> list[int]:
    """The Recnos that a statement gave, in order."""
    return sorted(int(row[0]) for row in found)
