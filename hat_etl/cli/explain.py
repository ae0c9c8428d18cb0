"""``hat-etl explain``."""

from __future__ import annotations

from typing import Any

import click

from hat_etl.cli.main import echo, print_json
from hat_etl.cli.options import OUTSIDE_WINDOWS
from hat_etl.cli.tables import print_table, printable
from hat_etl.sync import explain as use_case
from hat_etl.sync.explanation import TRIMMED, Explanation, Version
from hat_etl.tenants import store


@click.command()
@click.argument("tenant")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@OUTSIDE_WINDOWS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def explain(tenant: str, table: str, key: tuple[str, ...], outside_windows: bool, as_json: bool) -> None:
    """Tell why the row KEY of TABLE is as it is in the HAT database of TENANT, or why it is not there.

    KEY is written as `hat-etl rejects` shows it: parts divided by |, in quotes. Where a part itself holds |, give each
    part as an argument of its own. This shows the values of that row, personal ones, too; secrets are never shown.
    """
    told = use_case.explain(store.load(tenant), table, *key, outside_windows=outside_windows)
    if as_json:
        print_json(told.as_dict())
    else:
        print_explanation(told)


_STATES = {
    "in HAT": "in HAT",
    "kept": "in HAT, a last good version",
    "rejected": "not in HAT, rejected",
    "held": "not in HAT, held",
    "deleted": "not in HAT, deleted",
    "waiting": "not in HAT yet",
    "never seen": "not in HAT, never seen",
}


def print_explanation(told: Explanation) -> None:
    """The answer for reading: verdict, origin, columns, quarantine, history."""
    echo(f"{told.table} {_text(told.key)} of {told.tenant}: {_STATES[told.state]}")
    for line in told.why:
        echo(f"  {_text(line)}")
    if told.hat is not None:
        run, recno = told.hat["run"], told.hat["source_recno"]
        when = f" ({run['mode']} of {_moment(run['finished_at'])})" if run else ""
        stamp = _moment(told.hat["source_stamp"]) or "none"
        echo(f"  Written by run {told.hat['loaded_run']}{when} from Recno {recno}, stamp {stamp}.")
    echo(f"From the view {told.view} over {', '.join(told.erp_tables)}.")
    for seen in told.in_view:
        marks = [*(["deleted"] if seen.deleted else []), *(["another key"] if seen.key != told.key else [])]
        echo(
            f"  Recno {seen.recno} is in the view, stamp {_moment(seen.stamp) or 'none'}"
            + (f" ({', '.join(marks)})" if marks else "")
        )
    for note in told.notes:
        echo(f"Note: {note}")
    print_table(
        "Columns",
        ("column", "source", "in the view", "becomes", "in HAT", "how, and rules"),
        [
            (c.column, c.source, *(_cell(value) for value in (c.in_view, c.becomes, c.in_hat)),
             "; ".join((*c.steps, *c.rules)))
            for c in told.columns
        ],
        f"{TRIMMED} = control characters become blanks, and blanks at both ends go."
        f" {use_case.HIDDEN} = secret. A rule with ! rejects the row.",
    )  # fmt: skip
    if told.rejects:
        names = ("recno", "column", "rule", "severity", "reason", "value")
        print_table("In quarantine", names, [tuple(_cell(entry[n]) for n in names) for entry in told.rejects])
    if told.versions:
        print_table(
            "History, as far as before-images are kept",
            ("run", "mode", "when", "what", "columns (before, after)"),
            [(v.run, v.mode, _moment(v.at), _told(v), _changed(v)) for v in told.versions],
        )


def _told(version: Version) -> str:
    return version.told + (f" (undone by run {version.undone_by})" if version.undone_by else "")


def _changed(version: Version) -> str:
    if version.columns is None:
        return ""
    return "; ".join(f"{name} ({_cell(old)}, {_cell(new)})" for name, (old, new) in version.columns.items())


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _text(text: str) -> str:
    return printable(text).replace("\n", "\\x0a")


def _moment(value: Any) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"
