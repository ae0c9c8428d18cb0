"""Connections to a tenant's own database: whose it is, who may load it now, and its errors in plain words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors as pg

from hat_etl.errors import Busy, HatEtlError, TargetError
from hat_etl.target.technical import bring_up_to_date
from hat_etl.tenants.address import LOOKS_FOR_CLIENTS, SERVER_NETWORK, connection_string, refusal
from hat_etl.tenants.config import Tenant

Connection = psycopg.Connection[tuple[Any, ...]]

# The driver logs errors that it passes over, and their text may quote rows.
logging.getLogger("psycopg").setLevel(logging.CRITICAL)

LOCK = (0x484154, 1)
"""Key of the advisory lock: one run at a time in one tenant database."""

PREPARATION = (0x484154, 2)
"""Key of the advisory lock of those who make the technical schema."""

COMMITTING = (0x484154, 3)
"""Key of the advisory lock that a session of a run shares while it commits what the run will use."""

_SESSION = (
    "timezone=UTC",
    "datestyle=ISO",
    "statement_timeout=0",
    "idle_in_transaction_session_timeout=0",
    *SERVER_NETWORK,
)

_END_POLLS = 20


class TenantDatabase:
    """The database that a tenant's file names under [hat].

    Call ``claim`` before anything else that writes: it takes the tenant's lock and checks whose database this is.
    """

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.schema = tenant.hat.schema_name
        self._dsn = connection_string(
            tenant.name,
            "hat.url",
            tenant.hat.url,
            application_name=f"hat_etl {tenant.name}",
            options=" ".join(f"-c {setting}" for setting in _SESSION),
            client_encoding="UTF8",
        )

    @property
    def dsn(self) -> str:
        """The connection string, with its password: for drivers beside psycopg."""
        return self._dsn

    def connect(self) -> Connection:
        """A connection in autocommit mode. Raises TargetError."""
        try:
            connection = psycopg.connect(self._dsn, autocommit=True)
        except psycopg.OperationalError as error:
            raise self.unreachable(error) from None
        connection.execute("; ".join(_settings(connection.info.server_version)))
        return connection

    def unreachable(self, error: Exception, again: str | None = None) -> TargetError:
        """The error for a connection that could not be had, of whichever driver; ``again``: what to go on with."""
        then = f"hat-etl doctor {self.tenant.name}" + (f"; go on with: {again}" if again else "")
        return TargetError(
            f"The tenant database cannot be reached: {refusal(error, self._dsn)}.",
            "Check host, port, database, user and password behind [hat] url, and that the server lets this machine"
            f" in (pg_hba.conf). Then run: {then}",
            tenant=self.tenant.name,
        )

    @contextmanager
    def claim(self, again: str) -> Iterator[Connection]:
        """Hold the tenant's lock for as long as the block runs; the lock dies with its connection.

        ``again`` is the command that errors tell to go on with.

        Makes or upgrades the technical schema and writes or checks the identity row. Raises Busy when another run
        holds the lock, TargetError when the database belongs to another tenant or a later hat_etl.
        """
        with self.connect() as control, errors(self.tenant.name, again=again):
            # A killed holder's session may take a moment to notice.
            control.execute("SET lock_timeout = '3s'")
            try:
                control.execute("SELECT pg_advisory_lock(%s, %s)", LOCK)
                # A session of a run whose own lock is lost finds that out after this, or has committed.
                with control.transaction():
                    control.execute("SELECT pg_advisory_xact_lock(%s, %s)", COMMITTING)
            except pg.LockNotAvailable:
                raise self._busy(control) from None
            control.execute("RESET lock_timeout")
            encoding = control.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise TargetError(
                    f"The tenant database is encoded in {encoding}; HAT's text needs UTF8.",
                    "Have the database made anew with ENCODING 'UTF8'.",
                    tenant=self.tenant.name,
                )
            self.prepare(control)
            yield control

    def assert_claimed(self, connection: Connection, holder: int, again: str) -> None:
        """To be asked last in a transaction beside the one that holds the lock: does server process ``holder`` still?

        Raises TargetError when not: then another run may have begun, and the transaction must not be committed.
        """
        connection.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", COMMITTING)
        if holder not in (pid for pid, _ in self.holders(connection)):
            raise TargetError(
                "The session that keeps other runs away has ended: the server or somebody ended it.",
                f"See who ends sessions of the tenant database. When no other run is going on, go on with: {again}",
                tenant=self.tenant.name,
            )

    def prepare(self, connection: Connection) -> None:
        """Make or upgrade the technical schema, and write or check the identity row. Raises TargetError."""
        with connection.transaction():
            # Two commands may be the first of a tenant at the same time.
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", PREPARATION)
            self.check_identity(connection)
            bring_up_to_date(connection, self.tenant.name)
            self._write_identity(connection)

    def end_session(self, connection: Connection, pid: int) -> bool:
        """End an earlier session of this tenant, whose connection is lost; whether it is gone.

        What it was committing then is either committed or not.
        """
        mine = (
            "FROM pg_stat_activity WHERE pid = %s AND usename = current_user AND datname = current_database()"
            " AND application_name = %s"
        )
        values = (pid, f"hat_etl {self.tenant.name}")
        connection.execute(f"SELECT pg_terminate_backend(pid) {mine}", values)
        for _ in range(_END_POLLS):
            if connection.execute(f"SELECT EXISTS (SELECT {mine})", values).fetchone() == (False,):
                return True
            connection.execute("SELECT pg_sleep(0.1)")
        return False

    def owner(self, connection: Connection) -> tuple[str, str] | None:
        """Tenant and ANS registry of the identity row, or None while the database is nobody's."""
        if connection.execute("SELECT to_regclass('hat_etl.identity')").fetchone() == (None,):
            return None
        row = connection.execute("SELECT tenant, ans_registry FROM hat_etl.identity").fetchone()
        return None if row is None else (str(row[0]), str(row[1]))

    def _write_identity(self, connection: Connection) -> None:
        connection.execute(
            "INSERT INTO hat_etl.identity (tenant, ans_registry) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (self.tenant.name, self.tenant.ans_registry),
        )

    def check_identity(self, connection: Connection) -> bool:
        """Whether the database is this tenant's; False while it is nobody's. Raises TargetError when another's."""
        mine, owner = (self.tenant.name, self.tenant.ans_registry), self.owner(connection)
        if owner is not None and owner != mine:
            raise TargetError(
                f"This database belongs to tenant {owner[0]} (ANS {owner[1]}), not to {mine[0]} (ANS {mine[1]}).",
                "Correct [hat] url or ans_registry in the tenant's file. Nothing was changed.",
                tenant=self.tenant.name,
            )
        return owner is not None

    def _busy(self, control: Connection) -> Busy:
        who = "".join(f" (session {pid}, since {since} UTC)" for pid, since in self.holders(control)[:1])
        return Busy(
            f"Another run of this tenant is going on{who}.",
            f"Watch it with: hat-etl status {self.tenant.name}. Start again when it is over.",
            tenant=self.tenant.name,
        )

    @staticmethod
    def holders(connection: Connection) -> list[tuple[int, str]]:
        """Process and start of the other session that holds the lock."""
        rows = connection.execute(
            "SELECT a.pid, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
            " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted"
            " AND l.pid <> pg_backend_pid()"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            LOCK,
        ).fetchall()
        return [(int(pid), str(since)) for pid, since in rows]


