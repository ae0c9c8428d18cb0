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
from hat_etl.tenants.address import SERVER_NETWORK, connection_string, refusal
from hat_etl.tenants.config import Tenant

Connection = psycopg.Connection[tuple[Any, ...]]

# The driver logs errors that it passes over, and their text may quote rows.
logging.getLogger("psycopg").setLevel(logging.CRITICAL)

LOCK = (0x484154, 1)
"""Key of the advisory lock: one run at a time in one tenant database."""

PREPARATION = (0x484154, 2)
"""Key of the advisory lock of those who make the technical schema."""

_SESSION = ("timezone=UTC", "statement_timeout=0", "idle_in_transaction_session_timeout=0", *SERVER_NETWORK)

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
            raise TargetError(
                f"The tenant database cannot be reached: {refusal(error, self._dsn)}.",
                "Check host, port, database, user and password behind [hat] url, and that the server lets this machine"
                f" in (pg_hba.conf). Then run: hat-etl doctor {self.tenant.name}",
                tenant=self.tenant.name,
            ) from None
        if connection.info.server_version >= 140000:
            # A session whose client was killed notices within a second, even in the middle of building an index.
            connection.execute("SET client_connection_check_interval = '1s'")
            connection.execute("SET tcp_user_timeout = '60s'")
        return connection

    @contextmanager
    def claim(self, command: str = "load") -> Iterator[Connection]:
        """Hold the tenant's lock for as long as the block runs; the lock dies with its connection.

        ``command`` is what errors tell to start again.

        Makes or upgrades the technical schema and writes or checks the identity row. Raises Busy when another run
        holds the lock, TargetError when the database belongs to another tenant or a later hat_etl.
        """
        with self.connect() as control, errors(self.tenant.name, command=command):
            # A killed holder's session may take a moment to notice.
            control.execute("SET lock_timeout = '3s'")
            try:
                control.execute("SELECT pg_advisory_lock(%s, %s)", LOCK)
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
        holder = control.execute(
            "SELECT a.pid, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
            " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            LOCK,
        ).fetchone()
        who = f" (session {holder[0]}, since {holder[1]} UTC)" if holder else ""
        return Busy(
            f"Another run of this tenant is going on{who}.",
            f"Watch it with: hat-etl status {self.tenant.name}. Start again when it is over.",
            tenant=self.tenant.name,
        )


@contextmanager
def errors(tenant: str, table: str | None = None, command: str = "load") -> Iterator[None]:
    """Turn driver errors into TargetError: SQLSTATE and kind only, for a server's detail may quote values.

    Our own errors are told the tenant, where they do not know it.
    """
    try:
        yield
    except HatEtlError as error:
        error.tenant = error.tenant or tenant
        raise
    except psycopg.Error as error:
        raise target_failed(tenant, table, error, command) from None


def target_failed(tenant: str, table: str | None, error: psycopg.Error, command: str = "load") -> TargetError:
    """The TargetError that says what a driver error means and what to do; ``command`` is what failed."""
    state = error.sqlstate
    resume = f"hat-etl load {tenant} --resume" if command == "load" else f"hat-etl {command} {tenant}"
    match error:
        case pg.DiskFull():
            cause = "The disk of the tenant database is full."
            step = f"Free space there, then go on with: {resume}"
        case pg.InsufficientPrivilege():
            cause = f"The login of the tenant database lacks a right ({_primary(error)})."
            step = f"Grant it; hat-etl doctor {tenant} lists what a load needs."
        case pg.UndefinedTable() | pg.UndefinedColumn():
            cause = f"The tenant database lacks what this version of hat_etl looks for ({_primary(error)})."
            step = f"After an upgrade, the next load, sync or billing run makes it. Else run: hat-etl doctor {tenant}"
        case pg.LockNotAvailable() | pg.DeadlockDetected():
            cause = "Tables of the tenant database stay locked by other sessions."
            step = f"End the sessions that hold them, then go on with: {resume}"
        case pg.AdminShutdown() | pg.CrashShutdown() | pg.CannotConnectNow():
            cause = f"The tenant database shut down or is starting (SQLSTATE {state})."
            step = f"When it is up again, go on with: {resume}"
        case psycopg.OperationalError() if state is None:
            cause = "The connection to the tenant database was lost."
            step = f"See that the server and the network are up, then go on with: {resume}"
        case _:
            cause = f"The tenant database refused a statement ({type(error).__name__}, SQLSTATE {state})."
            step = f"Run hat-etl doctor {tenant}; go on with: {resume}"
    return TargetError(cause, step, tenant=tenant, table=table)


def _primary(error: psycopg.Error) -> str:
    # Names of objects only: PostgreSQL's messages for missing rights and objects never quote data.
    return error.diag.message_primary or type(error).__name__
