"""The quarantine as a spreadsheet for the operator, in Portuguese. It names rows and reasons, never values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hat_etl.entities import BY_TABLE

_SEVERITIES = {"reject": "rejeitado", "held": "retido", "warning": "aviso"}


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


def write_xlsx(tenant: str, entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a summary sheet (counts by table, rule and situation) and a sheet with every entry."""
    details = frame(entries)
    summary = details.groupby(["Tabela HAT", "Situação", "Regra"], sort=True).size().rename("Registros").reset_index()
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        summary.to_excel(writer, sheet_name="Resumo", index=False)
        details.to_excel(writer, sheet_name="Registros", index=False)
        for name, sheet in writer.sheets.items():
            sheet.freeze_panes = "A2"
            for column, width in zip("ABCDEFGH", (34, 30, 14, 34, 28, 22, 14, 110), strict=True):
                sheet.column_dimensions[column].width = width if name == "Registros" else 30
