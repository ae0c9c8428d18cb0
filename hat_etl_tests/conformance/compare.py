"""HAT as it is held against HAT as the model says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from hat_etl.entities.model import Entity
from hat_etl_tests.conformance.model import Counts, Entry, HatRow, Key


def assert_same_rows(entity: Entity, actual: dict[Key, HatRow], expected: dict[Key, HatRow]) -> None:
    """Every column of every row, of the same type, and where each row comes from."""
    differences = [
        f"{key}: {_difference(actual.get(key), expected.get(key))}"
        for key in {**actual, **expected}
        if _exact(actual.get(key)) != _exact(expected.get(key))
    ]
    assert not differences, f"{entity.table}, {len(differences)} rows: " + "; ".join(differences[:5])


def _exact(row: HatRow | None) -> Any:
    if row is None:
        return None
    values = {name: (type(value), value) for name, value in row.values.items()}
    return values, row.source_recno, row.source_stamp, row.loaded_run


def _difference(actual: HatRow | None, expected: HatRow | None) -> str:
    if actual is None or expected is None:
        return "is not in HAT" if actual is None else "should not be in HAT"
    found = {name: (value, expected.values[name]) for name, value in actual.values.items()}
    found |= {name: (getattr(actual, name), getattr(expected, name)) for name in ("source_recno", "source_stamp")}
    found["loaded_run"] = (actual.loaded_run, expected.loaded_run)
    return ", ".join(f"{name} is {is_!r}, not {should!r}" for name, (is_, should) in found.items() if is_ != should)


def assert_same_entries(actual: Iterable[Entry], expected: Iterable[Entry]) -> None:
    """The same lines as often, in whatever order."""
    found, wanted = Counter(actual), Counter(expected)
    assert found == wanted, f"too many: {[*(found - wanted)][:5]}; missing: {[*(wanted - found)][:5]}"


def assert_same_counts(reported: dict[str, Any], expected: Counts) -> None:
    """What a run says of a table, and that every row read has one fate."""
    assert {name: reported[name] for name in asdict(expected)} == asdict(expected)
    assert reported["read"] == sum(reported[name] for name in ("loaded", "rejected", "held", "deleted"))
