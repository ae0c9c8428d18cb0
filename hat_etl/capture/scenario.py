"""What a capture asks: all that hat_etl relies on, through the code that reads an ERP, of tables that are made up.

The same steps are gone through when a capture is made and when it is replayed. Whoever changes them, or the tables,
counts ``VERSION`` up: captures made before can then no longer be replayed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple
from datetime import UTC
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import oracledb
import pyarrow as pa

from hat_etl.capture import tables
from hat_etl.capture.file import Outcome
from hat_etl.capture.tables import COUNT, EDGE_ROWS, EDGES, NEVER_MADE, ROWS, TINY, Edge, qualified
from hat_etl.entities.model import Entity, Kind, number, text
from hat_etl.errors import HatEtlError, SourceError
from hat_etl.source import oracle_errors
from hat_etl.source.oracle import SCN_QUERIES, OracleSource
from hat_etl.source.oracle_login import OracleLogin
from hat_etl.source.oracle_session import CALL_MILLISECONDS, EXACT, WHOLE, OracleSession
from hat_etl.source.oracle_snapshot import OracleSnapshot
from hat_etl.source.reader import Range, ViewShape
from hat_etl.tenants.config import Erp, Hat, Tenant
from hat_etl.tenants.oracle_address import OracleAddress
from hat_etl.tenants.secrets import SecretRef

VERSION = 3

_NOWHERE = SecretRef("env", "HATCAP")
TENANT = Tenant(
    name="capture",
    ans_registry="000000",
    erp=Erp(dialect="oracle", url=_NOWHERE, company="ZZ", connections=1),
    hat=Hat(url=_NOWHERE),
)
"""Whom the steps are gone through for: nobody's tables are called like those of its company."""

_ENTITY = Entity(
    table="captured", area="captures", view=ROWS, reads=("BA1",), key=("code",), meaning="Made up.", grain="A number.",
    columns=(
        text("code", 10, "CODIGO", "BA1_CODINT", "Blank-padded.", required=True),
        text("name", 60, "NOME", "BA1_NOMUSR", "With accents, or NULL."),
        number("value", Kind.AMOUNT, "VALOR", "BA1_VALOR", "Without precision."),
        number("price", Kind.AMOUNT, "PRECO", "BA1_PRECO", "With two decimals.", scale=2),
    ),
)  # fmt: skip

_LIMIT = 1_000
"""Milliseconds after which the driver interrupts a statement that would run for hours."""

Rows = Iterable[tuple[Any, ...]]
Step = tuple[str, Callable[[], Rows], Sequence[tuple[Any, ...]] | None]
"""Name, what is asked, and the rows that must come if the server keeps what was put into it; None: unknown."""


def perform(address: OracleAddress) -> tuple[str, list[Outcome]]:
    """Go through all steps; gives the server's release, and what came of each.

    Raises oracledb.Error and OSError where there is no connection, SourceError where one is lost.
    """
    owner = address.schema
    outcomes: list[Outcome] = []

    def go_through(steps: Iterator[Step]) -> None:
        outcomes.extend(_outcome(name, ask, truth) for name, ask, truth in steps)

    with closing(OracleSession(OracleLogin(TENANT.name, address))) as session:
        version = session.connection.version
        for steps in (_types, _binds, _moments, _errors):
            go_through(steps(session, owner))
    with closing(OracleSource(TENANT, f"hat-etl doctor {TENANT.name}", address)) as source:
        shape = source.describe(_ENTITY)
        go_through(_source(source, shape))
        with source.snapshot() as snapshot:
            go_through(_snapshot(snapshot, shape))
    return version, outcomes


def _outcome(step: str, ask: Callable[[], Rows], truth: Sequence[tuple[Any, ...]] | None) -> Outcome:
    digest, rows, error = hashlib.sha256(), list[tuple[Any, ...]](), ""
    try:
        for row in map(_spelled, ask()):
            digest.update(repr(row).encode())
            rows.append(row)
    except (oracledb.Error, OSError, HatEtlError) as raised:
        error = oracle_errors.code(raised)
        if isinstance(raised, OSError) or oracle_errors.is_dead(raised):
            raise SourceError(
                f"The connection was lost at the step «{step}» ({error}).", "Try again; ask the DBA what ended it."
            ) from None
    surprises = truth is not None and sorted(map(repr, rows)) != sorted(repr(_spelled(row)) for row in truth)
    return Outcome(step, len(rows), digest.hexdigest(), error, surprises)


