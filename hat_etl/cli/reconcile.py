"""``hat-etl reconcile``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import click

from hat_etl.cli.main import at_work, echo, print_json, reporting
from hat_etl.cli.options import OUTSIDE_WINDOWS
from hat_etl.cli.progress import watching
from hat_etl.cli.sync import print_sync
from hat_etl.cli.tables import print_table
from hat_etl.errors import DataError
from hat_etl.sync import reconcile as reconciliation
from hat_etl.sync.reconcile import ReconcileReport, ReconcileRequest
from hat_etl.target.reconciliations import KINDS, Comparison
from hat_etl.tenants import store

_COUNTS = ("source_rows", "hat_rows", "compared", *KINDS, "in_flight", "quarantined", "kept")


@click.command()
@click.argument("tenant")
@click.option("--table", "tables", multiple=True, metavar="TABLE", help="This HAT table; may be given several times.")
@click.option("--repair", is_flag=True, help="Read the rows that are missing, extra or differ again, and merge them.")
@click.option("--accept", is_flag=True, help="With --repair: go on where the brake stops.")
@OUTSIDE_WINDOWS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def reconcile(
    tenant: str, tables: tuple[str, ...], repair: bool, accept: bool, outside_windows: bool, as_json: bool
) -> None:
    """Compare the ERP of TENANT with its HAT database, row by row and column by column.

    Exit code 6 when they differ. What the ERP has changed since the last sync is in flight and does not count, nor do
    rows in quarantine.
    """
    if accept and not repair:
        raise click.UsageError("--accept is of use with --repair only.")
    settings = store.load(tenant)
    request = ReconcileRequest(tables, repair, accept, outside_windows)
    at_work(tenant, settings.sync.via if repair else "database")
    with watching(quiet=as_json) as progress:
        report = reconciliation.reconcile(settings, request, progress)
    with reporting(tenant, report.run, report.state):
        if as_json:
            print_json(report.as_dict())
        else:
            _print(report, replace(request, repair=True).command(tenant))
    if not report.is_clean:
        sys.exit(DataError.exit_code)


def _print(report: ReconcileReport, repair: str) -> None:
    _print_tables(f"Reconciliation, run {report.run} of {report.tenant}: {report.state}", report.tables)
    if report.repair is not None:
        print_sync(report.repair)
        _print_tables("After the repair", report.after)
    for problem in report.problems:
        echo(f"Left out: {problem.table}: {problem.message} Next step: {problem.next_step}")
    for remark in report.remarks:
        echo(f"Note: {remark}")
    if report.repair is None and any(table.mismatches for table in report.tables):
        echo(f"To read these rows again and merge them: {repair}")
    echo(f"{report.seconds:.1f} s, peak memory {report.peak_mib:.0f} MiB.")


def _print_tables(title: str, tables: Sequence[Comparison]) -> None:
    wrong = sum(table.mismatches for table in tables)
    print_table(
        title,
        ("table", *(name.replace("_", " ") for name in _COUNTS), "seconds"),
        [(table.table, *(getattr(table, name) for name in _COUNTS), table.seconds) for table in tables],
        f"{len(tables)} tables, {sum(t.compared for t in tables):,} rows compared: "
        + (f"{wrong:,} mismatches." if wrong else "no mismatch."),
    )
    for table in tables:
        if table.mismatches:
            _print_mismatches(table)


def _print_mismatches(table: Comparison) -> None:
    if table.columns:
        columns = sorted(table.columns.items(), key=lambda item: -item[1])
        echo(f"{table.table}, rows by column: " + ", ".join(f"{name} {rows:,}" for name, rows in columns))
    for bucket in table.differing_buckets[:_BUCKETS]:
        echo(
            f"{table.table}, R_E_C_N_O_ {bucket.low} to {bucket.high}: {bucket.source_rows:,} rows in the ERP,"
            f" {bucket.hat_rows:,} in HAT; {bucket.missing:,} missing, {bucket.extra:,} extra,"
            f" {bucket.differing:,} differing"
        )
    for kind in KINDS:
        for entry in table.keys[kind]:
            columns_told = f": {', '.join(entry['columns'])}" if "columns" in entry else ""
            echo(f"{table.table}, {kind}: {entry['key']} (R_E_C_N_O_ {entry['recno']}){columns_told}")
        more = getattr(table, kind) - len(table.keys[kind])
        if more:
            echo(f"{table.table}, {kind}: and {more:,} more")


_BUCKETS = 20
"""Buckets that are printed, per table; --json and the ledger give all."""
