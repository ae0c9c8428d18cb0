"""Building blocks of generated columns: padded numbers, days, picks from lists; all vectorised."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.uint8]
"""A matrix of character codes, a row per text."""

EPOCH = date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)


def stream(seed: int, name: str, part: int = 0) -> np.random.Generator:
    """A random generator of its own for each thing generated, so that one never shifts the numbers of another."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), part])


def day(value: date) -> int:
    """Days since 1970, as dates are reckoned here."""
    return (value - EPOCH).days


def digit_matrix(values: Integers, width: int) -> Integers:
    """The ``width`` decimal digits of each number, a row per number."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (np.asarray(values, np.int64)[:, None] // powers) % 10


def texts(codes: npt.NDArray[Any]) -> pa.Array:
    """Texts from a matrix of character codes (ASCII)."""
    rows, width = codes.shape
    offsets = np.arange(0, rows * width + 1, width, dtype=np.int32)
    data = np.ascontiguousarray(codes, dtype=np.uint8)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))


def padded(values: npt.ArrayLike, width: int) -> pa.Array:
    """Numbers as texts with leading zeros."""
    return texts(digit_matrix(np.asarray(values, np.int64), width) + ord("0"))


def days(values: npt.ArrayLike, filled: Booleans | None = None) -> pa.Array:
    """Days since 1970 as ``YYYYMMDD``; empty where ``filled`` is false."""
    index = np.asarray(values, np.int64) - day(_FIRST_DAY) + 1
    return _CALENDAR.take(pa.array(index if filled is None else np.where(filled, index, 0)))


def _calendar() -> pa.Array:
    span = np.arange(np.datetime64(_FIRST_DAY), np.datetime64(_LAST_DAY) + 1)
    written = np.char.replace(np.datetime_as_string(span), "-", "")
    return pa.array(["", *written.tolist()])


_CALENDAR = _calendar()
"""Position 0 is the empty date, position 1 the first of January 1900."""


def pick(words: Sequence[str], index: npt.ArrayLike) -> pa.Array:
    """The word at each index; an index past the end starts over."""
    return pa.array(list(words)).take(pa.array(np.asarray(index, np.int64) % len(words)))


def chosen(rng: np.random.Generator, words: Sequence[str], rows: int) -> pa.Array:
    """Words at random."""
    return pick(words, rng.integers(0, len(words), rows))


def when(filled: Booleans, values: pa.Array | str, otherwise: pa.Array | str = "") -> pa.Array:
    """``values`` where the condition holds, else the other."""
    return pc.if_else(pa.array(filled), values, otherwise)


def join(*parts: pa.Array | str, separator: str = "") -> pa.Array:
    """Texts side by side."""
    return pc.binary_join_element_wise(*parts, separator)


def cut(values: pa.Array, width: int) -> pa.Array:
    """The first ``width`` characters, without blanks at the end."""
    return pc.utf8_rtrim_whitespace(pc.utf8_slice_codeunits(values, 0, width))


def spread(rng: np.random.Generator, rows: int, each: int, choices: int) -> Integers:
    """``each`` different choices for every row, as a matrix; there must be at least ``each`` choices."""
    start = rng.integers(0, choices, rows)
    stride = max(1, choices // each)
    return (start[:, None] + np.arange(each) * stride) % choices


def floats(values: npt.ArrayLike) -> pa.Array:
    """Numbers as Protheus hands them out: doubles."""
    return pa.array(np.asarray(values, np.float64))
