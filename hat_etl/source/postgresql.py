"""Reading PLS on PostgreSQL: one exported snapshot for all connections, batches through ADBC (binary COPY).

The first connection exports its snapshot, the others import it, so that every table shows the same moment. The
number of connections is the tenant's cap; each serves one range at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
from adbc_driver_manager import Error as AdbcError

from hat_etl.entities.model import Entity
from hat_etl.errors import SourceError
from hat_etl.protheus.dictionary import physical_name
from hat_etl.source import refusals
from hat_etl.source.adbc import Session
from hat_etl.source.encoding import ODD_BYTES
from hat_etl.source.live_column import LiveColumn
from hat_etl.source.postgresql_snapshot import PostgresSnapshot, read_failed, relation, stamp
from hat_etl.source.reader import (
    ALIASES,
    EVERY_ALIAS,
    EVERY_VIEW,
    OneMoment,
    SourceHealth,
    Tables,
    TablesRead,
    UnindexedStamp,
    ViewShape,
    quote,
)
from hat_etl.source.views import identifier
from hat_etl.tenants.address import LOOKS_FOR_CLIENTS, SERVER_NETWORK, connection_string, refusal
from hat_etl.tenants.config import Tenant

LOCK_WAIT_MINUTES = 5
"""How long a read waits for who changes a view or a table of the ERP. A change that comes while a run reads waits for
the session of ours that has read the view, and another one that is to read it would wait behind the change, for ever.
"""

_SESSION = (
    "timezone=UTC",
    "datestyle=ISO",
    "statement_timeout=0",
    f"lock_timeout={LOCK_WAIT_MINUTES}min",
    "idle_in_transaction_session_timeout=0",
    # The tenant's cap counts connections: none of them may multiply on the server by parallel workers.
    "max_parallel_workers_per_gather=0",
    "work_mem=32MB",
    *SERVER_NETWORK,
)

SAMPLE_ROWS = 10_000
"""Rows whose stamps the doctor looks at, per view."""

_TABLES = """
SELECT c.relname, upper(a.attname), t.typname,
       CASE WHEN t.typname IN ('bpchar', 'varchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relname = ANY (%(tables)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND CASE WHEN %(schema)s::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = %(schema)s END
ORDER BY c.relname, a.attnum
"""
_DESCRIBE = """
SELECT n.nspname, c.relname, a.attname, t.typname,
       CASE WHEN t.typname IN ('bpchar', 'varchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE lower(c.relname) = lower(%s) AND c.relkind IN ('v', 'm', 'r', 'p', 'f')
  AND CASE WHEN %s::text IS NULL THEN n.nspname = ANY (current_schemas(false)) ELSE lower(n.nspname) = lower(%s) END
ORDER BY n.nspname, c.relname, a.attnum
"""

_HIDDEN_TRANSACTIONS = (
    "SELECT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'virtualxid' AND l.granted AND a.datname = current_database() AND a.xact_start IS NULL"
    " AND a.usesysid IS NOT NULL AND a.application_name NOT LIKE 'hat\\_etl ' || chr(37)"
)
_HIDDEN_POLLS = 40

_BEHIND = """
SELECT least(
    (SELECT least(min(prepared), pg_postmaster_start_time()) FROM pg_prepared_xacts
     WHERE database = current_database() HAVING count(*) > 0),
    CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_xact_replay_timestamp(), to_timestamp(0)) END)
"""
"""What holds the horizon back beside transactions that are open: prepared ones, which began nobody knows when, and, on
a standby, what it has not replayed yet."""


_BELOW = """
FROM pg_rewrite r
JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_namespace vn ON vn.oid = v.relnamespace
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class t ON t.oid = d.refobjid AND t.oid <> v.oid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
"""
"""Views (v) and the tables that they read (t), each with its schema."""

_READ = f"""
SELECT DISTINCT vn.nspname, v.relname, tn.nspname, t.relname {_BELOW}
WHERE lower(v.relname) = ANY (%s)
"""

_LACKED_BY_OWNER = f"""
SELECT DISTINCT format('GRANT SELECT ON %%I.%%I TO %%I;', tn.nspname, t.relname, pg_get_userbyid(v.relowner)) {_BELOW}
WHERE vn.nspname = %s AND v.relname = %s AND has_schema_privilege(vn.oid, 'USAGE')
  AND has_table_privilege(v.oid, 'SELECT')
  AND NOT has_table_privilege(v.relowner, t.oid, 'SELECT')
ORDER BY 1
"""
"""For a view that the login may read: what its owner, by whose rights its tables are read, has to be granted."""


def tables_read(
    connection: psycopg.Connection[Any], views: Iterable[str]
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Schema and name of views called like these, and of the tables and views that each reads."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for view_schema, view, schema, table in connection.execute(_READ, ([view.lower() for view in views],)):
        found.setdefault((view_schema, view), set()).add((schema, table))
    return found


def tables(connection: psycopg.Connection[Any], tenant: Tenant) -> Tables:
    """The PLS tables that are there, with their fields."""
    by_name = {physical_name(alias, tenant.erp.company): alias for alias in EVERY_ALIAS}
    schema = tenant.erp.schema_name
    found: dict[str, dict[str, LiveColumn]] = {}
    for table, name, type_name, width in connection.execute(
        _TABLES, {"tables": list(by_name), "schema": schema.lower() if schema else None}
    ):
        found.setdefault(by_name[table], {})[name] = LiveColumn(name, type_name, width)
    return found


def connection_failed(tenant: str, error: psycopg.OperationalError, dsn: str) -> SourceError:
    """The error for a connection that could not be had."""
    return SourceError(
        f"The ERP database cannot be reached: {refusal(error, dsn)}.",
        "Check host, port, database, user and password behind [erp] url, and that the ERP lets this machine in "
        f"(pg_hba.conf). Then run: hat-etl doctor {tenant}",
        tenant=tenant,
    )


_PLACE = (
    "SELECT oid, has_function_privilege('pg_control_system()', 'EXECUTE')"
    " AND has_function_privilege('pg_control_checkpoint()', 'EXECUTE') FROM pg_database"
    " WHERE datname = current_database()"
)
_SERVER = "SELECT system_identifier, timeline_id FROM pg_control_system(), pg_control_checkpoint()"


class PostgresSource:
    """A PLS on PostgreSQL, as a tenant's file describes it; ``again`` is the command that errors tell to go on with."""

    def __init__(self, tenant: Tenant, again: str) -> None:
        self._tenant = tenant
        self._again = again
        self._read: dict[tuple[str, str], set[tuple[str, str]]] | None = None
        self._fields: Tables | None = None
        self._place: str | None = None
        self._dsn = connection_string(
            tenant.name,
            "erp.url",
            tenant.erp.url,
            application_name=f"hat_etl {tenant.name}",
            options=" ".join(f"-c {setting}" for setting in _SESSION),
            client_encoding="UTF8",
        )
        self._control: psycopg.Connection[tuple[Any, ...]] | None = None

    def control(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A plain connection for questions to the catalogue; closed before the snapshot's connections open."""
        if self._control is None:
            try:
                self._control = psycopg.connect(self._dsn, autocommit=True)
            except psycopg.OperationalError as error:
                raise connection_failed(self._tenant.name, error, self._dsn) from None
        return self._control

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def describe(self, entity: Entity) -> ViewShape:
        schema = self._tenant.erp.views_schema or self._tenant.erp.schema_name
        with self._told():
            rows = self.control().execute(_DESCRIBE, (entity.view, schema, schema)).fetchall()
        if not rows:
            where = f"schema {schema}" if schema else "in no schema of the login's search path"
            raise refusals.view_missing(self._tenant, entity, where)
        relation = (str(rows[0][0]), str(rows[0][1]))
        columns = tuple(LiveColumn(str(r[2]), str(r[3]), r[4]) for r in rows if (r[0], r[1]) == relation)
        name = ".".join(quote(part) for part in relation)
        try:
            return ViewShape(entity, columns, self._estimate(name), relation)
        except psycopg.OperationalError as error:  # no fault of this view
            raise read_failed(self._tenant.name, None, error, self._again) from None
        except psycopg.errors.InsufficientPrivilege:
            raise self._forbidden(entity, relation) from None
        except psycopg.Error as error:
            raise refusals.view_broken(self._tenant, entity, f"SQLSTATE {error.sqlstate}") from None

    def _forbidden(self, entity: Entity, relation: tuple[str, str]) -> SourceError:
        """The error for a view that the login may not read, or whose owner may not read what it is made of."""
        with self._told():
            grants = " ".join(str(grant) for (grant,) in self.control().execute(_LACKED_BY_OWNER, relation).fetchall())
        if grants:
            return refusals.view_without_tables(self._tenant, entity, grants)
        return refusals.view_forbidden(self._tenant, entity)

    def _estimate(self, name: str) -> int:
        """Rows by the server's statistics."""
        with self.control().transaction():
            # As bytes: a plan quotes the view's text, which need not be UTF-8 where the server's encoding is SQL_ASCII.
            self.control().execute("SET LOCAL client_encoding = 'SQL_ASCII'")
            ((first,), *_) = self.control().execute(f"EXPLAIN SELECT * FROM {name}".encode()).fetchall()
        found = re.search(rb" rows=(\d+)", first)
        assert found is not None
        return int(found[1])

    def tables_read(self, shape: ViewShape) -> TablesRead:
        if self._read is None:
            with self._told():
                self._read = tables_read(self.control(), [entity.view for entity in EVERY_VIEW])
        return self._read.get(shape.relation, ())

    def health(self) -> SourceHealth:
        control = self.control()
        with self._told():
            now, free = control.execute(
                "SELECT clock_timestamp(), least(current_setting('max_connections')::int - count(*),"
                " (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user)"
                " - count(*) FILTER (WHERE usename = session_user),"
                " (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())"
                " - count(*) FILTER (WHERE datname = current_database()))"
                # With ours: when a run opens those that it reads by, the one that has asked may still be ending.
                " FROM pg_stat_activity"
            ).fetchall()[0]
        info = control.info
        version = info.parameter_status("server_version") or ""
        return SourceHealth(f"PostgreSQL {version}", info.user, self._encoding(), now, free)

    def sample_stamps(self, shape: ViewShape) -> tuple[int, int]:
        sample = f"SELECT {stamp(shape)} AS s FROM {relation(shape)} LIMIT {SAMPLE_ROWS}"
        with self._told(shape.entity.table):
            seen, stamped = self.control().execute(f"SELECT count(*), count(s) FROM ({sample}) t").fetchall()[0]
        return int(seen), int(stamped)

    def unindexed_stamps(self) -> list[UnindexedStamp]:
        erp = self._tenant.erp
        names = [physical_name(alias, erp.company) for alias in ALIASES]
        with self._told():
            rows = (
                self.control()
                .execute(
                    "SELECT n.nspname, c.relname, c.reltuples::int8, a.attname FROM pg_class c"
                    " JOIN pg_namespace n ON n.oid = c.relnamespace"
                    " JOIN pg_attribute a ON a.attrelid = c.oid AND lower(a.attname) = 's_t_a_m_p_'"
                    " WHERE c.relkind IN ('r', 'p') AND lower(c.relname) = ANY (%s)"
                    " AND CASE WHEN %s::text IS NULL THEN n.nspname = ANY (current_schemas(false))"
                    " ELSE lower(n.nspname) = lower(%s) END"
                    " AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum"
                    " AND i.indisvalid AND i.indpred IS NULL) ORDER BY c.reltuples DESC, c.relname",
                    (names, erp.schema_name, erp.schema_name),
                )
                .fetchall()
            )
        return [
            UnindexedStamp(
                str(table),
                max(0, int(count)),
                f"CREATE INDEX CONCURRENTLY {table}_stamp ON {quote(str(schema))}.{quote(str(table))}"
                f" ({quote(str(column))});",
            )
            for schema, table, count, column in rows
        ]

    def one_moment(self) -> OneMoment:
        return OneMoment("an exported snapshot, shared by all connections")

    def sees_transactions(self) -> bool:
        return not self._is_standby() and self._is_shown_all()

    def _is_shown_all(self) -> bool:
        with self._told():
            return self.control().execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE')").fetchone() == (True,)

    def _is_standby(self) -> bool:
        with self._told():
            return self.control().execute("SELECT pg_is_in_recovery()").fetchone() == (True,)

    def fields(self) -> Tables:
        if self._fields is None:
            with self._told():
                self._fields = tables(self.control(), self._tenant)
        return self._fields

    def place(self) -> str:
        if self._place is None:
            with self._told():
                database, allowed = self.control().execute(_PLACE).fetchall()[0]
                # A copy of the files that was opened as a database of its own has another timeline.
                server = self.control().execute(_SERVER).fetchall()[0] if allowed else ()
            self._place = " ".join(map(str, (database, *server)))
        return self._place

    def definitions(self, shapes: Sequence[ViewShape]) -> dict[str, str]:
        views = {shape.entity.table: relation(shape) for shape in shapes}
        with self._told(), self.control().transaction():
            # Names outside the search path are told with their schema: so they are the same for every login.
            self.control().execute("SET LOCAL search_path = ''")
            # As bytes: a server whose encoding is SQL_ASCII hands on no text that is not UTF-8.
            found = self.control().execute(
                "SELECT t, convert_to(pg_get_viewdef(to_regclass(v)), getdatabaseencoding())"
                " FROM unnest(%s::text[], %s::text[]) AS u (t, v)",
                (list(views), list(views.values())),
            )
            return {str(table): text.decode(errors=ODD_BYTES) for table, text in found if text}

    @property
    def unseen_transactions(self) -> str:
        if self._is_standby():
            return (
                "The server is a standby, and those of its primary are not seen there: rows that one commits more than"
                f" {self._tenant.sync.lookback_minutes} minutes (lookback_minutes in [sync]) after it began may be"
                " missed by a sync until the next --full."
            )
        return (
            "While one is open, a sync reads again what changed since the last one that found none: nothing is missed,"
            " and where one is always open, syncs take longer and longer."
        )

    def transactions_grant(self, login: str) -> str:
        if self._is_standby():
            return "Let [erp] url name the primary, or raise lookback_minutes above its longest transaction."
        return f"GRANT pg_read_all_stats TO {identifier(login, 'postgresql')};"

    @contextmanager
    def _told(self, table: str | None = None) -> Iterator[None]:
        """Turn a lost connection, and whatever the server refuses, into a SourceError."""
        try:
            yield
        except psycopg.Error as error:
            raise read_failed(self._tenant.name, table, error, self._again) from None

    def _encoding(self) -> str:
        return self.control().info.parameter_status("server_encoding") or "UTF8"

    @contextmanager
    def snapshot(self, expected_rows: int = 0) -> Iterator[PostgresSnapshot]:
        encoding = self._encoding()
        opening = ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"]
        if self.control().info.server_version >= 140000:
            if self._looks_for_clients():
                # A session whose client was killed notices within a second, even in the middle of sorting.
                opening.append("SET client_connection_check_interval = '1s'")
            opening.append("SET tcp_user_timeout = '60s'")
        if self.control().info.server_version >= 170000:
            opening.append("SET transaction_timeout = 0")
        clock, horizon = self._horizon()
        self.close()
        sessions: list[Session] = []
        try:
            (exported,) = self._open(sessions, opening).row("SELECT pg_export_snapshot()")
            for _ in range(self._tenant.erp.connections - 1):
                self._open(sessions, opening).run(f"SET TRANSACTION SNAPSHOT '{exported}'")
            yield PostgresSnapshot(self._tenant.name, self._again, clock, horizon, sessions, encoding)
        except AdbcError as error:
            raise self._failed(error) from None
        finally:
            for session in reversed(sessions):
                with suppress(AdbcError):
                    session.close()

    def _looks_for_clients(self) -> bool:
        with self._told():
            ((does,),) = self.control().execute(f"SELECT {LOOKS_FOR_CLIENTS}").fetchall()
        return bool(does)

    def _horizon(self) -> tuple[datetime, datetime]:
        """The clock, and the moment up to which all stamps are final; asked before the snapshot is taken.

        S_T_A_M_P_ is the start of the transaction that wrote the row, so rows of a transaction that is open now will
        carry an older stamp when they appear. The clock comes first: what starts after it bears a later stamp.
        """
        with self._told():
            ((clock,),) = self.control().execute("SELECT clock_timestamp()").fetchall()
            ((oldest,),) = (
                self.control()
                .execute(
                    "SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'"
                    " AND application_name NOT LIKE 'hat\\_etl %'"
                )
                .fetchall()
            )
            if self._hidden_transactions_last():
                ((oldest,),) = self.control().execute("SELECT pg_postmaster_start_time()").fetchall()
            ((behind,),) = self.control().execute(_BEHIND).fetchall()
        oldest = min(filter(None, (oldest, behind)), default=None)
        return clock.astimezone(UTC), min(clock, oldest or clock).astimezone(UTC)

    def _hidden_transactions_last(self) -> bool:
        """Whether a transaction of another login is open, and still is after a moment.

        Without the right pg_read_all_stats a login sees that it is there, but not since when: it may be as old as the
        server. Most are over before the moment is.
        """
        control = self.control()
        opened = [name for (name,) in control.execute(_HIDDEN_TRANSACTIONS).fetchall()]
        for _ in range(_HIDDEN_POLLS):
            if not opened:
                return False
            control.execute("SELECT pg_sleep(0.05)")
            rows = control.execute(f"{_HIDDEN_TRANSACTIONS} AND l.virtualtransaction = ANY (%s)", (opened,)).fetchall()
            opened = [name for (name,) in rows]
        return bool(opened)

    def _open(self, sessions: list[Session], opening: Sequence[str]) -> Session:
        session = Session(self._dsn)
        sessions.append(session)
        for statement in opening:
            session.run(statement)
        return session

    def _failed(self, error: AdbcError) -> SourceError:
        return read_failed(self._tenant.name, None, error, self._again)
