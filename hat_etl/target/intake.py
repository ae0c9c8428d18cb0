"""What a sync has read of one table, in temporary tables of the run's own session: they end with it, come what may.

``good`` rows in the form of HAT, ``rejected`` ones by their keys, ``seen`` every Recno that was read or asked for,
with whether a live row has it, and the ``issues`` of the live ones. Rows that HAT shows as they are stay out of them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import errors as pg

from hat_etl.entities.model import Entity
from hat_etl.errors import DataError
from hat_etl.source.reader import Recnos
from hat_etl.target.database import Connection
from hat_etl.target.schema import create_rejected_table, create_stage_table, rejected_table
from hat_etl.transform import Transformed, rejected_schema

SMALL = 2_000
"""Rows up to which the planner guesses well enough from the size of a temporary table."""

_SEEN = pa.schema(
    [
        pa.field("recno", pa.int64(), nullable=False),
        pa.field("live", pa.bool_(), nullable=False),
        pa.field("repeats", pa.bool_(), nullable=False),
    ]
)
_ALL = pa.schema([pa.field("recno", pa.int64(), nullable=False)])


def multiplied(entity: Entity) -> DataError:
    """The error for a view that shows one Recno twice."""
    return DataError(
        f"The view {entity.view} shows one row (one Recno) more than once.",
        "A join in the view multiplies rows: install the view of this version (hat-etl views install).",
        table=entity.table,
    )


class Intake:
    """The temporary tables of one table. Made at the first batch; without one, ``empty`` stays true."""

    def __init__(self, connection: Connection, entity: Entity) -> None:
        self.entity = entity
        self.read = 0
        self.good = f"pg_temp.{entity.table}"
        self.rejected = f"pg_temp.{rejected_table(entity)}"
        self.seen = f"pg_temp.{entity.table}__seen"
        self.issues = f"pg_temp.{entity.table}__issues"
        self.all = f"pg_temp.{entity.table}__all"
        self.empty = True
        self._connection = connection
        self.unchanged = (0, 0)
        """Number of rows that HAT shows as they are, and the sum of their Recnos."""

    def make(self) -> None:
        """Make the tables, unless they are there."""
        if not self.empty:
            return
        self.empty = False
        run = self._connection.execute
        with self._connection.pipeline():
            run(create_stage_table(self.entity, "pg_temp"))
            run(create_rejected_table(self.entity, rejected_schema(self.entity), "pg_temp"))
            run(
                f"CREATE TEMPORARY TABLE {self.entity.table}__seen"
                " (recno bigint NOT NULL, live boolean NOT NULL, repeats boolean NOT NULL)"
            )
            run(
                f'CREATE TEMPORARY TABLE {self.entity.table}__issues (recno bigint NOT NULL, key text, "column" text,'
                " rule text NOT NULL, severity text NOT NULL, reason text NOT NULL, value text)"
            )

    def write(self, raw: pa.RecordBatch, out: Transformed, *, repeats: bool = False) -> None:
        """Take in one batch of the view, as read and as transformed.

        ``repeats``: rows of quarantine that are as they were when the last run judged them.
        """
        if not raw.num_rows:
            return
        self.make()
        self.read += raw.num_rows
        recnos = raw.column("source_recno").cast(pa.int64())
        live = pc.not_equal(raw.column("deleted"), 1)
        repeated = pa.repeat(pa.scalar(repeats), raw.num_rows)
        self._copy(self.seen, pa.RecordBatch.from_arrays([recnos, live, repeated], schema=_SEEN))
        self._copy(self.good, out.good)
        self._copy(self.rejected, out.rejected)
        self._copy(self.issues, out.issues)

    def leave(self, recnos: Recnos) -> None:
        """Take in live rows that HAT shows as they are: nothing is to be done about them."""
        self.read += recnos.size
        rows, total = self.unchanged
        self.unchanged = rows + recnos.size, total + int(recnos.sum())

    def absent(self, recnos: Recnos) -> None:
        """Note Recnos that were asked for and that the view does not show."""
        if recnos.size:
            self.make()
            no = pa.array(np.zeros(recnos.size, dtype=bool))
            self._copy(self.seen, pa.RecordBatch.from_arrays([pa.array(recnos), no, no], schema=_SEEN))

    def make_all(self) -> None:
        """Make the table for ``write_all``."""
        self._connection.execute(f"CREATE TEMPORARY TABLE {self.entity.table}__all (recno bigint NOT NULL)")

    def write_all(self, recnos: pa.Array) -> None:
        """Take in Recnos of live rows of the view, for comparison with what is known."""
        self._copy(self.all, pa.RecordBatch.from_arrays([recnos.cast(pa.int64())], schema=_ALL))

    def seal(self) -> None:
        """Index what was read and tell the planner how much there is.

        Raises DataError when the view shows one Recno twice.
        """
        if self.empty:
            return
        try:
            self._connection.execute(f"ALTER TABLE {self.seen} ADD PRIMARY KEY (recno)")
        except pg.UniqueViolation:
            raise multiplied(self.entity) from None
        for table in (self.good, self.rejected, self.seen, self.issues) if self.read > SMALL else ():
            self._connection.execute(f"ANALYZE {table}")

    def drop(self) -> None:
        """Remove the tables before the session ends."""
        for table in (self.good, self.rejected, self.seen, self.issues, self.all):
            self._connection.execute(f"DROP TABLE IF EXISTS {table}")
        self.empty = True

    def _copy(self, table: str, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        encoder = ArrowToPostgresBinaryEncoder(batch.schema)
        columns = ", ".join(f'"{name}"' for name in batch.schema.names)
        with self._connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(encoder.write_header())
            copy.write(encoder.write_batch(batch))
            copy.write(encoder.finish())
