"""A folder of tenant files for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

GOOD = """
name = "acme"
ans_registry = "412345"
[erp]
dialect = "postgresql"
url = "env:ACME_ERP_URL"
schema = "protheus"
views_schema = "hat"
company = "01"
connections = 3
windows = ["20:00-06:00"]
[hat]
url = "env:ACME_HAT_URL"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of tenant files, empty."""
    made = tmp_path / "tenants"
    made.mkdir()
    monkeypatch.setenv("HAT_ETL_TENANTS", str(made))
    return made
