"""Options that several commands share."""

from __future__ import annotations

import click

OUTSIDE_WINDOWS = click.option(
    "--outside-windows", is_flag=True, help="Read the ERP even when the tenant's windows are closed."
)
