"""Raw batches, as every source yields them."""

from __future__ import annotations

import pyarrow as pa

from hat_etl.source.reader import recnos_of


def test_recnos_that_are_kept_keep_no_batch_in_memory() -> None:
    """A sync of a million rows kept all of them, 400 bytes each, for the Recnos that it remembered."""
    before = pa.total_allocated_bytes()
    made = pa.record_batch({"source_recno": pa.array(range(1000)), "name": pa.array(["x" * 1000] * 1000)})
    stream = pa.RecordBatchReader.from_batches(made.schema, [made])
    (batch,) = pa.RecordBatchReader.from_stream(stream)  # by the interface through which drivers hand batches over
    del made, stream
    assert pa.total_allocated_bytes() - before > 1_000_000
    recnos = recnos_of(batch)
    del batch
    assert pa.total_allocated_bytes() - before < 100_000
    assert recnos.tolist() == list(range(1000))
