"""The quarantine as a spreadsheet for the operator, in Portuguese. It names rows and reasons, never values."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from lxml.etree import SerialisationError
from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from hat_etl.entities import BY_TABLE

_SEVERITIES = {"reject": "rejeitado", "held": "retido", "warning": "aviso"}


LARGEST_SHEET = 1_048_575
"""Rows that Excel takes in a sheet, below the headings."""

_WIDTHS = (34, 30, 14, 34, 28, 22, 14, 110)


def frame(entries: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Entries of ``LedgerReader.rejects`` under Portuguese headings, with the view that each table is read from."""
    return pd.DataFrame(
        [
            {
                "Tabela HAT": entry["table"],
                "Visão": BY_TABLE[entry["table"]].view,
                "R_E_C_N_O_": entry["recno"],
                "Chave": entry["key"],
                "Coluna": entry["column"],
                "Regra": entry["rule"],
                "Situação": _SEVERITIES[entry["severity"]],
                "Motivo": entry["reason"],
            }
            for entry in entries
        ],
        columns=["Tabela HAT", "Visão", "R_E_C_N_O_", "Chave", "Coluna", "Regra", "Situação", "Motivo"],
    )


def write_xlsx(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a summary sheet (counts by table, rule and situation) and every entry, on as many sheets as that takes.

    Raises OSError; a file that was there is then as it was.
    """
    details = frame(entries)
    summary = details.groupby(["Tabela HAT", "Situação", "Regra"], sort=True).size().rename("Registros").reset_index()
    book, content = Workbook(write_only=True), BytesIO()  # which forgets each row once it is written
    try:
        _add_sheet(book, "Resumo", summary, (30,) * len(summary.columns))
        for number, first in enumerate(range(0, max(1, len(details)), LARGEST_SHEET), 1):
            name = "Registros" if number == 1 else f"Registros {number}"
            _add_sheet(book, name, details[first : first + LARGEST_SHEET], _WIDTHS)
        book.save(content)
    except SerialisationError as error:
        raise _cannot_grow(book, error) from None
    _replace(path, content.getvalue())


def _cannot_grow(book: Workbook, error: SerialisationError) -> OSError:
    """What is told where the files fail in which sheets grow: those for the time being, in a folder of their own."""
    for sheet in book:
        with suppress(SerialisationError):  # else it is tried again when the sheet goes, and printed
            sheet.close()
    code = getattr(errno, str(error).removeprefix("IO_"), errno.EIO)
    return OSError(code, f"{os.strerror(code)} in {tempfile.gettempdir()}")


def _add_sheet(book: Workbook, name: str, rows: pd.DataFrame, widths: Sequence[int]) -> None:
    sheet = book.create_sheet(name)
    sheet.freeze_panes = "A2"
    for place, width in enumerate(widths, 1):
        sheet.column_dimensions[get_column_letter(place)].width = width
    headings = [WriteOnlyCell(sheet, heading) for heading in rows.columns]
    for heading in headings:
        heading.font = Font(bold=True)
    sheet.append(headings)
    for row in rows.itertuples(index=False, name=None):
        sheet.append([_text(WriteOnlyCell(sheet, v)) if str(v).startswith("=") else v for v in row])


def _text(cell: Cell) -> Cell:
    """A text of the ERP that begins with = is no formula."""
    cell.data_type = "s"
    return cell


def _replace(path: Path, content: bytes) -> None:
    """Write the file beside its place first, so that a disk that gets full leaves the earlier one whole."""
    if path.exists() and not path.is_file():  # a pipe or a terminal
        path.write_bytes(content)
        return
    path = path.resolve()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
