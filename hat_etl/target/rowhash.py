"""PostgreSQL's 64-bit hash of a row, computed on Arrow columns: what ``hash_record_extended(ROW(...), 0)`` gives.

So a table need not be sent to be compared: the server sends a number per row. The function is Bob Jenkins' lookup3
for every value, joined column by column; the rows of hash-partitioned tables lie where it says, so that it stays the
same from version to version (little-endian machines, PostgreSQL 14 and later; ``probe`` asks a server whether it is
so there).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import hat_etl.pandas_free  # noqa: F401 - before any array is made
from hat_etl.entities.model import Column, Kind

Hashes = NDArray[np.uint64]
Words = NDArray[np.uint32]

_START = np.uint32(0x9E3779B9 + 3923095)
_MIX = ((0, 2, 4), (1, 0, 6), (2, 1, 8), (0, 2, 16), (1, 0, 19), (2, 1, 4))
"""Steps of a round on three words: the word changed, the one it takes, by how many bits that is turned."""
_FINAL = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))
_ROUND = 12
"""Bytes that one round takes in."""
_KEPT = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], dtype=np.uint32)
"""Mask of a word of which so many bytes are the text's."""
_DAY_ZERO = date(2000, 1, 1).toordinal() - date(1970, 1, 1).toordinal()


def expression(columns: Sequence[Column], alias: str) -> str:
    """SQL for the hash of a row of a HAT table. Amounts are hashed as text: the hash of numeric is another matter."""
    parts = (f'{alias}."{c.name}"' + ("::text" if c.kind is Kind.AMOUNT else "") for c in columns)
    return f"hash_record_extended(ROW({', '.join(parts)}), 0)"


def row_hashes(columns: Iterable[pa.Array]) -> Hashes:
    """The hash of each row of these columns: text, day, boolean, whole number or amount."""
    result: Hashes | None = None
    for column in columns:
        if result is None:
            result = np.zeros(len(column), dtype=np.uint64)
        result *= np.uint64(31)
        if column.null_count == len(column):
            continue
        if column.null_count:
            result[column.is_valid().to_numpy(zero_copy_only=False)] += _hashes(column.drop_null())
        else:
            result += _hashes(column)
    if result is None:
        raise ValueError("a row without columns has no hash")
    return result


def _hashes(array: pa.Array) -> Hashes:
    """Hashes of values without NULLs among them."""
    kind = array.type
    if pa.types.is_decimal(kind):
        return _of_texts(array.cast(pa.string()))
    if pa.types.is_string(kind):
        return _of_texts(array)
    if pa.types.is_date32(kind):
        return _of_words((array.view(pa.int32()).to_numpy() - np.int32(_DAY_ZERO)).view(np.uint32))
    if pa.types.is_boolean(kind):
        return _of_words(array.to_numpy(zero_copy_only=False).astype(np.uint32))
    return _of_words(array.to_numpy().astype(np.int32).view(np.uint32))


def _of_words(words: Words) -> Hashes:
    state = [np.full(len(words), _START + np.uint32(4), dtype=np.uint32) for _ in range(3)]
    state[0] += words
    return _finish(state)


def _of_texts(array: pa.Array) -> Hashes:
    offsets, body = _bytes(array)
    lengths = np.diff(offsets)
    width = int(lengths[0])
    if (lengths == width).all():
        return _of_width(body, width, len(array))
    rows, starts, word_at = len(array), offsets[:-1].astype(np.intp), _words(body, len(body) - 3, 0, 1)
    first = lengths.astype(np.uint32) + _START
    state = [first, first.copy(), first.copy()]
    rounds = lengths // _ROUND
    for number in range(int(rounds.max())):
        some = np.flatnonzero(rounds > number)
        at = starts[some] + number * _ROUND
        part = state if some.size == rows else [word[some] for word in state]
        for place in range(3):
            part[place] += word_at[at + 4 * place]
        _turn(part)
        if part is not state:
            for word, changed in zip(state, part, strict=True):
                word[some] = changed
    rest = lengths - rounds * _ROUND
    starts += rounds * _ROUND
    longest = int(rest.max())
    for place in range(-(-longest // 4)):
        last = word_at[starts + 4 * place] & _KEPT[np.clip(rest - 4 * place, 0, 4)]
        _add_last(state, place, last)
    return _finish(state)


def _of_width(body: NDArray[np.uint8], width: int, rows: int) -> Hashes:
    """The same for texts of one width that lie side by side."""
    state = [np.full(rows, _START + np.uint32(width), dtype=np.uint32) for _ in range(3)]
    whole = width - width % _ROUND
    for start in range(0, whole, _ROUND):
        for place in range(3):
            state[place] += _words(body, rows, start + 4 * place, width)
        _turn(state)
    for place in range(-(-(width - whole) // 4)):
        start = whole + 4 * place
        _add_last(state, place, _words(body, rows, start, width) & _KEPT[min(width - start, 4)])
    return _finish(state)


def _add_last(state: list[Words], place: int, last: Words) -> None:
    """Take in a word of what is left after the rounds; the lowest byte of the third belongs to the length."""
    state[place] += last << np.uint32(8) if place == 2 else last


def _bytes(array: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Offsets from zero, and the bytes with room behind them for whole words."""
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    low, high = int(offsets[0]), int(offsets[-1])
    body = np.zeros(high - low + _ROUND, dtype=np.uint8)
    if high > low:
        body[: high - low] = np.frombuffer(data, dtype=np.uint8)[low:high]
    return offsets - np.int32(low), body


def _words(body: NDArray[np.uint8], count: int, start: int, stride: int) -> Words:
    """Little-endian words of four bytes that share the memory of ``body``, one every ``stride`` bytes."""
    return np.ndarray((count,), dtype="<u4", buffer=body, offset=start, strides=(stride,))


def _turn(state: list[Words]) -> None:
    for changed, by, bits in _MIX:
        word, other = state[changed], state[by]
        word -= other
        word ^= _rotated(other, bits)
        other += state[3 - changed - by]


def _finish(state: list[Words]) -> Hashes:
    for changed, by, bits in _FINAL:
        word, other = state[changed], state[by]
        word ^= other
        word -= _rotated(other, bits)
    high = state[1].astype(np.uint64)
    high <<= np.uint64(32)
    high |= state[2]
    return high


def _rotated(word: Words, bits: int) -> Words:
    left = word << np.uint32(bits)
    left |= word >> np.uint32(32 - bits)
    return left


# -- is it so on this server? ------------------------------------------------------------------------------------------

_PROBES: tuple[tuple[str, pa.Array], ...] = (
    *((f"'{'aé9' * n}'::varchar", pa.array(["aé9" * n])) for n in range(9)),
    ("NULL::varchar", pa.nulls(1, pa.string())),
    ("'2024-02-29'::date", pa.array([date(2024, 2, 29)])),
    ("'1900-01-01'::date", pa.array([date(1900, 1, 1)])),
    ("true", pa.array([True])),
    ("false", pa.array([False])),
    ("(-7)::smallint", pa.array([-7], pa.int16())),
    ("2147483647", pa.array([2147483647], pa.int32())),
    ("(-12.50)::numeric(16,2)::text", pa.array([Decimal("-12.50")], pa.decimal128(16, 2))),
)

PROBE = f"SELECT hash_record_extended(ROW({', '.join(written for written, _ in _PROBES)}), 0)"
"""A question whose answer tells whether a server hashes as ``row_hashes`` does: compare it with ``PROBED``."""


def probed() -> int:
    """The right answer to ``PROBE``, as the server's signed number."""
    return int(row_hashes([array for _, array in _PROBES]).view(np.int64)[0])
