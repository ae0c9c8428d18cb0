"""The committed data dictionary is what the declarations say."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from hat_etl.entities import AREAS
from hat_etl.entities.model import ENGINE_RULES, RULES, Entity
from hat_etl.reports import dictionary
from hat_etl_tests.entities.each import each_entity

COMMITTED = Path(__file__).parents[2] / "docs" / "dictionary.md"


@pytest.fixture(scope="module")
def rendered() -> str:
    return dictionary.render()


def test_the_committed_dictionary_is_up_to_date(rendered: str) -> None:
    assert COMMITTED.read_text(encoding="utf-8") == rendered, "run: make docs"


def test_the_command_writes_it(tmp_path: Path, rendered: str) -> None:
    file = tmp_path / "docs" / "dictionary.md"
    assert CliRunner().invoke(dictionary.main, [str(file)]).exit_code == 0
    assert file.read_text(encoding="utf-8") == rendered


def test_every_rule_is_explained() -> None:
    assert set(dictionary.RULE_MEANINGS) == RULES
    assert set(dictionary.ENGINE_RULE_MEANINGS) == ENGINE_RULES


def test_every_heading_can_be_linked_to(rendered: str) -> None:
    headings = [line.lstrip("# ").lower() for line in rendered.splitlines() if line.startswith("#")]
    assert len(set(headings)) == len(headings)
    assert {f"{area} area" for area in AREAS} <= set(headings)


@each_entity
def test_a_table_is_described_with_all_its_columns(entity: Entity, rendered: str) -> None:
    section = rendered.partition(f"\n### {entity.table}\n")[2].partition("\n#")[0]
    for text in (entity.meaning, entity.grain, entity.view, *entity.reads, *entity.key):
        assert text in section
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == len(entity.columns)
    for row, column in zip(rows, entity.columns, strict=True):
        for text in (column.name, column.sql_type, column.alias, column.source.text, column.meaning):
            assert text in row
        assert ("†" in row) is column.assumed
        assert ("**Secret.**" in row) is column.secret
        assert all(rule.token in row for rule in column.rules)
    assert section.count("reference:**") == len(entity.parents)
    assert section.count("**Hard reference:**") == len(entity.hard_parents)
