"""What every declaration must keep to, and the facts of the contract that no rule gives."""

from __future__ import annotations

import re

import pytest

from hat_etl.entities import AREAS, BY_TABLE, ENTITIES
from hat_etl.entities.model import DELETED, MAX_VIEW_NAME, RECNO, RULES, STAMP, TECHNICAL, Entity, Kind
from hat_etl.protheus.dictionary import Field, fields
from hat_etl_tests.entities.each import each_entity

NUMBERS = {Kind.SMALLINT, Kind.INTEGER, Kind.AMOUNT}
FIELD_KINDS = {"C": {Kind.TEXT, Kind.FLAG}, "D": {Kind.DATE}, "N": NUMBERS, "L": {Kind.FLAG}, "M": {Kind.TEXT}}
"""Protheus type to the kinds it may be kept as."""
RULE_KINDS = {
    "in": {Kind.TEXT, *NUMBERS},
    "map": {Kind.FLAG},
    "not_future": {Kind.DATE},
    "not_before": {Kind.DATE},
    "positive": NUMBERS,
    "non_negative": NUMBERS,
}
"""Rule to the kinds it makes sense on; the others look at texts."""
WITH_ARGUMENT = {"in", "map", "not_before", "check_digit"}


def field(name: str) -> Field:
    return fields()[name[:3]][name]


# -- all tables together ---------------------------------------------------------------------------------------------


def test_the_contract_is_complete() -> None:
    assert len(ENTITIES) == 43
    assert sum(len(entity.columns) for entity in ENTITIES) == 512
    assert sum(column.assumed for entity in ENTITIES for column in entity.columns) == 80


def test_tables_and_views_are_declared_once() -> None:
    assert len({entity.table for entity in ENTITIES}) == len({entity.view.lower() for entity in ENTITIES}) == 43
    assert list(BY_TABLE.values()) == list(ENTITIES)


def test_every_area_has_tables_and_there_is_no_other() -> None:
    assert {entity.area for entity in ENTITIES} == set(AREAS)
    assert len(AREAS) == 4


def test_three_alternate_keys_are_there() -> None:
    assert {entity.table: entity.alternate_keys for entity in ENTITIES if entity.alternate_keys} == {
        "beneficiaries": (
            ("beneficiary_id",),
            ("health_insurer_id", "company_id", "family_number", "beneficiary_registry_type"),
        ),
        "products": (("product_id", "health_product_version"),),
    }


def test_only_three_views_filter_their_rows() -> None:
    assert {entity.reads[0] for entity in ENTITIES if entity.row_filter} == {"BR4", "BCI", "BEA"}


def test_the_token_seed_is_the_secret() -> None:
    secrets = [(entity.table, column.name) for entity in ENTITIES for column in entity.columns if column.secret]
    assert secrets == [("beneficiaries", "token_seed")]


def test_a_card_is_its_parts_at_full_width() -> None:
    card = BY_TABLE["beneficiaries"]["subscriber_id"]
    assert card.source.fields == ("BA1_CODINT", "BA1_CODEMP", "BA1_MATRIC", "BA1_TIPREG", "BA1_DIGITO")
    assert [field(name).size for name in card.source.fields] == [4, 4, 6, 2, 1]


def test_the_official_view_of_product_coverages_has_its_aliases_in_order() -> None:
    (entity,) = (entity for entity in ENTITIES if entity.view == "HAT_BB2_GrupoCob_Produto")
    assert [column.alias for column in entity.columns][:15] == [
        "Codigo", "Versao", "Procedimento", "Ativo", "Nivel", "Carencia", "UnidadeCarencia", "NivelValidoCarencia",
        "Quantidade", "UnidadeQuantidade", "Periodicidade", "UnidadePeriodicidade", "Especialidade", "RDA", "Patologia",
    ]  # fmt: skip


# -- names and keys --------------------------------------------------------------------------------------------------


@each_entity
def test_names_can_be_used_in_every_database(entity: Entity) -> None:
    assert len(entity.view.encode()) <= MAX_VIEW_NAME
    assert re.fullmatch(rf"HAT_{entity.reads[0]}_[A-Za-z0-9_]+", entity.view)
    for column in entity.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,29}", column.alias)


@each_entity
def test_names_are_unique_whatever_their_case(entity: Entity) -> None:
    aliases = [alias.lower() for alias in (RECNO, DELETED, STAMP, *(column.alias for column in entity.columns))]
    assert len(set(aliases)) == len(aliases)
    names = [*(column.name for column in entity.columns), *(field.name for field in TECHNICAL)]
    assert len(set(names)) == len(names)


@each_entity
def test_a_key_cannot_be_empty(entity: Entity) -> None:
    for key in entity.keys:
        assert key
        assert len(set(key)) == len(key)
        assert all(entity[column].required for column in key)
    assert len(set(entity.keys)) == len(entity.keys)


@each_entity
def test_parents_stand_before_their_children(entity: Entity) -> None:
    before = ENTITIES[: ENTITIES.index(entity)]
    assert all(BY_TABLE[parent.table] in before for parent in entity.parents)


@each_entity
def test_a_reference_is_to_a_key_of_the_parent_in_columns_of_the_same_type(entity: Entity) -> None:
    for parent in entity.parents:
        there = BY_TABLE[parent.table]
        assert {frozenset(parent.parent_columns)} <= {frozenset(key) for key in there.keys}
        for mine, theirs in zip(parent.columns, parent.parent_columns, strict=True):
            assert entity[mine].sql_type == there[theirs].sql_type
    assert len(set(entity.parents)) == len(entity.parents)


