"""What runs do not wait for: packages that take longer to import than many a run takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hat_etl_tests.load.conftest import Site

HEAVY = ("pandas", "sqlglot", "dagster")
CODE = f"""
import sys
from hat_etl.cli.main import main
main(sys.argv[1:], standalone_mode=False)
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("load", "demo", "--restart"),
        ("sync", "demo"),
        ("sync", "demo", "--full"),
        ("reconcile", "demo"),
        ("plan", "demo", "--sync"),
        ("doctor", "demo"),
        ("status", "demo"),
    ],
    ids=" ".join,
)
def test_a_command_imports_no_heavy_package(words: tuple[str, ...], site: Site) -> None:
    """Rows with every planted fault go through it, for pyarrow imports pandas where one least expects it: once by a
    module that was imported, and made an array, before the one that keeps pandas out."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words, "--json"],
        env=os.environ | {"HAT_ETL_TENANTS": str(site.tenants)}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"
