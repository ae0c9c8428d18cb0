"""``hat-etl doctor``: is everything there that a load needs?"""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from hat_etl.cli.main import print_json
from hat_etl.cli.tables import print_table
from hat_etl.errors import DataError, SourceError, TargetError
from hat_etl.sync.doctor import Check, examine
from hat_etl.tenants import store


@click.command()
@click.argument("tenant")
@click.option("--all", "show_all", is_flag=True, help="Show what is well, too, view by view.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(tenant: str, show_all: bool, as_json: bool) -> None:
    """Test everything that a load of TENANT and its billing need, and say how to mend what fails.

    Changes nothing; a small object that it writes to the store of billing is deleted again.
    """
    from hat_etl.billing import doctor as billing

    loaded = store.load(tenant)
    checks = examine(loaded) + billing.examine(loaded)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        shown = [c for c in checks if show_all or c.state != "ok" or ":" in c.subject]
        print_table(
            f"Doctor's report on {tenant}",
            ("subject", "state", "detail", "mend"),
            [(c.subject, c.state, c.detail, c.mend) for c in shown],
            ", ".join(f"{sum(c.state == state for c in checks)} {state}" for state in ("ok", "warning", "failed"))
            + ".",
        )
    failed = next((check for check in checks if check.state == "failed"), None)
    if failed is not None:
        sys.exit(_exit_code(failed))


def _exit_code(failed: Check) -> int:
    """The exit code that a load would end with: of the error that was met, or of the side that the check is about."""
    if failed.exit_code is not None:
        return failed.exit_code
    if failed.subject.startswith("view"):
        return DataError.exit_code
    return SourceError.exit_code if failed.subject.startswith("ERP") else TargetError.exit_code
