"""The lots of a tenant in its own database: what is known of each, its history, and what is to leave.

Every change of a lot's state goes through ``move``, which keeps to ``states.TRANSITIONS`` and writes the history in
the same transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
from psycopg.rows import class_row

from hat_etl.billing.commands import about
from hat_etl.billing.contents import Contents
from hat_etl.billing.states import State, before
from hat_etl.errors import Busy, DataError
from hat_etl.target import technical
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.tenants.config import Tenant

STAGES = ("pull", "send", "poll", "push", "authorizations")
_FIRST_LOCK = 10
"""Advisory locks of the stages come after those of loads and syncs, which billing does not wait for."""


@dataclass(frozen=True)
class Lot:
    """A lot as the store has it; columns are explained in ``tables``."""

    lot: int
    batch_number: str
    provider: str
    auth_type: str | None
    state: State
    sha256: str
    lot_number: str | None
    origin_kind: str | None
    origin_code: str | None
    version: str | None
    guides: int | None
    hold: str | None
    first_protocol: str | None
    protocol: str | None
    tiss_status: int | None
    causes: list[dict[str, str]]
    processed: Decimal | None
    denied: Decimal | None
    stated_status: int | None
    pulled_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))


_COLUMNS = ", ".join(Lot.__dataclass_fields__)

LOCKING = " FOR NO KEY UPDATE"
"""Locks a lot against changes; whoever writes a line of its history need not wait for that."""

_PLACE = ("coalesce({0}.batch_date, '')", "length({0}.batch_number)", "{0}.batch_number")
ORDER = ", ".join(("provider", *_PLACE)).format("billing_lots")
"""The order in which a provider has sent its lots."""

EARLIER = "b.provider = billing_lots.provider AND ({}) < ({})".format(
    ", ".join(_PLACE).format("b"), ", ".join(_PLACE).format("billing_lots")
)
"""Whether the provider has sent lot ``b`` before."""

_PORTION = 500
"""Lots in memory at a time: a tenant may have many thousands in one state."""


class Store:
    """The store of one tenant; threads may share it. ``close`` it at the end."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.contents = Contents(tenant)
        self._database = TenantDatabase(tenant)
        self._idle: SimpleQueue[Connection] = SimpleQueue()

    def close(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def is_there(self) -> bool:
        """Whether hat_etl has ever been here."""
        with self.connection() as connection:
            return self._database.owner(connection) is not None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Hold a stage of the tenant for as long as the block runs; makes the tables where they are missing.

        Raises Busy when another process is at it.
        """
        key = (0x484154, _FIRST_LOCK + STAGES.index(name))
        with (
            errors(self.tenant.name, again=f"hat-etl billing {name} {self.tenant.name}"),
            self._database.connect() as control,
        ):
            # A killed holder's session may take a moment to notice.
            control.execute("SET lock_timeout = '3s'")
            try:
                control.execute("SELECT pg_advisory_lock(%s, %s)", key)
            except psycopg.errors.LockNotAvailable:
                raise Busy(
                    f"Another billing {name} of this tenant is going on.", "Start again when it is over.",
                    self.tenant.name,
                ) from None  # fmt: skip
            control.execute("RESET lock_timeout")
            self._database.prepare(control)
            yield

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection of our own for the block, in autocommit mode.

        Raises TargetError, also when the database is another tenant's, or a later hat_etl keeps it.
        """
        with errors(self.tenant.name, again=f"hat-etl billing run {self.tenant.name}"):
            try:
                connection = self._idle.get_nowait()
            except Empty:
                connection = self._open()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.put(connection)

    def _open(self) -> Connection:
        connection = self._database.connect()
        try:
            self._database.check_identity(connection)
            technical.version(connection, self.tenant.name)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction of our own, committed when the block ends well."""
        with self.connection() as connection, connection.transaction():
            yield connection

    def numbers(self, where: str, values: tuple[Any, ...] = (), order: str = ORDER) -> list[int]:
        """The numbers here of the lots for which ``where`` holds."""
        with self.connection() as connection:
            found = connection.execute(
                f"SELECT lot FROM hat_etl.billing_lots WHERE {where} ORDER BY {order}".encode(), values
            )
            return [int(row[0]) for row in found]

    def portions(self, where: str, values: tuple[Any, ...] = (), order: str = ORDER) -> Iterator[list[Lot]]:
        """The lots for which ``where`` holds, some at a time, each portion as it is when it is asked for."""
        numbers = self.numbers(where, values, order)
        for start in range(0, len(numbers), _PORTION):
            with self.connection() as connection:
                rest = f"WHERE lot = ANY (%s) AND {where} ORDER BY {order}"
                lots = _lots(connection, rest, (numbers[start : start + _PORTION], *values))
            yield lots

    def lots(self, where: str, values: tuple[Any, ...] = (), order: str = ORDER) -> Iterator[Lot]:
        """The lots for which ``where`` holds, read in portions."""
        for portion in self.portions(where, values, order):
            yield from portion

    def get(self, connection: Connection, lot: int, *, lock: bool = False) -> Lot:
        """The lot; with ``lock``, nobody else changes it until the transaction ends."""
        return _lots(connection, f"WHERE lot = %s{LOCKING if lock else ''}", (lot,))[0]

    def find(self, connection: Connection, provider: str, batch_number: str) -> Lot | None:
        """The lot with this number of this provider, locked."""
        found = _lots(connection, f"WHERE provider = %s AND batch_number = %s{LOCKING}", (provider, batch_number))
        return found[0] if found else None

    def holder(self, connection: Connection, lot: Lot, protocol: str | None) -> str | None:
        """HAT's number of another lot of the provider that has this protocol, or had it first.

        Nobody else gives the protocol to a lot until the transaction ends.
        """
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", (f"{lot.provider}/{protocol}",))
        row = connection.execute(
            "SELECT batch_number FROM hat_etl.billing_lots WHERE provider = %s AND lot <> %s"
            " AND %s IN (protocol, first_protocol) LIMIT 1",
            (lot.provider, lot.lot, protocol),
        ).fetchone()
        return None if row is None else str(row[0])

    def content(self, connection: Connection, lot: Lot) -> bytes:
        """The bytes in force. Raises DataError when they are not what was pulled, OutOfReach."""
        row = connection.execute(
            "SELECT content, place FROM hat_etl.billing_contents WHERE lot = %s AND sha256 = %s", (lot.lot, lot.sha256)
        ).fetchone()
        content, place = row or (b"", None)
        if place is not None:
            content = self.contents.get(place, lot.provider, lot.batch_number)
        if hashlib.sha256(content or b"").hexdigest() != lot.sha256:
            raise DataError(
                f"What is stored of lot {lot.batch_number} of provider {lot.provider} is not what was pulled: its"
                " SHA-256 differs.",
                f"Restore {place or 'hat_etl.billing_contents'} from a backup; nothing of the lot is sent until then.",
                self.tenant.name,
            )
        return bytes(content)


def _lots(connection: Connection, rest: str, values: tuple[Any, ...]) -> list[Lot]:
    with connection.cursor(row_factory=class_row(Lot)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM hat_etl.billing_lots {rest}".encode(), values).fetchall()


def add(
    connection: Connection, *, batch_number: str, provider: str, batch_date: str | None, auth_type: str | None,
    content: bytes, place: str | None = None,
) -> int:  # fmt: skip
    """Write a new lot with its bytes, or the ``place`` that holds them; gives its number here."""
    digest = hashlib.sha256(content).hexdigest()
    row = connection.execute(
        "INSERT INTO hat_etl.billing_lots (batch_number, provider, batch_date, auth_type, state, sha256)"
        " VALUES (%s, %s, %s, %s, 'pulled', %s) RETURNING lot",
        (batch_number, provider, batch_date, auth_type, digest),
    ).fetchone()
    assert row is not None
    add_content(connection, int(row[0]), content, place)
    note(connection, int(row[0]), "pulled", {"sha256": digest, "bytes": len(content)}, to=State.PULLED)
    return int(row[0])


def add_content(connection: Connection, lot: int, content: bytes, place: str | None = None) -> str:
    """Keep bytes of a lot, or the ``place`` that holds them; gives their SHA-256. HAT has those that came last."""
    digest = hashlib.sha256(content).hexdigest()
    connection.execute(
        "INSERT INTO hat_etl.billing_contents (lot, sha256, content, place, bytes, pulled_at)"
        " VALUES (%s, %s, %s, %s, %s, clock_timestamp())"
        " ON CONFLICT (lot, sha256) DO UPDATE SET pulled_at = excluded.pulled_at",
        (lot, digest, content if place is None else None, place, len(content)),
    )
    return digest


def move(
    connection: Connection, lot: int, to: State, event: str, detail: Mapping[str, Any] | None = None, **columns: Any
) -> None:
    """Change the state of a lot, and ``columns`` with it. Raises DataError where the state may not follow."""
    sets = "".join(f", {name} = %s" for name in columns)
    row = connection.execute(
        f"WITH old AS (SELECT lot, state FROM hat_etl.billing_lots WHERE lot = %s{LOCKING})"
        f" UPDATE hat_etl.billing_lots l SET state = %s,"
        f" state_since = CASE WHEN l.state = %s THEN l.state_since ELSE now() END{sets}"
        f" FROM old WHERE l.lot = old.lot AND old.state = ANY (%s) RETURNING old.state".encode(),
        (lot, str(to), str(to), *map(_value, columns.values()), [str(state) for state in before(to)]),
    ).fetchone()
    if row is None:
        raise _changed_meanwhile(connection, lot, to)
    note(connection, lot, event, detail, State(row[0]), to)


def _changed_meanwhile(connection: Connection, number: int, to: State) -> DataError:
    row = connection.execute("SELECT tenant FROM hat_etl.identity").fetchone()
    assert row is not None
    tenant, lot = str(row[0]), _lots(connection, "WHERE lot = %s", (number,))[0]
    return DataError(
        f"Lot {lot.batch_number} of provider {lot.provider} cannot become {to} now: it has changed meanwhile, and is"
        f" {lot.state}.",
        f"Look at it with: {about(tenant, lot, 'show')}",
        tenant,
    )


def change(
    connection: Connection, lot: int, event: str, detail: Mapping[str, Any] | None = None, **columns: Any
) -> None:
    """Change columns of a lot whose state stays."""
    sets = ", ".join(f"{name} = %s" for name in columns)
    connection.execute(
        f"UPDATE hat_etl.billing_lots SET {sets} WHERE lot = %s".encode(), (*map(_value, columns.values()), lot)
    )
    note(connection, lot, event, detail)


def note(
    connection: Connection,
    lot: int,
    event: str,
    detail: Mapping[str, Any] | None = None,
    frm: State | None = None,
    to: State | None = None,
) -> None:
    """Write a line of a lot's history."""
    connection.execute(
        "INSERT INTO hat_etl.billing_history (lot, event, from_state, to_state, detail) VALUES (%s, %s, %s, %s, %s)",
        (lot, event, frm and str(frm), to and str(to), json.dumps(dict(detail or {}), default=str)),
    )


@dataclass(frozen=True)
class Message:
    """Something that is to leave."""

    id: int
    lot: int
    body: dict[str, Any]
    attempts: int


def enqueue(connection: Connection, lot: int, kind: str, body: Mapping[str, Any] | None = None) -> None:
    """Let a message wait in the place of one of its kind that waits already; one that is the same waits on."""
    document = dict(body or {})
    before = waiting(connection, lot, kind)
    if before is not None and before.body == document:
        return
    drop(connection, lot, kind)
    connection.execute(
        "INSERT INTO hat_etl.billing_outbox (lot, kind, body, state) VALUES (%s, %s, %s, 'waiting')",
        (lot, kind, json.dumps(document)),
    )


def drop(connection: Connection, lot: int, kind: str) -> None:
    """Do not send what waits."""
    connection.execute(
        "UPDATE hat_etl.billing_outbox SET state = 'dropped', done_at = now()"
        " WHERE lot = %s AND kind = %s AND state = 'waiting'",
        (lot, kind),
    )


def latest(connection: Connection, lot: int) -> tuple[str, dict[str, Any]] | None:
    """Kind and body of what HAT has been told last, or will be as soon as it can."""
    row = connection.execute(
        "SELECT kind, body FROM hat_etl.billing_outbox WHERE lot = %s AND kind IN ('status', 'delete')"
        " AND state <> 'dropped' ORDER BY id DESC LIMIT 1",
        (lot,),
    ).fetchone()
    return None if row is None else (str(row[0]), dict(row[1]))


def waiting(connection: Connection, lot: int, kind: str) -> Message | None:
    """The message that waits, locked for the transaction."""
    row = connection.execute(
        "SELECT id, lot, body, attempts FROM hat_etl.billing_outbox"
        " WHERE lot = %s AND kind = %s AND state = 'waiting' FOR UPDATE",
        (lot, kind),
    ).fetchone()
    return None if row is None else Message(*row)


def done(connection: Connection, message: int) -> None:
    """A message has left, and has arrived."""
    connection.execute(
        "UPDATE hat_etl.billing_outbox SET state = 'done', done_at = now(), error = NULL, attempts = attempts + 1"
        " WHERE id = %s",
        (message,),
    )


def put_off(connection: Connection, message: int, error: str, seconds: float) -> None:
    """A message did not arrive; try again after so many seconds."""
    connection.execute(
        "UPDATE hat_etl.billing_outbox SET attempts = attempts + 1, error = %s,"
        " not_before = now() + make_interval(secs => %s) WHERE id = %s",
        (error, seconds, message),
    )


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def moment(connection: Connection) -> datetime:
    """The clock of the tenant database: the only one that waits are measured by."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


@contextmanager
def store_of(tenant: Tenant) -> Iterator[Store]:
    """The store of ``tenant`` for as long as the block runs."""
    store = Store(tenant)
    try:
        yield store
    finally:
        store.close()
