"""A coherent health operator, generated: the same seed, size and day give the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pyarrow as pa

from hat_etl.sandbox.population import beneficiaries, contracts, coverages, providers
from hat_etl.sandbox.population.operator import Operator, found
from hat_etl.sandbox.rows import Finisher, Rows


def generate(seed: int, size: int, today: date) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Alias and physical rows, chunk by chunk, of an operator with ``size`` live beneficiaries."""
    operator = found(seed, size, today)
    finisher = Finisher(seed, today)
    for rows in _areas(operator):
        if rows.length:
            yield rows.alias, finisher.finish(rows)


def _areas(operator: Operator) -> Iterator[Rows]:
    yield from contracts.generate(operator)
    yield from coverages.generate(operator)
    yield from providers.generate(operator)
    yield from beneficiaries.generate(operator)
