"""Bytes of the code page CP1252 to UTF-8, whole buffers at a time.

Protheus writes CP1252 whatever the database declares. Where the server cannot be trusted to convert (SQL_ASCII;
LATIN1, which has no curly quotes; WIN1252, which stops at an undefined byte), the bytes are read as they are and
converted here. The five bytes that CP1252 leaves undefined become the control characters of the same number, which
the transform turns into blanks.

Oracle converts from the encoding that it was told. Where it was told UTF-8 by a client that wrote CP1252, it keeps the
bytes as they came, and what is no UTF-8 is read as what it is.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ODD_BYTES = "backslashreplace"
"""What becomes of bytes that are no UTF-8 in a text of the catalogue: different texts stay different."""


def _table() -> tuple[np.ndarray[tuple[int, int], np.dtype[np.uint8]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    encoded = [bytes([b]).decode("cp1252", errors="ignore") or chr(b) for b in range(256)]
    as_bytes = [text.encode("utf-8") for text in encoded]
    matrix = np.zeros((256, 3), dtype=np.uint8)
    for code, chunk in enumerate(as_bytes):
        matrix[code, : len(chunk)] = list(chunk)
    return matrix, np.array([len(chunk) for chunk in as_bytes], dtype=np.int64)


_BYTES, _LENGTHS = _table()


def from_cp1252(column: pa.Array) -> pa.Array:
    """Binary column holding CP1252 to a string column; nulls stay null."""
    column = column.cast(pa.large_binary())
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    raw = np.frombuffer(column.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    lengths = _LENGTHS[raw]
    ends = np.concatenate(([0], np.cumsum(lengths)))
    if int(ends[-1]) == len(raw):
        data = raw
    else:
        wide = _BYTES[raw]
        data = wide[np.arange(3) < lengths[:, None]]
    new_offsets = ends[offsets - offsets[0]]
    valid = pc.is_valid(column) if column.null_count else None
    text = pa.LargeStringArray.from_buffers(
        len(column), pa.py_buffer(new_offsets.astype(np.int64).tobytes()), pa.py_buffer(data.tobytes())
    )
    text = text.cast(pa.string())
    return text if valid is None else pc.if_else(valid, text, None)


def from_utf8_or_cp1252(column: pa.Array) -> pa.Array:
    """String column that may hold bytes which are no UTF-8: such values are taken for CP1252, each by itself."""
    raw = column.cast(pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        pass
    valid = pa.array([_is_utf8(value) for value in raw.to_pylist()])
    return pc.if_else(valid, pc.if_else(valid, raw, None).cast(pa.string()), from_cp1252(raw))


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
