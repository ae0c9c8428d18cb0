"""``hat-etl plan`` and ``hat-etl load``."""

from __future__ import annotations

import click

from hat_etl.cli.main import echo, print_json, reporting
from hat_etl.cli.options import ONLY, OUTSIDE_WINDOWS, VIA, TablesCommand
from hat_etl.cli.progress import watching
from hat_etl.cli.tables import print_table
from hat_etl.sync import load as use_case
from hat_etl.sync import plan as planning
from hat_etl.sync.request import LoadRequest
from hat_etl.sync.run import RunReport
from hat_etl.tenants import store
from hat_etl.tenants.config import Via

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command(cls=TablesCommand)
@click.argument("tenant")
@ONLY
@click.option("--sync", "of_sync", is_flag=True, help="What a sync would read, rather than a load.")
@VIA
@_JSON
def plan(tenant: str, only: tuple[str, ...], of_sync: bool, via: Via | None, as_json: bool) -> None:
    """Show what a load of TENANT would read, and how. Touches nothing."""
    if via is not None and not of_sync:
        raise click.UsageError("--via goes with --sync: a load always writes into the database.")
    settings = store.load(tenant)
    tables = planning.plan_sync(settings, only, via) if of_sync else planning.plan(settings, only)
    if as_json:
        print_json(
            [
                {"table": t.table, "view": t.view, "strategy": t.strategy, "rows": t.estimated_rows,
                 "remarks": list(t.remarks)}
                for t in tables
            ]
        )  # fmt: skip
        return
    print_table(
        f"Plan of a {'sync' if of_sync else 'load'} of {tenant}",
        ("table", "view", "strategy", "rows", "remarks"),
        [(t.table, t.view, t.strategy, t.estimated_rows, "; ".join(t.remarks)) for t in tables],
        f"About {sum(t.estimated_rows for t in tables):,} rows, by the ERP's own estimate.",
    )


@click.command(cls=TablesCommand)
@click.argument("tenant")
@ONLY
@click.option("--resume", is_flag=True, help="Go on with a load that was broken off.")
@click.option("--restart", is_flag=True, help="Throw away what a broken load staged and begin anew.")
@click.option("--accept-shrink", is_flag=True, help="Load views that show less than half of the rows that they had.")
@OUTSIDE_WINDOWS
@_JSON
def load(
    tenant: str, only: tuple[str, ...], resume: bool, restart: bool, accept_shrink: bool, outside_windows: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Load the HAT database of TENANT from its ERP: all tables are replaced at once, or none."""
    if resume and restart:
        raise click.UsageError("Give --resume or --restart, not both.")
    settings = store.load(tenant)
    request = LoadRequest(
        only=only, resume=resume, restart=restart, accept_shrink=accept_shrink, outside_windows=outside_windows
    )
    with watching(quiet=as_json) as progress:
        report = use_case.load(settings, request, progress)
    with reporting(tenant, report.run, report.state):
        if as_json:
            print_json(report.as_dict())
        else:
            print_report(report)


def print_report(report: RunReport) -> None:
    """A run's outcome as a table."""
    columns = ("table", "strategy", "read", "loaded", "rejected", "held", "deleted", "warnings", "seconds")
    print_table(
        f"Run {report.run} of {report.tenant}: {report.state}",
        columns,
        [tuple(getattr(table, column) for column in columns) for table in report.tables],
        f"{sum(t.read for t in report.tables):,} rows read = {sum(t.loaded for t in report.tables):,} loaded"
        f" + {sum(t.rejected for t in report.tables):,} rejected + {sum(t.held for t in report.tables):,} held"
        f" + {sum(t.deleted for t in report.tables):,} deleted, in {report.seconds:.1f} s,"
        f" peak memory {report.peak_mib:.0f} MiB.",
    )
    if report.rewritten:
        echo(
            "Rewritten in place instead of swapped, because other objects depend on some: "
            + ", ".join(report.rewritten)
        )
    for remark in report.remarks:
        echo(f"Note: {remark}")
    if any(t.rejected or t.held or t.warnings for t in report.tables):
        echo(f"See what was rejected, and why: hat-etl rejects {report.tenant}")