@contextmanager
def errors(tenant: str, table: str | None = None, *, again: str) -> Iterator[None]:
    """Turn driver errors into TargetError: SQLSTATE and kind only, for a server's detail may quote values.

    ``again`` is the command to go on with. Our own errors are told the tenant, where they do not know it.
    """
    try:
        yield
    except HatEtlError as error:
        error.tenant = error.tenant or tenant
        raise
    except psycopg.Error as error:
        raise target_failed(tenant, table, error, again) from None


def target_failed(tenant: str, table: str | None, error: psycopg.Error, again: str) -> TargetError:
    """The TargetError that says what a driver error means and what to do; ``again`` is the command to go on with."""
    state = error.sqlstate
    match error:
        case pg.DiskFull():
            cause = "The disk of the tenant database is full."
            step = f"Free space there, then go on with: {again}"
        case pg.InsufficientPrivilege():
            cause = f"The login of the tenant database lacks a right ({_primary(error)})."
            step = f"Grant it; hat-etl doctor {tenant} lists what a load needs."
        case pg.UndefinedTable() | pg.UndefinedColumn():
            cause = f"The tenant database lacks what this version of hat_etl looks for ({_primary(error)})."
            step = f"After an upgrade, the next load, sync or billing run makes it. Else run: hat-etl doctor {tenant}"
        case pg.StringDataRightTruncation() | pg.NumericValueOutOfRange():
            cause = "A column of HAT's table is narrower than what it is to hold."
            only = "" if table is None else f" --only {table}"
            step = f"A load gives it its width: hat-etl load {tenant}{only}. Then go on with: {again}"
        case pg.CheckViolation() | pg.NotNullViolation() | pg.ExclusionViolation() | pg.RaiseException():
            # Of keys and references hat_etl takes care itself.
            names = [f"{kind} {name}" for kind, name in _names(error) if name]
            cause = (
                f"What others have added to HAT's tables refused a row ({', '.join([type(error).__name__, *names])})."
            )
            step = f"Have it let the row in (hat-etl doctor {tenant} tells what was added), then go on with: {again}"
        case pg.LockNotAvailable() | pg.DeadlockDetected():
            cause = "Tables of the tenant database stay locked by other sessions."
            step = f"End the sessions that hold them, then go on with: {again}"
        case pg.AdminShutdown() | pg.CrashShutdown() | pg.CannotConnectNow():
            cause = f"The tenant database shut down or is starting (SQLSTATE {state})."
            step = f"When it is up again, go on with: {again}"
        case psycopg.OperationalError() if state is None:
            cause = "The connection to the tenant database was lost."
            step = f"See that the server and the network are up, then go on with: {again}"
        case _:
            cause = f"The tenant database refused a statement ({type(error).__name__}, SQLSTATE {state})."
            step = f"Run hat-etl doctor {tenant}; go on with: {again}"
    return TargetError(cause, step, tenant=tenant, table=table)


