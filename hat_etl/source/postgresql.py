"""Reading PLS on PostgreSQL: one exported snapshot for all connections, batches through ADBC (binary COPY).

The first connection exports its snapshot, the others import it, so that every table shows the same moment. The
number of connections is the tenant's cap; each serves one range at a time.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError

from hat_etl.entities.model import DELETED, RECNO, STAMP, Column, Entity, Kind
from hat_etl.errors import SourceError
from hat_etl.protheus.dictionary import physical_name
from hat_etl.source import refusals
from hat_etl.source.adbc import Session
from hat_etl.source.encoding import from_cp1252
from hat_etl.source.reader import (
    ALIASES,
    BUCKET,
    EVERY_ALIAS,
    WORD,
    Fingerprint,
    OneMoment,
    Range,
    Recnos,
    SourceHealth,
    Tables,
    UnindexedStamp,
    ViewShape,
    quote,
)
from hat_etl.source.view_check import LiveColumn
from hat_etl.tenants.address import SERVER_NETWORK, connection_string, refusal
from hat_etl.tenants.config import Tenant

_SESSION = (
    "timezone=UTC",
    "statement_timeout=0",
    "idle_in_transaction_session_timeout=0",
    # The tenant's cap counts connections: none of them may multiply on the server by parallel workers.
    "max_parallel_workers_per_gather=0",
    "work_mem=32MB",
    *SERVER_NETWORK,
)

RECNOS_AT_ONCE = 10_000
"""Rows asked for by Recno in one query."""

SAMPLE_ROWS = 10_000
"""Rows whose stamps the doctor looks at, per view."""

_UNTRUSTED_ENCODINGS = frozenset({"SQL_ASCII", "LATIN1", "WIN1252"})
"""Read as bytes: the server would not convert, would get CP1252 wrong, or would refuse its undefined bytes."""

_CONTROLS, _MORE_CONTROLS = (*range(1, 0x20), 0x7F), tuple(range(0x80, 0xA0))
"""Numbers of the characters that the transform takes for blanks: of ASCII, and of Unicode beside."""

_TABLES = """
SELECT c.relname, upper(a.attname),
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


def tables(connection: psycopg.Connection[Any], tenant: Tenant) -> Tables:
    """The PLS tables that are there, with their fields."""
    by_name = {physical_name(alias, tenant.erp.company): alias for alias in EVERY_ALIAS}
    schema = tenant.erp.schema_name
    found: dict[str, dict[str, int | None]] = {}
    for table, name, width in connection.execute(
        _TABLES, {"tables": list(by_name), "schema": schema.lower() if schema else None}
    ):
        found.setdefault(by_name[table], {})[name] = width
    return found


def connection_failed(tenant: str, error: psycopg.OperationalError, dsn: str) -> SourceError:
    """The error for a connection that could not be had."""
    return SourceError(
        f"The ERP database cannot be reached: {refusal(error, dsn)}.",
        "Check host, port, database, user and password behind [erp] url, and that the ERP lets this machine in "
        f"(pg_hba.conf). Then run: hat-etl doctor {tenant}",
        tenant=tenant,
    )


class PostgresSource:
    """A PLS on PostgreSQL, as one tenant's file describes it; ``command`` is what errors tell to start again."""

    def __init__(self, tenant: Tenant, command: str = "load") -> None:
        self._tenant = tenant
        self._again = refusals.command_again(tenant.name, command)
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
            with self._told():
                plan = self.control().execute(f"EXPLAIN (FORMAT JSON) SELECT * FROM {name}").fetchone()
        except psycopg.errors.InsufficientPrivilege:
            raise refusals.view_forbidden(self._tenant, entity) from None
        except psycopg.Error as error:
            raise refusals.view_broken(self._tenant, entity, f"SQLSTATE {error.sqlstate}") from None
        assert plan is not None
        tree = plan[0] if isinstance(plan[0], list) else json.loads(str(plan[0]))
        return ViewShape(entity, columns, int(tree[0]["Plan"]["Plan Rows"]), relation)

    def health(self) -> SourceHealth:
        control = self.control()
        with self._told():
            now, free = control.execute(
                "SELECT clock_timestamp(),"
                " current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity)"
            ).fetchall()[0]
        info = control.info
        version = info.parameter_status("server_version") or ""
        return SourceHealth(f"PostgreSQL {version}", info.user, self._encoding(), now, free)

    def sample_stamps(self, shape: ViewShape) -> tuple[int, int]:
        stamp = _stamp(shape)
        query = f"SELECT count(*), count(s) FROM (SELECT {stamp} AS s FROM {_relation(shape)} LIMIT {SAMPLE_ROWS}) t"
        try:
            with self._told(shape.entity.table):
                seen, stamped = self.control().execute(query).fetchall()[0]
        except psycopg.Error as error:
            raise read_failed(self._tenant.name, shape.entity.table, error, self._again) from None
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
        with self._told():
            row = self.control().execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE')").fetchone()
        return row == (True,)

    def fields(self) -> Tables:
        return tables(self.control(), self._tenant)

    def transactions_grant(self, login: str) -> str:
        return f"GRANT pg_read_all_stats TO {login};"

    @contextmanager
    def _told(self, table: str | None = None) -> Iterator[None]:
        """Turn a lost connection into a SourceError; what the server says of a statement is the caller's."""
        try:
            yield
        except psycopg.OperationalError as error:
            raise read_failed(self._tenant.name, table, error, self._again) from None

    def _encoding(self) -> str:
        return self.control().info.parameter_status("server_encoding") or "UTF8"

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        encoding = self._encoding()
        opening = ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"]
        if self.control().info.server_version >= 140000:
            # A session whose client was killed notices within a second, even in the middle of sorting.
            opening.append("SET client_connection_check_interval = '1s'")
            opening.append("SET tcp_user_timeout = '60s'")
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


