"""Texts of a database that was told another encoding than Protheus writes."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from hat_etl.source.encoding import from_utf8_or_cp1252

texts = st.none() | st.text(max_size=8).map(str.encode) | st.binary(max_size=8)


@given(st.lists(texts, max_size=8), st.integers(0, 3))
@example([b"JO\xc3O", None, "JOÃO".encode(), b"", b"\x81"], 1)
def test_each_value_is_read_as_utf8_and_only_where_it_is_none_as_cp1252(values: list[bytes | None], cut: int) -> None:
    buffers = pa.array(values, pa.binary()).buffers()
    column = pa.Array.from_buffers(pa.string(), len(values), buffers)[cut:]  # as the driver makes it: not looked at
    assert from_utf8_or_cp1252(column).to_pylist() == [_read(value) for value in values[cut:]]


def _read(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in value)
