"""``hat-etl demo``: the whole main job on this machine, checked against what was planted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hat_etl.billing.loop import run
from hat_etl.billing.states import MEANINGS
from hat_etl.cli.load import print_report
from hat_etl.cli.main import echo, print_json, say
from hat_etl.cli.progress import watching
from hat_etl.cli.sandbox import ERP, FOLDER
from hat_etl.cli.tables import print_table
from hat_etl.errors import DataError
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.sync.run import RunReport
from hat_etl.target.database import TenantDatabase
from hat_etl.target.ledger import LedgerReader
from hat_etl.tenants import store
from hat_etl.tenants.config import Dialect, Tenant

if TYPE_CHECKING:
    from hat_etl.sandbox.billing import BillingSandbox

Issue = tuple[str, int, str, str, str | None]
"""Table, recno, rule, severity and column of one entry of the quarantine."""


@click.command()
@click.option("--beneficiaries", default=20_000, show_default=True, help="Size of the operator.")
@FOLDER
@ERP
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def demo(beneficiaries: int, folder: Path, erp: Dialect, as_json: bool) -> None:
    """Start a sandbox with faults planted, install the views, load every table, run the billing loop, check all of it.

    May be run again at any time, also after one that was broken off.
    """
    from hat_etl.sandbox import command
    from hat_etl.source import view_live

    tenants = Path(os.environ.setdefault("HAT_ETL_TENANTS", str(folder / "tenants")))
    _, manifest = command.up(
        folder, beneficiaries=beneficiaries, dirt=True, erp=erp, tenants=tenants, with_billing=True, tell=say
    )
    tenant = store.load(command.TENANT)
    if erp == "postgresql":
        say("Installing the views")
        view_live.install(tenant)
    with watching(quiet=as_json) as progress:
        report = load(tenant, LoadRequest(restart=True), progress)
    entries = LedgerReader(TenantDatabase(tenant), f"hat-etl rejects {tenant.name}").rejects()
    found = Counter[Issue]((e["table"], e["recno"], e["rule"], e["severity"], e["column"]) for e in entries)
    planted = Counter[Issue]((p.table, p.recno, p.rule, p.severity, p.column) for p in manifest.planted)
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)
    verify(report, found, planted)
    loop = command.billing_of(folder)
    bill(tenant, loop, say)
    if not as_json:
        print_lots(loop)
        away = len({(table, recno) for table, recno, _, severity, _ in found if severity != "warning"})
        warnings = sum(severity == "warning" for _, _, _, severity, _ in found.elements())
        echo(
            f"\nAll {len(report.tables)} tables balance, and the {away} rejected or held rows and"
            f" {warnings} warnings are exactly the planted ones.\n"
            f"Every lot that waited in HAT has reached the operator once, and HAT shows what the operator says.\n"
            f"Look around:  export HAT_ETL_TENANTS={tenants.resolve()}\n"
            f"              hat-etl rejects {tenant.name}    hat-etl status {tenant.name}    make ui\n"
            f"              hat-etl billing show {tenant.name}    hat-etl billing show {tenant.name} 3\n"
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


ROUNDS = 4
"""Rounds of the billing loop in which the operator brings a lot from its receipt to its payment."""


def bill(tenant: Tenant, loop: BillingSandbox, tell: Callable[[str], None]) -> None:
    """Run the billing loop over lots of many kinds until they are settled, then over new ones; check the outcome."""
    tell("Running the billing loop")
    for _ in range(2):
        loop.seed()
        for _ in range(ROUNDS):
            run(tenant)
            loop.advance()
    loop.seed()
    run(tenant)
    verify_lots(tenant, loop)


def verify_lots(tenant: Tenant, loop: BillingSandbox) -> None:
    """Raises DataError unless each good lot has reached the operator once and HAT shows its status and protocol."""
    at_operator = {lot.number: lot for lot in loop.at_operator()}
    wrong = [f"Lot {lot.number} came {lot.arrivals} times." for lot in at_operator.values() if lot.arrivals != 1]
    for shown in loop.in_hat():
        known = at_operator.get(shown.batch_number)
        if known is None and not (shown.causes or shown.is_gone):
            wrong.append(f"Lot {shown.batch_number} is not at the operator, and HAT does not say why.")
        if known is not None and (str(shown.status), shown.protocol) != (known.status, known.protocol):
            wrong.append(f"HAT shows another status of lot {shown.batch_number} than the operator.")
    if wrong:
        raise DataError(" ".join(wrong), f"Look at them with: hat-etl billing show {tenant.name}", tenant=tenant.name)


def print_lots(loop: BillingSandbox) -> None:
    """The lots as providers see them in HAT."""
    print_table(
        "Lots in HAT",
        ("lot", "provider", "status", "protocol", "cause"),
        [
            (
                lot.batch_number, lot.provider, "deleted" if lot.is_gone else MEANINGS.get(lot.status or 0, "-"),
                lot.protocol or "", ", ".join(sorted({f"{c['code']} {c['description']}" for c in lot.causes})),
            )
            for lot in sorted(loop.in_hat(), key=lambda lot: int(lot.batch_number))
        ],
    )  # fmt: skip
