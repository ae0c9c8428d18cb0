"""Options that several commands share."""

from __future__ import annotations

import click

from hat_etl.entities import BY_TABLE

ONLY = click.option(
    "--only", multiple=True, metavar="TABLE", help="Only this HAT table; others may follow, or be given one by one."
)


class TablesCommand(click.Command):
    """A command that takes several tables after one ``--only``, which no option of click's does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        listing = False
        for word in args:
            follows = words[-1:] == ["--only"]
            if listing and not follows and word in BY_TABLE:
                words.append("--only")
            listing = word.partition("=")[0] == "--only" or follows or (listing and word in BY_TABLE)
            words.append(word)
        return super().parse_args(ctx, words)


OUTSIDE_WINDOWS = click.option(
    "--outside-windows", is_flag=True, help="Read the ERP even when the tenant's windows are closed."
)

VIA = click.option(
    "--via",
    type=click.Choice(["database", "api"]),
    help="Where changes go: straight into the HAT tables, or to HAT's cadastral APIs. Otherwise as [sync] via says.",
)
