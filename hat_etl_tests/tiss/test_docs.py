"""The page about TISS tells every code as it is."""

from __future__ import annotations

from pathlib import Path

from hat_etl.tiss.findings import RULES

PAGE = Path(__file__).parents[2] / "docs" / "tiss.md"


def test_the_page_lists_every_code_as_it_is() -> None:
    listed = [
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if " | error | " in line or " | warning | " in line
    ]
    assert listed == [
        f"| `{code}` | {rule.severity} | {rule.ans or ''} | {rule.title} |" for code, rule in RULES.items()
    ]
