"""The ledger of calls to HAT's cadastral API: what was sent, what HAT said, and what it has that no run has committed.

Calls are written by a connection of their own, so that they stay when the run that made them is broken off. Each is
written down before it leaves. A call that HAT has accepted is open until a run commits the row into the HAT tables.
One of which nobody can tell whether HAT has it is open until HAT has accepted a later version of the row: whatever the
HAT tables show, the row as it is now is to be sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from hat_etl.entities.model import Entity
from hat_etl.source.reader import Recnos
from hat_etl.target import sql
from hat_etl.target.database import Connection
from hat_etl.target.intake import Intake
from hat_etl.target.integrity import key_array, typed_key
from hat_etl.target.sink import EXCLUDE, RULE, Change

SENT, ACCEPTED, REFUSED, SETTLED = "sent", "accepted", "refused", "settled"

_OVERTAKEN = (
    'EXISTS (SELECT FROM hat_etl.api_calls n WHERE n."table" = c."table" AND n.key = c.key AND n.id > c.id'
    f" AND n.state = '{ACCEPTED}')"
)
"""SQL that is true for a call ``c`` when HAT has accepted a later one of the same row."""


@dataclass(frozen=True)
class OpenCall:
    """A call whose outcome nobody has noted yet."""

    id: int
    table: str
    change: Change
    token: str | None


class Calls:
    """The calls of one tenant, on a connection in autocommit mode. Threads may share it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = Lock()

    def begin(self, run: int, table: str, change: Change, code: str) -> int:
        """Write a call down that is about to leave; gives its number."""
        row = self._do(
            'INSERT INTO hat_etl.api_calls (run, "table", key, recno, action, code, contents)'
            " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
            (run, table, list(change.key), change.recno, change.action, code, change.row),
        )
        return int(row[0][0])

    def note_token(self, call: int, token: str | None) -> None:
        """Note under which token HAT will tell the outcome; None: under none, or one that it knows no more."""
        self._do("UPDATE hat_etl.api_calls SET token = %s WHERE id = %s RETURNING id", (token, call))

    def close(self, call: int, state: str, answer: str | None = None) -> None:
        """Note the outcome of a call."""
        self._do(
            "UPDATE hat_etl.api_calls SET state = %s, answer = %s, answered_at = now(),"
            f" contents = CASE WHEN %s = '{ACCEPTED}' THEN contents END WHERE id = %s RETURNING id",
            (state, answer, state, call),
        )

    def in_doubt(self) -> list[OpenCall]:
        """The calls whose outcome is not known, the oldest first."""
        rows = self._do(
            'SELECT id, "table", key, recno, action, contents::text, token FROM hat_etl.api_calls c'
            f" WHERE state = '{SENT}' AND NOT {_OVERTAKEN} ORDER BY id",
            (),
        )
        return [
            OpenCall(int(number), table, Change(action, tuple(key), int(recno), row), token)
            for number, table, key, recno, action, row, token in rows
        ]

    def excluded(self) -> set[tuple[str, tuple[str, ...]]]:
        """Table and key of the rows that HAT has let go and that the HAT tables may still show."""
        rows = self._do(
            'SELECT "table", key FROM (SELECT DISTINCT ON ("table", key) "table", key, action, state'
            f" FROM hat_etl.api_calls WHERE state IN ('{SENT}', '{ACCEPTED}') ORDER BY \"table\", key, id DESC) c"
            f" WHERE action = '{EXCLUDE}' AND state = '{ACCEPTED}'",
            (),
        )
        return {(table, tuple(key)) for table, key in rows}

    def _do(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement.encode(), values).fetchall()


def are_open(connection: Connection) -> bool:
    """Whether HAT may have what the HAT tables do not show."""
    query = f"SELECT EXISTS (SELECT FROM hat_etl.api_calls WHERE state IN ('{SENT}', '{ACCEPTED}'))"
    return connection.execute(query).fetchone() == (True,)


def doubts(entity: Entity) -> str:
    """SQL for the rows of which HAT may have another version than the HAT tables: ``parts``, ``recno``, ``contents``.

    There are none of a row that awaits an answer: it is not sent again before.
    """
    return (
        "SELECT DISTINCT ON (key) key AS parts, recno, contents FROM hat_etl.api_calls c"
        f" WHERE state = '{SENT}' AND token IS NULL AND \"table\" = '{entity.table}' AND NOT {_OVERTAKEN}"
        " ORDER BY key, id DESC"
    )


def is_in_doubt(connection: Connection, entity: Entity) -> bool:
    """Whether there are ``doubts`` about a table."""
    return connection.execute(f"SELECT EXISTS ({doubts(entity)})").fetchone() == (True,)


def of_run(connection: Connection, run: int) -> int:
    """How many calls of a run HAT has accepted."""
    row = connection.execute(
        f"SELECT count(*) FROM hat_etl.api_calls WHERE run = %s AND state IN ('{ACCEPTED}', '{SETTLED}')", (run,)
    ).fetchone()
    return 0 if row is None else int(row[0])


def to_read_again(connection: Connection, entity: Entity, schema: str) -> Recnos:
    """Recnos of the rows of the view that open calls and refusals of HAT concern.

    With those behind the rows of HAT that an accepted row takes an alternate key from.
    """
    table, hat = f"'{entity.table}'", f"{schema}.{entity.table}"
    queries = [
        f"SELECT recno FROM hat_etl.api_calls WHERE \"table\" = {table} AND state IN ('{SENT}', '{ACCEPTED}')",
        f"SELECT recno FROM hat_etl.rejects WHERE \"table\" = {table} AND rule = '{RULE}'",
    ]
    queries += [
        f"SELECT h.source_recno FROM ({_latest(entity, schema)}) l JOIN {hat} h USING ({sql.names(key)})"
        for key in entity.alternate_keys
    ]
    queries.append(
        f"SELECT h.source_recno FROM ({doubts(entity)}) d CROSS JOIN LATERAL (SELECT {typed_key(entity, 'd.parts')}) k"
        f" JOIN {hat} h USING ({sql.names(entity.key)})"
    )
    rows = connection.execute(" UNION ".join(queries)).fetchall()
    return np.array([recno for (recno,) in rows], dtype=np.int64)


