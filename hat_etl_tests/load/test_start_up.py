"""What a load does not wait for: packages that take longer to import than many a load takes to run."""

from __future__ import annotations

import os
import subprocess
import sys

from hat_etl_tests.load.conftest import Site

HEAVY = ("pandas", "sqlglot", "dagster")
CODE = f"""
import sys
from hat_etl.cli.main import main
main(sys.argv[1:], standalone_mode=False)
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def test_a_load_imports_no_heavy_package(site: Site) -> None:
    """Rows with every planted fault go through it, for pyarrow imports pandas where one least expects it."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, "load", "demo", "--restart", "--json"],
        env=os.environ | {"HAT_ETL_TENANTS": str(site.tenants)}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"