def _types(session: OracleSession, owner: str) -> Iterator[Step]:
    """Every type, in the ways in which it is fetched."""
    rows, edges = qualified(owner, ROWS), qualified(owner, EDGES)
    yield "how rows are described", partial(_columns, session, rows), None
    yield "how edges are described", partial(_columns, session, edges), None
    columns = "RECNO AS C0, EXCLUIDO AS C1, CARIMBO AS C2, RTRIM(CODIGO) AS C3, NOME AS C4, VALOR AS C5, PRECO AS C6"
    types = (WHOLE, WHOLE, pa.timestamp("us"), pa.string(), pa.string(), EXACT, pa.decimal128(15, 2))
    for size, last in ((1, 12), (70, 400), (1_000, COUNT)):
        query = f"SELECT {columns} FROM {rows} WHERE RECNO <= {last}"
        yield f"batches of {size}", partial(_fetched, session, query, types, size), tables.rows()[:last]
    for name, expression, kind, truth in _EDGE_STEPS:
        query = f"SELECT RECNO AS C0, {expression} AS C1 FROM {edges}"
        expected = None if truth is None else [(recno, truth(edge)) for recno, edge in enumerate(EDGE_ROWS, 1)]
        yield name, partial(_fetched, session, query, (WHOLE, kind), 3), expected
    yield "tuples", partial(session.rows, f"SELECT RECNO, PADDED, BORN, MONEY FROM {edges}"), None
    yield "no rows", partial(session.rows, f"SELECT RECNO FROM {rows} WHERE 1 = 0"), []
    yield "rows given up", partial(_fetched, session, f"SELECT {columns} FROM {rows}", types, 50, most=1), None


def _nanoseconds(edge: Edge) -> int | None:
    return None if edge.fine is None else int(np.datetime64(edge.fine.replace(" ", "T"), "ns").astype(np.int64))


_EDGE_STEPS: tuple[tuple[str, str, pa.DataType, Callable[[Edge], object] | None], ...] = (
    ("numbers without precision", "FREE", EXACT, lambda edge: edge.free),
    ("numbers with two decimals", "MONEY", pa.decimal128(15, 2), lambda edge: edge.money),
    ("numbers as text", "TO_CHAR(FREE, 'TM9')", pa.string(), None),
    ("padded texts, trimmed", "RTRIM(PADDED)", pa.string(), lambda edge: edge.padded),
    ("padded texts", "PADDED", pa.string(), lambda edge: edge.padded and edge.padded.ljust(10)),
    ("texts", "NAME", pa.string(), lambda edge: edge.name),
    ("dates", "BORN", pa.timestamp("s"), lambda edge: edge.born),
    ("nanoseconds", "FINE", pa.timestamp("ns"), _nanoseconds),
    ("moments with a zone", "SYS_EXTRACT_UTC(ZONED)", pa.timestamp("us"),
     lambda edge: edge.zoned and edge.zoned.astimezone(UTC).replace(tzinfo=None)),
    ("long texts", "STORY", pa.string(), lambda edge: edge.story),
)  # fmt: skip
"""Name, expression and type of each step about ``EDGES``, and what must come of a row; None where Oracle decides."""


def _binds(session: OracleSession, owner: str) -> Iterator[Step]:
    """Every kind of bind, and a statement that is run again with other values."""
    query, rows = f"SELECT RECNO FROM {qualified(owner, ROWS)} WHERE", tables.rows()
    stamp, name, value = rows[-100].stamp, rows[2_000].name, rows[4].value
    assert stamp is not None, "a row that has one was picked"
    assert name is not None, "a row that has one was picked"
    assert value is not None, "a row that has one was picked"
    for what, where, bind, holds in (
        ("a moment", "CARIMBO >= :bound", stamp, [r for r in rows if r.stamp and r.stamp >= stamp]),
        ("a text", "NOME = :bound", name, [r for r in rows if r.name == name]),
        ("a text that is padded there", "CODIGO = :bound AND RECNO < 100", "G0", rows[:99]),
        ("a fraction", "VALOR = :bound", value, [r for r in rows if r.value == value]),
    ):
        ask = partial(session.rows, f"{query} {where}", {"bound": bind})
        yield f"{what}, bound", ask, [(row.recno,) for row in holds]
    for recnos in ((1, 2, 3_000), (7, 8, 9), (0, 0, 0)):
        listed = {f"r{place}": recno for place, recno in enumerate(recnos)}
        ask = partial(session.rows, f"{query} RECNO IN (:r0, :r1, :r2)", listed)
        yield f"{recnos}, bound", ask, [(recno,) for recno in recnos if recno]


def _moments(session: OracleSession, owner: str) -> Iterator[Step]:
    """Each way to the number of a moment, and each way of reading one."""
    count = f"SELECT COUNT(*) FROM {qualified(owner, ROWS)}"

    def as_of(query: str) -> Rows:
        (scn,) = session.row(query)
        return session.rows(f"{count} AS OF SCN :scn WHERE 1 = 1", {"scn": scn})

    for query, _ in SCN_QUERIES:
        yield query, partial(session.rows, query), None
        yield f"as of {query}", partial(as_of, query), None
    yield "as of a moment that is gone", partial(session.rows, f"{count} AS OF SCN :scn", {"scn": 1}), None

    def read_only() -> Rows:
        session.run("SET TRANSACTION READ ONLY")
        found = session.rows(count)
        session.connection.rollback()
        return found

    yield "one moment in a transaction", read_only, [(COUNT + 1,)]


