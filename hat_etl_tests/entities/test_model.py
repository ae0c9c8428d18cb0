"""Mistakes in a declaration show when it is read, not when it is loaded."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hat_etl.entities.expression import Expression, parse
from hat_etl.entities.model import Column, Entity, Kind, Rule, number, parent, text


def entity(**changes: Any) -> Entity:
    """A sound entity with these changes."""
    facts: dict[str, Any] = {
        "table": "things",
        "area": "contracts",
        "view": "HAT_BA0_Coisa",
        "reads": ("BA0",),
        "key": ("code",),
        "meaning": "Things.",
        "grain": "a thing",
        "columns": (
            text("code", 4, "Codigo", "BA0_CODINT", "Its code.", required=True),
            text("name", 60, "Nome", "BA0_NOMINT", "Its name."),
        ),
    }
    return Entity(**{**facts, **changes})


CODE = text("code", 4, "Codigo", "BA0_CODINT", "Its code.", required=True)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"view": "HAT_BA0_" + "x" * 23}, "longer than 30 bytes"),
        ({"view": "HAT_BA0_" + "ç" * 12}, "longer than 30 bytes"),
        ({"key": ("name",)}, "must be required"),
        ({"key": ("missing",)}, "has no column missing"),
        ({"columns": (CODE, CODE.model_copy(update={"alias": "Outro"}))}, "column is declared twice"),
        ({"columns": (CODE, CODE.model_copy(update={"name": "other", "alias": "CODIGO"}))}, "alias is declared twice"),
        ({"parents": (parent("products", "missing"),)}, "has no column missing"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_declaration_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises((ValidationError, KeyError), match=complaint):
        entity(**changes)


def test_a_declaration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        entity().table = "others"


def test_a_rule_is_read_as_it_is_written() -> None:
    rule = Rule.parse("in:F,J!")
    assert (rule.name, rule.values, rule.rejects, rule.token) == ("in", ("F", "J"), True, "in:F,J!")
    assert Rule.parse("map:1=true,0=false").mapping == {"1": True, "0": False}


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown rule"):
        Rule.parse("cfp!")


@pytest.mark.parametrize(
    ("column", "sql_type"),
    [
        (CODE, "varchar(4)"),
        (number("n", Kind.SMALLINT, "N", "BA0_N", "A number."), "smallint"),
        (number("n", Kind.AMOUNT, "N", "BA0_N", "A number.", scale=2), "numeric(16,2)"),
    ],
)
def test_a_column_knows_its_sql_type(column: Column, sql_type: str) -> None:
    assert column.sql_type == sql_type


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("BA1_NOMUSR", Expression("", ("BA1_NOMUSR",))),
        ("BA1_CODINT+BA1_CODEMP", Expression("", ("BA1_CODINT", "BA1_CODEMP"))),
        ("BA1_MATRIC[1:4]", Expression("", ("BA1_MATRIC",), slice=(1, 4))),
        ("BAX_CODSUB else '-'", Expression("", ("BAX_CODSUB",), constant="-")),
        ("BGD_DATA else 19000101", Expression("", ("BGD_DATA",), constant="19000101")),
        (
            "BAU_NOME via BC1_CODIGO=BAU_CODIGO",
            Expression("", joined="BAU_NOME", join=(("BC1_CODIGO", "BAU_CODIGO"),)),
        ),
        (
            "BA1_CODPLA else BA3_CODPLA via BA1_CODINT=BA3_CODINT and BA1_MATRIC=BA3_MATRIC",
            Expression(
                "",
                ("BA1_CODPLA",),
                joined="BA3_CODPLA",
                join=(("BA1_CODINT", "BA3_CODINT"), ("BA1_MATRIC", "BA3_MATRIC")),
            ),
        ),
        (
            "BA1_VERSAO if BA1_CODPLA else BA3_VERSAO via BA1_CODINT=BA3_CODINT",
            Expression(
                "",
                ("BA1_VERSAO",),
                condition="BA1_CODPLA",
                joined="BA3_VERSAO",
                join=(("BA1_CODINT", "BA3_CODINT"),),
            ),
        ),
    ],
)
def test_each_form_of_a_source_is_understood(written: str, read: Expression) -> None:
    found = parse(written)
    assert found.text == written
    assert {**vars(found), "text": ""} == vars(read)


@pytest.mark.parametrize("written", ["", "ba1_nomusr", "BA1_A - BA1_B", "BA1_A via BA1_B", "upper(BA1_A)", "BA1_A[1]"])
def test_another_form_of_a_source_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        parse(written)
