"""A soiled ERP, loaded, then changed and synchronised again and again: every table and every reject by the model.

The same PLS is read as PostgreSQL and as Oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.tenants.config import Dialect
from hat_etl_tests.conformance import model
from hat_etl_tests.conformance.compare import assert_same_entries, assert_same_rows
from hat_etl_tests.conformance.expected import after_sync
from hat_etl_tests.conformance.model import RECNO, STAMP, Entry, Hat, HatRow, Key, Pls, PlsRow
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.world import World
from hat_etl_tests.erps import ERPS

STAGES: dict[str, tuple[float, tuple[str, ...]]] = {
    "much changed, read whole": (0.25, ("--full",)),
    "little changed, by windows": (0.03, ()),
    "again, by windows": (0.03, ()),
}
"""Syncs one after another: the share of the ERP that changes before each, and its options."""


@dataclass
class Stage:
    report: dict[str, Any]
    rows: dict[str, dict[Key, HatRow]]
    entries: list[Entry]
    expected: Hat


Histories = dict[Dialect, dict[str, Stage]]


@pytest.fixture(scope="module")
def histories(sites: dict[Dialect, Site], today: date) -> Histories:
    world = World(2, today)
    sites["postgresql"].create_tables(world.pls)
    for site in sites.values():
        site.install_views()
    sites["postgresql"].fill_tables(world.pls)
    expected: dict[Dialect, Hat] = {}
    for dialect, site in sites.items():
        run = site.load()["run"]
        expected[dialect] = model.load(world.pls, run=run, today=site.day_of(run), before=None, only=())
    found: Histories = {dialect: {} for dialect in sites}
    for name, (share, options) in STAGES.items():
        before = {alias: {row[RECNO]: dict(row) for row in rows} for alias, rows in world.pls.tables.items()}
        world.change(share=share)
        stamp_changes(world.pls, before, datetime.now(UTC).replace(tzinfo=None))
        sites["postgresql"].fill_tables(world.pls)
        for dialect, site in sites.items():
            report = site.run("sync", TENANT, "--json", "--accept", *options).json
            day = site.day_of(report["run"])
            loaded = model.load(world.pls, run=report["run"], today=day, before=expected[dialect], only=())
            expected[dialect] = hat = after_sync(loaded, expected[dialect])
            found[dialect][name] = Stage(report, site.rows(), site.rejects(), hat)
    return found


@pytest.fixture(scope="module")
def history(dialect: Dialect, histories: Histories) -> dict[str, Stage]:
    return histories[dialect]


def stamp_changes(pls: Pls, before: dict[str, dict[int, PlsRow]], moment: datetime) -> None:
    """Stamp what has changed; the readers of a joined row that is gone too, for its deletion moves no stamp."""
    changed = set()
    for alias, rows in pls.tables.items():
        for row in rows:
            if before.get(alias, {}).get(row[RECNO]) != row:
                row[STAMP] = moment
                changed.add(alias)
        if {row[RECNO] for row in rows} != before.get(alias, {}).keys():
            changed.add(alias)
    for entity in ENTITIES:
        if changed.intersection(entity.reads[1:]):
            for row in pls.rows(entity.reads[0]):
                row[STAMP] = moment


stages = pytest.mark.parametrize("stage", STAGES)
tables = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)


@stages
@tables
def test_hat_holds_the_rows_of_the_model(history: dict[str, Stage], stage: str, entity: Entity) -> None:
    found = history[stage]
    assert_same_rows(entity, found.rows[entity.table], found.expected.rows[entity.table])


@stages
@tables
def test_the_rejects_are_those_of_the_model(history: dict[str, Stage], stage: str, entity: Entity) -> None:
    found = history[stage]
    assert_same_entries(
        [entry for entry in found.entries if entry.table == entity.table],
        [entry for entry in found.expected.entries if entry.table == entity.table],
    )


@stages
def test_hat_and_rejects_are_the_same_whichever_database_the_pls_is_in(histories: Histories, stage: str) -> None:
    postgresql, oracle = (histories[dialect][stage] for dialect in ERPS)
    assert oracle.rows == postgresql.rows
    assert sorted(oracle.entries) == sorted(postgresql.entries)


@stages
def test_the_syncs_went_the_same_ways(histories: Histories, stage: str) -> None:
    ways = [
        {table["table"]: (table["strategy"], table["read"]) for table in histories[dialect][stage].report["tables"]}
        for dialect in ERPS
    ]
    assert ways[0] == ways[1]
    assert {strategy for strategy, _ in ways[0].values()} == (
        {"full"} if "whole" in stage else {"window", "window + keys"}
    )
