"""What the views show of the rows of PLS: joins, constants, filters, stamps, on a live database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.source import view_live, views
from hat_etl_tests.views import pls
from hat_etl_tests.views.conftest import Erp

EARLY, LATE = datetime(2024, 1, 1, 12), datetime(2024, 6, 1, 12)


class Plant:
    """Tables in which rows are planted and views in which they are read, in one transaction that is rolled back."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]], tables: str, views: str) -> None:
        self.connection, self.tables, self.views = connection, tables, views

    def row(self, alias: str, recno: int, **values: Any) -> None:
        pls.insert(self.connection, self.tables, alias, recno, **values)

    def read(self, view: str) -> list[dict[str, Any]]:
        return self.connection.execute(f"SELECT * FROM {self.views}.{view} ORDER BY recno".encode()).fetchall()

    def only(self, view: str) -> dict[str, Any]:
        (row,) = self.read(view)
        return row


@pytest.fixture(scope="module")
def installed(erp: Erp) -> tuple[str, str]:
    tables, target = erp.schemas()
    with erp.connect() as connection:
        pls.create(connection, tables)
    view_live.install(erp.tenant(tables, target))
    return tables, target


@pytest.fixture
def plant(erp: Erp, installed: tuple[str, str]) -> Iterator[Plant]:
    with psycopg.connect(erp.url, row_factory=dict_row) as connection:
        yield Plant(connection, *installed)
        connection.rollback()


FAMILY = {"BA3_CODINT": "0001", "BA3_CODEMP": "0002", "BA3_MATRIC": "000001"}
CARD = {"BA1_CODINT": "0001", "BA1_CODEMP": "0002", "BA1_MATRIC": "000001", "BA1_TIPREG": "00", "BA1_DIGITO": "7"}


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)
def test_every_view_shows_live_and_deleted_rows_with_their_flag_and_stamp(plant: Plant, entity: Entity) -> None:
    filled = {"BCI": {"BCI_LOTGUI": "1"}, "BEA": {"BEA_CANEDI": "1"}}.get(entity.reads[0], {})
    plant.row(entity.reads[0], 1, stamp=EARLY, **filled)
    plant.row(entity.reads[0], 2, deleted=True, **filled)
    rows = plant.read(entity.view)
    assert [(row["recno"], row["excluido"], row["carimbo"]) for row in rows] == [(1, 0, EARLY), (2, 1, None)]
    technical = {"recno", "excluido", "carimbo"}
    assert set(rows[0]) >= technical
    assert [name for name in rows[0] if name not in technical] == [column.alias.lower() for column in entity.columns]


def test_a_field_is_shown_as_it_is_stored(plant: Plant) -> None:
    plant.row("BTS", 1, BTS_NOMUSR="  ana", BTS_DATNAS="20241301")
    row = plant.only("HAT_BTS_Vida")
    assert (row["nome"], row["datanascimento"], row["sexo"]) == ("  ana".ljust(70), "20241301", " ")


def test_concatenation_keeps_the_width_of_each_part(plant: Plant) -> None:
    plant.row("BA1", 1, **{**CARD, "BA1_CODEMP": "2"})
    plant.row("BCA", 2, BCA_MATRIC="0001", BCA_TIPREG="00")
    row = plant.only("HAT_BA1_Beneficiario")
    assert row["codigobeneficiario"] == "0001" + "2   " + "000001" + "00" + "7"
    assert row["codigosemdigito"] == "0001" + "2   " + "000001" + "00"
    assert plant.only("HAT_BCA_StatusBeneficiario")["codigosemdigito"] == "0001".ljust(14) + "00"


def test_what_a_field_holds_beyond_its_published_width_makes_the_value_too_long_and_is_never_cut(erp: Erp) -> None:
    """Two authorizations that differed in the ninth and tenth digit of their number became one."""
    tables, target = erp.schemas()
    with psycopg.connect(erp.url, row_factory=dict_row, autocommit=True) as connection:
        plant = Plant(connection, tables, target)
        pls.create(connection, tables, widths={"BEA_NUMAUT": 10, "BA1_MATRIC": 8})
        view_live.install(erp.tenant(tables, target))
        number = {"BEA_CANEDI": "1", "BEA_OPEMOV": "0001", "BEA_ANOAUT": "2024", "BEA_MESAUT": "01"}
        for recno, own in enumerate(("0012345601", "0012345602", "00123456"), start=1):
            plant.row("BEA", recno, **number, BEA_NUMAUT=own)
        shown = [row["numeroautorizacao"] for row in plant.read("HAT_BEA_Cancelamento")]
        assert shown == ["00012024010012345601", "00012024010012345602", "000120240100123456"]
        plant.row("BA1", 1, **CARD)
        plant.row("BA1", 2, **{**CARD, "BA1_MATRIC": "00000103"})
        shown = [row["codigobeneficiario"] for row in plant.read("HAT_BA1_Beneficiario")]
        assert shown == ["00010002000001007", "0001000200000100703"]


