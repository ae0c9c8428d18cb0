"""The server against the unmodified driver: what it answers, and that it refuses all that it does not know."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import oracledb
import pyarrow as pa
import pytest

from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl_tests.failures.ground import DEADLINE, Server, eventually
from hat_etl_tests.oracle.conftest import PASSWORD, started

PROFILES = ("12c", "19c", "23ai")
VIEW = "HAT.HAT_BA1_BENEFICIARIO"
ENDLESS = f"SELECT COUNT(*) FROM {VIEW} A JOIN {VIEW} B ON 1 = 1 JOIN {VIEW} C ON 1 = 1"


@pytest.fixture(scope="module", params=PROFILES)
def oracle(request: pytest.FixtureRequest, server: Server) -> Iterator[OracleServer]:
    made = started(server, profile=request.param)
    yield made
    made.close()


def connected(oracle: OracleServer) -> oracledb.Connection:
    return oracledb.connect(user="hat_reader", password=PASSWORD, dsn=oracle.address)


@pytest.fixture
def connection(oracle: OracleServer) -> Iterator[oracledb.Connection]:
    with connected(oracle) as made:
        yield made


@pytest.fixture
def erp_rows(server: Server) -> list[tuple[object, ...]]:
    """Recno, company and stamp of each beneficiary, as PostgreSQL has them."""
    with server.admin("pls") as erp:
        return erp.execute("SELECT recno, empresa, carimbo FROM hat.hat_ba1_beneficiario ORDER BY recno").fetchall()


QUERY = f"SELECT RECNO, EMPRESA, CARIMBO FROM {VIEW}"
SCHEMA = pa.schema([("RECNO", pa.decimal128(38, 0)), ("EMPRESA", pa.string()), ("CARIMBO", pa.timestamp("us"))])


@pytest.mark.parametrize("size", [1, 2, 100, 1_000])
def test_rows_full_of_repeats_arrive_as_they_are_whatever_the_batch(
    size: int, connection: oracledb.Connection, erp_rows: list[tuple[object, ...]]
) -> None:
    wanted = erp_rows[: 30 * size]
    last = wanted[-1][0]
    found = []
    query = f"{QUERY} WHERE RECNO <= :last"
    for frame in connection.fetch_df_batches(query, {"last": last}, size=size, requested_schema=SCHEMA):
        found += [tuple(row.values()) for row in pa.table(frame).to_pylist()]
    assert sorted((int(recno), *rest) for recno, *rest in found) == wanted


def test_kept_results_are_sent_again_whatever_the_moment_and_the_batch(
    server: Server, erp_rows: list[tuple[object, ...]]
) -> None:
    keeping = started(server, keeps_results=True)
    query = f"{QUERY} AS OF SCN :scn WHERE RECNO BETWEEN :low AND :high"
    with closing(keeping), connected(keeping) as connection, connection.cursor() as cursor:

        def fetched(low: int, size: int) -> list[tuple[object, ...]]:
            (scn,) = cursor.execute("SELECT DBMS_FLASHBACK.GET_SYSTEM_CHANGE_NUMBER FROM DUAL").fetchone()
            keeping.moments.forget()  # a query that is not kept is refused
            binds = {"scn": scn, "low": low, "high": erp_rows[-1][0]}
            frames = connection.fetch_df_batches(query, binds, size=size, requested_schema=SCHEMA)
            found = [tuple(row.values()) for frame in frames for row in pa.table(frame).to_pylist()]
            return sorted((int(recno), *rest) for recno, *rest in found)

        (scn,) = cursor.execute("SELECT DBMS_FLASHBACK.GET_SYSTEM_CHANGE_NUMBER FROM DUAL").fetchone()
        cursor.execute(query, {"scn": scn, "low": 1, "high": erp_rows[-1][0]}).fetchall()
        for size in (1, 70, len(erp_rows), 10_000):
            assert fetched(1, size) == erp_rows
        with pytest.raises(oracledb.DatabaseError, match="ORA-08180"):
            fetched(2, 100)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_repeated_decimals_arrive_as_they_are_across_fetches(
    size: int, connection: oracledb.Connection, server: Server
) -> None:
    """A driver of version 26.0.0 dies of this (its issue 605)."""
    with server.admin("pls") as erp:
        wanted = erp.execute(
            "SELECT recno, carencia::int FROM hat.hat_bb2_grupocob_produto WHERE recno <= 300 ORDER BY 1"
        ).fetchall()
    query = "SELECT RECNO, CARENCIA FROM HAT.HAT_BB2_GRUPOCOB_PRODUTO WHERE RECNO <= 300"
    schema = pa.schema([("RECNO", pa.decimal128(38, 0)), ("CARENCIA", pa.decimal128(19, 4))])
    found = []
    for frame in connection.fetch_df_batches(query, size=size, requested_schema=schema):
        found += [tuple(map(int, row.values())) for row in pa.table(frame).to_pylist()]
    assert sorted(found) == wanted


def test_tuples_and_asynchronous_clients_see_the_same(
    oracle: OracleServer, connection: oracledb.Connection, erp_rows: list[tuple[object, ...]]
) -> None:
    async def fetched() -> list[tuple[object, ...]]:
        async with oracledb.connect_async(user="hat_reader", password=PASSWORD, dsn=oracle.address) as other:
            rows: list[tuple[object, ...]] = await other.fetchall(QUERY)
            return rows

    with connection.cursor() as cursor:
        for _ in range(2):  # the second time by its number
            assert sorted(cursor.execute(QUERY).fetchall()) == erp_rows
    assert sorted(asyncio.run(fetched())) == erp_rows


def test_a_view_is_described_as_protheus_has_it_on_oracle(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT RECNO, EMPRESA, CARIMBO, CODIGOBENEFICIARIO FROM {VIEW} WHERE 1 = 0")
        kinds = [(column.name, column.type_code, column.precision, column.scale) for column in cursor.description]
        widths = [column.display_size for column in cursor.description]
    assert kinds == [
        ("RECNO", oracledb.DB_TYPE_NUMBER, 0, -127),
        ("EMPRESA", oracledb.DB_TYPE_CHAR, None, None),
        ("CARIMBO", oracledb.DB_TYPE_TIMESTAMP, 0, 6),
        ("CODIGOBENEFICIARIO", oracledb.DB_TYPE_VARCHAR, None, None),
    ]
    assert widths[1] == 4


def test_binds_arrive_as_they_were_sent(oracle: OracleServer, connection: oracledb.Connection) -> None:
    moment = datetime(2026, 2, 28, 23, 59, 59, 123456)
    with connection.cursor() as cursor:
        stamp = cursor.var(oracledb.DB_TYPE_TIMESTAMP)
        stamp.setvalue(0, moment)
        binds = {"text": "çÃ'\"", "moment": stamp, "whole": 0, "nothing": None}
        row = cursor.execute("SELECT :text, :moment, :whole, :nothing FROM DUAL", binds).fetchone()
    assert row == ("çÃ'\"", moment, 0, None)


def test_a_statement_that_is_run_again_takes_its_new_binds(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        for whole, text in ((1, "um"), (2, "dois"), (30_000, None), (4, "quatro")):
            found = cursor.execute("SELECT :whole, :text FROM DUAL", {"whole": whole, "text": text}).fetchall()
            assert found == [(whole, text)]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM HAT.HAT_BA1_BENEFICIARIO",
        "SELECT GREATEST(1, 2) FROM DUAL",
        "SELECT 1 FROM DUAL A, DUAL B WHERE A.DUMMY = B.DUMMY (+)",
        "SELECT LENGTH(DUMMY) FROM DUAL",
        "SELECT 1 FROM DUAL CONNECT BY LEVEL < 3",
        "SELECT CURRENT_TIMESTAMP FROM DUAL",
        "SELECT TO_CHAR(1, '999') FROM DUAL",
        "SELECT 1 FROM DUAL LIMIT 1",
        "SELECT ROWNUM FROM DUAL",
        "SELECT 1 FROM DUAL WHERE ROWNUM = 1",
        "SELECT 1 FROM DUAL WHERE DUMMY = 'X' AND ROWNUM <= 1",
        "SELECT COUNT(*) FROM DUAL WHERE ROWNUM <= 1",
        "SELECT DUMMY FROM DUAL WHERE ROWNUM <= 1 ORDER BY DUMMY",
        "WITH A AS (SELECT 1 FROM DUAL) SELECT * FROM A",
        "BEGIN NULL; END;",
        "ALTER SESSION SET CURRENT_SCHEMA = HAT",
        "this is no SQL",
    ],
)
def test_what_is_not_known_is_refused_and_the_session_goes_on(statement: str, connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        with pytest.raises(oracledb.DatabaseError, match="ORA-00900"):
            cursor.execute(statement)
        assert cursor.execute("SELECT 1 FROM DUAL").fetchone() == (1,)


def test_names_are_those_of_oracle(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        for statement, code in (
            (f"SELECT NOTHING FROM {VIEW}", "ORA-00904"),
            ('SELECT "recno" FROM HAT.HAT_BA1_BENEFICIARIO', "ORA-00904"),
            ("SELECT 1 FROM HAT.NOTHING", "ORA-00942"),
            ("SELECT 1 FROM NOWHERE.NOTHING", "ORA-00942"),
        ):
            with pytest.raises(oracledb.DatabaseError, match=code):
                cursor.execute(statement)


def test_what_other_clients_ask_when_they_log_in_is_answered(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT DBTIMEZONE FROM DUAL").fetchone() == ("+00:00",)


def test_the_first_rows_are_so_many(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        query = f"SELECT COUNT(*), MIN(A) FROM (SELECT 1 AS A FROM {VIEW} WHERE ROWNUM <= 7)"
        assert cursor.execute(query).fetchone() == (7, 1)


def test_an_empty_text_is_null(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT COUNT(*) FROM DUAL WHERE '' = ''").fetchone() == (0,)
        assert cursor.execute("SELECT COUNT(*) FROM DUAL WHERE '' IS NULL").fetchone() == (1,)
        assert cursor.execute("SELECT TRIM('   '), 'a' || NULL, RTRIM('a  ') FROM DUAL").fetchone() == (None, "a", "a")


def test_a_padded_char_equals_its_text_without_blanks(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        ((padded,),) = cursor.execute("SELECT EMAIL FROM HAT.HAT_BAU_PRESTADOR WHERE RECNO = 1").fetchall()
        assert padded != padded.rstrip()
        found = cursor.execute(
            "SELECT COUNT(*) FROM HAT.HAT_BAU_PRESTADOR WHERE RECNO = 1 AND EMAIL = :text", {"text": padded.rstrip()}
        ).fetchone()
        assert found == (1,)


def test_a_moment_of_the_past_is_shown_as_it_was(server: Server) -> None:
    database = server.copy("pls")
    oracle = started(server, database)
    try:
        with connected(oracle) as connection, connection.cursor() as cursor:
            ((scn,),) = cursor.execute("SELECT DBMS_FLASHBACK.GET_SYSTEM_CHANGE_NUMBER FROM DUAL").fetchall()
            count = "SELECT COUNT(*) FROM HAT.HAT_BIH_TIPOUSUARIO"
            before = cursor.execute(count).fetchone()
            with server.admin(database) as erp:
                erp.execute("DELETE FROM protheus.bih010")
            assert cursor.execute(count).fetchone() == (0,)
            assert cursor.execute(f"{count} AS OF SCN :scn", {"scn": scn}).fetchone() == before
            oracle.moments.forget()
            with pytest.raises(oracledb.DatabaseError, match="ORA-08180"):
                cursor.execute(f"{count} AS OF SCN :scn", {"scn": scn})
    finally:
        oracle.close()
        server.drop(database)


def test_a_read_only_transaction_shows_one_moment_until_it_ends(server: Server) -> None:
    database = server.copy("pls")
    oracle = started(server, database)
    try:
        with connected(oracle) as connection, connection.cursor() as cursor:
            count = "SELECT COUNT(*) FROM HAT.HAT_BIH_TIPOUSUARIO"
            before = cursor.execute(count).fetchone()
            cursor.execute("SET TRANSACTION READ ONLY")
            with server.admin(database) as erp:
                erp.execute("DELETE FROM protheus.bih010")
            assert cursor.execute(count).fetchone() == before
            connection.commit()
            assert cursor.execute(count).fetchone() == (0,)
    finally:
        oracle.close()
        server.drop(database)


def test_a_call_that_takes_too_long_is_ended_and_the_connection_can_be_used(connection: oracledb.Connection) -> None:
    connection.call_timeout = 300
    with connection.cursor() as cursor:
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            cursor.execute(ENDLESS)
        connection.call_timeout = 0
        assert cursor.execute("SELECT 1 FROM DUAL").fetchone() == (1,)
    connection.ping()


def test_a_call_can_be_cancelled_and_the_connection_can_be_used(
    oracle: OracleServer, connection: oracledb.Connection
) -> None:
    ended: list[str] = []

    def ask() -> None:
        with connection.cursor() as cursor:
            try:
                cursor.execute(ENDLESS)
            except oracledb.DatabaseError as error:
                ended.append(str(error))

    heard = len(oracle.statements)
    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: len(oracle.statements) > heard, "the statement arrives")
    connection.cancel()
    asking.join(DEADLINE)
    assert ended
    assert "ORA-01013" in ended[0]
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT 1 FROM DUAL").fetchone() == (1,)
