"""Rows of a PLS table on their way into it: generated fields, fillers, control columns."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.sandbox import physical
from hat_etl.sandbox.arrays import stream

DELETED_SHARE = 0.015
"""Logically deleted rows per live row."""

STAMPED_DAYS = 700
"""The rows were last changed at some moment of so many days before today."""


@dataclass(frozen=True)
class Rows:
    """Live rows. ``columns`` goes by field name without the alias; a constant stands for all rows.

    ``vanished`` gives the deleted copies another key, so that they are deleted for good rather than re-included.
    """

    alias: str
    length: int
    columns: Mapping[str, pa.Array | str | float]
    vanished: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Finisher:
    """Turns generated rows into complete physical ones and numbers them (R_E_C_N_O_) table by table."""

    seed: int
    today: date
    next_recno: dict[str, int] = field(default_factory=dict)

    def finish(self, rows: Rows) -> pa.RecordBatch:
        """All fields that are not blank, then the control columns; deleted copies of some rows stand at the end."""
        first = self.next_recno.get(rows.alias, 1)
        rng = stream(self.seed, f"finish {rows.alias}", first)
        columns = self._columns(rows)
        gone = rng.integers(0, rows.length, max(1, int(rows.length * DELETED_SHARE)))
        total = rows.length + len(gone)
        self.next_recno[rows.alias] = first + total
        copied = pa.array(np.concatenate([np.arange(rows.length), gone]))
        vanishes = np.arange(total) - rows.length
        vanishes = (vanishes >= 0) & (vanishes % 2 == 1)
        for name, column in columns.items():
            complete = column.take(copied)
            if value := rows.vanished.get(name):
                complete = pc.if_else(pa.array(vanishes), value, complete)
            columns[name] = complete
        recno = np.arange(first, first + total)
        deleted = np.arange(total) >= rows.length
        midnight = np.datetime64(self.today, "us")
        stamps = midnight - rng.integers(1, STAMPED_DAYS * 86_400, total).astype("timedelta64[s]")
        named = {f"{rows.alias}_{name}".lower(): column for name, column in columns.items()}
        return pa.RecordBatch.from_pydict(
            {
                **named,
                physical.DELETED: pc.if_else(pa.array(deleted), "*", " "),
                physical.RECNO: pa.array(recno),
                physical.RECDEL: pa.array(np.where(deleted, recno, 0)),
                physical.STAMP: pa.array(stamps),
            }
        )

    @staticmethod
    def _columns(rows: Rows) -> dict[str, pa.Array]:
        known = {name.split("_", 1)[1]: form for name, form in physical.fields(rows.alias).items()}
        if unknown := rows.columns.keys() - known.keys():
            raise KeyError(f"{rows.alias} has no field {sorted(unknown)}")
        columns: dict[str, pa.Array] = {}
        for name, form in known.items():
            value = rows.columns.get(name, _filler(form))
            if value == "":
                continue  # blank by default
            if isinstance(value, str | int | float):
                value = pa.repeat(pa.scalar(value, pa.float64() if form.is_number else pa.string()), rows.length)
            columns[name] = value
        return columns


def _filler(form: physical.PhysicalField) -> str:
    """Something plausible in two of three fields that no view reads; the others stay blank, as in the field."""
    draw = zlib.crc32(form.name.encode())
    if form.type != "C" or form.name.endswith("_FILIAL") or form.name in physical.read_fields() or draw % 3 == 0:
        return ""
    return "01NS"[draw % 4] if form.size == 1 or draw % 2 else f"{draw % 1000:03d}"[: form.size]