def test_what_is_beyond_a_fields_width_does_not_make_up_for_what_another_one_lacks(erp: Erp) -> None:
    """Family 1234567 without a check digit became, in full length, the card of another person: family 123456, 70-1."""
    tables, target = erp.schemas()
    with psycopg.connect(erp.url, row_factory=dict_row, autocommit=True) as connection:
        plant = Plant(connection, tables, target)
        pls.create(connection, tables, widths={"BA1_MATRIC": 8, "BA1_CODEMP": 5})
        view_live.install(erp.tenant(tables, target))
        plant.row("BA1", 1, **{**CARD, "BA1_MATRIC": "1234567", "BA1_TIPREG": "01", "BA1_DIGITO": ""})
        plant.row("BA1", 2, **{**CARD, "BA1_MATRIC": "123456", "BA1_TIPREG": "70", "BA1_DIGITO": "1"})
        shown = [row["codigobeneficiario"].rstrip() for row in plant.read("HAT_BA1_Beneficiario")]
        assert shown == ["0001000212345601 7", "00010002123456701"]


def test_a_view_in_which_it_does_is_to_be_made_anew(erp: Erp) -> None:
    """Those of before an upgrade stayed, and were called good."""
    tables, target = erp.schemas()
    owner, entity = erp.tenant(tables, target), BY_TABLE["beneficiaries"]
    with psycopg.connect(erp.url, autocommit=True) as connection:
        pls.create(connection, tables, widths={"BA1_MATRIC": 8})
        view_live.install(owner)
        assert not view_live.check(owner, "postgresql", offline=False).failed
        made = views.create_view(entity, owner, "postgresql", views.Found(wide=frozenset({"BA1_MATRIC"})), replace=True)
        before = re.sub(r"(RPAD\(a.BA1_MATRIC, 6\))(.*)( \|\| TRIM.*)(?= AS )", r"\1\3\2", made)
        assert before != made
        connection.execute(before.encode())
    faults = [f for f in view_live.check(owner, "postgresql", offline=False).findings if f.level == "error"]
    assert {fault.column for fault in faults} == {"CodigoBeneficiario", "CodigoSemDigito"}
    assert all("make up for" in fault.message and "hat-etl views install acme" in fault.next_step for fault in faults)


def test_a_slice_is_taken_from_the_padded_field(plant: Plant) -> None:
    plant.row("BRV", 1, BRV_CODPLA="00010002")
    plant.row("BRV", 2, BRV_CODPLA="01")
    assert [row["operadora"].rstrip() for row in plant.read("HAT_BRV_GrupoProduto")] == ["0001", "01"]


def test_the_product_of_the_family_stands_in_for_a_blank_one_with_its_version(plant: Plant) -> None:
    plant.row("BA3", 10, **FAMILY, BA3_CODPLA="0009", BA3_VERSAO="009")
    plant.row("BA1", 1, **CARD, BA1_VERSAO="001")
    plant.row("BA1", 2, **CARD, BA1_CODPLA="0005")
    rows = plant.read("HAT_BA1_Beneficiario")
    assert [(row["codigoproduto"], row["versaoproduto"]) for row in rows] == [("0009", "009"), ("0005", "   ")]


def test_of_several_joined_rows_the_highest_live_one_is_taken(plant: Plant) -> None:
    plant.row("BA3", 10, **FAMILY, BA3_CODPLA="0010", stamp=LATE)
    plant.row("BA3", 11, **FAMILY, BA3_CODPLA="0011", stamp=EARLY)
    plant.row("BA3", 12, **FAMILY, BA3_CODPLA="0012", deleted=True, stamp=LATE)
    plant.row("BA3", 13, **{**FAMILY, "BA3_MATRIC": "000002"}, BA3_CODPLA="0013", stamp=LATE)
    plant.row("BA1", 1, **CARD)
    row = plant.only("HAT_BA1_Beneficiario")
    assert (row["codigoproduto"], row["carimbo"]) == ("0011", EARLY)


def test_a_missing_joined_row_keeps_the_driving_row(plant: Plant) -> None:
    plant.row("BA1", 1, **CARD, stamp=EARLY)
    plant.row("BA3", 10, **FAMILY, BA3_CODPLA="0010", deleted=True, stamp=LATE)
    plant.row("BC4", 2, BC4_CODCRE="000001")
    row = plant.only("HAT_BA1_Beneficiario")
    assert (row["codigoproduto"], row["versaoproduto"], row["carimbo"]) == (None, None, EARLY)
    assert plant.only("HAT_BC4_StatusPrestador")["cpfcnpj"] is None


