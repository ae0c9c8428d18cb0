"""The texts of the views, rendered for both databases without any at hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from hat_etl.entities import BY_TABLE, ENTITIES, billing
from hat_etl.entities.model import Entity
from hat_etl.source import view_live, views
from hat_etl.source.reader import ALIASES, EVERY_ALIAS
from hat_etl.source.view_text import check_text
from hat_etl.tenants.config import Dialect, Tenant
from hat_etl_tests.views.conftest import tenant

DIALECTS: tuple[Dialect, ...] = ("postgresql", "oracle")
SQLGLOT = {"postgresql": "postgres", "oracle": "oracle"}

each_entity = pytest.mark.parametrize("entity", ENTITIES + billing.VIEWS, ids=lambda entity: entity.table)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def script(loaded: Tenant, dialect: Dialect, **options: Any) -> str:
    return views.script(loaded, dialect, **{"reader": views.reading_user(loaded, dialect), **options})


def statements(text: str) -> list[str]:
    """The statements of a script: comments taken out, then cut at the semicolons that end a line."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part.strip() for part in re.split(r";$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]


@each_dialect
@each_entity
def test_every_view_is_what_the_contract_says(entity: Entity, dialect: Dialect) -> None:
    assert check_text(entity, tenant(schema="protheus"), dialect) == []


@each_dialect
def test_the_official_view_begins_with_totvs_columns_in_totvs_order(dialect: Dialect) -> None:
    """Our Recno, Excluido and Carimbo stood before them: who reads that view by position found others there."""
    entity = BY_TABLE["product_procedure_coverages"]
    shown = sqlglot.parse_one(views.render(entity, tenant(), dialect), dialect=SQLGLOT[dialect]).named_selects
    assert shown[:15] == [column.alias for column in entity.columns[:15]]


def test_there_is_one_text_for_each_entity_and_no_other() -> None:
    texts = {file.stem for file in (Path(__file__).parents[2] / "views_sql").glob("*")}
    assert texts == {entity.view for entity in ENTITIES + billing.VIEWS}


@each_dialect
def test_the_views_of_billing_are_made_for_tenants_that_read_them(dialect: Dialect) -> None:
    asks = tenant(schema="protheus")
    asks = asks.model_copy(update={"billing": asks.billing.model_copy(update={"ask": "views"})})
    for entity in billing.VIEWS:
        assert f"VIEW protheus.{entity.view} AS" in script(asks, dialect)
        assert entity.view not in script(tenant(schema="protheus"), dialect)


@each_entity
def test_a_view_names_its_tables_for_the_company_and_the_database(entity: Entity) -> None:
    loaded = tenant(schema="protheus", company="9Z")
    for alias in entity.reads:
        assert f"FROM protheus.{alias.lower()}9z0 " in views.render(entity, loaded, "postgresql")
        assert f"FROM protheus.{alias}9Z0 " in views.render(entity, loaded, "oracle")
        assert f"FROM {alias.lower()}010 " in views.render(entity, tenant(), "postgresql")


@each_dialect
@each_entity
def test_no_stamp_is_read_when_one_table_has_none(entity: Entity, dialect: Dialect) -> None:
    for alias in entity.reads:
        text = views.render(entity, tenant(), dialect, views.Found(stampless=frozenset({alias})))
        assert "S_T_A_M_P_" not in text
        assert text.count("CAST(NULL AS TIMESTAMP) AS Carimbo,") == 1
        sqlglot.parse_one(text, dialect=SQLGLOT[dialect])
    assert "S_T_A_M_P_" in views.render(entity, tenant(), dialect, views.Found(stampless=frozenset({"XXX"})))


