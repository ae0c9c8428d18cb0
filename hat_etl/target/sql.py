"""Pieces of SQL over quoted column names, for statements that are composed from the declarations."""

from __future__ import annotations

from collections.abc import Iterable


def names(columns: Iterable[str], alias: str = "") -> str:
    """The columns, of ``alias`` where there is one, with commas between."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(f'{prefix}"{column}"' for column in columns)


def filled(columns: Iterable[str], alias: str = "") -> str:
    """True where none of the columns is NULL."""
    prefix = f"{alias}." if alias else ""
    return " AND ".join(f'{prefix}"{column}" IS NOT NULL' for column in columns)


def equal(left: str, right: str, columns: Iterable[str], other_columns: Iterable[str] | None = None) -> str:
    """True where the columns of ``left`` are those of ``right``, which may go by other names there."""
    columns = list(columns)
    pairs = zip(columns, other_columns or columns, strict=True)
    return " AND ".join(f'{left}."{ours}" = {right}."{theirs}"' for ours, theirs in pairs)


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
