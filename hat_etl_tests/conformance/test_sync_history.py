"""A soiled ERP, loaded, then changed and synchronised again and again: every table and every reject by the model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity
from hat_etl_tests.conformance import model
from hat_etl_tests.conformance.compare import assert_same_entries, assert_same_rows
from hat_etl_tests.conformance.conftest import MakeSite
from hat_etl_tests.conformance.expected import after_sync
from hat_etl_tests.conformance.model import RECNO, STAMP, Entry, Hat, HatRow, Key, Pls, PlsRow
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.world import World

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


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture(scope="module")
def history(site: Site, today: date) -> dict[str, Stage]:
    world = World(2, today)
    site.create_tables(world.pls)
    site.install_views()
    site.fill_tables(world.pls)
    run = site.load()["run"]
    expected = model.load(world.pls, run=run, today=site.day_of(run), before=None, only=())
    stages: dict[str, Stage] = {}
    for name, (share, options) in STAGES.items():
        before = {alias: {row[RECNO]: dict(row) for row in rows} for alias, rows in world.pls.tables.items()}
        world.change(share=share)
        stamp_changes(world.pls, before, datetime.now(UTC).replace(tzinfo=None))
        site.fill_tables(world.pls)
        report = site.run("sync", TENANT, "--json", "--accept", *options).json
        day = site.day_of(report["run"])
        loaded = model.load(world.pls, run=report["run"], today=day, before=expected, only=())
        expected = after_sync(loaded, expected)
        stages[name] = Stage(report, site.rows(), site.rejects(), expected)
    return stages


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
