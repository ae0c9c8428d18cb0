"""A soiled ERP, loaded, changed and loaded again: every table of HAT, every reject and every count by the model.

All tables are loaded together, for that is how they are loaded, and the tests look at one table each. The same PLS is
read as PostgreSQL and as Oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import ENGINE_RULES, RULES, Entity
from hat_etl.tenants.config import Dialect
from hat_etl_tests.conformance import model
from hat_etl_tests.conformance.compare import assert_same_counts, assert_same_entries, assert_same_rows
from hat_etl_tests.conformance.model import Entry, Hat, HatRow, Key
from hat_etl_tests.conformance.site import Site, only
from hat_etl_tests.conformance.world import World
from hat_etl_tests.erps import ERPS

STAGES: dict[str, tuple[str, ...]] = {
    "first load": (),
    "second load": (),
    "families and companies only": ("families", "companies"),
    "companies and grandchildren only": ("companies", "contracts", "beneficiaries", "beneficiary_status_history"),
    "procedures only": ("procedures",),
}
"""Loads one after another, the ERP changing between them, with the tables that each is narrowed to."""


@dataclass
class Stage:
    """What a load brought about, and what it should have."""

    report: dict[str, Any]
    rows: dict[str, dict[Key, HatRow]]
    entries: list[Entry]
    expected: Hat
    day: date


Histories = dict[Dialect, dict[str, Stage]]


@pytest.fixture(scope="module")
def histories(sites: dict[Dialect, Site], today: date) -> Histories:
    world = World(1, today)
    sites["postgresql"].create_tables(world.pls)
    for site in sites.values():
        site.install_views()
    found: Histories = {dialect: {} for dialect in sites}
    expected: dict[Dialect, Hat | None] = dict.fromkeys(sites)
    for name, tables in STAGES.items():
        if name != "first load":
            world.change()
        sites["postgresql"].fill_tables(world.pls)
        for dialect, site in sites.items():
            report = site.load(*only(tables))
            day = site.day_of(report["run"])
            expected[dialect] = hat = model.load(
                world.pls, run=report["run"], today=day, before=expected[dialect], only=tables
            )
            found[dialect][name] = Stage(report, site.rows(), site.rejects(), hat, day)
    return found


@pytest.fixture(scope="module")
def history(dialect: Dialect, histories: Histories) -> dict[str, Stage]:
    return histories[dialect]


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
def test_every_row_read_has_one_fate(history: dict[str, Stage], stage: str) -> None:
    found = history[stage]
    read = STAGES[stage] or tuple(BY_TABLE)
    assert {table["table"] for table in found.report["tables"]} == found.expected.counts.keys()
    for table in found.report["tables"]:
        if table["table"] in read:
            assert_same_counts(table, found.expected.counts[table["table"]])


@pytest.mark.parametrize("stage", [stage for stage, tables in STAGES.items() if tables])
def test_a_load_of_some_tables_tells_which_others_lost_rows(history: dict[str, Stage], stage: str) -> None:
    found = history[stage]
    others = {table["table"]: table for table in found.report["tables"] if table["table"] not in STAGES[stage]}
    assert {name: table["held"] for name, table in others.items()} == {
        name: counts.held for name, counts in found.expected.counts.items() if name not in STAGES[stage]
    }
    assert all(table["read"] == table["loaded"] == 0 for table in others.values())


def test_every_rule_has_failed_somewhere(history: dict[str, Stage]) -> None:
    failed = {entry.rule for stage in history.values() for entry in stage.entries}
    # "positive" is a rule of the contract that no column has.
    unused = {"upper", "positive"}
    assert failed == (RULES | ENGINE_RULES) - unused


@tables
def test_every_table_has_rows_of_every_fate(history: dict[str, Stage], entity: Entity) -> None:
    counts = history["first load"].expected.counts[entity.table]
    assert counts.loaded > 5
    assert counts.rejected
    assert counts.deleted
    assert counts.warnings
    assert counts.held or not entity.hard_parents


def test_hat_keeps_last_good_versions_and_lets_others_go(history: dict[str, Stage]) -> None:
    first, second = history["first load"], history["second load"]
    kept = [row for rows in second.rows.values() for row in rows.values() if row.loaded_run == first.report["run"]]
    assert len(kept) > 20
    assert any(first.rows[table].keys() - second.rows[table].keys() for table in first.rows)


def test_children_of_kept_versions_are_loaded(history: dict[str, Stage]) -> None:
    second = history["second load"]
    run = second.report["run"]
    found = 0
    for entity in ENTITIES:
        for parent in entity.hard_parents:
            rows = second.rows[parent.table].values()
            kept = {row.key(parent.parent_columns) for row in rows if row.loaded_run != run}
            children = second.rows[entity.table].values()
            found += sum(row.loaded_run == run and row.key(parent.columns) in kept for row in children)
    assert found > 20


def test_the_list_of_rejects_can_be_narrowed_to_a_table(sites: dict[Dialect, Site], histories: Histories) -> None:
    last = list(histories["postgresql"].values())[-1]
    assert_same_entries(
        sites["postgresql"].rejects("--table", "persons"), [entry for entry in last.entries if entry.table == "persons"]
    )


def test_dates_are_judged_by_the_day_in_the_tenants_time_zone(history: dict[str, Stage], today: date) -> None:
    assert 0 <= (history["first load"].day - today).days <= 1