def show_accepted(connection: Connection, intake: Intake, schema: str, run: int) -> bool:
    """Bring into the HAT table what HAT has accepted and no run has committed, in the caller's transaction.

    A row that HAT has let go goes only where the view shows it again, for it must be included anew; elsewhere the merge
    lets it go, with the rows that hang on it. Gives whether rows have come.
    """
    entity = intake.entity
    if not _is_accepted(connection, entity):
        return False
    hat, table, names = f"{schema}.{entity.table}", f"'{entity.table}'", sql.names(f.name for f in entity.schema)
    key, execute = sql.names(entity.key), connection.execute
    execute(f"CREATE TEMPORARY TABLE accepted ON COMMIT DROP AS {_latest(entity, schema)}")
    back = "false" if intake.empty else f"EXISTS (SELECT FROM {intake.good} g WHERE {key_array(entity, 'g')} = a.parts)"
    execute(f"DELETE FROM accepted a WHERE a.action = '{EXCLUDE}' AND NOT {back}")
    doomed = f"SELECT {key_array(entity, 'h')} AS parts FROM {hat} h JOIN accepted a USING ({key})"
    for other in entity.alternate_keys:
        doomed += (
            f" UNION SELECT {key_array(entity, 'h')} FROM {hat} h JOIN accepted a USING ({sql.names(other)})"
            f" WHERE a.action <> '{EXCLUDE}'"
        )
    execute(f"CREATE TEMPORARY TABLE replaced ON COMMIT DROP AS {doomed}")
    theirs = (
        f"{hat} h JOIN (SELECT r.parts, k.* FROM replaced r"
        f" CROSS JOIN LATERAL (SELECT {typed_key(entity, 'r.parts')}) k) r USING ({key})"
    )
    stays = f"EXISTS (SELECT FROM accepted a WHERE a.parts = r.parts AND a.action <> '{EXCLUDE}')"
    execute(
        f"INSERT INTO hat_etl.changes SELECT {run}, {table}, CASE WHEN {stays} THEN 'update' ELSE 'delete' END,"
        f" r.parts, to_jsonb(h) FROM {theirs}"
    )
    new = execute(
        f"INSERT INTO hat_etl.changes SELECT {run}, {table}, 'insert', a.parts, NULL FROM accepted a"
        f" WHERE a.action <> '{EXCLUDE}' AND NOT EXISTS (SELECT FROM replaced r WHERE r.parts = a.parts)"
    ).rowcount
    execute(f"DELETE FROM {hat} d USING (SELECT h.ctid AS place FROM {theirs}) x WHERE d.ctid = x.place")
    execute(f"INSERT INTO {hat} ({names}) SELECT {names} FROM accepted WHERE action <> '{EXCLUDE}'")
    execute("DROP TABLE accepted, replaced")
    return bool(new)


def settle(connection: Connection, run: int, tables: Iterable[str]) -> None:
    """Note that the HAT tables show what HAT has accepted: ``run``, in whose transaction this is, brings it there."""
    connection.execute(
        f"UPDATE hat_etl.api_calls c SET state = '{SETTLED}', contents = NULL"
        f" WHERE state = '{SENT}' AND \"table\" = ANY (%s) AND {_OVERTAKEN}",
        (list(tables),),
    )
    connection.execute(
        f"UPDATE hat_etl.api_calls SET state = '{SETTLED}', run = %s, contents = NULL"
        f" WHERE state = '{ACCEPTED}' AND \"table\" = ANY (%s)",
        (run, list(tables)),
    )


def forget_gone(connection: Connection, intake: Intake) -> None:
    """Let doubts rest about rows that have left the ERP, or have another key there, and that no call can exclude."""
    if not intake.empty:
        connection.execute(
            f"UPDATE hat_etl.api_calls c SET state = '{SETTLED}', contents = NULL FROM {intake.seen} s"
            f" WHERE c.state = '{SENT}' AND c.token IS NULL AND c.\"table\" = '{intake.entity.table}'"
            f" AND s.recno = c.recno AND (NOT s.live OR EXISTS (SELECT FROM {intake.good} g"
            f" WHERE g.source_recno = c.recno AND {key_array(intake.entity, 'g')} <> c.key))"
        )


def _is_accepted(connection: Connection, entity: Entity) -> bool:
    row = connection.execute(
        f"SELECT EXISTS (SELECT FROM hat_etl.api_calls WHERE state = '{ACCEPTED}' AND \"table\" = %s)", (entity.table,)
    ).fetchone()
    return row == (True,)


def _latest(entity: Entity, schema: str) -> str:
    """SQL for the latest accepted call of each key, with its row set out."""
    return (
        "SELECT c.action, c.parts, b.* FROM (SELECT DISTINCT ON (key) action, key AS parts, contents"
        f" FROM hat_etl.api_calls WHERE state = '{ACCEPTED}' AND \"table\" = '{entity.table}' ORDER BY key, id DESC) c"
        f" CROSS JOIN LATERAL jsonb_populate_record(NULL::{schema}.{entity.table}, c.contents) b"
    )
