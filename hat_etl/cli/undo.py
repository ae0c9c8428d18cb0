"""``hat-etl undo``."""

from __future__ import annotations

from contextlib import nullcontext

import click

from hat_etl.cli.main import echo, print_json, reporting
from hat_etl.cli.tables import print_table
from hat_etl.sync import undo as use_case
from hat_etl.sync.undo import UndoReport
from hat_etl.tenants import store


@click.command()
@click.argument("tenant")
@click.argument("run", type=int)
@click.option("--yes", is_flag=True, help="Do it. Without this, the plan is shown and nothing changes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def undo(tenant: str, run: int, yes: bool, as_json: bool) -> None:
    """Take back what RUN changed in the HAT database of TENANT: rows, quarantine and watermarks, all or nothing."""
    settings = store.load(tenant)
    report = use_case.undo(settings, run) if yes else use_case.plan(settings, run)
    with nullcontext() if report.run is None else reporting(tenant, report.run, f"run {report.undoes} is undone"):
        if as_json:
            print_json(report.as_dict())
        else:
            print_undo(report)


def print_undo(report: UndoReport) -> None:
    """What is, or would be, put back in each table."""
    done = report.run is not None
    title = f"Run {report.run} of {report.tenant}: undid run" if done else f"{report.tenant}: undoing run"
    total = (
        f"{sum(t.put_back for t in report.tables):,} rows put back, {sum(t.removed for t in report.tables):,} removed"
    )
    total += f", {sum(t.restored for t in report.tables):,} restored to what they held before"
    print_table(
        f"{title} {report.undoes}",
        ("table", "put back", "removed", "restored", "entries of quarantine"),
        [(t.table, t.put_back, t.removed, t.restored, t.rejects) for t in report.tables],
        f"{total}, in {report.seconds:.1f} s." if done else f"This would be: {total}.",
    )
    for remark in report.remarks:
        echo(f"Note: {remark}")
    if not done:
        echo(f"Nothing was changed. To do it: hat-etl undo {report.tenant} {report.undoes} --yes")
