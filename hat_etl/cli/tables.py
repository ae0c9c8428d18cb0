"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hat_etl.cli.main import echo, is_utf

NUMBERS = frozenset({"read", "loaded", "updated", "deleted", "rejected", "held", "warnings", "seconds", "rows", "run"})


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], footer: str = "") -> None:
    """Print rows under their columns; numbers to the right, with thousands separated."""
    # Rich would look for the encoding of what it writes to, which is no terminal here.
    lines = box.HEAVY_HEAD if is_utf() else box.ASCII
    table = Table(title=Text(title), title_justify="left", show_edge=False, pad_edge=False, box=lines)
    for column in columns:
        table.add_column(column, justify="right" if column in NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    is_terminal, text = Console().is_terminal, StringIO()
    # Rich does not write it itself: it would end the process where nobody reads any more.
    console = Console(file=text, force_terminal=is_terminal, width=None if is_terminal else 160)
    console.print(table)
    if footer:
        console.print(footer, highlight=False, markup=False)
    echo(text.getvalue().removesuffix("\n"))


def _cell(value: object) -> Text:
    """What stands in a cell. Values of the data are among it: nothing in them may mean anything to the terminal."""
    if isinstance(value, bool) or value is None:
        return Text({True: "yes", False: "no"}.get(value, "") if value is not None else "")
    if isinstance(value, float):
        return Text(f"{value:,.1f}")
    return Text(f"{value:,}" if isinstance(value, int) else printable(str(value)))


def printable(text: str) -> str:
    """Text of the data with its control characters spelled out; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