def test_joins_do_not_look_at_trailing_blanks_nor_at_the_branch(plant: Plant) -> None:
    plant.row("BAU", 10, BAU_FILIAL="02", BAU_CODIGO="12", BAU_CPFCGC="11222333000181")
    plant.row("BC4", 1, BC4_FILIAL="01", BC4_CODCRE="12    ")
    assert plant.only("HAT_BC4_StatusPrestador")["cpfcnpj"] == "11222333000181"


@pytest.mark.parametrize(
    ("own", "joined", "shown"),
    [(EARLY, LATE, LATE), (LATE, EARLY, LATE), (None, EARLY, EARLY), (EARLY, None, EARLY), (None, None, None)],
)
@pytest.mark.parametrize(
    ("view", "other", "other_key", "driving", "driving_key"),
    [
        ("HAT_BA1_Beneficiario", "BA3", FAMILY, "BA1", CARD),
        ("HAT_BC4_StatusPrestador", "BAU", {"BAU_CODIGO": "000001"}, "BC4", {"BC4_CODCRE": "000001"}),
    ],
)
def test_the_stamp_is_the_greatest_that_is_known(
    plant: Plant, own: datetime | None, joined: datetime | None, shown: datetime | None,
    view: str, other: str, other_key: dict[str, str], driving: str, driving_key: dict[str, str],
) -> None:  # fmt: skip
    plant.row(other, 10, **other_key, stamp=joined)
    plant.row(driving, 1, **driving_key, stamp=own)
    assert plant.only(view)["carimbo"] == shown


CONSTANTS = [(entity, column) for entity in ENTITIES for column in entity.columns if column.source.constant is not None]


@pytest.mark.parametrize(("entity", "column"), CONSTANTS, ids=lambda value: getattr(value, "name", None))
def test_a_constant_stands_in_for_a_blank_and_for_nothing_else(plant: Plant, entity: Entity, column: Any) -> None:
    field, constant = column.source.fields[0], column.source.constant
    is_date = constant.isdigit()
    width = pls.width(field)
    plant.row(entity.reads[0], 1)
    plant.row(entity.reads[0], 2, **{field: "0" * width})
    plant.row(entity.reads[0], 3, **{field: "20240131"[:width]})
    shown = [row[column.alias.lower()].rstrip() for row in plant.read(entity.view)]
    # Zeros are an empty date, but a code like any other.
    assert shown == [constant, constant if is_date else "0" * width, "20240131"[:width]]


@pytest.mark.parametrize(
    ("view", "alias", "field"),
    [("HAT_BCI_LoteGuias", "BCI", "BCI_LOTGUI"), ("HAT_BEA_Cancelamento", "BEA", "BEA_CANEDI")],
)
def test_only_rows_with_the_field_filled_are_shown_deleted_ones_too(
    plant: Plant, view: str, alias: str, field: str
) -> None:
    plant.row(alias, 1)
    plant.row(alias, 2, **{field: "1"})
    plant.row(alias, 3, **{field: "0"}, deleted=True)
    plant.row(alias, 4, deleted=True)
    assert [(row["recno"], row["excluido"]) for row in plant.read(view)] == [(2, 0), (3, 1)]


def test_of_a_table_type_the_first_segment_is_shown(plant: Plant) -> None:
    plant.row("BR4", 1, BR4_CODPAD="01", BR4_SEGMEN="002")
    plant.row("BR4", 2, BR4_CODPAD="01", BR4_SEGMEN="001")
    plant.row("BR4", 3, BR4_CODPAD="01", BR4_SEGMEN="001")
    plant.row("BR4", 4, BR4_CODPAD="01", BR4_SEGMEN="000", deleted=True)
    plant.row("BR4", 5, BR4_CODPAD="02", BR4_SEGMEN="009")
    plant.row("BR4", 6, BR4_CODPAD="03", BR4_SEGMEN="000")
    plant.row("BR4", 7, BR4_CODPAD="03")
    plant.row("BR4", 8, BR4_CODPAD="02", BR4_SEGMEN="010", deleted=True)
    # Ties stay (2 and 3); a deleted row never hides a live one, and is shown when no live one comes before it.
    assert [row["recno"] for row in plant.read("HAT_BR4_TipoTabela")] == [2, 3, 4, 5, 7]


_SEGMENTS = st.lists(st.tuples(st.text("aZ0_ 9", max_size=2), st.booleans()), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(_SEGMENTS)
def test_segments_compare_bytewise(plant: Plant, segments: list[tuple[str, bool]]) -> None:
    plant.connection.rollback()
    for recno, (segment, deleted) in enumerate(segments, start=1):
        plant.row("BR4", recno, BR4_CODPAD="01", BR4_SEGMEN=segment, deleted=deleted)
    live = [segment.rstrip(" ").encode() for segment, deleted in segments if not deleted]
    expected = [
        recno
        for recno, (segment, _) in enumerate(segments, start=1)
        if not live or segment.rstrip(" ").encode() <= min(live)
    ]
    assert [row["recno"] for row in plant.read("HAT_BR4_TipoTabela")] == expected
