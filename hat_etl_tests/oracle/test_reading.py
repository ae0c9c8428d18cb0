"""Every question that runs put to a snapshot has the same answer from Oracle as from PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.protheus.dictionary import physical_name
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.oracle.translation import DICTIONARY
from hat_etl.sandbox.server import READER
from hat_etl.source.erp import open_source
from hat_etl.source.oracle_login import OracleLogin
from hat_etl.source.oracle_session import OracleSession
from hat_etl.source.reader import Range, Snapshot, Source, ViewShape
from hat_etl.tenants import oracle_address, store
from hat_etl_tests.failures.ground import Ground, Server
from hat_etl_tests.oracle.conftest import address, started

Row = dict[str, Any]
each_entity = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)


@dataclass
class Side:
    """One database: its reader and a snapshot."""

    source: Source
    snapshot: Snapshot

    def ask(self, entity: Entity, question: Callable[[Snapshot, ViewShape], Any]) -> Any:
        return question(self.snapshot, self.source.describe(entity))


@pytest.fixture(scope="module")
def sides(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    oracle = started(server)
    grounds = (
        Ground(server, tmp_path_factory.mktemp("postgresql")),
        Ground(server, tmp_path_factory.mktemp("oracle"), dialect="oracle", erp_url=address(oracle, READER)),
    )
    with ExitStack() as stack:
        stack.callback(oracle.close)
        made = []
        for ground in grounds:
            ground.write()
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HAT_ETL_TENANTS", str(ground.folder))
                source = stack.enter_context(closing(open_source(store.load(ground.name), "hat-etl load")))
            made.append(Side(source, stack.enter_context(source.snapshot())))
        yield made[0], made[1]


def rows(batches: Iterable[pa.RecordBatch]) -> list[Row]:
    """Rows by Recno, with texts and numbers as the transform takes them."""
    found = [row for batch in batches for row in batch.to_pylist()]
    return sorted(
        ({name: _plain(value) for name, value in row.items()} for row in found), key=lambda row: row["source_recno"]
    )


def test_packets_are_as_large_as_the_server_grants_unless_the_address_says_otherwise(
    oracle: OracleServer, ground: Ground
) -> None:
    """With packets of 8 KiB a load of a million rows waited for the interpreter some twenty thousand times more."""
    for options, size in (("", 65_535), ("?sdu=16384", 16_384)):
        found = oracle_address.parse(address(oracle, READER) + options)
        assert found is not None
        with closing(OracleSession(OracleLogin(ground.name, found))) as session:
            assert session.connection.sdu == size


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip(" ") or None
    return str(value) if isinstance(value, float) else value


def numbers(entity: Entity, found: list[Row]) -> list[Row]:
    """Numbers as doubles: PostgreSQL sends these, and Oracle exact decimals."""
    names = [column.name for column in entity.columns if column.numeric_source]
    return [row | {name: None if row[name] is None else float(row[name]) for name in names} for row in found]


@each_entity
def test_the_tables_below_a_view_are_the_same(entity: Entity, sides: tuple[Side, Side]) -> None:
    read = [
        {(schema.lower(), table.lower()) for schema, table in side.source.tables_read(side.source.describe(entity))}
        for side in sides
    ]
    assert read[0] == read[1] == {("protheus", physical_name(alias, "01")) for alias in entity.reads}


def test_on_a_standby_only_what_is_a_day_old_is_taken_for_final(
    oracle: OracleServer, ground: Ground, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transactions of its primary are not seen there: rows that came to it late had an older stamp than the horizon."""
    ground.dialect, ground.erp_url = "oracle", address(oracle, READER)
    ground.write()
    monkeypatch.setenv("HAT_ETL_TENANTS", str(ground.folder))
    role = "CREATE OR REPLACE FUNCTION {}.sys_context(text, text) RETURNS text LANGUAGE sql AS $$ SELECT '{}' $$"
    with server.admin(ground.pls) as admin, closing(open_source(store.load(ground.name), "hat-etl load")) as source:
        admin.execute(role.format(DICTIONARY, "PHYSICAL STANDBY"))
        try:
            with source.snapshot() as snapshot:
                assert snapshot.horizon <= snapshot.clock - timedelta(days=1)
            assert not source.sees_transactions()
            assert "standby" in source.unseen_transactions
            assert "primary" in source.transactions_grant(READER)
        finally:
            admin.execute(role.format(DICTIONARY, "PRIMARY"))
        with source.snapshot() as snapshot:
            assert snapshot.horizon > snapshot.clock - timedelta(days=1)
        assert source.sees_transactions()


