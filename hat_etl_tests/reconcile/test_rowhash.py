"""The hash of a row is the one that PostgreSQL gives, whatever the row holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hat_etl.target import rowhash
from hat_etl_tests.servers import Server

Asking = psycopg.Connection[Any]

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
KINDS: dict[str, tuple[pa.DataType, str, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), "varchar(80)", st.text(_CHARACTERS, max_size=80)),
    "date": (pa.date32(), "date", st.dates()),
    "flag": (pa.bool_(), "boolean", st.booleans()),
    "smallint": (pa.int16(), "smallint", st.integers(-(2**15), 2**15 - 1)),
    "integer": (pa.int32(), "integer", st.integers(-(2**31), 2**31 - 1)),
    "amount": (
        pa.decimal128(16, 4),
        "numeric(16,4)",
        st.integers(-(10**16) + 1, 10**16 - 1).map(lambda units: Decimal(units).scaleb(-4)),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def asking(postgres: Server) -> Iterator[Asking]:
    with postgres.connect(postgres.create_database("hash")) as connection:
        yield connection


def of_server(asking: Asking, kinds: list[str], rows: list[tuple[Any, ...]]) -> list[int]:
    types = [KINDS[kind][1] for kind in kinds]
    arrays = ", ".join(f"%s::text[]::{kind}[]" for kind in types)
    names = ", ".join(f"c{number}" for number in range(len(kinds)))
    hashed = ", ".join(f"c{n}::text" if kind == "amount" else f"c{n}" for n, kind in enumerate(kinds))
    columns = [[None if value is None else str(value) for value in column] for column in zip(*rows, strict=True)]
    found = asking.execute(
        f"SELECT hash_record_extended(ROW({hashed}), 0) FROM ROWS FROM (unnest({arrays})) AS t ({names})".encode(),
        columns,
    ).fetchall()
    return [hash_ for (hash_,) in found]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[Any, ...]]]:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5))
    row = st.tuples(*(st.none() | KINDS[kind][2] for kind in kinds))
    return kinds, draw(st.lists(row, min_size=1, max_size=8))


@settings(max_examples=300)
@given(table=tables())
def test_rows_hash_as_on_the_server(asking: Asking, table: tuple[list[str], list[tuple[Any, ...]]]) -> None:
    kinds, rows = table
    columns = [
        pa.array(list(column), KINDS[kind][0]) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)
    ]
    assert rowhash.row_hashes(columns).view(np.int64).tolist() == of_server(asking, kinds, rows)


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_texts_of_every_length_hash_as_on_the_server(asking: Asking, padding: int) -> None:
    """Of one length, where the bytes lie side by side, and of several."""
    for length in range(40):
        texts = [("ÁbcÇ0123456789" * 5)[n : n + length] + "-" * (n * padding) for n in range(3)]
        sliced = pa.array(["before", *texts, "after"]).slice(1, 3)
        assert rowhash.row_hashes([sliced]).view(np.int64).tolist() == of_server(
            asking, ["text"], [(text,) for text in texts]
        )


def test_an_amount_is_hashed_as_the_text_that_the_server_writes(asking: Asking) -> None:
    for scale in (2, 4):
        units = [0, 1, -1, 5, 10, 100, 12345, -(10**16) + 1, 10**16 - 1]
        amounts = [Decimal(number).scaleb(-scale) for number in units]
        asked = asking.execute(
            f"SELECT hash_record_extended(ROW(a::numeric(16,{scale})::text), 0) FROM unnest(%s::text[]) a".encode(),
            [[f"{amount:f}" for amount in amounts]],
        ).fetchall()
        hashes = rowhash.row_hashes([pa.array(amounts, pa.decimal128(16, scale))])
        assert hashes.view(np.int64).tolist() == [hash_ for (hash_,) in asked]


def test_the_server_passes_the_probe(asking: Asking) -> None:
    assert asking.execute(rowhash.PROBE.encode()).fetchone() == (rowhash.probed(),)


def test_the_place_of_a_value_and_of_a_null_counts() -> None:
    rows = pa.table({"a": ["x", None, "y", ""], "b": [None, "x", "x", "y"], "c": [date(2020, 1, 1)] * 4})
    hashes = rowhash.row_hashes([column.combine_chunks() for column in rows.columns])
    assert len(set(hashes.tolist())) == 4


def test_no_rows_have_no_hashes() -> None:
    assert rowhash.row_hashes([pa.array([], pa.string()), pa.array([], pa.date32())]).size == 0