@each_dialect
@each_entity
def test_an_optional_text_whose_field_is_a_memo_is_shown_empty_and_nothing_else_changes(
    entity: Entity, dialect: Dialect
) -> None:
    plain = views.render(entity, tenant(), dialect)
    for column in entity.columns:
        text = views.render(entity, tenant(), dialect, views.Found(memos=frozenset(column.source.all_fields)))
        if views.emptied(entity, column.source.all_fields):
            assert text == re.sub(
                rf"\w+\.\w+ AS {column.alias}\b", f"CAST(NULL AS VARCHAR(1)) AS {column.alias}", plain
            )
            assert text != plain
            sqlglot.parse_one(text, dialect=SQLGLOT[dialect])
        else:
            assert text == plain


def test_a_view_of_several_fields_that_are_longer_has_the_same_text_each_time() -> None:
    """Installed once more, it had another one by chance, and the next sync read all of it."""
    asked = (
        "from hat_etl.entities import BY_TABLE; from hat_etl.source import view_live, views;"
        " from hat_etl_tests.views.conftest import tenant; wide = frozenset(view_live.side_by_side());"
        " print(views.render(BY_TABLE['beneficiaries'], tenant(), 'postgresql', views.Found(wide=wide)))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", asked],
            env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in range(3)
    }  # fmt: skip
    (text,) = texts
    assert text.count("TRIM(SUBSTR(a.BA1_MATRIC, 7))") == 2


def test_texts_are_compared_bytewise_in_each_database() -> None:
    entity = BY_TABLE["procedure_tables"]
    assert 's.BR4_SEGMEN COLLATE "C" < a.BR4_SEGMEN COLLATE "C"' in views.render(entity, tenant(), "postgresql")
    assert "NLSSORT(s.BR4_SEGMEN, 'NLS_SORT=BINARY') <" in views.render(entity, tenant(), "oracle")


@each_dialect
def test_a_script_makes_explains_and_grants_every_view(dialect: Dialect) -> None:
    text = script(tenant(schema="protheus", views_schema="hat"), dialect)
    done = statements(text)
    for entity in ENTITIES:
        assert sum(part.startswith(f"CREATE OR REPLACE VIEW hat.{entity.view} AS\nSELECT") for part in done) == 1
        assert any(re.match(rf"COMMENT ON (VIEW|TABLE) hat\.{entity.view} IS '", part) for part in done)
        assert any(re.match(rf"GRANT SELECT.* ON hat\.{entity.view} TO ", part) for part in done)
        assert f"-- {entity.view}: " in text
    assert "{" not in text
    assert "&" not in text, "SQL*Plus would ask for a value"
    assert text.isascii()
    assert "\n\n" not in "".join(part for part in done if part.startswith("CREATE")), "SQL*Plus ends at a blank line"


def test_every_statement_of_the_postgresql_script_parses() -> None:
    text = script(tenant(schema="protheus", views_schema="hat"), "postgresql")
    parsed = sqlglot.parse(text, dialect="postgres")
    assert len([part for part in parsed if isinstance(part, exp.Create)]) == len(ENTITIES) + 1
    assert "CREATE SCHEMA IF NOT EXISTS hat;" in text
    assert "GRANT USAGE ON SCHEMA hat TO hat_reader;" in text


def test_the_oracle_script_says_who_runs_what_when_two_owners_are_involved() -> None:
    text = script(tenant(dialect="oracle", schema="protheus", views_schema="hat"), "oracle")
    first, second = text.index("Part 1, to be run by PROTHEUS"), text.index("Part 2, to be run by HAT")
    for alias in ALIASES:
        grant = f"GRANT SELECT, FLASHBACK ON protheus.{alias}010 TO HAT WITH GRANT OPTION;"
        assert first < text.index(grant) < second
    assert "GRANT SELECT, FLASHBACK ON hat.HAT_BA1_Beneficiario TO HAT_READER;" in text[second:]
    assert "CREATE SCHEMA" not in text


@pytest.mark.parametrize("schemas", [{}, {"schema": "protheus"}, {"schema": "protheus", "views_schema": "PROTHEUS"}])
def test_the_oracle_script_grants_no_tables_when_one_owner_has_all(schemas: dict[str, str]) -> None:
    assert "WITH GRANT OPTION" not in script(tenant(dialect="oracle", **schemas), "oracle")


