"""Options that several commands share."""

from __future__ import annotations

import click

OUTSIDE_WINDOWS = click.option(
    "--outside-windows", is_flag=True, help="Read the ERP even when the tenant's windows are closed."
)

VIA = click.option(
    "--via",
    type=click.Choice(["database", "api"]),
    help="Where changes go: straight into the HAT tables, or to HAT's cadastral APIs. Otherwise as [sync] via says.",
)
