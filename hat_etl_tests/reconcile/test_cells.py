"""One cell that differs is found, in every column of every table, and a repair mends it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Column, Entity, Kind
from hat_etl_tests.conformance.conftest import MakeSite
from hat_etl_tests.conformance.model import HatRow, Key
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.world import World
from hat_etl_tests.servers import Server

OTHER = {
    Kind.TEXT: "CASE WHEN {c} = 'x' THEN 'y' ELSE 'x' END",
    Kind.DATE: "{c} + 1",
    Kind.FLAG: "NOT {c}",
    Kind.SMALLINT: "CASE WHEN {c} = 7 THEN 8 ELSE 7 END",
    Kind.INTEGER: "CASE WHEN {c} = 70000 THEN 7 ELSE 70000 END",
    Kind.AMOUNT: "CASE WHEN {c} = 0.01 THEN 0.02 ELSE 0.01 END",
}
SOME = {
    Kind.TEXT: "''",  # an empty text is no NULL
    Kind.DATE: "'2000-01-01'",
    Kind.FLAG: "false",
    Kind.SMALLINT: "0",
    Kind.INTEGER: "0",
    Kind.AMOUNT: "0",
}
"""What stands in for nothing: values that a careless comparison takes for NULL."""


@dataclass
class Spoiled:
    """HAT before its cells were changed, the cells by the way they changed, and what was said of it."""

    before: dict[str, dict[Key, HatRow]]
    cells: dict[str, dict[str, dict[str, int]]]
    """Way to table to column to Recno."""
    reports: dict[str, dict[str, Any]]
    codes: list[int]


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture(scope="module")
def spoiled(site: Site, today: date) -> Spoiled:
    world = World(4, today)
    site.create_tables(world.pls)
    site.install_views()
    site.fill_tables(world.pls)
    site.load()
    found = Spoiled(site.rows(), {}, {}, [])
    for way in ("another value", "no value", "a value instead of none"):
        found.cells[way] = {entity.table: spoil(site, entity, way) for entity in ENTITIES}
        answer = site.run("reconcile", TENANT, "--json")
        found.codes.append(answer.code)
        found.reports[way] = json.loads(answer.out)
        repaired = site.run("reconcile", TENANT, "--repair", "--accept", "--json")
        found.codes.append(repaired.code)
        found.reports[f"{way}, repaired"] = json.loads(repaired.out)
    return found


def spoil(site: Site, entity: Entity, way: str) -> dict[str, int]:
    """Change one cell of each column, each in a row of its own; gives the Recno of the row by column."""
    changed: dict[str, int] = {}
    with site.server.connect(site.hat) as connection:
        # What a user of the database would be kept from doing, a fault of the disk or of a tool would not be.
        connection.execute("SET session_replication_role = replica")
        for column in entity.columns:
            new, which = change_of(column, way)
            if column.name in entity.key or not new:
                continue
            used = ", ".join(map(str, changed.values())) or "-1"
            row = connection.execute(
                f'UPDATE hat.{entity.table} SET "{column.name}" = {new} WHERE source_recno ='
                f" (SELECT min(source_recno) FROM hat.{entity.table} WHERE {which} AND source_recno NOT IN ({used}))"
                " RETURNING source_recno".encode()
            ).fetchone()
            if row is not None:
                changed[column.name] = row[0]
    return changed


def change_of(column: Column, way: str) -> tuple[str, str]:
    """The SQL of the new value, and of the rows that can have it."""
    name = f'"{column.name}"'
    if way == "another value":
        return OTHER[column.kind].format(c=name), f"{name} IS NOT NULL"
    if column.required:
        return "", ""
    return ("NULL", f"{name} IS NOT NULL") if way == "no value" else (SOME[column.kind], f"{name} IS NULL")


ways = pytest.mark.parametrize("way", ["another value", "no value", "a value instead of none"])


@ways
def test_every_changed_cell_is_found_and_nothing_else(spoiled: Spoiled, way: str) -> None:
    for table in spoiled.reports[way]["tables"]:
        cells = spoiled.cells[way][table["table"]]
        assert table["columns"] == dict.fromkeys(cells, 1), table["table"]
        assert (table["missing"], table["extra"], table["in_flight"]) == (0, 0, 0), table["table"]
        assert table["differing"] == len(cells)
        shown = {entry["recno"]: entry["columns"] for entry in table["keys"]["differing"]}
        told = {recno: [column] for column, recno in cells.items()}
        assert shown.items() <= told.items()
        assert len(shown) == min(20, len(told))


def test_cells_of_every_kind_were_changed(spoiled: Spoiled) -> None:
    for cells in spoiled.cells.values():
        kinds = {entity[name].kind for entity in ENTITIES for name in cells[entity.table]}
        assert kinds == {c.kind for entity in ENTITIES for c in entity.columns if c.name not in entity.key}
    # Nearly every column had a row to change.
    columns = sum(len(entity.columns) - len(entity.key) for entity in ENTITIES)
    assert sum(map(len, spoiled.cells["another value"].values())) > 0.95 * columns


@ways
def test_a_repair_brings_back_what_was(spoiled: Spoiled, site: Site, way: str) -> None:
    report = spoiled.reports[f"{way}, repaired"]
    assert report["repair"]["mode"] == "repair"
    assert all(not table["missing"] + table["extra"] + table["differing"] for table in report["after"])
    updated = {table["table"]: table["updated"] for table in report["repair"]["tables"] if table["updated"]}
    assert updated == {table: len(cells) for table, cells in spoiled.cells[way].items() if cells}
    assert not any(table["loaded"] or table["deleted"] for table in report["repair"]["tables"])


def test_in_the_end_hat_is_as_it_was(spoiled: Spoiled, site: Site) -> None:
    rows = site.rows()
    for table, before in spoiled.before.items():
        assert {key: row.values for key, row in rows[table].items()} == {k: row.values for k, row in before.items()}


def test_exit_codes_tell_whether_mismatches_remain(spoiled: Spoiled) -> None:
    assert spoiled.codes == [6, 0] * 3


def test_values_are_nowhere_told(spoiled: Spoiled, site: Site, postgres: Server) -> None:
    with postgres.connect(site.hat) as connection:
        kept = connection.execute("SELECT r::text FROM hat_etl.reconciliations r").fetchall()
    texts = json.dumps(spoiled.reports, ensure_ascii=False) + "".join(text for (text,) in kept)
    names = {str(row.values["name"]) for row in spoiled.before["beneficiaries"].values()}
    long = [name for name in names if len(name) > 5]
    assert len(long) > 3
    assert not [name for name in long if name in texts]
