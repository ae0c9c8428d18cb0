"""By how much Dagster's database grows: what real runs and ticks have told it is told again, many times."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from dagster import DagsterInstance
from dagster._core.utils import make_new_run_id

EVENTS = 5_000
"""About so many are told for each: tables and indexes grow by pages of 8 KiB."""


@dataclass(frozen=True)
class Growth:
    """Bytes by which all tables and indexes grow together, for each time; ``events`` are those of a run."""

    size: float
    events: int = 0


def of_run(instance: DagsterInstance, url: str, run_id: str) -> Growth:
    """What one more run like this adds."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        raise RuntimeError(f"no run {run_id}")
    entries = instance.all_logs(run_id)
    before, times = _size(url), max(1, EVENTS // len(entries))
    for _ in range(times):
        again = make_new_run_id()
        instance.add_run(run._replace(run_id=again))
        for entry in entries:
            instance.store_event(entry._replace(run_id=again))
    return Growth((_size(url) - before) / times, len(entries))


def of_tick(instance: DagsterInstance, url: str) -> Growth:
    """What one more tick of a sensor that has launched nothing adds; the mean of all sensors."""
    states = instance.all_instigator_state()
    ticks = [tick for each in states for tick in instance.get_ticks(each.instigator_origin_id, each.selector_id)]
    ticks = [tick for tick in ticks if tick.is_completed and not tick.run_ids]
    before, times = _size(url), max(1, EVENTS // len(ticks))
    for _ in range(times):
        for tick in ticks:
            instance.create_tick(tick.tick_data)
    return Growth((_size(url) - before) / times / len(ticks))


def _size(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchone()
    assert row is not None
    return int(row[0])