@pytest.mark.parametrize("dialect", ["postgresql", "oracle"])
def test_the_index_that_is_recommended_is_one_that_serves(
    dialect: str, oracle: OracleServer, ground: Ground, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Oracle an index on the stamp alone has no entry for rows without one, which every sync asks for as well."""
    ground.dialect, ground.erp_url = dialect, address(oracle, READER) if dialect == "oracle" else None
    ground.write()
    monkeypatch.setenv("HAT_ETL_TENANTS", str(ground.folder))

    def unindexed() -> dict[str, str]:
        with closing(open_source(store.load(ground.name), "hat-etl doctor")) as source:
            return {found.table.lower(): found.ddl for found in source.unindexed_stamps() or ()}

    assert ("(S_T_A_M_P_, 0)" in unindexed()["ba1010"]) is (dialect == "oracle")
    with server.admin(ground.pls) as admin:
        try:
            admin.execute("CREATE INDEX ba1010_stamp ON protheus.ba1010 (s_t_a_m_p_)")
            assert ("ba1010" in unindexed()) is (dialect == "oracle")
            admin.execute("CREATE INDEX ba1010_stamp_0 ON protheus.ba1010 (s_t_a_m_p_, (0))")
            assert "ba1010" not in unindexed()
            assert "ba3010" in unindexed()
        finally:
            admin.execute("DROP INDEX IF EXISTS protheus.ba1010_stamp, protheus.ba1010_stamp_0")


def everything(snapshot: Snapshot, shape: ViewShape) -> list[Row]:
    bounds = snapshot.bounds(shape)
    return [] if bounds is None else rows(snapshot.stream(shape, bounds))


@each_entity
def test_rows_counts_and_fingerprints_are_the_same(entity: Entity, sides: tuple[Side, Side]) -> None:
    postgresql, oracle = sides
    found = numbers(entity, oracle.ask(entity, everything))
    theirs = numbers(entity, postgresql.ask(entity, everything))
    assert len(found) > 3
    assert _finite(found) == _finite(theirs)

    def facts(snapshot: Snapshot, shape: ViewShape) -> list[Any]:
        bounds = snapshot.bounds(shape)
        assert bounds is not None
        middle = (bounds.low + bounds.high) // 2
        parts = [Range(bounds.low, middle), Range(bounds.high, bounds.high)]
        return [
            bounds,
            *(snapshot.fingerprint(shape, part) for part in (bounds, *parts)),
            snapshot.live(shape),
            snapshot.live_by_bucket(shape),
            *(_sorted(snapshot.live_recnos(shape, among)) for among in ([], parts)),
        ]

    assert oracle.ask(entity, facts) == postgresql.ask(entity, facts)


def _finite(found: list[Row]) -> list[Row]:
    """Without what no NUMBER can hold."""
    return [
        {name: value for name, value in row.items() if not (isinstance(value, float) and not abs(value) < 1e125)}
        for row in found
    ]


def _sorted(batches: Iterable[pa.Array]) -> list[int]:
    return sorted(recno for batch in batches for recno in batch.to_pylist())


@each_entity
def test_rows_by_stamp_and_by_recno_are_the_same(entity: Entity, sides: tuple[Side, Side]) -> None:
    postgresql, oracle = sides
    stamped = [row for row in postgresql.ask(entity, everything) if row["source_stamp"] is not None]
    latest = max(row["source_stamp"] for row in stamped).replace(tzinfo=UTC)

    def chosen(snapshot: Snapshot, shape: ViewShape) -> list[list[int]]:
        recnos = np.array([1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 10**9], dtype=np.int64)
        moments = (datetime(2025, 6, 1, tzinfo=UTC), latest, latest + timedelta(microseconds=1))
        asked = [*(snapshot.changed(shape, moment) for moment in moments), snapshot.rows(shape, recnos)]
        return [[row["source_recno"] for row in rows(batches)] for batches in asked]

    assert oracle.ask(entity, chosen) == postgresql.ask(entity, chosen)


@each_entity
def test_rows_are_found_by_the_key_that_hat_shows(entity: Entity, sides: tuple[Side, Side], server: Server) -> None:
    with server.admin("hat_loaded") as hat:
        names = ", ".join(f"coalesce({name}::text, '')" for name in entity.key)
        wanted = hat.execute(
            f"SELECT source_recno, {names} FROM hat.{entity.table} ORDER BY source_recno LIMIT 3"
        ).fetchall()
    _, oracle = sides
    for recno, *parts in wanted:
        key = {name: part for name, part in zip(entity.key, parts, strict=True) if part}
        found = oracle.ask(entity, lambda snapshot, shape, key=key: rows(snapshot.matching(shape, key)))
        assert recno in {row["source_recno"] for row in found}
