"""A session of PostgreSQL through ADBC: rows come as Arrow batches, by binary COPY.

Built on the driver's low-level interface. Its DB-API layer imports pandas, which takes longer than many a small load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, TypeVar

import adbc_driver_postgresql
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement, Error

# Beside pyarrow's own reader this one tells the SQLSTATE of what fails between two batches.
from adbc_driver_manager._reader import AdbcRecordBatchReader

from hat_etl.parallel import result_of

T = TypeVar("T")

BATCH_BYTES = 4 << 20
"""Size hint of one batch on the wire, in bytes."""

_BUILTIN_TYPES = {"adbc.postgresql.type_resolver_mode": "builtin"}
"""Every query asks for PostgreSQL's own types. To learn all others the driver would read each column of each table of
the ERP, of which Protheus has thousands: seconds and tens of MiB for every session.
"""

_OPTIONS = {adbc_driver_postgresql.StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)}


class Session:
    """One connection with one transaction, open from the first moment until ``close``.

    Every method raises adbc_driver_manager.Error, with its ``sqlstate`` where the server told one. Not to be used from
    two threads at once.
    """

    def __init__(self, dsn: str) -> None:
        self._database = adbc_driver_postgresql.connect(dsn, db_kwargs=_BUILTIN_TYPES)
        try:
            self._connection = AdbcConnection(self._database)
            try:
                self._connection.set_autocommit(False)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._database.close()
            raise

    def run(self, statement: str) -> None:
        """Carry out a statement that gives no rows."""
        with AdbcStatement(self._connection) as prepared:
            prepared.set_sql_query(statement)
            prepared.execute_update()

    def row(self, query: str) -> tuple[Any, ...]:
        """The only row of a query."""
        with closing(self.batches(query)) as batches:
            (row,) = (row for batch in batches for row in zip(*(c.to_pylist() for c in batch.columns), strict=True))
        return row

    def batches(self, query: str) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a query, read while they are asked for. Closing the iterator gives up the rest.

        A signal to the main thread cancels the query that it waits for, however long it would take.
        """
        with closing(self._read(query)) as batches:
            while (batch := self._heard(lambda: next(batches, None))) is not None:
                yield batch

    def _heard(self, read: Callable[[], T]) -> T:
        if threading.current_thread() is not threading.main_thread():
            return read()
        with ThreadPoolExecutor(1) as waiting:  # the driver's own wait lets no handler of a signal run
            answer = waiting.submit(read)
            try:
                return result_of(answer)
            except BaseException:
                if not answer.done():
                    with suppress(Error):  # it takes a connection of its own; the interruption is what counts
                        self._connection.cancel()
                raise

    def _read(self, query: str) -> Generator[pa.RecordBatch, None, None]:
        with AdbcStatement(self._connection) as prepared:
            prepared.set_options(**_OPTIONS)
            prepared.set_sql_query(query)
            stream, _ = prepared.execute_query()
            with closing(AdbcRecordBatchReader._import_from_c(stream.address)) as reader:
                yield from reader

    def close(self) -> None:
        try:
            self._connection.close()
        finally:
            self._database.close()
