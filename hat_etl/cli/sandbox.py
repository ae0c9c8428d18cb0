"""``hat-etl sandbox``: a PLS and a HAT database on this machine, to try everything on."""

from __future__ import annotations

from pathlib import Path

import click

from hat_etl.cli.main import echo, print_json, say
from hat_etl.cli.tables import print_table
from hat_etl.tenants.config import Dialect

FOLDER = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="HAT_ETL_SANDBOX",
    default=Path(".sandbox"),
    show_default=True,
    help="Where the servers keep their data.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def sandbox() -> None:
    """An embedded PostgreSQL with a PLS as Protheus has it, an empty HAT database, and the tenant file `demo`."""


ERP = click.option(
    "--erp",
    type=click.Choice(["postgresql", "oracle"]),
    default="postgresql",
    show_default=True,
    help="What the PLS is to the tenant: a PostgreSQL, or a server that speaks Oracle's protocol in front of it.",
)


@sandbox.command()
@FOLDER
@click.option("--beneficiaries", default=20_000, show_default=True, help="Size of the operator.")
@click.option("--dirt", is_flag=True, help="Plant faults of every kind, with known counts; from 2,000 beneficiaries.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same operator.")
@click.option("--billing", is_flag=True, help="Also a HAT in which lots wait, and an operator's web service.")
@ERP
@_JSON
def up(folder: Path, beneficiaries: int, dirt: bool, seed: int, billing: bool, erp: Dialect, as_json: bool) -> None:
    """Start the sandbox, and make its data when they are not there yet.

    With another size, seed or --dirt than it was made with, both databases are made anew, and what they held is gone.
    """
    from hat_etl.sandbox import command

    _, manifest = command.up(
        folder, beneficiaries=beneficiaries, dirt=dirt, seed=seed, erp=erp, with_billing=billing, tell=say
    )
    if billing:
        command.billing_of(folder).seed()
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        then = "hat-etl views install demo" if erp == "postgresql" else "hat-etl load demo"
        echo(f"The sandbox is up in {folder}. Tenant: demo. Next: {then}")


@sandbox.command()
@FOLDER
@click.option("--changes", default=1_000, show_default=True, help="About how many rows to change.")
@click.option("--seed", default=1, show_default=True, help="Same seed on the same rows, same changes.")
@click.option("--kinds", default="", help="Only these kinds of activity, divided by commas; all unless given.")
@_JSON
def churn(folder: Path, changes: int, seed: int, kinds: str, as_json: bool) -> None:
    """Let the ERP work: change rows as people do, and in every way for which incremental loads lose rows.

    Insertions, updates and deletions for the most part, then purges, re-inclusions, duplicates, rows made bad and
    mended, late commits, wrong clocks and others. What `up --dirt` planted may look different afterwards.
    """
    from hat_etl.sandbox.churn import bulk

    report = bulk.churn(folder, changes, seed, [kind.strip() for kind in kinds.split(",") if kind.strip()])
    if as_json:
        print_json(report.as_dict())
        return
    print_table(
        f"Activity in {folder}",
        ("activity", "rows", "tables"),
        [
            (label, sum(tables.values()), ", ".join(f"{alias} {count:,}" for alias, count in tables.items()))
            for label, tables in report.rows.items()
        ],
        f"{report.total:,} rows written in {report.seconds:.1f} s.",
    )


@sandbox.command()
@FOLDER
@_JSON
def down(folder: Path, as_json: bool) -> None:
    """Stop the sandbox; its data stay."""
    from hat_etl.sandbox import command

    command.down(folder)
    if as_json:
        print_json({"folder": str(folder), "state": "down"})
    else:
        echo("The sandbox is down.")
