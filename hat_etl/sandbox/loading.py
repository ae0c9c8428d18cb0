"""Puts generated rows into the PLS by binary COPY, then makes the indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

from hat_etl.protheus import dictionary
from hat_etl.sandbox import physical
from hat_etl.sandbox.population import generate
from hat_etl.sandbox.server import ERP_SCHEMA


def fill(
    connection: psycopg.Connection,
    company: str,
    seed: int,
    size: int,
    today: date,
    stamps: bool | Collection[str] = True,
) -> dict[str, int]:
    """Make all tables and fill them; gives the rows per alias, deleted ones included.

    ``stamps`` is as in ``physical.create``: where row stamps are off, the tables have no such column.
    """
    physical.create(connection, company, ERP_SCHEMA, stamps)
    rows: Counter[str] = Counter()
    for alias, batch in _ahead(generate(seed, size, today)):
        if not physical.has_stamp(alias, stamps):
            batch = batch.drop_columns([physical.STAMP])
        _copy(connection, f"{ERP_SCHEMA}.{dictionary.physical_name(alias, company)}", batch)
        rows[alias] += batch.num_rows
    for alias, count in rows.items():
        table = f"{ERP_SCHEMA}.{dictionary.physical_name(alias, company)}"
        connection.execute(f"ALTER TABLE {table} ALTER COLUMN {physical.RECNO} RESTART WITH {count + 1}")
    connection.execute("SET maintenance_work_mem = '256MB'")
    physical.create_indexes(connection, company, ERP_SCHEMA)
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM (ANALYZE)")
    return dict(rows)


def _ahead(
    chunks: Iterable[tuple[str, pa.RecordBatch]],
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The same chunks, each generated while the one before is written."""
    source = iter(chunks)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, source, None)
        while (chunk := pending.result()) is not None:
            pending = pool.submit(next, source, None)
            yield chunk


def _copy(connection: psycopg.Connection, table: str, batch: pa.RecordBatch) -> None:
    encoder = ArrowToPostgresBinaryEncoder(batch.schema)
    columns = ", ".join(batch.schema.names)
    with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(encoder.write_header())
        copy.write(encoder.write_batch(batch))
        copy.write(encoder.finish())
