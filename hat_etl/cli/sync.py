"""``hat-etl sync``."""

from __future__ import annotations

import sys

import click

from hat_etl.cli.main import at_work, echo, error_document, print_error, print_json, put_off, reporting, say
from hat_etl.cli.options import ONLY, OUTSIDE_WINDOWS, VIA, TablesCommand
from hat_etl.cli.progress import watching
from hat_etl.cli.tables import print_table
from hat_etl.errors import DataError, HatEtlError
from hat_etl.own_process import call_apart
from hat_etl.sync import incremental
from hat_etl.sync.plan import select
from hat_etl.sync.request import SyncRequest
from hat_etl.sync.run import RunReport
from hat_etl.tenants import store
from hat_etl.tenants.config import Via


@click.command(cls=TablesCommand)
@click.argument("tenant", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every tenant of the folder, one after another.")
@ONLY
@click.option("--full", is_flag=True, help="Read every view whole and compare every row.")
@click.option("--accept", is_flag=True, help="Go on where the brake stops: many changes, or an ERP that went back.")
@VIA
@OUTSIDE_WINDOWS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def sync(
    tenant: str | None, everyone: bool, only: tuple[str, ...], full: bool, accept: bool, via: Via | None,
    outside_windows: bool, as_json: bool,
) -> None:  # fmt: skip
    """Bring the HAT database of TENANT to the present state of its ERP, changing only what differs.

    With --all, a tenant that fails does not keep the others waiting: its error is told at the end, and the exit code
    is that of the first failure.
    """
    if (tenant is None) != everyone:
        raise click.UsageError("Give either a TENANT or --all.")
    if everyone and accept:
        raise click.UsageError("--accept answers a question about one tenant: name it.")
    request = SyncRequest(only=only, full=full, accept=accept, outside_windows=outside_windows, via=via)
    if tenant is None:
        sys.exit(_sync_all(request, as_json=as_json))
    report = _sync_one(tenant, request, quiet=as_json)
    with reporting(tenant, report.run, report.state):
        if as_json:
            print_json(report.as_dict())
        else:
            print_sync(report)
    if report.problems:
        sys.exit(DataError.exit_code)


def _sync_one(tenant: str, request: SyncRequest, *, quiet: bool) -> RunReport:
    settings = store.load(tenant)
    at_work(tenant, request.via or settings.sync.via)
    with watching(quiet=quiet) as progress:
        return incremental.sync(settings, request, progress)


def _sync_all(request: SyncRequest, *, as_json: bool) -> int:
    """Synchronise every tenant; gives the exit code."""
    select(request.only)  # a table that nobody knows is no failure of each tenant
    names = store.all_names()
    done: list[RunReport | HatEtlError] = []
    unwritten: list[HatEtlError] = []
    for number, name in enumerate(names, 1):
        if not as_json:
            say(f"{name} ({number} of {len(names)})")
        outcome = _outcome(name, request, quiet=as_json)
        done.append(outcome)
        if not as_json and isinstance(outcome, RunReport):
            with put_off(unwritten), reporting(name, outcome.run, outcome.state):
                print_sync(outcome)
    failures = [outcome for outcome in done if isinstance(outcome, HatEtlError)]
    with put_off(unwritten):
        if as_json:
            print_json([o.as_dict() if isinstance(o, RunReport) else error_document(o) for o in done])
        else:
            echo(f"{len(done) - len(failures)} of {len(done)} tenants are synchronised.")
    for failure in failures + unwritten:
        print_error(failure)
    return next((code for outcome in done + unwritten if (code := _exit_code(outcome))), 0)


def _outcome(name: str, request: SyncRequest, *, quiet: bool) -> RunReport | HatEtlError:
    try:
        settings = store.load(name)
        if settings.erp.needs_own_process:
            at_work(name, request.via or settings.sync.via)
            return call_apart(_sync_one, name, request, quiet=quiet)
        return _sync_one(name, request, quiet=quiet)
    except HatEtlError as error:
        error.tenant = error.tenant or name
        return error
    except Exception as error:  # noqa: BLE001 - the other tenants have their turn all the same
        return HatEtlError(
            f"Unexpected {type(error).__name__}.", f"Run hat-etl sync {name} and report the lines it prints.", name
        )


def _exit_code(outcome: RunReport | HatEtlError) -> int:
    if isinstance(outcome, HatEtlError):
        return outcome.exit_code
    return DataError.exit_code if outcome.problems else 0


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
        echo(f"Left out: {problem.table}: {problem.message} Next step: {problem.next_step}")
    for remark in report.remarks:
        echo(f"Note: {remark}")
    if any(t.rejected or t.held or t.warnings for t in report.tables):
        echo(f"See what was rejected, and why: hat-etl rejects {report.tenant}")