NOTICE_LOST_CLIENT = f"SELECT set_config('client_connection_check_interval', '1s', false) WHERE {LOOKS_FOR_CLIENTS}"


def _settings(version: int) -> Iterator[str]:
    """What a session of ours asks of a server of this ``version``."""
    if version >= 140000:
        # A session whose client was killed notices within a second, even in the middle of building an index.
        yield NOTICE_LOST_CLIENT
        yield "SET tcp_user_timeout = '60s'"
        # The session that holds the lock is idle while others work.
        yield "SET idle_session_timeout = 0"
    if version >= 170000:
        yield "SET transaction_timeout = 0"
    # Of a key that is in the way of an index, the server's log would tell the value.
    yield f"SELECT set_config('log_error_verbosity', 'terse', false) WHERE {may_shorten_log(version)}"


def may_shorten_log(version: int) -> str:
    """SQL: whether the login may have the server's log without the details of errors."""
    if version >= 150000:
        return "has_parameter_privilege('log_error_verbosity', 'SET')"
    return "current_setting('is_superuser') = 'on'"


def _names(error: psycopg.Error) -> list[tuple[str, str | None]]:
    """Names alone: the text that a trigger or the server has for it may quote the row."""
    told = error.diag
    return [("table", told.table_name), ("constraint", told.constraint_name), ("column", told.column_name)]


def _primary(error: psycopg.Error) -> str:
    # Names of objects only: PostgreSQL's messages for missing rights and objects never quote data.
    return error.diag.message_primary or type(error).__name__
