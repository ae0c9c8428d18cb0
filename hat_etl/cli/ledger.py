"""``hat-etl status``, ``runs`` and ``rejects``: what the ledger in the tenant database says."""

from __future__ import annotations

import errno
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from hat_etl.cli.main import echo, error_document, print_error, print_json, say
from hat_etl.cli.tables import print_table, printable
from hat_etl.entities import BY_TABLE
from hat_etl.errors import HatEtlError, OutputError
from hat_etl.sync.plan import refuse_unloaded, select
from hat_etl.target.database import TenantDatabase
from hat_etl.target.ledger import LedgerReader
from hat_etl.tenants import store

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
SHOWN = 1_000
"""Entries of the quarantine that are printed for reading; a table of more takes the terminal minutes to draw."""

_COUNTS = ("read", "loaded", "updated", "deleted", "rejected", "held", "warnings")


def _ledger(tenant: str, command: str) -> LedgerReader:
    return LedgerReader(TenantDatabase(store.load(tenant)), f"hat-etl {command} {tenant}")


@click.command()
@click.argument("tenant", required=False)
@_JSON
def status(tenant: str | None, as_json: bool) -> None:
    """Show where TENANT stands: last run, tables, moment of the ERP they show. Without TENANT: all tenants in short.

    A tenant that cannot be asked does not hide the others: its error is told, and the exit code is that of the first.
    """
    if tenant is None:
        sys.exit(_status_of_all(as_json=as_json))
    standing = _standing(tenant)
    if as_json:
        print_json(standing)
        return
    _print_tenants([_line(standing)])
    if standing["last_run"]:
        _print_tables(standing["last_run"], standing["watermarks"])


def _status_of_all(*, as_json: bool) -> int:
    """Show every tenant in short; gives the exit code."""
    documents: list[dict[str, Any]] = []
    lines: list[tuple[Any, ...]] = []
    failures: list[HatEtlError] = []
    for name in store.all_names():
        try:
            standing = _standing(name)
        except HatEtlError as error:
            error.tenant = error.tenant or name
            failures.append(error)
            documents.append(error_document(error))
            lines.append((name, "", "", "not known", "", "", error.cause))
        else:
            documents.append(standing)
            lines.append(_line(standing))
    if as_json:
        print_json(documents)
    else:
        _print_tenants(lines)
    for failure in failures:
        print_error(failure)
    return failures[0].exit_code if failures else 0


def _standing(tenant: str) -> dict[str, Any]:
    ledger = _ledger(tenant, "status")
    was_held = ledger.is_held()
    runs = ledger.runs(limit=1)
    if runs and runs[0]["state"] == "running" and not (was_held or ledger.is_held()):
        runs[0]["state"] = "broken off"
    return {"tenant": tenant, "last_run": runs[0] if runs else None, "watermarks": ledger.watermarks()}


def _line(standing: dict[str, Any]) -> tuple[Any, ...]:
    return (standing["tenant"], *_summary(standing["last_run"]))


def _print_tenants(lines: list[tuple[Any, ...]]) -> None:
    print_table("Tenants", ("tenant", "run", "mode", "state", "started", "finished", "error"), lines)


@click.command()
@click.argument("tenant")
@click.option(
    "--limit", type=click.IntRange(0, 2**63 - 1), default=20, show_default=True, help="How many runs, newest first."
)
@_JSON
def runs(tenant: str, limit: int, as_json: bool) -> None:
    """Show the latest runs of TENANT and what each did."""
    found = _ledger(tenant, "runs").runs(limit)
    if as_json:
        print_json(found)
        return
    print_table(
        f"Runs of {tenant}",
        ("run", "mode", "state", "started", "finished", "rows"),
        [(*_summary(run)[:5], _counted(run)) for run in found],
    )
    for run in found:
        if run["error"]:
            echo(f"Run {run['run']}: {printable(run['error'])}")


def _counted(run: dict[str, Any]) -> str:
    """What a run did to rows, in few words: that fits into a narrow terminal."""
    counts = {name: sum(table[name] for table in run["tables"]) for name in _COUNTS}
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)


@click.command()
@click.argument("tenant")
@click.option("--table", help="Only rows of this HAT table.")
@click.option("--xlsx", type=click.Path(dir_okay=False, path_type=Path), help="Write them to this Excel file, too.")
@_JSON
def rejects(tenant: str, table: str | None, xlsx: Path | None, as_json: bool) -> None:
    """Show the rows of TENANT that are not in HAT (rejected, held) and the warnings, as of the last run."""
    ledger = _ledger(tenant, "rejects")
    asked = [entity.table for entity in select([table], tenant)] if table else []
    refuse_unloaded(tenant, asked, ledger.watermarks())
    found = ledger.rejects(table)
    if xlsx is not None:
        from hat_etl.reports.rejects import write_xlsx

        try:
            write_xlsx(found, xlsx)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                again = ["hat-etl", "rejects", tenant, *(["--table", table] if table else []), "--xlsx", str(xlsx)]
                raise OutputError(
                    f"{xlsx} could not be written ({error.strerror}). What was there before is as it was.",
                    f"Free space there, then run: {shlex.join(again)}",
                    tenant=tenant,
                ) from None
            raise click.UsageError(
                f"{xlsx} cannot be written ({error.strerror or error}). Name another file."
            ) from None
        say(f"{len(found)} entries written to {xlsx}")
    if as_json:
        print_json(found)
        return
    print_table(
        f"Rejected, held and warned rows of {tenant}",
        ("table", "recno", "key", "column", "rule", "severity", "reason"),
        [tuple(_plain(entry[name]) for name in ("table", "recno", "key", "column", "rule", "severity", "reason"))
         for entry in found[:SHOWN]],
        f"{len(found):,} entries."
        + (f" These are the first {SHOWN:,}; --xlsx FILE and --json give all." if len(found) > SHOWN else ""),
    )  # fmt: skip


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _summary(run: dict[str, Any] | None) -> tuple[Any, ...]:
    if run is None:
        return ("", "", "never loaded", "", "", "")
    return (
        run["run"],
        run["mode"] + (f" of {run['undoes']}" if run["undoes"] else ""),
        f"undone by {run['undone_by']}" if run["undone_by"] else run["state"],
        _moment(run["started_at"]),
        _moment(run["finished_at"]),
        run["error"],
    )


def _moment(value: Any) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def _print_tables(run: dict[str, Any], watermarks: dict[str, Any]) -> None:
    print_table(
        f"Run {run['run']}",
        ("table", "strategy", *_COUNTS, "seconds", "shows the ERP of"),
        [
            (t["table"], t["strategy"], *(t[count] for count in _COUNTS), t["seconds"],
             _moment(watermarks.get(t["table"])))
            for t in run["tables"]
        ],
    )  # fmt: skip
    done = {t["table"] for t in run["tables"]}
    others = [(table, _moment(watermarks[table])) for table in BY_TABLE if table in watermarks and table not in done]
    if others:
        print_table("Other tables", ("table", "shows the ERP of"), others)