def test_the_owner_of_the_views_gets_no_grant_of_them_on_oracle() -> None:
    text = script(tenant(dialect="oracle", schema="protheus", views_schema="hat"), "oracle", reader="HAT")
    assert "TO HAT;" not in text


def test_without_a_schema_the_views_are_the_logins_own_and_it_gets_no_grant_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Oracle refuses a grant to oneself, where the script stops: after the first view."""
    loaded = tenant(dialect="oracle", url="env:SOME_ORACLE_URL")
    for login, owner in ((None, "HAT_READER"), ("proxy[svc]/c4n4ry@h:1521/x", "SVC")):
        if login:
            monkeypatch.setenv("SOME_ORACLE_URL", login)
        text = script(loaded, "oracle")
        assert "GRANT" not in text
        assert f"-- To be run by {owner}, who reads the views" in text
        assert "(or a DBA)" not in text, "whose views would be in another schema"
        assert "TO BI;" in script(loaded, "oracle", reader="BI")


@pytest.mark.parametrize(
    ("dialect", "url", "given", "reader"),
    [
        ("postgresql", None, None, "hat_reader"),
        ("oracle", None, None, "HAT_READER"),
        ("postgresql", "postgresql://svc:c4n4ry@h/db", None, "svc"),
        ("postgresql", "postgresql://S%20x:c4n4ry@h/db", None, "S x"),
        ("postgresql", "host=h user=svc password=c4n4ry", None, "svc"),
        ("postgresql", "postgresql://h/db", None, "hat_reader"),
        ("postgresql", "c4n4ry", None, "hat_reader"),
        ("oracle", "oracle://svc:c4n4ry@h:1521/x", None, "SVC"),
        ("oracle", "svc/c4n4ry@h:1521/x", None, "SVC"),
        ("oracle", "svc/c4n4ry@tcps://h:2484/x", None, "SVC"),
        ("oracle", "proxy[svc]/c4n4ry@h:1521/x", None, "SVC"),
        ("oracle", "oracle://proxy%5Bsvc%5D:c4n4ry@h:1521/x", None, "SVC"),
        ("postgresql", "postgresql://svc:c4n4ry@h/db", "Other", "other"),
        ("oracle", None, "other", "OTHER"),
        ("oracle", None, "my user", "my user"),
        ("postgresql", "postgresql://public:c4n4ry@h/db", None, "hat_reader"),
    ],
)
def test_the_reader_is_the_one_given_or_the_user_of_the_url_or_a_fixed_name(
    dialect: Dialect, url: str | None, given: str | None, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_ERP_URL", raising=False)
    if url:
        monkeypatch.setenv("NO_SUCH_ERP_URL", url)
    loaded = tenant(dialect=dialect)
    assert views.reading_user(loaded, dialect, given) == reader
    assert "c4n4ry" not in script(loaded, dialect, reader=reader)


def test_what_is_no_plain_name_is_quoted_and_texts_are_escaped() -> None:
    assert views.identifier("reader", "postgresql") == "reader"
    assert views.identifier("Reader", "postgresql") == '"Reader"'
    assert views.identifier('a"b', "oracle") == '"a""b"'
    assert views.identifier("USER", "oracle") == '"USER"'
    assert views.literal("provider's") == "'provider''s'"
    assert "-- x\ny" not in script(tenant(), "postgresql", reader="x\ny")


def test_rendering_says_what_is_known_of_stamps() -> None:
    loaded = tenant()
    assert view_live.known(loaded, "postgresql", "all").found.stampless == frozenset()
    assert view_live.known(loaded, "postgresql", "none").found.stampless == frozenset(EVERY_ALIAS)
    assumed = view_live.known(loaded, "postgresql", "auto")
    assert assumed.found.stampless == frozenset()
    assert "was not asked" in assumed.note
    assert "S_T_A_M_P_" not in "".join(
        statements(script(loaded, "oracle", found=view_live.known(loaded, "oracle", "none").found))
    )