@each_entity
def test_a_reference_is_hard_when_none_of_its_columns_may_be_empty(entity: Entity) -> None:
    assert [parent for parent in entity.parents if parent in entity.hard_parents + entity.soft_parents] == list(
        entity.parents
    )
    for parent in entity.soft_parents:
        assert not all(entity[column].required for column in parent.columns)
    for parent in entity.hard_parents:
        assert entity.key_columns.issuperset(parent.columns)
    assert entity.key_columns.issuperset(entity.key)


# -- where values come from ------------------------------------------------------------------------------------------


@each_entity
def test_every_source_is_a_known_field_of_a_table_that_the_view_reads(entity: Entity) -> None:
    driving, *others = entity.reads
    for column in entity.columns:
        source = column.source
        for name in source.all_fields:
            assert name in fields()[name[:3]], name
        own = {*source.fields, *(mine for mine, _ in source.join), *filter(None, [source.condition])}
        other = {*(theirs for _, theirs in source.join), *filter(None, [source.joined])}
        assert {name[:3] for name in own} <= {driving}
        assert {name[:3] for name in other} <= set(others)
        assert len({name[:3] for name in other}) <= 1
        assert bool(source.joined) == bool(source.join)


@each_entity
def test_the_parts_of_a_concatenation_fill_the_column(entity: Entity) -> None:
    for column in entity.columns:
        if column.source.is_concatenation:
            assert column.kind is Kind.TEXT
            assert sum(field(name).size for name in column.source.fields) == column.width


@each_entity
def test_a_slice_lies_in_its_field_and_fills_the_column(entity: Entity) -> None:
    for column in entity.columns:
        if column.source.slice:
            first, last = column.source.slice
            assert 1 <= first <= last <= field(column.source.fields[0]).size
            assert last - first + 1 == column.width


@each_entity
def test_a_constant_stands_in_for_a_blank_in_keys_only(entity: Entity) -> None:
    for column in entity.columns:
        constant = column.source.constant
        if constant is not None:
            assert any(column.name in key for key in entity.keys)
            assert constant == "19000101" if column.kind is Kind.DATE else len(constant) <= column.width


@each_entity
def test_a_column_is_of_the_kind_of_its_field(entity: Entity) -> None:
    for column in entity.columns:
        for name in (*column.source.fields, *filter(None, [column.source.joined])):
            type_ = field(name).type
            if type_ and not (column.kind in NUMBERS and not column.numeric_source):
                assert column.kind in FIELD_KINDS[type_], (column.name, name)
        if column.numeric_source:
            assert column.kind in NUMBERS


@each_entity
def test_a_text_takes_the_whole_of_its_field(entity: Entity) -> None:
    for column in entity.columns:
        if column.kind is Kind.TEXT and not (column.source.is_concatenation or column.source.slice or column.assumed):
            for name in (*column.source.fields, *filter(None, [column.source.joined])):
                assert field(name).size <= column.width


# -- rules -----------------------------------------------------------------------------------------------------------


@each_entity
def test_rules_are_of_the_closed_list_and_each_stands_once(entity: Entity) -> None:
    for column in entity.columns:
        names = [rule.name for rule in column.rules]
        assert set(names) <= RULES
        assert len(set(names)) == len(names)
        assert "upper" not in names[1:], "letters are raised before the other rules look"


@each_entity
def test_rules_stand_on_columns_that_they_understand(entity: Entity) -> None:
    for column in entity.columns:
        for rule in column.rules:
            assert column.kind in RULE_KINDS.get(rule.name, {Kind.TEXT}), (column.name, rule.token)
            assert bool(rule.argument) == (rule.name in WITH_ARGUMENT), (column.name, rule.token)


@each_entity
def test_a_flag_is_had_from_a_map_to_true_and_false(entity: Entity) -> None:
    for column in entity.columns:
        rule = column.rule("map")
        assert (column.kind is Kind.FLAG) == (rule is not None)
        if rule is not None:
            pairs = [pair.split("=") for pair in rule.argument.split(",")]
            assert {stored for _, stored in pairs} == {"true", "false"}
            assert len({source for source, _ in pairs}) == len(pairs)
            assert all(source and source == source.strip() for source, _ in pairs)


@each_entity
def test_the_accepted_texts_of_a_rule_fit_the_column(entity: Entity) -> None:
    for column in entity.columns:
        rule = column.rule("in")
        if rule is not None:
            assert not column.numeric_source, "the text of the source is compared"
            width = column.width if column.kind is Kind.TEXT else field(column.source.fields[0]).size
            assert all(text and text == text.strip() and len(text) <= width for text in rule.values)
            assert len(set(rule.values)) == len(rule.values)
            constant = column.source.constant
            assert constant is None or constant in rule.values


@each_entity
def test_a_date_is_compared_with_another_date_of_the_table(entity: Entity) -> None:
    for column in entity.columns:
        rule = column.rule("not_before")
        if rule is not None:
            assert rule.argument != column.name
            assert entity[rule.argument].kind is Kind.DATE


@each_entity
def test_a_check_digit_is_that_of_a_card(entity: Entity) -> None:
    for column in entity.columns:
        rule = column.rule("check_digit")
        if rule is not None:
            assert (rule.argument, column.width) == ("card", 17)


# -- words -----------------------------------------------------------------------------------------------------------


@each_entity
def test_everything_has_a_meaning(entity: Entity) -> None:
    for text in (entity.meaning, entity.grain, *(column.meaning for column in entity.columns)):
        assert text.strip() == text != ""
    assert all(column.meaning.endswith(".") for column in entity.columns)


@pytest.mark.parametrize("area", AREAS)
def test_an_area_holds_what_its_module_declares(area: str) -> None:
    from importlib import import_module

    module = import_module(f"hat_etl.entities.{area}")
    declared = {value for value in vars(module).values() if isinstance(value, Entity)}
    assert {entity.table for entity in declared} == {entity.table for entity in ENTITIES if entity.area == area}
