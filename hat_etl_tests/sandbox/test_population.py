from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from hat_etl.entities import ENTITIES, Entity
from hat_etl.protheus import dictionary
from hat_etl.sandbox import physical
from hat_etl.sandbox.command import Manifest
from hat_etl.sandbox.population import generate
from hat_etl.sandbox.server import PLS, READER, Sandbox
from hat_etl_tests.sandbox import plain_contract

TODAY = date(2025, 2, 28)


@pytest.fixture(scope="module")
def reader(clean: tuple[Sandbox, Manifest]):  # type: ignore[no-untyped-def]
    with psycopg.connect(clean[0].url(PLS, READER)) as connection:
        yield connection


@pytest.fixture(scope="module")
def issues(reader: psycopg.Connection, clean: tuple[Sandbox, Manifest]) -> Counter[str]:
    # The day of the run is the tenant's, which may still be the day before.
    today = clean[1].built_on - timedelta(days=1)
    return Counter(issue[0] for issue in plain_contract.report(reader, "01", today))


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)
def test_a_clean_table_brings_rows_and_nothing_to_report(
    entity: Entity, issues: Counter[str], reader: psycopg.Connection
) -> None:
    assert issues[entity.table] == 0
    view = plain_contract.view_sql(entity, "protheus", "01")
    assert reader.execute(f"SELECT 1 FROM ({view}) v WHERE excluido = 0 LIMIT 1").fetchone()


@pytest.mark.parametrize("alias", physical.aliases())
def test_every_table_holds_deleted_rows_marked_as_protheus_does(alias: str, reader: psycopg.Connection) -> None:
    table = f"protheus.{dictionary.physical_name(alias, '01')}"
    wrong = "(d_e_l_e_t_ = '*') <> (r_e_c_d_e_l_ = r_e_c_n_o_) OR (d_e_l_e_t_ = ' ') <> (r_e_c_d_e_l_ = 0)"
    row = reader.execute(
        f"SELECT count(*) FILTER (WHERE d_e_l_e_t_ = '*') > 0, count(*) FILTER (WHERE {wrong}),"
        f" count(*) FILTER (WHERE s_t_a_m_p_ IS NULL OR s_t_a_m_p_ > now() AT TIME ZONE 'utc') FROM {table}"
    ).fetchone()
    assert row == (True, 0, 0)


def test_what_was_denied_of_an_account_is_the_sum_of_its_denials_which_have_their_reasons(
    reader: psycopg.Connection,
) -> None:
    wrong = reader.execute(
        "SELECT count(*) FILTER (WHERE bci_vlrglo <> coalesce(denied, 0) OR reasons < denials), sum(denials) > 0"
        " FROM protheus.bci010 LEFT JOIN (SELECT bdx_codope, bdx_codldp, bdx_codpeg, sum(bdx_vlrglo) AS denied,"
        " count(*) AS denials, count(bct_gltiss) AS reasons FROM protheus.bdx010 x LEFT JOIN protheus.bct010 t"
        " ON bct_codope = bdx_codope AND bct_codglo = bdx_codglo AND t.d_e_l_e_t_ = ' ' WHERE x.d_e_l_e_t_ = ' '"
        " GROUP BY 1, 2, 3) d ON (bdx_codope, bdx_codldp, bdx_codpeg) = (bci_codope, bci_codldp, bci_codpeg)"
        " WHERE d_e_l_e_t_ = ' '"
    ).fetchone()
    assert wrong == (0, True)


def test_every_lot_from_hat_has_its_file(reader: psycopg.Connection) -> None:
    row = reader.execute(
        "SELECT count(*) > 0, count(*) = count(bxx_arqin) FROM protheus.bci010 b LEFT JOIN protheus.bxx010 x ON"
        " bxx_codint = bci_codope AND bxx_codpeg = bci_codpeg AND bxx_codrda = bci_codrda AND x.d_e_l_e_t_ = ' '"
        " WHERE bci_lotgui <> '' AND b.d_e_l_e_t_ = ' '"
    ).fetchone()
    assert row == (True, True)


def test_some_deleted_cards_live_on_under_another_recno_and_some_are_gone(reader: psycopg.Connection) -> None:
    key = "ba1_codint, ba1_codemp, ba1_matric, ba1_tipreg"
    row = reader.execute(
        f"SELECT count(*) FILTER (WHERE live), count(*) FILTER (WHERE NOT live) FROM (SELECT ({key}) IN"
        f" (SELECT {key} FROM protheus.ba1010 WHERE d_e_l_e_t_ = ' ') AS live FROM protheus.ba1010"
        " WHERE d_e_l_e_t_ = '*') deleted"
    ).fetchone()
    assert row is not None
    assert min(row) > 0


def test_it_has_as_many_live_beneficiaries_as_asked(reader: psycopg.Connection) -> None:
    found = reader.execute("SELECT count(*) FROM protheus.ba1010 WHERE d_e_l_e_t_ = ' '").fetchone()
    assert found == (1_200,)


def test_what_happens_in_the_field_happens_here(reader: psycopg.Connection) -> None:
    """Blocks past and to come, persons with two cards, products taken from the family, rows that no view shows."""
    for query in (
        "ba1010 WHERE ba1_datblo > to_char(now(), 'YYYYMMDD')",
        "ba1010 WHERE ba1_datblo BETWEEN '19000101' AND to_char(now(), 'YYYYMMDD')",
        "ba1010 WHERE ba1_codpla = ''",
        "ba1010 WHERE ba1_codpla <> ''",
        "(SELECT 1 FROM protheus.ba1010 WHERE d_e_l_e_t_ = ' ' GROUP BY ba1_matvid HAVING count(*) > 1) twice",
        "bci010 WHERE bci_lotgui = ''",
        "bea010 WHERE bea_canedi = ''",
        "bqc010 WHERE bqc_cnpj ~ '^[A-Z]'",
        "br4010 WHERE br4_segmen <> ''",
    ):
        table = query if query.startswith("(") else f"protheus.{query}"
        assert reader.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone(), query


def test_families_are_of_realistic_size(reader: psycopg.Connection) -> None:
    row = reader.execute(
        "SELECT avg(cards)::float FROM (SELECT count(*) AS cards FROM protheus.ba1010 WHERE d_e_l_e_t_ = ' '"
        " GROUP BY ba1_codint, ba1_codemp, ba1_matric) families"
    ).fetchone()
    assert row is not None
    assert 2.3 < row[0] < 2.9


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    first, again, other = (_generated(seed) for seed in (5, 5, 6))
    assert first.keys() == again.keys() == set(physical.every_alias())
    assert all(first[alias].equals(again[alias]) for alias in first)
    assert not first["BA1"].equals(other["BA1"])


def _generated(seed: int) -> dict[str, pa.Table]:
    batches: dict[str, list[pa.RecordBatch]] = {}
    for alias, batch in generate(seed, 600, TODAY):
        batches.setdefault(alias, []).append(batch)
    return {alias: pa.Table.from_batches(parts) for alias, parts in batches.items()}


@pytest.mark.parametrize("size", [1, 2, 50])
def test_a_small_operator_can_be_generated_too(size: int) -> None:
    cards = [batch for alias, batch in generate(1, size, TODAY) if alias == "BA1"]
    assert sum(pc.sum(pc.equal(batch[physical.DELETED], " ")).as_py() for batch in cards) == size
