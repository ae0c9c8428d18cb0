"""Reading PLS on Oracle: one SCN for all connections, batches through python-oracledb.

Every query says AS OF SCN, so that all tables and connections show the same moment, and a range whose connection is
lost goes on in another one. Where the login may not look back, one session in a read-only transaction gives the one
moment: then nothing is read in parallel, and a lost connection ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import oracledb

from hat_etl.entities.model import RECNO, Entity
from hat_etl.source import oracle_errors, oracle_refusals, oracle_sql, refusals
from hat_etl.source.live_column import LiveColumn
from hat_etl.source.oracle_catalogue import Catalogue
from hat_etl.source.oracle_fetcher import Fetcher, FetcherDied
from hat_etl.source.oracle_login import OracleLogin
from hat_etl.source.oracle_session import OracleSession
from hat_etl.source.oracle_snapshot import OracleSnapshot, Session
from hat_etl.source.reader import (
    OneMoment,
    SourceHealth,
    Tables,
    TablesRead,
    UnindexedStamp,
    ViewShape,
    quote,
)
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.oracle_address import OracleAddress

T = TypeVar("T")

SAMPLE_ROWS = 10_000
"""Rows whose stamps the doctor looks at, per view."""

STANDBY_LAG = timedelta(days=1)
"""How far behind its clock a standby's stamps are taken for final: nobody there tells what the primary still has open,
or has not sent yet."""
MANY_ROWS = 200_000
"""From about here on a process that fetches, and nothing else, is worth its start."""

LONGEST_TEXT = 4_000
"""Characters of a VARCHAR2 whose view sets no limit of its own."""

SCN_QUERIES = (
    ("SELECT DBMS_FLASHBACK.GET_SYSTEM_CHANGE_NUMBER FROM DUAL", timedelta()),
    ("SELECT CURRENT_SCN FROM V$DATABASE", timedelta()),
    # Known to everybody, and right to some seconds only: never later than asked for, but earlier.
    ("SELECT TIMESTAMP_TO_SCN(SYSTIMESTAMP) FROM DUAL", timedelta(seconds=6)),
)
"""Ways to the present SCN, the exact ones first, and how far behind the clock each may be."""

_ENCODINGS = {"AL32UTF8": "UTF8", "UTF8": "UTF8", "WE8MSWIN1252": "WIN1252"}
"""Oracle's names of the encodings that Protheus uses to those by which they are known elsewhere."""

_TYPES = {
    "DB_TYPE_CHAR": "CHAR", "DB_TYPE_NCHAR": "NCHAR", "DB_TYPE_VARCHAR": "VARCHAR2", "DB_TYPE_NVARCHAR": "NVARCHAR2",
    "DB_TYPE_NUMBER": "NUMBER", "DB_TYPE_BINARY_DOUBLE": "BINARY_DOUBLE", "DB_TYPE_BINARY_FLOAT": "BINARY_FLOAT",
    "DB_TYPE_DATE": "DATE", "DB_TYPE_TIMESTAMP": "TIMESTAMP", "DB_TYPE_TIMESTAMP_TZ": "TIMESTAMP WITH TIME ZONE",
    "DB_TYPE_TIMESTAMP_LTZ": "TIMESTAMP WITH LOCAL TIME ZONE", "DB_TYPE_CLOB": "CLOB", "DB_TYPE_BLOB": "BLOB",
    "DB_TYPE_RAW": "RAW", "DB_TYPE_LONG_RAW": "LONG RAW", "DB_TYPE_LONG": "LONG",
}  # fmt: skip


_PLACE = "SELECT SYS_CONTEXT('USERENV', 'DB_NAME'), SYS_CONTEXT('USERENV', 'DB_UNIQUE_NAME') FROM DUAL"


