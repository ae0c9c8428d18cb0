"""Findings: a text that is wrong, a live view that is not what its entity says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Entity, Kind
from hat_etl.source import view_check, views
from hat_etl.source.live_column import LiveColumn
from hat_etl.source.reader import Tables
from hat_etl.source.view_check import Finding, compare_fields, compare_tables, concatenated
from hat_etl.source.view_text import check_sql
from hat_etl.tenants.config import Dialect
from hat_etl_tests.views.conftest import tenant

DIALECTS: tuple[Dialect, ...] = ("postgresql", "oracle")
each_entity = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)


def compare(entity: Entity, columns: Sequence[LiveColumn]) -> list[Finding]:
    return view_check.compare(entity, columns, "acme")


def wrong(table: str, old: str, new: str) -> list[Finding]:
    entity = BY_TABLE[table]
    text = views.render(entity, tenant(), "postgresql")
    assert old in text
    findings = check_sql(entity, text.replace(old, new), "01", "postgresql")
    assert all(finding.level == "error" and finding.view == entity.view for finding in findings)
    return findings


@pytest.mark.parametrize(
    ("table", "old", "new", "said"),
    [
        ("persons", "a.BTS_NOMUSR AS Nome,", "", "lacks Nome"),
        ("persons", "a.BTS_NOMUSR AS Nome", "a.BTS_NOMUSR AS Name", "lacks Nome"),
        ("persons", "AS Email", "AS Email, a.BTS_SEXO AS Extra", "other aliases or another order"),
        ("persons", "a.BTS_NOMUSR AS Nome", "a.BTS_NOMSOC AS Nome", "Nome must read BTS_NOMUSR"),
        ("persons", "a.BTS_NOMUSR AS Nome", "a.BTS_NOMUXR AS Nome", "a.BTS_NOMUXR"),
        ("persons", "a.BTS_NOMUSR AS Nome", "BTS_NOMUSR AS Nome", "names BTS_NOMUSR"),
        ("persons", "a.R_E_C_N_O_ AS Recno", "a.BTS_SEXO AS Recno", "Recno must read R_E_C_N_O_"),
        ("persons", "a.BTS_SEXO AS", "REGEXP_REPLACE(a.BTS_SEXO, 'a', 'b') AS", "REGEXP_REPLACE"),
        ("persons", "a.BTS_SEXO AS", "my_function(a.BTS_SEXO) AS", "portable functions"),
        ("persons", "FROM bts010 a", "FROM ba1010 a", "driven by BTS"),
        ("persons", "FROM bts010 a", "FROM bts010 a WHERE a.BTS_SEXO = '1'", "must not have a row filter"),
        ("persons", "SELECT", "SELECT FROM WHERE", "no statement"),
        ("persons", "FROM bts010 a", "FROM bts010 a, ba1010 a_name_of_more_than_thirty_bytes", "longer than 30"),
        ("batch_authorizations", "WHERE LENGTH(TRIM(a.BCI_LOTGUI)) > 0", "", "must have its row filter"),
        ("beneficiaries", "LEFT JOIN ba3010 b ON", "JOIN ba3010 b ON", "must join with LEFT JOIN"),
        ("beneficiaries", "AND k.BA3_MATRIC = a.BA1_MATRIC", "", "joined on BA1_MATRIC = BA3_MATRIC"),
        ("beneficiaries", "RPAD(a.BA1_MATRIC, 6) ||", "RPAD(a.BA1_MATRIC, 5) ||", "each part at its full width"),
        ("beneficiaries", "RPAD(a.BA1_MATRIC, 6) ||", "a.BA1_MATRIC ||", "each part at its full width"),
        (
            "beneficiary_status_history",
            "RPAD(a.BCA_MATRIC, 14) || RPAD(a.BCA_TIPREG, 2)",
            "RPAD(a.BCA_TIPREG, 2) || RPAD(a.BCA_MATRIC, 14)",
            "each part at its full width",
        ),
        ("health_provider_specialties", "ELSE '-'", "ELSE '0'", "must show -"),
        ("product_coverage_groups", "SUBSTR(a.BRV_CODPLA, 1, 4)", "SUBSTR(a.BRV_CODPLA, 2, 4)", "characters 1 to 4"),
    ],
)  # fmt: skip
def test_a_wrong_text_is_found(table: str, old: str, new: str, said: str) -> None:
    assert any(said in finding.message for finding in wrong(table, old, new))


def described(entity: Entity) -> list[LiveColumn]:
    """The view as PostgreSQL would describe it."""
    columns = [LiveColumn("recno", "int8"), LiveColumn("excluido", "int4"), LiveColumn("carimbo", "timestamp")]
    for column in entity.columns:
        if column.numeric_source:
            columns.append(LiveColumn(column.alias.lower(), "float8"))
        else:
            columns.append(LiveColumn(column.alias.upper(), "bpchar", 8 if column.kind is Kind.DATE else column.width))
    return columns


@each_entity
def test_a_view_as_expected_gives_no_finding(entity: Entity) -> None:
    assert compare(entity, described(entity)) == []


@each_entity
def test_any_column_that_is_gone_or_renamed_is_an_error(entity: Entity) -> None:
    columns = described(entity)
    for index, column in enumerate(entity.columns, start=3):
        gone = compare(entity, columns[:index] + columns[index + 1 :])
        assert [(finding.level, finding.column) for finding in gone] == [("error", column.alias)]
        renamed = compare(entity, [*columns[:index], replace(columns[index], name="other"), *columns[index + 1 :]])
        assert {finding.level for finding in renamed} == {"error", "info"}


@each_entity
def test_any_column_of_another_type_is_an_error(entity: Entity) -> None:
    columns = described(entity)
    for index, column in enumerate(entity.columns, start=3):
        for type_name in ("bytea", "boolean", "date", "timestamp", "text" if column.numeric_source else "numeric"):
            other = [*columns[:index], LiveColumn(column.alias, type_name), *columns[index + 1 :]]
            assert [(finding.level, finding.column) for finding in compare(entity, other)] == [("error", column.alias)]


@each_entity
def test_a_wider_text_is_a_warning_and_a_narrower_one_is_good(entity: Entity) -> None:
    columns = described(entity)
    for index, column in enumerate(entity.columns, start=3):
        if column.kind in (Kind.TEXT, Kind.DATE):
            limit = columns[index].width or 0
            # Fields side by side have room for more than they hold: what matters is the width of each.
            wider = [] if column.source.is_concatenation else ["warning"]
            for width, levels in ((limit + 1, wider), (limit, []), (limit - 1, []), (None, [])):
                other = [*columns[:index], LiveColumn(column.alias, "varchar", width), *columns[index + 1 :]]
                assert [finding.level for finding in compare(entity, other)] == levels


def test_a_wider_key_says_that_rows_are_rejected_and_another_column_that_values_are_cut() -> None:
    entity = BY_TABLE["families"]
    wider = [replace(c, width=(c.width or 0) + 1) if c.family == "text" else c for c in described(entity)]
    messages = {finding.column: finding.message for finding in compare(entity, wider)}
    assert "reject" in messages["MatriculaFamilia"]
    assert "cut" in messages["MatriculaEmpresa"]


def test_a_view_made_by_totvs_lacks_flag_and_stamp_which_is_a_warning() -> None:
    entity = BY_TABLE["product_procedure_coverages"]
    findings = compare(entity, [c for c in described(entity) if c.name not in ("excluido", "carimbo")])
    assert [(finding.level, finding.column) for finding in findings] == [
        ("warning", "Excluido"),
        ("warning", "Carimbo"),
    ]


def test_a_view_without_recno_is_an_error() -> None:
    entity = BY_TABLE["persons"]
    (finding,) = compare(entity, described(entity)[1:])
    assert (finding.level, finding.column) == ("error", "Recno")


@pytest.mark.parametrize(("index", "type_name"), [(0, "bpchar"), (1, "bpchar"), (2, "bpchar"), (2, "date")])
def test_a_technical_column_of_another_type_is_an_error(index: int, type_name: str) -> None:
    columns = described(BY_TABLE["persons"])
    columns[index] = replace(columns[index], type_name=type_name)
    assert [finding.level for finding in compare(BY_TABLE["persons"], columns)] == ["error"]


def test_an_additional_column_is_for_information() -> None:
    entity = BY_TABLE["persons"]
    (finding,) = compare(entity, [*described(entity), LiveColumn("Extra", "xml")])
    assert (finding.level, finding.column) == ("info", "Extra")


@pytest.mark.parametrize(
    ("type_name", "family"),
    [
        ("CHAR", "text"), ("VARCHAR2(30)", "text"), ("character varying(30)", "text"), ("NUMBER", "number"),
        ("NUMBER(10,2)", "number"), ("numeric(16,2)", "number"), ("double precision", "number"),
        ("TIMESTAMP(6)", "timestamp"), ("timestamp(6) without time zone", "timestamp"),
        ("TIMESTAMP(6) WITH LOCAL TIME ZONE", "timestamp"), ("BLOB", "blob"), ("jsonb", "jsonb"),
    ],
)  # fmt: skip
def test_types_of_both_databases_have_their_family(type_name: str, family: str) -> None:
    assert LiveColumn("x", type_name).family == family


def of_width(sizes: Mapping[str, int | None]) -> Tables:
    """PLS tables with these fields."""
    tables: dict[str, dict[str, LiveColumn]] = {}
    for name, size in sizes.items():
        tables.setdefault(name[:3], {})[name] = LiveColumn(name, "bpchar", size)
    return tables


@each_entity
def test_a_field_wider_than_the_view_takes_it_is_an_error_where_the_rest_is_cut_off(entity: Entity) -> None:
    """Only `views check` looked, and its next step was one that it refused itself."""
    sizes = {
        field: size
        for column in entity.columns
        if column.source.is_concatenation
        for field, size in concatenated(column).items()
    }
    assert all(sizes.values())
    for dialect in DIALECTS:
        cutting = views.render(entity, tenant(), dialect)
        whole = views.render(entity, tenant(), dialect, views.Found(wide=frozenset(sizes)))
        # As hat_etl once made them: what is beyond a field's size stood behind it, and not at the end.
        inside = re.sub(r"(RPAD\((\w+\.\w+), (\d+)\))", r"\1 || TRIM(SUBSTR(\2, 1 + \3))", cutting)
        inside = re.sub(r"1 \+ (\d+)", lambda size: str(1 + int(size[1])), inside)

        def levels(sizes: Mapping[str, int | None], definition: str) -> set[str]:
            return {f.level for f in compare_fields(entity, of_width(sizes), "acme", lambda: definition)}

        assert levels(sizes, cutting) == levels(dict.fromkeys(sizes), cutting) == set()
        for field, size in sizes.items():
            assert levels({**sizes, field: size + 1}, cutting) == {"error"}
            assert levels({**sizes, field: size + 1}, whole) == {"warning"}
            is_last = f"{field}, {size}) ||" not in cutting
            assert levels({**sizes, field: size + 1}, inside) == {"warning" if is_last else "error"}
            assert levels({**sizes, field: size + 1}, "SELECT * FROM dw.cards") == {"warning"}
            assert levels({**sizes, field: size - 1}, cutting) == {"warning"}


@pytest.mark.parametrize(
    ("read", "is_ours"),
    [
        ([("protheus", "ba1010"), ("protheus", "ba3010")], True),
        ([("PROTHEUS", "BA1010"), ("PROTHEUS", "BA3010")], True),
        ([("protheus", "ba1020"), ("protheus", "ba3020")], False),
        ([("protheus", "ba1010"), ("protheus", "ba3020")], False),
        ([("teste", "ba1010"), ("teste", "ba3010")], False),
        ([("protheus", "ba1010"), ("protheus", "ba1020"), ("protheus", "ba3010")], True),
        ([("dw", "beneficiarios"), ("dw", "familias")], True),
        ([], True),
    ],
)
def test_a_view_over_the_tables_of_another_company_or_schema_is_found(
    read: list[tuple[str, str]], is_ours: bool
) -> None:
    """Nothing noticed, and one operator's people went into the database of another."""
    faults = compare_tables(BY_TABLE["beneficiaries"], tenant(schema="protheus"), read)
    assert (faults == []) is is_ours
    assert all(fault.level == "error" and "another company" in fault.message for fault in faults)
