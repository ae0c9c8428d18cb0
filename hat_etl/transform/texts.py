"""A text column seen as bytes: the base that cleaning, converting and checking stand on.

Most columns of an ERP are clean, so a question is first put to the bytes of the whole column at once (numpy, one pass,
no look at single values); only a column that shows something goes through Arrow's value-by-value kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""One boolean per row of the batch."""
Rows = NDArray[np.intp]
"""Row numbers within the batch, ascending."""
Matrix = NDArray[np.uint8]
"""Bytes of texts of one width: a row per text, a column per position."""

BLANK = 0x20


class Texts:
    """The texts of one column. An empty text and a NULL are the same thing here, and come out as NULL."""

    def __init__(self, array: pa.Array) -> None:
        """``array`` is of a type that ``is_text``."""
        array = array if array.type == pa.string() else array.cast(pa.string())
        offsets, body = _buffers(array)
        if array.null_count and np.diff(offsets)[~_validity(array)].any():  # bytes hidden under NULLs
            array = array.fill_null("")
            offsets, body = _buffers(array)
        self._arrow = array
        self.offsets = offsets
        """Text i is ``body[offsets[i]:offsets[i + 1]]``."""
        self.body = body

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Length of each text in bytes."""
        return np.diff(self.offsets)

    @cached_property
    def filled(self) -> Mask:
        return self.lengths > 0

    @cached_property
    def longest(self) -> int:
        return int(self.lengths.max(initial=0))

    @cached_property
    def lowest(self) -> int:
        """Smallest byte of all; 255 when there is none."""
        return int(self.body.min(initial=255))

    @cached_property
    def highest(self) -> int:
        """Greatest byte of all; 0 when there is none."""
        return int(self.body.max(initial=0))

    @cached_property
    def array(self) -> pa.Array:
        """The texts as Arrow strings, NULL where empty; shares the bytes."""
        empty = len(self) - int(np.count_nonzero(self.filled))
        if empty == self._arrow.null_count:
            return self._arrow
        validity = np.packbits(self.filled, bitorder="little")
        buffers = (pa.py_buffer(self.offsets), pa.py_buffer(self.body), pa.py_buffer(validity))
        return pa.StringArray.from_buffers(len(self), *buffers, empty)

    def characters(self) -> NDArray[np.int32]:
        """Length of each text in characters."""
        if self.highest < 0x80:
            return self.lengths
        counts: NDArray[np.int32] = pc.utf8_length(self.array).fill_null(0).to_numpy(zero_copy_only=False)
        return counts

    def take(self, rows: Rows) -> pa.Array:
        return self.array.take(pa.array(rows))

    def change(self, where: Mask, how: Callable[[pa.Array], pa.Array]) -> Texts:
        """These texts with those of some rows made others."""
        changed = how(self.array.filter(pa.array(where)))
        return Texts(pc.replace_with_mask(self.array, pa.array(where), changed))

    def without(self, where: Mask) -> Texts:
        """These texts with some of them emptied."""
        return self.change(where, lambda texts: pa.nulls(len(texts), pa.string())) if where.any() else self

    def matrix(self, width: int) -> tuple[Rows, Matrix]:
        """The texts that are ``width`` bytes long: their rows and their bytes."""
        rows = np.flatnonzero(self.lengths == width)
        if rows.size * width == self.body.size:  # every other text is empty: the bytes lie side by side
            return rows, self.body.reshape(-1, width)
        return rows, self.body[self.offsets[rows][:, np.newaxis] + np.arange(width, dtype=np.int32)]


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type is read as text; one without any type holds only NULLs."""
    types = pa.types
    return any(is_(kind) for is_ in (types.is_string, types.is_large_string, types.is_string_view, types.is_null))


def _buffers(array: pa.Array) -> tuple[NDArray[np.int32], Matrix]:
    """Offsets, starting at zero, and bytes of a string array that may be a slice of a longer one."""
    _, offset_buffer, data_buffer = array.buffers()
    if not len(array) or offset_buffer is None:
        return np.zeros(len(array) + 1, dtype=np.int32), np.empty(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    if data_buffer is None or offsets[0] == offsets[-1]:
        return np.zeros(len(array) + 1, dtype=np.int32), np.empty(0, dtype=np.uint8)
    body = np.frombuffer(data_buffer, dtype=np.uint8)[offsets[0] : offsets[-1]]
    return offsets if offsets[0] == 0 else offsets - offsets[0], body


def _validity(array: pa.Array) -> Mask:
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask
