"""``hat-etl sync``."""

from __future__ import annotations

import sys

import click

from hat_etl.cli.main import print_json
from hat_etl.cli.progress import watching
from hat_etl.cli.tables import print_table
from hat_etl.errors import DataError
from hat_etl.sync import incremental
from hat_etl.sync.run import RunReport
from hat_etl.tenants import store


@click.command()
@click.argument("tenant")
@click.option("--only", multiple=True, metavar="TABLE", help="Only this HAT table; may be given several times.")
@click.option("--full", is_flag=True, help="Read every view whole and compare every row.")
@click.option("--accept", is_flag=True, help="Go on where the brake stops: many changes, or an ERP that went back.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def sync(tenant: str, only: tuple[str, ...], full: bool, accept: bool, as_json: bool) -> None:
    """Bring the HAT database of TENANT to the present state of its ERP, changing only what differs."""
    settings = store.load(tenant)
    request = incremental.SyncRequest(only=only, full=full, accept=accept)
    with watching(quiet=as_json) as progress:
        report = incremental.sync(settings, request, progress)
    if as_json:
        print_json(report.as_dict())
    else:
        print_sync(report)
    if report.problems:
        sys.exit(DataError.exit_code)


def print_sync(report: RunReport) -> None:
    """A sync's outcome: the tables that changed, those that were left out, and what is to be told of the views."""
    columns = ("table", "strategy", "read", "loaded", "updated", "deleted", "rejected", "held", "warnings", "seconds")
    moved = [t for t in report.tables if t.read or t.loaded or t.updated or t.deleted or t.rejected or t.held]
    print_table(
        f"Run {report.run} of {report.tenant}: {report.state}",
        columns,
        [tuple(getattr(table, column) for column in columns) for table in moved],
        f"{len(report.tables)} tables looked at: {sum(t.loaded for t in report.tables):,} rows new,"
        f" {sum(t.updated for t in report.tables):,} updated, {sum(t.deleted for t in report.tables):,} gone,"
        f" in {report.seconds:.1f} s, peak memory {report.peak_mib:.0f} MiB.",
    )
    for problem in report.problems:
        click.echo(f"Left out: {problem.table}: {problem.message} Next step: {problem.next_step}")
    for remark in report.remarks:
        click.echo(f"Note: {remark}")
    if any(t.rejected or t.held or t.warnings for t in report.tables):
        click.echo(f"See what was rejected, and why: hat-etl rejects {report.tenant}")
