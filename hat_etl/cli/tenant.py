"""``hat-etl tenant``: create and list tenants."""

from __future__ import annotations

import json
from typing import Any, get_args

import click

from hat_etl.cli.main import echo, telling
from hat_etl.cli.tables import print_table
from hat_etl.errors import ConfigurationError
from hat_etl.tenants import store
from hat_etl.tenants.config import Dialect

_SHOWN = ("dialect", "company", "connections", "windows")


@click.group()
def tenant() -> None:
    """Tenants: one health operator each, described by a small TOML file."""


@tenant.command()
@click.argument("name")
@click.option("--ans-registry", required=True, help="Registration of the operator at ANS, 6 digits.")
@click.option("--dialect", type=click.Choice(get_args(Dialect)), default="postgresql", show_default=True)
@click.option("--company", default="01", show_default=True, help="Company of Protheus: with 01, BA1 is ba1010.")
@click.option("--schema", help="Owner of the PLS tables.  [default: the login's own schema]")
@click.option("--views-schema", help="Where the views are.  [default: the same schema]")
@click.option("--connections", type=int, default=4, show_default=True, help="At most this many to the ERP.")
@click.option("--window", "windows", multiple=True, help="Hours in which the ERP may be read, e.g. 20:00-06:00.")
@click.option("--erp-url", help="Reference to the ERP's URL.  [default: env:<NAME>_ERP_URL]")
@click.option("--hat-url", help="Reference to the URL of the tenant's database.  [default: env:<NAME>_HAT_URL]")
@click.option("--hat-schema", default="hat", show_default=True, help="Schema of the HAT tables.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def new(name: str, as_json: bool, **options: Any) -> None:
    """Write the file of a new tenant NAME. An existing file is never overwritten."""
    created, file = store.create(name, **options)
    secrets = [str(created.erp.url), str(created.hat.url)]
    with telling(name, f"{file} is written.", "hat-etl tenant list"):
        if as_json:
            echo(json.dumps({"tenant": name, "file": str(file), "secrets": secrets}))
        else:
            echo(f"Created {file}.\nNext: provide {' and '.join(secrets)}, then run: hat-etl doctor {name}")


@tenant.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(as_json: bool) -> None:
    """List all tenants. A file that is wrong is listed with its error."""
    rows = [_row(name) for name in store.names()]
    if as_json:
        echo(json.dumps(rows))
    elif not rows:
        echo(f"No tenant in {store.folder()}. Create one with: hat-etl tenant new NAME --ans-registry NUMBER")
    else:
        print_table("Tenants", ("tenant", *_SHOWN), [_cells(row) for row in rows])
        for row in rows:
            if row["error"]:
                echo(row["error"])


def _cells(row: dict[str, Any]) -> list[object]:
    if row["error"]:
        return [row["name"], *["-"] * len(_SHOWN)]
    return [row["name"], row["dialect"], row["company"], row["connections"], ", ".join(row["windows"]) or "always"]


def _row(name: str) -> dict[str, Any]:
    try:
        erp = store.load(name).erp
    except ConfigurationError as error:
        return {
            "name": name,
            "dialect": None,
            "company": None,
            "connections": None,
            "windows": None,
            "error": str(error),
        }
    return {
        "name": name,
        "dialect": erp.dialect,
        "company": erp.company,
        "connections": erp.connections,
        "windows": [str(window) for window in erp.windows],
        "error": None,
    }
