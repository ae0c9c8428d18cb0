"""Hypothesis strategies: texts, numbers and whole raw batches as an ERP may send them, clean and dirty."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from hat_etl.entities.model import Column, Entity, Kind
from hat_etl_tests.transform import reference

CHARACTERS = st.sampled_from("0127AXZ az@.-çÃé€\u00a0🙂\x00\t\x1f\x7f\x80\x9f\u00a1")
"""Digits, letters of one to four bytes, blanks, and both ends of the ranges of control characters."""

texts = st.lists(st.none() | st.text(CHARACTERS, max_size=12), max_size=8)


def arrays(values: Sequence[str | None]) -> st.SearchStrategy[pa.Array]:
    """``values`` as Arrow in each shape they may arrive in: small or large strings, whole or a slice of more."""

    def shape(kind: pa.DataType, before: int, after: int) -> pa.Array:
        return pa.array(["é "] * before + [*values] + ["\x00"] * after, kind).slice(before, len(values))

    return st.builds(shape, st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 9), st.integers(0, 2))


text_arrays = texts.flatmap(arrays)


def good_values(column: Column) -> list[Any]:
    """Values that give no reject, and mostly no warning."""
    if column.kind is Kind.DATE:
        return ["20231231", "20240229", "19000101"]
    if column.numeric_source:
        return [0.0, 1.0, 120.0, 12.345 if column.kind is Kind.AMOUNT else 2.0]
    if codes := column.rule("in") or column.rule("map"):
        return [*(codes.values if codes.name == "in" else codes.mapping)]
    if column.kind is not Kind.TEXT:
        return ["1", "2"]
    known = {
        "cpf": ["52998224725"],
        "cnpj": ["12ABC34501DE35", "11222333000181"],
        "cpf_or_cnpj": ["52998224725", "11222333000181"],
        "cns": ["700000000001249"],
        "cep": ["01310100"],
        "uf": ["SP", "RJ"],
        "ans_registry": ["412345"],
        "email": ["a@b.com"],
        "check_digit": ["00010001000001000", "00010002000035026"],
    }
    for rule in reversed(column.rules):
        if rule.name in known:
            return known[rule.name]
    return ["1" * column.width, "7" * column.width, "0" * column.width]


def dirty_values(column: Column) -> list[Any]:
    """Values that break something, for this kind of column or for any."""
    if column.numeric_source:
        return [
            None,
            float("nan"),
            float("inf"),
            -1.0,
            0.5,
            1.005,
            -0.004,
            32767.5,
            40000.0,
            1e13,
            99999999999999.99,
            1e300,
        ]
    width = column.width or 8
    anywhere = [None, "", "   ", "\x00", "A\x07", "-", "x" * (width + 1), "x" * (width - 1) + "  y", "1" * (width - 1)]
    odd = ["ã" * width, "🙂" * (width + 1), "\u00a0", "1 " + "1" * max(width - 2, 0), "\x8f" + "1" * width, "٣" * width]
    dates = ["00000000", "0", "20230229", "18991231", "22000101", "21991231", "2023-01-", "202301010"]
    wrong = [
        "11111111111",
        "52998224724",
        "12abc34501de35",
        "700000000001248",
        "sp",
        "a@b",
        "a@@b.c",
        "1" * width + " ",
    ]
    return anywhere + odd + dates + wrong


@cache
def rows(entity: Entity) -> st.SearchStrategy[dict[str, Any]]:
    """Rows in which a value is dirty now and then, so that many are still good."""

    def values(column: Column) -> st.SearchStrategy[Any]:
        good, dirty = good_values(column), dirty_values(column)
        padded = [value + "  " for value in good if isinstance(value, str)]
        often = -(-len(dirty) * len(entity.columns) // (2 * len(good + padded)))
        return st.sampled_from((good + padded) * often + dirty)

    columns = {column.name: values(column) for column in entity.columns}
    stamps = st.none() | st.datetimes(datetime.datetime(2020, 1, 1), datetime.datetime(2030, 1, 1))
    technical = {"source_recno": st.integers(1, 2**62), "deleted": st.sampled_from([0, 0, 0, 1, None])}
    return st.fixed_dictionaries(columns | technical | {"source_stamp": stamps})


_SHAPES = st.fixed_dictionaries(
    {
        "before": st.integers(0, 9),
        "text": st.sampled_from([pa.string(), pa.large_string()]),
        "number": st.sampled_from([pa.float64(), pa.string()]),
        "zone": st.sampled_from([None, "UTC", "America/Sao_Paulo"]),
        "without": st.sets(st.sampled_from(["deleted", "source_stamp"])),
    }
)


@st.composite
def batches(draw: st.DrawFn, entity: Entity) -> tuple[pa.RecordBatch, list[dict[str, Any]]]:
    """A raw batch, maybe a slice of a longer one, and its rows."""
    found = draw(st.lists(rows(entity), max_size=7))
    shape = draw(_SHAPES)
    padding = [draw(rows(entity))] * shape["before"]
    for row in found + padding[:1]:
        for name in shape["without"]:
            row[name] = None
        if shape["number"] == pa.string():
            row.update({c.name: _exact(row[c.name]) for c in entity.columns if c.numeric_source})

    def array(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([row[name] for row in padding + found], kind)

    columns = {
        "source_recno": array("source_recno", pa.int64()),
        "deleted": array("deleted", pa.int32()),
        "source_stamp": array("source_stamp", pa.timestamp("us", shape["zone"])),
    }
    columns |= {c.name: array(c.name, shape["number" if c.numeric_source else "text"]) for c in entity.columns}
    batch = pa.RecordBatch.from_pydict({n: a for n, a in columns.items() if n not in shape["without"]})
    return batch.slice(len(padding)), found


def _exact(number: float | None) -> str | None:
    return None if number is None else reference.written(number)
