"""``hat-etl doctor``: is everything there that a load needs?"""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from hat_etl.cli.main import print_json
from hat_etl.cli.tables import print_table
from hat_etl.errors import DataError, HatEtlError, SourceError, TargetError
from hat_etl.sync.doctor import Check, examine
from hat_etl.tenants import store


@click.command()
@click.argument("tenant")
@click.option("--all", "show_all", is_flag=True, help="Show what is well, too, view by view.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(tenant: str, show_all: bool, as_json: bool) -> None:
    """Test everything that a load of TENANT needs, and say how to mend what fails. Changes nothing."""
    checks = examine(store.load(tenant))
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
        sys.exit(_kind(failed).exit_code)


def _kind(check: Check) -> type[HatEtlError]:
    """The kind of failure, for the exit code: that of the first failed check."""
    if check.subject.startswith("view"):
        return DataError
    return SourceError if check.subject.startswith("ERP") else TargetError
