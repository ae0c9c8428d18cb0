"""Tables as Protheus has them, tried on the rows of the clean sandbox in transactions that are rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from hat_etl.entities import ENTITIES
from hat_etl.protheus import dictionary
from hat_etl.sandbox import physical
from hat_etl.sandbox.command import Manifest
from hat_etl.sandbox.server import PLS, PROTHEUS, READER, Sandbox


@pytest.fixture
def connection(clean: tuple[Sandbox, Manifest]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(clean[0].url(PLS, PROTHEUS)) as connection:
        yield connection
        connection.rollback()


def _columns(connection: psycopg.Connection, table: str) -> list[tuple[str, str, bool, str | None]]:
    return connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        (table,),
    ).fetchall()


@pytest.mark.parametrize("alias", physical.aliases())
def test_columns_are_those_of_the_dictionary_then_the_control_columns(
    connection: psycopg.Connection, alias: str
) -> None:
    columns = _columns(connection, f"protheus.{dictionary.physical_name(alias, '01')}")
    expected = [name.lower() for name in dictionary.fields()[alias]]
    assert [name for name, *_ in columns] == [*expected, "d_e_l_e_t_", "r_e_c_n_o_", "r_e_c_d_e_l_", "s_t_a_m_p_"]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)
def test_every_field_is_as_wide_as_the_column_it_feeds_unless_published_narrower(entity) -> None:  # type: ignore[no-untyped-def]
    for column in entity.columns:
        source = column.source
        if column.width and not column.numeric_source and len(source.fields) == 1 and not source.slice:
            field = physical.fields(source.fields[0][:3])[source.fields[0]]
            published = dictionary.fields()[source.fields[0][:3]][source.fields[0]].size
            assert field.size == (published or column.width)


def test_texts_are_padded_and_never_null(connection: psycopg.Connection) -> None:
    columns = {name: rest for name, *rest in _columns(connection, "protheus.ba1010")}
    assert columns["ba1_nomusr"] == ["character(70)", True, f"'{' ' * 70}'::bpchar"]
    assert columns["ba1_datnas"] == ["character(8)", True, f"'{' ' * 8}'::bpchar"]
    assert columns["s_t_a_m_p_"][0] == "timestamp without time zone"
    numbers = {name: rest for name, *rest in _columns(connection, "protheus.bgd010")}
    assert numbers["bgd_valcop"] == ["double precision", True, "0"]
    row = connection.execute("SELECT octet_length(ba1_conemp) FROM protheus.ba1010 WHERE ba1_conemp = '' LIMIT 1")
    assert row.fetchone() == (12,)


def test_an_update_stamps_the_row_in_utc(connection: psycopg.Connection) -> None:
    moved = connection.execute(
        "UPDATE protheus.ba1010 SET ba1_nomusr = 'OUTRO' WHERE r_e_c_n_o_ = 1"
        " RETURNING s_t_a_m_p_ = (now() AT TIME ZONE 'utc')"
    )
    assert moved.fetchone() == (True,)


def test_a_new_row_gets_the_next_recno_and_a_stamp(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "INSERT INTO protheus.bts010 (bts_matvid) VALUES ('1')"
        " RETURNING r_e_c_n_o_ > (SELECT max(r_e_c_n_o_) FROM protheus.bts010), s_t_a_m_p_ IS NOT NULL, d_e_l_e_t_"
    )
    assert row.fetchone() == (True, True, " ")


def test_stamps_can_be_off_for_some_tables(connection: psycopg.Connection) -> None:
    connection.execute("CREATE SCHEMA other")
    physical.create(connection, "02", "other", stamps={"BA1"})
    assert "s_t_a_m_p_" in [name for name, *_ in _columns(connection, "other.ba1020")]
    assert "s_t_a_m_p_" not in [name for name, *_ in _columns(connection, "other.ba3020")]
    connection.execute("INSERT INTO other.ba3020 (ba3_matric) VALUES ('1')")
    connection.execute("UPDATE other.ba3020 SET ba3_matric = '2'")


def test_known_indexes_exist_and_unique_ones_let_deleted_copies_be(connection: psycopg.Connection) -> None:
    names = {name for (name,) in connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'protheus'")}
    assert {"ba10101", "ba1010_pk", "ba30102", "bc0010_unq"} <= names
    columns = ", ".join(field.column for field in physical.fields("BC0").values())
    copy = f"INSERT INTO protheus.bc0010 ({columns}) SELECT {columns} FROM protheus.bc0010 WHERE r_e_c_n_o_ = 1"
    connection.execute("UPDATE protheus.bc0010 SET d_e_l_e_t_ = '*', r_e_c_d_e_l_ = 1 WHERE r_e_c_n_o_ = 1")
    connection.execute(copy)
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(copy)


def test_the_reader_reads_and_makes_views_but_cannot_write(clean: tuple[Sandbox, Manifest]) -> None:
    with psycopg.connect(clean[0].url(PLS, READER)) as connection:
        connection.execute("CREATE VIEW hat.probe AS SELECT ba1_nomusr FROM protheus.ba1010")
        assert connection.execute("SELECT 1 FROM hat.probe LIMIT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM protheus.ba1010")
        connection.rollback()