def read_failed(tenant: str, table: str | None, error: AdbcError | psycopg.Error | OSError, again: str) -> SourceError:
    """The error for a read that broke: the SQLSTATE and kind only, for a driver's text may quote values.

    ``again`` is the command that goes on.
    """
    state = getattr(error, "sqlstate", None)
    what = f"{type(error).__name__}{f', SQLSTATE {state}' if state else ''}"
    return refusals.read_failed(tenant, table, what, again)


@dataclass
class PostgresSnapshot:
    """The exported snapshot and its sessions, lent to one range at a time."""

    tenant: str
    again: str
    clock: datetime
    horizon: datetime
    sessions: list[Session]
    encoding: str

    def __post_init__(self) -> None:
        self._free: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for session in self.sessions:
            self._free.put(session)

    @contextmanager
    def _session(self, table: str) -> Iterator[Session]:
        session = self._free.get()
        try:
            yield session
        except (AdbcError, OSError) as error:  # Arrow makes an OSError of what it does not understand itself
            raise read_failed(self.tenant, table, error, self.again) from None
        finally:
            self._free.put(session)

    def bounds(self, shape: ViewShape) -> Range | None:
        recno = _name(shape, RECNO)
        with self._session(shape.entity.table) as session:
            low, high = session.row(f"SELECT min({recno})::int8, max({recno})::int8 FROM {_relation(shape)}")
        return None if low is None else Range(low, high)

    def fingerprint(self, shape: ViewShape, range_: Range) -> Fingerprint:
        recno, stamp = _name(shape, RECNO), _stamp(shape)
        micros = (
            f"(extract(epoch FROM date_trunc('second', {stamp}))::int8 * 1000000"
            f" + extract(microseconds FROM {stamp})::int8 % 1000000)::numeric"
        )
        with self._session(shape.entity.table) as session:
            sums = session.row(
                f"SELECT count(*)::text, coalesce(sum({recno}), 0)::text, coalesce(sum({micros}), 0)::text,"
                f" (count(*) - count({stamp}))::text"
                f" FROM {_relation(shape)} WHERE {recno} BETWEEN {range_.low} AND {range_.high}"
            )
            rows, recnos, stamps, unstamped = (int(value) for value in sums)
        return Fingerprint(rows, 0, 0, unstamped) + Fingerprint(0, recnos, stamps, 0)

    def stream(self, shape: ViewShape, range_: Range) -> Iterator[pa.RecordBatch]:
        yield from self._select(shape, f"{_name(shape, RECNO)} BETWEEN {range_.low} AND {range_.high}")

    def changed(self, shape: ViewShape, since: datetime) -> Iterator[pa.RecordBatch]:
        live = shape.column(STAMP)
        # The column as it is, compared with a value of its own type: so that an index on it is used.
        zoned = live.type_name == "timestamptz"
        moment = since.astimezone(UTC).isoformat(sep=" ") if zoned else f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
        stamp = quote(live.name)
        yield from self._select(shape, f"{stamp} >= {live.type_name} '{moment}' OR {stamp} IS NULL")

    def rows(self, shape: ViewShape, recnos: Recnos) -> Iterator[pa.RecordBatch]:
        for start in range(0, recnos.size, RECNOS_AT_ONCE):
            listed = ",".join(map(str, recnos[start : start + RECNOS_AT_ONCE]))
            yield from self._select(shape, f"{_name(shape, RECNO)} = ANY ('{{{listed}}}'::int8[])")

    def matching(self, shape: ViewShape, key: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        conditions = (self._may_be(shape, shape.entity[name], text) for name, text in key.items())
        yield from self._select(shape, " AND ".join(conditions))

    def live(self, shape: ViewShape) -> tuple[int, int]:
        with self._session(shape.entity.table) as session:
            rows, recnos = session.row(
                f"SELECT count(*)::text, coalesce(sum({_name(shape, RECNO)}), 0)::text"
                f" FROM {_relation(shape)} WHERE {_is_live(shape)}"
            )
        return int(rows), int(recnos) % WORD

    def live_by_bucket(self, shape: ViewShape) -> dict[int, tuple[int, int]]:
        recno = f"{_name(shape, RECNO)}::int8"
        query = (
            f"SELECT {recno} / {BUCKET}, count(*), sum({recno})::text FROM {_relation(shape)}"
            f" WHERE {_is_live(shape)} GROUP BY 1"
        )
        found: dict[int, tuple[int, int]] = {}
        with self._session(shape.entity.table) as session, closing(session.batches(query)) as batches:
            for batch in batches:
                for bucket, rows, recnos in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    found[bucket] = (rows, int(recnos) % WORD)
        return found

    def live_recnos(self, shape: ViewShape, ranges: Sequence[Range]) -> Generator[pa.Array, None, None]:
        recno = _name(shape, RECNO)
        among = " OR ".join(f"{recno} BETWEEN {range_.low} AND {range_.high}" for range_ in ranges) or "true"
        query = f"SELECT {recno}::int8 FROM {_relation(shape)} WHERE {_is_live(shape)} AND ({among})"
        with self._session(shape.entity.table) as session, closing(session.batches(query)) as batches:
            for batch in batches:
                yield batch.column(0)

    def _may_be(self, shape: ViewShape, column: Column, text: str) -> str:
        """SQL that is true where the view's value can become ``text``, a value of ``column`` as HAT writes it."""
        name = _name(shape, column.alias)
        if column.numeric_source:
            return f"{name}::float8 BETWEEN {float(text) - 1!r} AND {float(text) + 1!r}"  # before it is rounded
        if column.kind not in (Kind.TEXT, Kind.DATE):
            return "true"
        constant = column.source.constant
        if column.kind is Kind.DATE:
            text = text.replace("-", "")
            if text == constant:
                return "true"  # blanks and zeros in many spellings
        controls = _CONTROLS + (_MORE_CONTROLS if self.encoding == "UTF8" else ())
        listed = "".join(f"\\u{number:04x}" for number in controls)
        shown = f"btrim(translate({name}::text, E'{listed}', '{' ' * len(controls)}'))"
        if column.rule("upper"):
            shown = f"upper({shown})"
        same = f"{shown} = {_literal(text)}"
        return f"({same} OR {shown} = '' OR {name} IS NULL)" if text == constant else same

    def _select(self, shape: ViewShape, where: str) -> Iterator[pa.RecordBatch]:
        decode = self._decoder(shape)
        select = ", ".join(
            [
                f"{_name(shape, RECNO)}::int8 AS source_recno",
                f"{_name(shape, DELETED)}::int4 AS deleted" if shape.named(DELETED) else "0::int4 AS deleted",
                f"{_stamp(shape)} AS source_stamp",
                *(f"{self._cast(shape, column)} AS {quote(column.name)}" for column in shape.entity.columns),
            ]
        )
        query = f"SELECT {select} FROM {_relation(shape)} WHERE {where}"
        with self._session(shape.entity.table) as session, closing(session.batches(query)) as batches:
            for batch in batches:
                yield decode(batch)

    def _cast(self, shape: ViewShape, column: Column) -> str:
        live = shape.column(column.alias)
        name = quote(live.name)
        if not column.numeric_source:
            # The cast drops the blanks that pad a char(n), on the server: less to send and to trim.
            text = f"{name}::text"
            return f"convert_to({text}, '{self.encoding}')" if self.encoding in _UNTRUSTED_ENCODINGS else text
        if live.type_name in ("float4", "float8"):
            return f"{name}::float8"
        return f"{name}::int8" if live.type_name.startswith("int") else f"{name}::text"

    def _decoder(self, shape: ViewShape) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        if self.encoding not in _UNTRUSTED_ENCODINGS:
            return lambda batch: batch

        def decode(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = [from_cp1252(c) if pa.types.is_binary(c.type) else c for c in batch.columns]
            return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

        return decode


def _relation(shape: ViewShape) -> str:
    return ".".join(quote(part) for part in shape.relation)


def _name(shape: ViewShape, alias: str) -> str:
    return quote(shape.column(alias).name)


def _literal(text: str) -> str:
    """A text in SQL, whatever the server takes a backslash for."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _is_live(shape: ViewShape) -> str:
    return f"{_name(shape, DELETED)} = 0" if shape.named(DELETED) else "true"


def _stamp(shape: ViewShape) -> str:
    live = shape.named(STAMP)
    if live is None:
        return "NULL::timestamp"
    return f"({quote(live.name)} AT TIME ZONE 'UTC')" if live.type_name == "timestamptz" else quote(live.name)