class OracleSource:
    """A PLS on Oracle, as one tenant's file describes it; ``again`` is the command that errors tell to go on with.

    ``address`` stands in for the one that the file refers to.
    """

    def __init__(self, tenant: Tenant, again: str, address: OracleAddress | None = None) -> None:
        self._tenant = tenant
        self._again = again
        self._read: dict[tuple[str, str], set[tuple[str, str]]] | None = None
        self._fields: Tables | None = None
        self._login = OracleLogin.of(tenant, address)
        self._address = self._login.address
        self._control: OracleSession | None = None
        self._place: str | None = None
        self._probed: tuple[int, timedelta] | None = None
        self._refused: list[str] = []
        """Views that the login may read, but not as of an earlier moment."""

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    # -- questions ---------------------------------------------------------------------------------------------------

    def describe(self, entity: Entity) -> ViewShape:
        owner = (self._tenant.erp.view_owner or self._address.schema).upper()
        relation = (owner, entity.view.upper())
        session, name = self._session(), ".".join(map(quote, relation))
        try:
            with self._told():
                described = session.columns(f"SELECT * FROM {name} WHERE 1 = 0")
                columns = tuple(_live(column) for column in described)
                self._try_flashback(session, name)
                shape = ViewShape(entity, columns, 0, relation)
                return ViewShape(entity, columns, self._estimate(session, shape), relation)
        except oracledb.Error as error:
            match oracle_errors.code(error):
                case "ORA-00942":
                    # Oracle says the same of a view that is not there and of one that may not be read.
                    raise refusals.view_missing(
                        self._tenant, entity, f"schema {owner}, or {self._address.schema} has no right to read it"
                    ) from None
                case "ORA-01031" | "ORA-41900":
                    raise refusals.view_forbidden(self._tenant, entity) from None
                case code:
                    raise refusals.view_broken(self._tenant, entity, code) from None

    def _try_flashback(self, session: OracleSession, name: str) -> None:
        """Find out whether the view can be shown as of a moment."""
        moment = self._probe(session)
        if moment is None:
            return
        query = f"SELECT 1 FROM {name} AS OF SCN :scn WHERE 1 = 0"
        try:
            session.rows(query, {"scn": moment[0]})
        except oracledb.Error as error:
            found = oracle_errors.code(error)
            if found in oracle_errors.NO_FLASHBACK:
                self._refused.append(name)
            elif found != oracle_errors.CHANGED and not oracle_errors.is_expired(error):
                raise

    def _probe(self, session: OracleSession) -> tuple[int, timedelta] | None:
        if self._probed is None:
            self._probed = _scn(session)
        return self._probed

    def _estimate(self, session: OracleSession, shape: ViewShape) -> int:
        """Rows by the server's statistics, or the highest Recno where the login does not see the table."""
        known = self._catalogue(session).rows(shape.entity.reads[0])
        if known is not None:
            return known
        if shape.named(RECNO) is None:
            return 0
        (highest,) = session.row(f"SELECT MAX({oracle_sql.name(shape, RECNO)}) FROM {oracle_sql.relation(shape)}")
        return int(highest or 0)

    def tables_read(self, shape: ViewShape) -> TablesRead:
        if self._read is None:
            with self._asking() as session:
                self._read = self._catalogue(session).tables_read()
        return self._read.get(shape.relation, ())

    def health(self) -> SourceHealth:
        with self._asking() as session:
            now = _utc(session)
            (charset,) = session.row(
                "SELECT VALUE FROM NLS_DATABASE_PARAMETERS WHERE PARAMETER = :name", {"name": "NLS_CHARACTERSET"}
            )
            version = session.connection.version
        return SourceHealth(f"Oracle {version}", self._address.schema, _ENCODINGS.get(charset, str(charset)), now, None)

    def sample_stamps(self, shape: ViewShape) -> tuple[int, int]:
        with self._asking(shape.entity.table) as session:
            seen, stamped = session.row(
                f"SELECT COUNT(*), COUNT(S) FROM (SELECT {oracle_sql.stamp(shape)} AS S"
                f" FROM {oracle_sql.relation(shape)} WHERE ROWNUM <= {SAMPLE_ROWS})"
            )
        return int(seen), int(stamped)

    def unindexed_stamps(self) -> list[UnindexedStamp] | None:
        with self._asking() as session:
            return self._catalogue(session).unindexed_stamps()

    def fields(self) -> Tables:
        if self._fields is None:
            with self._asking() as session:
                self._fields = self._catalogue(session).fields()
        return self._fields

    def place(self) -> str:
        if self._place is None:
            with self._asking() as session:
                self._place = " ".join(map(str, session.row(_PLACE)))
        return self._place

    def definitions(self, shapes: Sequence[ViewShape]) -> dict[str, str]:
        with self._asking() as session:
            return self._catalogue(session).definitions(shapes)

    def _catalogue(self, session: OracleSession) -> Catalogue:
        return Catalogue(session, self._tenant, self._address.schema)

    def one_moment(self) -> OneMoment:
        with self._asking() as session:
            if self._probe(session) is None:
                return OneMoment(
                    "one session in a read-only transaction",
                    "the login cannot ask for the SCN, so that nothing is read in parallel and a lost connection ends"
                    " the run",
                    f"GRANT EXECUTE ON SYS.DBMS_FLASHBACK TO {self._address.schema};",
                )
        if self._refused:
            return OneMoment(
                "one session in a read-only transaction",
                f"{len(self._refused)} views may not be read as of an SCN, so that nothing is read in parallel and a"
                " lost connection ends the run",
                f"Let the DBA run the GRANT lines (FLASHBACK) of: hat-etl views render {self._tenant.name}",
            )
        return OneMoment("AS OF SCN, the same for all connections")

    def sees_transactions(self) -> bool:
        with self._asking() as session:
            return not _is_standby(session) and _oldest_transaction(session) is not None

    @property
    def unseen_transactions(self) -> str:
        with self._asking() as session:
            if _is_standby(session):
                return (
                    "The database is a standby, and those of its primary are not seen there: a sync reads again what"
                    " was stamped within the last day, and rows that come there later than that may be missed until"
                    " the next --full."
                )
        return (
            f"Rows that one commits more than {self._tenant.sync.lookback_minutes} minutes (lookback_minutes in [sync])"
            " after it began may be missed by a sync until the next --full."
        )

    def transactions_grant(self, login: str) -> str:
        with self._asking() as session:
            if _is_standby(session):
                return "Let [erp] url name the primary."
        return f"GRANT SELECT ON SYS.GV_$TRANSACTION TO {login};"

    # -- the one moment ----------------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self, expected_rows: int = 0) -> Iterator[OracleSnapshot]:
        with self._asking() as session:
            clock = _utc(session)
            age = STANDBY_LAG if _is_standby(session) else _oldest_transaction(session)
            scn = None if self._refused else _scn(session)
        self.close()
        horizon = min(clock, clock - (age or timedelta()) - (scn[1] if scn else timedelta()))
        with ExitStack() as opened:
            connections = self._tenant.erp.connections if scn else 1
            sessions: Sequence[Session]
            if expected_rows >= MANY_ROWS:
                with self._connecting():
                    fetcher = opened.enter_context(closing(Fetcher(self._login, connections)))
                    for unconnected in fetcher.sessions:
                        unconnected.reconnect()
                sessions = fetcher.sessions
            else:
                sessions = [opened.enter_context(closing(self._connect())) for _ in range(connections)]
            if scn is None:
                with self._reading():
                    sessions[0].run("SET TRANSACTION READ ONLY")
            yield OracleSnapshot(self._tenant, self._again, clock, horizon, scn[0] if scn else None, sessions)

    def _connect(self) -> OracleSession:
        with self._connecting():
            return OracleSession(self._login)

    @contextmanager
    def _connecting(self) -> Iterator[None]:
        try:
            yield
        except FetcherDied:
            raise oracle_refusals.fetcher_died(self._tenant.name, None, self._again) from None
        except (oracledb.Error, OSError) as error:
            raise oracle_refusals.connection_failed(self._tenant, self._address, error) from None

    def _session(self) -> OracleSession:
        """A plain connection for questions; closed before the snapshot's connections open."""
        if self._control is None:
            self._control = self._connect()
        return self._control

    @contextmanager
    def _asking(self, table: str | None = None) -> Iterator[OracleSession]:
        session = self._session()
        with self._reading(table):
            yield session

    @contextmanager
    def _reading(self, table: str | None = None) -> Iterator[None]:
        try:
            yield
        except FetcherDied:
            raise oracle_refusals.fetcher_died(self._tenant.name, table, self._again) from None
        except (oracledb.Error, OSError) as error:
            raise refusals.read_failed(self._tenant.name, table, oracle_errors.cause(error), self._again) from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn a lost connection, and what the server is short of, into a SourceError.

        What else it says of a statement is the caller's.
        """
        try:
            yield
        except (oracledb.Error, OSError) as error:
            if not (oracle_errors.is_dead(error) or oracle_errors.is_short(error)):
                raise
            raise refusals.read_failed(self._tenant.name, None, oracle_errors.cause(error), self._again) from None


def _live(column: oracledb.FetchInfo) -> LiveColumn:
    name = _TYPES.get(column.type_code.name, column.type_code.name)
    scale = column.scale or 0
    if name == "NUMBER":
        sized = bool(column.precision) and 0 <= scale <= (column.precision or 0)
        return LiveColumn(column.name, f"NUMBER({column.precision},{scale})" if sized else name)
    if name.startswith("TIMESTAMP"):
        return LiveColumn(column.name, name.replace("TIMESTAMP", f"TIMESTAMP({scale})"))
    limited = name.endswith(("CHAR", "CHAR2")) and (column.display_size or 0) < LONGEST_TEXT
    return LiveColumn(column.name, name, column.display_size if limited else None)


def _utc(session: OracleSession) -> datetime:
    (now,) = session.row("SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL")
    moment: datetime = now.replace(tzinfo=UTC)
    return moment


def _scn(session: OracleSession) -> tuple[int, timedelta] | None:
    """The SCN of now, and how far behind now it may be; None when the login has no way to it."""
    for query, behind in SCN_QUERIES:
        found = _if_allowed(lambda query=query: session.row(query))  # type: ignore[misc]
        if found is not None:
            return int(found[0]), behind
    return None


def _is_standby(session: OracleSession) -> bool:
    """Whether what is read is a copy that follows another database."""
    (role,) = session.row("SELECT SYS_CONTEXT('USERENV', 'DATABASE_ROLE') FROM DUAL")
    return role is not None and role != "PRIMARY"


def _oldest_transaction(session: OracleSession) -> timedelta | None:
    """The age of the oldest open transaction of the ERP, zero when there is none; None when the login is not told."""
    found = _if_allowed(lambda: session.row("SELECT SYSDATE, MIN(START_DATE) FROM GV$TRANSACTION"))
    if found is None:
        return None
    now, oldest = found
    # Whole seconds on either side.
    return timedelta() if oldest is None else now - oldest + timedelta(seconds=1)


def _if_allowed(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except oracledb.Error as error:
        if oracle_errors.NO_FLASHBACK.isdisjoint(oracle_errors.codes(error)):
            raise
        return None
