"""``hat-etl demo``: the whole main job on this machine, checked against what was planted."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import click

from hat_etl.cli.load import print_report
from hat_etl.cli.main import print_json, say
from hat_etl.cli.progress import watching
from hat_etl.cli.sandbox import ERP, FOLDER
from hat_etl.errors import DataError
from hat_etl.sync.load import LoadRequest, load
from hat_etl.sync.run import RunReport
from hat_etl.target.database import TenantDatabase
from hat_etl.target.ledger import LedgerReader
from hat_etl.tenants import store
from hat_etl.tenants.config import Dialect

Issue = tuple[str, int, str, str, str | None]
"""Table, recno, rule, severity and column of one entry of the quarantine."""


@click.command()
@click.option("--beneficiaries", default=20_000, show_default=True, help="Size of the operator.")
@FOLDER
@ERP
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def demo(beneficiaries: int, folder: Path, erp: Dialect, as_json: bool) -> None:
    """Start a sandbox with faults planted, install the views, load every table, and check the outcome.

    May be run again at any time, also after one that was broken off.
    """
    from hat_etl.sandbox import command
    from hat_etl.source import view_live

    tenants = Path(os.environ.setdefault("HAT_ETL_TENANTS", str(folder / "tenants")))
    _, manifest = command.up(folder, beneficiaries=beneficiaries, dirt=True, erp=erp, tenants=tenants, tell=say)
    tenant = store.load(command.TENANT)
    if erp == "postgresql":
        say("Installing the views")
        view_live.install(tenant)
    with watching(quiet=as_json) as progress:
        report = load(tenant, LoadRequest(restart=True), progress)
    entries = LedgerReader(TenantDatabase(tenant)).rejects()
    found = Counter[Issue]((e["table"], e["recno"], e["rule"], e["severity"], e["column"]) for e in entries)
    planted = Counter[Issue]((p.table, p.recno, p.rule, p.severity, p.column) for p in manifest.planted)
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)
    verify(report, found, planted)
    if not as_json:
        away = len({(table, recno) for table, recno, _, severity, _ in found if severity != "warning"})
        warnings = sum(severity == "warning" for _, _, _, severity, _ in found.elements())
        click.echo(
            f"\nAll {len(report.tables)} tables balance, and the {away} rejected or held rows and"
            f" {warnings} warnings are exactly the planted ones.\n"
            f"Look around:  export HAT_ETL_TENANTS={tenants.resolve()}\n"
            f"              hat-etl rejects {tenant.name}    hat-etl status {tenant.name}    make ui\n"
            f"Stop it:      hat-etl sandbox down --folder {folder.resolve()}"
        )


def verify(report: RunReport, found: Counter[Issue], planted: Counter[Issue]) -> None:
    """Check a load of the sandbox. Raises DataError naming the tables that do not balance or the surprising entries."""
    unbalanced = [t.table for t in report.tables if t.read != t.loaded + t.rejected + t.held + t.deleted]
    missing, surplus = planted - found, found - planted
    if not (unbalanced or missing or surplus):
        return
    parts = [f"{table}: read is not loaded + rejected + held + deleted." for table in unbalanced]
    for what, issues in (("planted but not reported", missing), ("reported but not planted", surplus)):
        if issues:
            example = next(iter(issues))
            parts.append(f"{issues.total()} {what}, such as {example[0]} recno {example[1]} {example[2]}.")
    raise DataError(
        " ".join(parts),
        "The sandbox was changed since it was made, or this is a bug: run hat-etl sandbox up with another --seed.",
        tenant=report.tenant,
    )
