"""``hat-etl views``: render, install and check the extraction views."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import get_args

import click

from hat_etl.cli.main import echo
from hat_etl.errors import ConfigurationError, DataError
from hat_etl.source import view_live
from hat_etl.source import views as view_texts
from hat_etl.source.reader import EVERY_VIEW
from hat_etl.tenants import store
from hat_etl.tenants.config import Dialect

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_dialect = click.option("--dialect", type=click.Choice(get_args(Dialect)), help="[default: the tenant's]")


def _user(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given and given.lower() in view_texts.NO_USERS:
        raise click.BadParameter(f"{given} is no user: name the one who reads the views.")
    return given


_reader = click.option(
    "--reader",
    callback=_user,
    help="User who reads the views.  [default: the user of the ERP URL, else HAT_READER]",
)


def _memos(_: click.Context, __: click.Parameter, given: Sequence[str]) -> list[str]:
    fields = [field.upper() for field in given]
    for field in fields:
        if not any(view_texts.emptied(entity, [field]) for entity in EVERY_VIEW):
            raise click.BadParameter(f"no view has a column that comes from {field} and may be empty.")
    return fields


def _wide(_: click.Context, __: click.Parameter, given: Sequence[str]) -> list[str]:
    fields = [field.upper() for field in given]
    for field in fields:
        if field not in view_live.side_by_side():
            raise click.BadParameter(f"no view puts {field} side by side with others.")
    return fields


@click.group()
def views() -> None:
    """Extraction views: one for each HAT table, made in the ERP."""


@views.command()
@click.argument("tenant")
@_dialect
@_reader
@click.option(
    "--stamps",
    type=click.Choice(["auto", "all", "none"]),
    default="auto",
    show_default=True,
    help="Which tables have S_T_A_M_P_: ask the database, all, or none.",
)
@click.option(
    "--memo",
    "memos",
    multiple=True,
    metavar="FIELD",
    callback=_memos,
    help="Field that is a memo, which the database tells where it shows the tables: its column is shown empty.",
)
@click.option(
    "--wide",
    multiple=True,
    metavar="FIELD",
    callback=_wide,
    help="Field that is longer than PLS publishes it, likewise: rows with a longer value are rejected, none is cut.",
)
@_json
def render(
    tenant: str,
    dialect: Dialect | None,
    reader: str | None,
    stamps: str,
    memos: Sequence[str],
    wide: Sequence[str],
    as_json: bool,
) -> None:
    """Print the script with which a DBA makes the views of TENANT."""
    loaded = store.load(tenant)
    dialect = dialect or loaded.erp.dialect
    reader = view_texts.reading_user(loaded, dialect, reader)
    known = view_live.known(loaded, dialect, stamps, memos, wide)
    script = view_texts.script(loaded, dialect, reader=reader, found=known.found, note=known.note)
    if as_json:
        document = {
            "tenant": tenant, "dialect": dialect, "reader": reader, "stampless": sorted(known.found.stampless),
            "memos": sorted(known.found.memos), "wide": sorted(known.found.wide), "note": known.note, "script": script,
        }  # fmt: skip
        echo(json.dumps(document))
    else:
        echo(script.removesuffix("\n"))


@views.command()
@click.argument("tenant")
@_reader
@_json
def install(tenant: str, reader: str | None, as_json: bool) -> None:
    """Make or replace the views of TENANT in its ERP (PostgreSQL), all or none."""
    done = view_live.install(store.load(tenant), reader)
    if as_json:
        echo(json.dumps({"tenant": tenant, **asdict(done)}))
        return
    echo(f"{len(done.views)} views are installed for {tenant}.")
    if done.remade:
        echo(f"Dropped and made anew, since their columns had changed: {', '.join(done.remade)}.")
    if done.stampless:
        echo(f"Tables without S_T_A_M_P_, whose views show no Carimbo: {', '.join(done.stampless)}.")
    if done.emptied:
        echo(f"Shown empty, for their fields are memos: {', '.join(done.emptied)}.")


@views.command()
@click.argument("tenant")
@_dialect
@click.option("--offline", is_flag=True, help="Check the texts only, not the live database.")
@_json
@click.pass_context
def check(context: click.Context, tenant: str, dialect: Dialect | None, offline: bool, as_json: bool) -> None:
    """Check the views of TENANT: their texts, and what the live database says of them.

    Without the ERP's address, the texts alone are checked, and that is exit code 3 unless --offline asks for it.
    """
    loaded = store.load(tenant)
    dialect = dialect or loaded.erp.dialect
    result = view_live.check(loaded, dialect, offline)
    if as_json:
        findings = [asdict(finding) for finding in result.findings]
        echo(json.dumps({"tenant": tenant, "dialect": dialect, "live": result.live, "findings": findings}))
    else:
        for finding in result.findings:
            echo(f"{finding.level}: {finding.view}: {finding.message} Next step: {finding.next_step}")
        verdict = "wrong" if result.failed else "good"
        if result.live:
            echo(f"The views of {tenant} are {verdict} (texts and live views).")
        else:
            echo(f"The texts of the views of {tenant} are {verdict}; the live views were not checked.")
    if result.failed:
        context.exit(DataError.exit_code)
    if not (result.live or offline):
        context.exit(ConfigurationError.exit_code)
