"""Collecting what failed in a batch, and turning it into the table of issues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.entities.model import Column
from hat_etl.transform.reasons import reason
from hat_etl.transform.texts import Mask, Rows

ISSUES = pa.schema(
    [
        pa.field("recno", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("column", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("value", pa.string()),
    ]
)
"""One row per failure: ``severity`` is reject or warning, ``value`` the source text (NULL for secrets)."""


@dataclass(frozen=True)
class _Finding:
    """One rule failing in one column, in one or more rows."""

    column: Column
    rule: str
    rejects: bool
    rows: Rows
    values: pa.Array


class Findings:
    """The failures of one batch. Deleted rows never fail."""

    def __init__(self, rows: int, deleted: Mask | None, columns: Sequence[Column]) -> None:
        self._deleted = deleted
        self._places = {column.name: place for place, column in enumerate(columns)}
        self._found: list[_Finding] = []
        self.rejected: Mask = np.zeros(rows, dtype=bool)

    def add(self, column: Column, rule: str, failed: Mask, take: Callable[[Rows], pa.Array], *, rejects: bool) -> None:
        """Note that ``rule`` failed in these rows; ``take`` gives the source text of rows."""
        if not failed.any():
            return
        rows = np.flatnonzero(failed if self._deleted is None else failed & ~self._deleted)
        if not rows.size:
            return
        values = pa.nulls(len(rows), pa.string()) if column.secret else take(rows)
        self._found.append(_Finding(column, rule, rejects, rows, values))
        if rejects:
            self.rejected[rows] = True

    def table(self, recnos: pa.Array, keys: Callable[[Rows], pa.Array]) -> pa.RecordBatch:
        """The issues in the order of rows, then of columns; ``keys`` gives the key text of rows."""
        found = sorted(self._found, key=lambda finding: self._places[finding.column.name])
        if not found:
            return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in ISSUES], schema=ISSUES)
        rows = np.concatenate([finding.rows for finding in found])
        order = np.argsort(rows, kind="stable")
        which = np.repeat(np.arange(len(found)), [len(finding.rows) for finding in found])
        which = pa.array(which[order])
        rows = rows[order]

        def said(texts: list[str]) -> pa.Array:
            return pa.array(texts, pa.string()).take(which)

        values = pa.concat_arrays([finding.values for finding in found])
        return pa.RecordBatch.from_arrays(
            [
                recnos.take(pa.array(rows)),
                keys(rows),
                said([f.column.name for f in found]),
                said([f.rule for f in found]),
                said(["reject" if f.rejects else "warning" for f in found]),
                said([reason(f.column, f.rule, rejects=f.rejects) for f in found]),
                values.take(pa.array(order)),
            ],
            schema=ISSUES,
        )


def key_texts(parts: list[pa.Array]) -> pa.Array:
    """The parts of each key joined by ``|``, days as in ISO 8601, NULL parts empty; NULL when all of them are."""
    texts = [part.cast(pa.string()) for part in parts]
    joined = pc.binary_join_element_wise(*(text.fill_null("") for text in texts), "|")
    known = np.logical_or.reduce([text.is_valid().to_numpy(zero_copy_only=False) for text in texts])
    return pc.if_else(pa.array(known), joined, None)