def _errors(session: OracleSession, owner: str) -> Iterator[Step]:
    """What goes wrong, and that the session can be used after each."""
    rows = qualified(owner, ROWS)
    yield "no such table", partial(session.rows, f"SELECT RECNO FROM {qualified(owner, NEVER_MADE)}"), None
    yield "no such column", partial(session.rows, f"SELECT NO_SUCH_COLUMN FROM {rows}"), None
    quotient = f"SELECT RECNO AS C0, 1 / (RECNO - 1250) AS C1 FROM {rows}"
    yield "division by zero amid rows", partial(_fetched, session, quotient, (WHOLE, pa.float64()), 100), None

    def endless() -> Rows:
        session.connection.call_timeout = _LIMIT
        try:
            return session.rows(f"SELECT COUNT(*) FROM {rows} A JOIN {rows} B ON 1 = 1 JOIN {rows} C ON 1 = 1")
        finally:
            session.connection.call_timeout = CALL_MILLISECONDS

    yield "an endless statement, interrupted", endless, None
    yield "after errors", partial(session.rows, f"SELECT COUNT(*) FROM {rows}"), [(COUNT + 1,)]


def _source(source: OracleSource, shape: ViewShape) -> Iterator[Step]:
    """What a doctor and a plan ask."""
    yield "a view's columns", lambda: map(astuple, shape.columns), None
    yield "rows by estimate", lambda: [(shape.estimated_rows,)], None
    yield "release and encoding", lambda: [(source.health().server, source.health().encoding)], None
    yield "how one moment is had", lambda: [(source.one_moment().how,)], None
    yield "open transactions", lambda: [(source.sees_transactions(),)], None
    stamped = sum(row.stamp is not None for row in tables.rows())
    yield "stamps", lambda: [source.sample_stamps(shape)], [(COUNT + 1, stamped)]
    yield "fields of the PLS tables", lambda: [(sorted(source.fields()),)], None
    yield "stamps without an index", lambda: [(source.unindexed_stamps(),)], None


def _snapshot(snapshot: OracleSnapshot, shape: ViewShape) -> Iterator[Step]:
    """What loads, syncs and reconciliations ask."""
    rows, whole = tables.rows(), Range(1, COUNT)
    tiny = tables.Row(TINY, 0, None, "G0", None, Decimal("1E-40"), Decimal(0))
    live = [row.recno for row in (*rows, tiny) if not row.deleted]
    since = rows[-50].stamp
    assert since is not None, "a row that has a stamp was picked"
    changed = [row for row in (*rows, tiny) if row.stamp is None or row.stamp >= since]
    parts = [Range(1, 99), Range(2_900, 9_999)]

    yield "bounds", lambda: [astuple(snapshot.bounds(shape) or Range(0, 0))], [(1, TINY)]
    yield "a range", lambda: _raw(snapshot.stream(shape, whole)), rows
    yield "a fingerprint", lambda: [astuple(snapshot.fingerprint(shape, whole))], None
    yield "changed rows", lambda: _raw(snapshot.changed(shape, since.replace(tzinfo=UTC))), changed
    yield "a number with too many places", lambda: _raw(snapshot.rows(shape, np.array([TINY]))), [tiny]
    yield "rows by Recno", lambda: _raw(snapshot.rows(shape, np.arange(5, 10))), rows[4:9]
    yield "rows by key", lambda: _raw(snapshot.matching(shape, {"name": rows[1].name or ""})), rows[1:3]
    yield "live rows", lambda: [snapshot.live(shape)], [(len(live), sum(live))]
    yield "live rows by part", lambda: sorted(snapshot.live_by_bucket(shape).items()), None
    yield (
        "live Recnos",
        lambda: _each(snapshot.live_recnos(shape, parts)),
        [(recno,) for recno in live if recno <= 99 or recno >= 2_900],
    )


def _columns(session: OracleSession, table: str) -> Rows:
    for column in session.columns(f"SELECT * FROM {table} WHERE 1 = 0"):
        yield column.name, column.type_code.name, column.precision, column.scale, column.display_size


def _fetched(
    session: OracleSession, query: str, types: Sequence[pa.DataType], size: int, most: int | None = None
) -> Rows:
    """The rows of a query; after ``most`` batches the rest is given up."""
    with closing(session.batches(query, {}, types, size)) as batches:
        for batch in islice(batches, most):
            # A datetime has no nanoseconds: they are counted.
            counted = [c.cast(pa.int64()) if c.type == pa.timestamp("ns") else c for c in batch.columns]
            yield from zip(*(column.to_pylist() for column in counted), strict=True)


def _raw(batches: Iterable[pa.RecordBatch]) -> Rows:
    """The rows of raw batches, in which numbers come as int or as text."""
    for batch in batches:
        for *others, value, price in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield *others, *(given if given is None else Decimal(given) for given in (value, price))


def _each(columns: Iterable[pa.Array]) -> Rows:
    return ((value,) for column in columns for value in column.to_pylist())


def _spelled(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with numbers that are equal written alike."""
    return tuple(
        value if not isinstance(value, Decimal) else int(value) if value == int(value) else f"{value:f}".rstrip("0")
        for value in row
    )
