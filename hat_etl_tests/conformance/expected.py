"""HAT after a sync, by the model of a load: what has not changed stays as the run before wrote it."""

from __future__ import annotations

from dataclasses import replace

from hat_etl_tests.conformance.model import Hat, HatRow


def after_sync(loaded: Hat, before: Hat) -> Hat:
    """What a sync must leave, where a load would leave ``loaded`` and HAT held ``before``.

    A row whose mapped columns are equal is not rewritten: Recno, stamp and run stay.
    """
    rows = {
        table: {key: _unless_equal(row, before.rows.get(table, {}).get(key)) for key, row in found.items()}
        for table, found in loaded.rows.items()
    }
    return replace(loaded, rows=rows)


def _unless_equal(row: HatRow, before: HatRow | None) -> HatRow:
    return before if before is not None and _values(before) == _values(row) else row


def _values(row: HatRow) -> list[tuple[str, type, object]]:
    return [(name, type(value), value) for name, value in row.values.items()]
