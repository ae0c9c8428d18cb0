"""The tables that a capture is made of, and what is in them: all of it is made up here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

import oracledb

from hat_etl.errors import SourceError
from hat_etl.source import oracle_errors
from hat_etl.source.oracle_login import OracleLogin
from hat_etl.source.oracle_session import OracleSession
from hat_etl.source.reader import quote
from hat_etl.tenants.oracle_address import OracleAddress

ROWS, EDGES = "HATCAP_ROWS", "HATCAP_EDGES"
NAMES = (ROWS, EDGES)
NEVER_MADE = "HATCAP_NOTHING"

COUNT = 3_000
TINY = 9_001
"""Recno of a row of ``ROWS`` whose number has more places than the decimals in which numbers are fetched."""

_FIRST = datetime(2026, 1, 1, 10, 0, 0, 123_456)
_CREATE = {
    ROWS: "RECNO NUMBER NOT NULL, EXCLUIDO NUMBER, CARIMBO TIMESTAMP(6), CODIGO CHAR(10), NOME VARCHAR2(60),"
    " VALOR NUMBER, PRECO NUMBER(15,2)",
    EDGES: "RECNO NUMBER NOT NULL, FREE NUMBER, MONEY NUMBER(15,2), PADDED CHAR(10), NAME VARCHAR2(60), BORN DATE,"
    " FINE TIMESTAMP(9), ZONED TIMESTAMP(6) WITH TIME ZONE, STORY CLOB",
}
_FILL = (
    "SELECT LEVEL, CASE WHEN MOD(LEVEL, 50) = 0 THEN 1 ELSE 0 END,"
    " CASE WHEN MOD(LEVEL, 10) > 0 THEN TIMESTAMP '2026-01-01 10:00:00.123456' + INTERVAL '1' SECOND * FLOOR(LEVEL / 3)"
    " END, 'G' || MOD(FLOOR(LEVEL / 100), 7), CASE WHEN MOD(LEVEL, 5) > 0 THEN 'Conceição ' || FLOOR(LEVEL / 2) END,"
    " CASE MOD(LEVEL, 4) WHEN 0 THEN 0 WHEN 1 THEN LEVEL / 8 WHEN 2 THEN -LEVEL END, ROUND(LEVEL / 3, 2)"
    f" FROM DUAL CONNECT BY LEVEL <= {COUNT}"
)


class Row(NamedTuple):
    """One of ``ROWS``, as a view of hat_etl has it."""

    recno: int
    deleted: int
    stamp: datetime | None
    code: str
    name: str | None
    value: Decimal | None
    price: Decimal


def rows() -> list[Row]:
    """What ``_FILL`` makes."""
    return [_row(number) for number in range(1, COUNT + 1)]


def _row(number: int) -> Row:
    values = {0: Decimal(0), 1: Decimal(number) / 8, 2: Decimal(-number)}
    return Row(
        number,
        int(number % 50 == 0),
        _FIRST + timedelta(seconds=number // 3) if number % 10 else None,
        f"G{number // 100 % 7}",
        f"Conceição {number // 2}" if number % 5 else None,
        values.get(number % 4),
        (Decimal(number) / 3).quantize(Decimal("0.01"), ROUND_HALF_UP),
    )


class Fine(str):
    """A moment with nine digits behind the second, more than a datetime holds."""


class Edge(NamedTuple):
    """One of ``EDGES``."""

    free: Decimal | None
    money: Decimal | None
    padded: str | None
    name: str | None
    born: datetime | None
    fine: Fine | None
    zoned: datetime | None
    story: str | None


_BRASILIA = timezone(timedelta(hours=-3))
_STORY = "Uma história com ação, em três linhas.\n" * 60
_DAY = datetime(2020, 2, 29, 23, 59, 59)
_FINE = Fine("2026-01-01 10:00:00.123456789")
_MILLENNIUM = datetime(1999, 12, 31, 23, 59, 59, tzinfo=_BRASILIA)
_ZONED = datetime(2026, 1, 1, 22, 0, 0, 500_000, _BRASILIA)

EDGE_ROWS = (
    Edge(Decimal(0), Decimal(0), "a", "O'Neill", _DAY, _FINE, _ZONED, _STORY),
    Edge(Decimal("12345678901234567890123456789012345678"), Decimal("9999999999999.99"), "a", "O'Neill", _DAY, _FINE,
         _ZONED, _STORY),
    Edge(Decimal("-99999999999999999999999999999999999999"), Decimal("-0.01"), "0123456789", "ÃÕÇÁÉÍÓÚ ãõçáéíóú",
         datetime(1, 1, 1), Fine("1899-12-31 23:59:59.000000001"), _MILLENNIUM, "x"),
    Edge(Decimal("0.00000000000000000000000000000000000001"), Decimal("1.10"), "b  b", " ", datetime(9999, 12, 31),
         Fine("2261-12-31 23:59:59.999999001"), _ZONED, "x"),
    Edge(Decimal("1234567890.0987654321"), Decimal("1.10"), "b  b", " ", _DAY, _FINE, None, None),
    Edge(Decimal("-0.5"), None, None, None, None, None, None, None),
    Edge(None, None, None, None, None, None, None, None),
    Edge(None, Decimal("100"), "z", "z", _DAY, None, _ZONED, "z"),
)  # fmt: skip


def qualified(owner: str, name: str) -> str:
    return f"{quote(owner)}.{quote(name)}"


@contextmanager
def made(address: OracleAddress, tenant: str) -> Iterator[None]:
    """The tables, made and filled by the user of ``address``; they are dropped whatever happens.

    Raises SourceError where tables of these names are there, or cannot be made or dropped; oracledb.Error and OSError
    where there is no connection.
    """
    with closing(OracleSession(OracleLogin(tenant, address))) as session:
        _refuse_others(session, address.schema, tenant)
        own: list[str] = []
        try:
            _make_all(session, address.schema, own, tenant)
            yield
        finally:
            _drop(session, address.schema, own, tenant)


def _refuse_others(session: OracleSession, owner: str, tenant: str) -> None:
    asked = {"owner": owner, "t0": ROWS, "t1": EDGES}
    found = session.rows("SELECT TABLE_NAME FROM ALL_TABLES WHERE OWNER = :owner AND TABLE_NAME IN (:t0, :t1)", asked)
    if found:
        names = " and ".join(sorted(name for (name,) in found))
        drops = " ".join(f"DROP TABLE {owner}.{name} PURGE;" for (name,) in sorted(found))
        raise SourceError(
            f"The user {owner} has {names} already: a capture that was killed left them, or another one is being made.",
            f"When no other is being made, let the user run: {drops}",
            tenant=tenant,
        )


def _make_all(session: OracleSession, owner: str, own: list[str], tenant: str) -> None:
    """Make and fill the tables; ``own`` tells those that may be there, also when this is broken off."""
    try:
        for name in NAMES:
            own.append(name)
            _make(session, owner, name, own, tenant)
    except KeyboardInterrupt:
        session.reconnect()  # on the old connection, an answer may still be to come
        raise


def _make(session: OracleSession, owner: str, name: str, own: list[str], tenant: str) -> None:
    table = qualified(owner, name)
    try:
        session.run(f"CREATE TABLE {table} ({_CREATE[name]})")
    except oracledb.Error as error:
        if not oracle_errors.is_dead(error):
            own.remove(name)  # the server refused
        raise _unmade(owner, name, error, tenant) from None
    try:
        for values in _contents(name):
            session.run(f"INSERT INTO {table} {values}")
        session.connection.commit()
    except oracledb.Error as error:
        raise _unmade(owner, name, error, tenant) from None


def _unmade(owner: str, name: str, error: Exception, tenant: str) -> SourceError:
    return SourceError(
        f"The table {name} of the capture could not be made ({oracle_errors.code(error)}).",
        f"The user {owner} needs the right CREATE TABLE and 10 MB in its tablespace: see the statements for the DBA"
        " in docs/oracle.md.",
        tenant=tenant,
    )


def _contents(name: str) -> Iterator[str]:
    if name == ROWS:
        yield _FILL
        yield f"VALUES ({TINY}, 0, NULL, 'G0', NULL, 0.{'0' * 39}1, 0)"
    else:
        for recno, edge in enumerate(EDGE_ROWS, 1):
            yield f"VALUES ({', '.join(map(_literal, (Decimal(recno), *edge)))})"


def _literal(value: Decimal | str | datetime | None) -> str:
    match value:
        case None:
            return "NULL"
        case Decimal():
            return f"{value:f}"
        case datetime():
            zone = " -03:00" if value.tzinfo else ""
            return f"TIMESTAMP '{value.replace(tzinfo=None).isoformat(' ')}{zone}'"
        case Fine():
            return f"TIMESTAMP '{value}'"
        case _:
            return "'" + value.replace("'", "''") + "'"


def _drop(session: OracleSession, owner: str, names: list[str], tenant: str) -> None:
    left = []
    for name in names:
        try:
            _drop_one(session, qualified(owner, name))
        except (oracledb.Error, OSError) as error:
            if oracle_errors.code(error) != "ORA-00942":
                left.append((name, oracle_errors.code(error)))
    if left:
        raise SourceError(
            f"The tables of the capture could not be dropped again: {', '.join(f'{n} ({code})' for n, code in left)}.",
            f"Let the DBA drop the user, as docs/oracle.md shows, or let the user {owner} run:"
            f" {' '.join(f'DROP TABLE {name} PURGE;' for name, _ in left)}",
            tenant=tenant,
        )


def _drop_one(session: OracleSession, table: str) -> None:
    drop = f"DROP TABLE {table} PURGE"
    try:
        session.run(drop)
    except (oracledb.Error, OSError) as error:
        if not oracle_errors.is_dead(error):
            raise
        session.reconnect()
        session.run(drop)
