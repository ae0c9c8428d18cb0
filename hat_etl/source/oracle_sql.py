"""The queries that are put to an Oracle ERP, and the types in which their columns are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.entities.model import DELETED, RECNO, STAMP, Column, Kind
from hat_etl.source.encoding import from_utf8_or_cp1252
from hat_etl.source.live_column import LiveColumn
from hat_etl.source.oracle_session import EXACT, WHOLE, BindValue
from hat_etl.source.reader import ViewShape, quote

BATCH_BYTES = 5 << 20
"""About as much as one batch may take up."""
FEWEST_ROWS, MOST_ROWS = 1_000, 20_000
"""Rows of one round trip."""
_TEXT_BYTES = 60
"""What a text takes whose width the view does not tell."""
_NUMBER_BYTES = 32

_CONTROLS = "".join(map(chr, (*range(1, 0x20), 0x7F, *range(0x80, 0xA0))))
"""What the transform takes for blanks. NUL is not among them: no bind brings it everywhere."""


_ZEROS_AT_THE_END = r"^(-?[0-9]+(?:\.[0-9]*[1-9])?)\.?0*$"
"""Of a number without an exponent, with which Arrow writes the very small ones."""


@dataclass(frozen=True)
class Selected:
    """A select list: expressions, the types asked for, and the names that the columns get."""

    expressions: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    names: tuple[str, ...]
    rows: int
    """How many rows are fetched at once."""

    def with_numbers_as_text(self) -> Selected:
        """The same, with numbers written out by the server where a decimal may not hold them."""
        exact = [kind == EXACT for kind in self.types]
        return Selected(
            tuple(
                f"TO_CHAR({expression}, 'TM9')" if huge else expression
                for expression, huge in zip(self.expressions, exact, strict=True)
            ),
            tuple(pa.string() if huge else kind for kind, huge in zip(self.types, exact, strict=True)),
            self.names,
            self.rows,
        )

    @property
    def sql(self) -> str:
        return ", ".join(
            f"{_told_when_too_large(expression) if kind == EXACT else expression} AS C{place}"
            for place, (expression, kind) in enumerate(zip(self.expressions, self.types, strict=True))
        )


def _told_when_too_large(number: str) -> str:
    """The number, or one with too many places behind the point where it has too many before it.

    Of the former the driver tells (DPY-4042). Of the latter, from about 5.8E38 on, it hands on another number.
    """
    return f"CASE WHEN {number} >= 1E38 OR {number} <= -1E38 THEN 1E-100 ELSE {number} END"


def relation(shape: ViewShape) -> str:
    return ".".join(quote(part) for part in shape.relation)


def name(shape: ViewShape, alias: str) -> str:
    return quote(shape.column(alias).name)


def whole_rows(shape: ViewShape) -> Selected:
    """Everything that the entity takes from the view, as a raw batch has it."""
    columns = shape.entity.columns
    live = [shape.column(column.alias) for column in columns]
    width = 3 * _NUMBER_BYTES + sum(_bytes(column) for column in live)
    return Selected(
        (name(shape, RECNO), deleted(shape), stamp(shape), *map(_expression, live)),
        (WHOLE, WHOLE, _stamp_type(shape), *map(_type, live)),
        ("source_recno", "deleted", "source_stamp", *(column.name for column in columns)),
        max(FEWEST_ROWS, min(MOST_ROWS, BATCH_BYTES // width)),
    )


def fingerprints(shape: ViewShape) -> Selected:
    """What a fingerprint is made of."""
    return Selected(
        (name(shape, RECNO), stamp(shape)),
        (WHOLE, _stamp_type(shape)),
        ("source_recno", "source_stamp"),
        MOST_ROWS,
    )


def recnos(shape: ViewShape) -> Selected:
    return Selected((name(shape, RECNO),), (WHOLE,), ("source_recno",), MOST_ROWS)


def deleted(shape: ViewShape) -> str:
    """1 for a deleted row, and never nothing: a view that tells only of these may show the others so."""
    return f"COALESCE({name(shape, DELETED)}, 0)" if shape.named(DELETED) else "0"


def is_live(shape: ViewShape) -> str:
    return f"{deleted(shape)} <> 1"


def stamp(shape: ViewShape) -> str:
    """The stamp in UTC without a zone: the driver drops offsets and stumbles over regions."""
    live = shape.named(STAMP)
    if live is None:
        return "CAST(NULL AS TIMESTAMP)"
    return f"SYS_EXTRACT_UTC({quote(live.name)})" if "TIME ZONE" in live.type_name.upper() else quote(live.name)


def _stamp_type(shape: ViewShape) -> pa.DataType:
    live = shape.named(STAMP)
    digits = re.search(r"\((\d)\)", live.type_name) if live else None
    fine = int(digits[1]) if digits else 6
    # Not finer than HAT keeps it: nanoseconds end with the year 2261, and the driver makes others of those behind it.
    return pa.timestamp("s" if fine == 0 else "ms" if fine <= 3 else "us")


def _expression(live: LiveColumn) -> str:
    # Blanks that pad a CHAR are dropped on the server: less to send and to trim.
    return f"RTRIM({quote(live.name)})" if live.type_name.startswith("CHAR") else quote(live.name)


def _type(live: LiveColumn) -> pa.DataType:
    if live.family == "text":
        return pa.string()
    if live.type_name.startswith("BINARY"):
        return pa.float64()
    sized = re.search(r"\((\d+),(\d+)\)", live.type_name)
    return pa.decimal128(int(sized[1]), int(sized[2])) if sized else EXACT


def _bytes(live: LiveColumn) -> int:
    return _NUMBER_BYTES if live.family != "text" else min(live.width or _TEXT_BYTES, 4 * _TEXT_BYTES)


def raw_batch(batch: pa.RecordBatch, selected: Selected) -> pa.RecordBatch:
    """A fetched batch under the names and types that a raw batch has."""
    columns = []
    for column_name, column in zip(selected.names, batch.columns, strict=True):
        if column_name == "source_recno":
            column = column.cast(pa.int64())
        elif column_name == "deleted":
            column = column.cast(pa.int32())
        elif pa.types.is_decimal(column.type):
            column = plain(column)
        elif pa.types.is_string(column.type):
            column = from_utf8_or_cp1252(column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=list(selected.names))


def plain(column: pa.Array) -> pa.Array:
    """Exact decimals as whole numbers, or else as decimal text without zeros at the end."""
    for places in range(39):
        try:
            shorter = column.cast(pa.decimal256(76, places))
        except pa.ArrowInvalid:
            continue
        if places == 0:
            try:
                return shorter.cast(pa.int64())
            except pa.ArrowInvalid:
                pass
        break
    text = shorter.cast(pa.string())
    return text if places == 0 else pc.replace_substring_regex(text, _ZEROS_AT_THE_END, r"\1")


def matching(shape: ViewShape, key: Mapping[str, str]) -> tuple[str, dict[str, BindValue]]:
    """A condition, with its binds, that holds for all rows whose values can become this key of HAT."""
    parts: list[str] = []
    binds: dict[str, BindValue] = {}
    for place, (column_name, text) in enumerate(key.items()):
        for condition, added in _may_be(shape, shape.entity[column_name], text, place):
            parts.append(condition)
            binds |= added
    return " AND ".join(parts) or "1 = 1", binds


def _may_be(shape: ViewShape, column: Column, text: str, place: int) -> Iterator[tuple[str, dict[str, BindValue]]]:
    live = name(shape, column.alias)
    if column.numeric_source:
        # Before it is rounded.
        near = {f"low{place}": Decimal(text) - 1, f"high{place}": Decimal(text) + 1}
        yield f"{live} BETWEEN :low{place} AND :high{place}", {**near}
        return
    if column.kind not in (Kind.TEXT, Kind.DATE):
        return
    constant = column.source.constant
    if column.kind is Kind.DATE:
        text = text.replace("-", "")
        if text == constant:
            return  # blanks and zeros in many spellings
    shown = f"TRIM(TRANSLATE({live}, :controls{place}, :blanks{place}))"
    if column.rule("upper"):
        shown = f"UPPER({shown})"
    binds: dict[str, BindValue] = {
        f"controls{place}": _CONTROLS, f"blanks{place}": " " * len(_CONTROLS), f"text{place}": text,
    }  # fmt: skip
    same = f"{shown} = :text{place}"
    if text == constant:
        same = f"({same} OR {live} IS NULL OR {shown} IS NULL)"
    yield same, binds
