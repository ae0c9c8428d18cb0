"""The transform of one table: a raw batch in; good rows, rejected rows and issues out."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.entities.model import TECHNICAL, Entity
from hat_etl.transform.columns import DateReader, reader
from hat_etl.transform.findings import Findings, key_texts
from hat_etl.transform.texts import Mask, Rows

_RECNO, _STAMP, _RUN = TECHNICAL
_DELETED = "deleted"


@dataclass(frozen=True)
class Transformed:
    """What one raw batch became. ``read`` = ``deleted`` + rows of ``good`` + rows of ``rejected``."""

    good: pa.RecordBatch
    """Rows as loaded, in the entity's schema."""
    rejected: pa.RecordBatch
    """Keys and Recno of the rejected rows: ``rejected_schema`` of the entity."""
    issues: pa.RecordBatch
    """Every failure of rejected and good rows: ``ISSUES``."""
    read: int
    deleted: int
    """Rows deleted in the ERP: they are dropped, and nothing is said about them."""


def rejected_schema(entity: Entity) -> pa.Schema:
    """Every column of any key of ``entity``, nullable, and the Recno."""
    fields = [pa.field(name, entity[name].arrow_type) for name in _key_columns(entity)]
    return pa.schema([*fields, _RECNO])


def _key_columns(entity: Entity) -> tuple[str, ...]:
    keyed = {name for key in entity.keys for name in key}
    return tuple(column.name for column in entity.columns if column.name in keyed)


class Transformer:
    """Turns raw batches of one table into rows of HAT, by the rules of its declaration.

    A raw batch has ``source_recno``, maybe ``deleted`` (1 for a deleted row) and ``source_stamp``, and a column per
    column of the entity under its name: text, or a number where the view delivers one. Columns are read one by one
    and whole; rows are looked at only where something failed.
    """

    def __init__(self, entity: Entity, *, run: int, today: datetime.date) -> None:
        """``today`` is the day of the run in the tenant's time zone."""
        self._entity = entity
        self._run = run
        self._schema = entity.schema
        self._rejected_schema = rejected_schema(entity)
        self._readers = [
            reader(column, keyed=column.name in entity.key_columns, today=today) for column in entity.columns
        ]
        self._comparisons = [
            (own, rule.argument)
            for own in self._readers
            if isinstance(own, DateReader)
            for rule in own.column.rules
            if rule.name == "not_before"
        ]

    def __call__(self, batch: pa.RecordBatch) -> Transformed:
        """The rows of ``batch``, told apart; it is not changed."""
        deleted = _deleted(batch)
        findings = Findings(batch.num_rows, deleted, self._entity.columns)
        read = {reads.column.name: reads(batch.column(reads.column.name), findings) for reads in self._readers}
        for own, other in self._comparisons:
            own.compare(read[own.column.name], read[other], findings)

        arrays = {name: column.array for name, column in read.items()}
        arrays[_RECNO.name] = batch.column(_RECNO.name).cast(_RECNO.type)
        arrays[_STAMP.name] = _stamps(batch)
        arrays[_RUN.name] = pa.array(np.full(batch.num_rows, self._run, dtype=np.int64))

        def keys(rows: Rows) -> pa.Array:
            return key_texts([arrays[name].take(pa.array(rows)) for name in self._entity.key])

        issues = findings.table(arrays[_RECNO.name], keys)
        bad = pa.array(np.flatnonzero(findings.rejected))
        rejected = [arrays[name].take(bad) for name in self._rejected_schema.names]
        good = [arrays[name] for name in self._schema.names]
        dropped = findings.rejected if deleted is None else findings.rejected | deleted
        if dropped.any():
            kept = pa.array(~dropped)
            good = [array.filter(kept) for array in good]  # by column: a batch's own filter takes half as long again
        return Transformed(
            good=pa.RecordBatch.from_arrays(good, schema=self._schema),
            rejected=pa.RecordBatch.from_arrays(rejected, schema=self._rejected_schema),
            issues=issues,
            read=batch.num_rows,
            deleted=0 if deleted is None else int(np.count_nonzero(deleted)),
        )


def _deleted(batch: pa.RecordBatch) -> Mask | None:
    """The rows deleted in the ERP; None when there are none, or when the view does not tell."""
    if _DELETED not in batch.schema.names:
        return None
    deleted: Mask = pc.equal(batch.column(_DELETED), 1).fill_null(False).to_numpy(zero_copy_only=False)
    return deleted if deleted.any() else None


def _stamps(batch: pa.RecordBatch) -> pa.Array:
    """Stamps in UTC, which one without a time zone is taken to be."""
    if _STAMP.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, _STAMP.type)
    stamps = batch.column(_STAMP.name)
    if pa.types.is_timestamp(stamps.type) and stamps.type.unit != _STAMP.type.unit:
        stamps = stamps.cast(pa.timestamp(_STAMP.type.unit, stamps.type.tz), safe=False)
    return stamps.cast(_STAMP.type)
