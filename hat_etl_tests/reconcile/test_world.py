"""A soiled ERP, loaded, changed and synchronised: nothing differs, whatever is rejected, held, doubled or kept."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl_tests.conformance.conftest import MakeSite
from hat_etl_tests.conformance.model import RECNO
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.test_sync_history import stamp_changes
from hat_etl_tests.conformance.world import STAMPLESS, World
from hat_etl_tests.erps import ERPS


@pytest.fixture(scope="module", params=ERPS)
def site(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    return make_site(dialect=request.param)


@pytest.fixture(scope="module")
def reports(site: Site, today: date) -> dict[str, dict[str, Any]]:
    """What reconciliations say after a load, after a sync, and while changes wait for the next sync."""
    world = World(3, today)
    site.create_tables(world.pls)
    site.install_views()
    site.fill_tables(world.pls)
    site.load()
    found = {"after a load": reconciled(site)}
    change(world, 0.25)
    site.fill_tables(world.pls)
    assert site.run("sync", TENANT, "--accept", "--full", "--json").code == 0
    found["after a sync"] = reconciled(site)
    change(world, 0.1)
    site.fill_tables(world.pls)
    found["before the next sync"] = reconciled(site)
    found["repaired"] = reconciled(site, "--repair", "--accept")
    found["after the repair"] = reconciled(site)
    assert site.run("sync", TENANT, "--accept", "--json").code == 0
    found["after the next sync"] = reconciled(site)
    return found


def change(world: World, share: float) -> None:
    before = {alias: {row[RECNO]: dict(row) for row in rows} for alias, rows in world.pls.tables.items()}
    world.change(share=share)
    stamp_changes(world.pls, before, datetime.now(UTC).replace(tzinfo=None))


def reconciled(site: Site, *options: str) -> dict[str, Any]:
    answer = site.run("reconcile", TENANT, "--json", *options)
    report: dict[str, Any] = json.loads(answer.out)
    report["code"] = answer.code
    return report


settled = pytest.mark.parametrize("moment", ["after a load", "after a sync", "after the next sync"])


@settled
def test_nothing_differs(reports: dict[str, dict[str, Any]], moment: str) -> None:
    report = reports[moment]
    wrong = [table for table in report["tables"] if table["missing"] or table["extra"] or table["differing"]]
    assert not wrong
    assert (report["code"], report["state"]) == (0, "succeeded")
    assert {table["table"] for table in report["tables"]} == set(BY_TABLE)


@settled
def test_every_row_is_accounted_for(reports: dict[str, dict[str, Any]], moment: str) -> None:
    for table in reports[moment]["tables"]:
        assert table["source_rows"] == table["compared"] + table["quarantined"], table["table"]
        assert table["hat_rows"] == table["compared"] + table["kept"], table["table"]
        assert not table["in_flight"]


def test_the_counts_are_those_of_hat(site: Site, reports: dict[str, dict[str, Any]]) -> None:
    rows = {table: len(found) for table, found in site.rows().items()}
    assert {table["table"]: table["hat_rows"] for table in reports["after the next sync"]["tables"]} == rows


def test_the_world_has_what_is_no_mismatch(reports: dict[str, dict[str, Any]]) -> None:
    tables = reports["after a sync"]["tables"]
    assert sum(table["kept"] for table in tables) > 20
    assert all(table["quarantined"] for table in tables)


def test_what_the_erp_has_stamped_since_is_in_flight(reports: dict[str, dict[str, Any]]) -> None:
    stampless = {entity.table for entity in ENTITIES if set(entity.reads).intersection(STAMPLESS)}
    for table in reports["before the next sync"]["tables"]:
        if table["table"] in stampless:
            assert (table["differing"] > 0, table["in_flight"]) == (True, 0), table["table"]
        elif table["table"] != "procedure_tables":  # its view shows and hides rows that are not stamped themselves
            assert (table["in_flight"] > 0, table["missing"], table["differing"]) == (True, 0, 0), table["table"]


def test_the_report_says_where_in_flight_cannot_be_told(reports: dict[str, dict[str, Any]]) -> None:
    stampless = {entity.table for entity in ENTITIES if set(entity.reads).intersection(STAMPLESS)}
    (remark,) = [text for text in reports["before the next sync"]["remarks"] if "without a Carimbo" in text]
    assert set(re.findall(r"([a-z_]+) [(]", remark)) >= stampless
    assert not any("Carimbo" in text for text in reports["after a sync"]["remarks"])


def test_rows_purged_since_are_extra(site: Site, reports: dict[str, dict[str, Any]]) -> None:
    report = reports["before the next sync"]
    assert (report["code"], report["state"]) == (6, "differs")
    found = next(table for table in report["tables"] if table["table"] == "persons")
    with site.server.connect(site.erp) as connection:
        there = {recno for (recno,) in connection.execute("SELECT r_e_c_n_o_::int8 FROM protheus.bts010")}
    assert found["extra"]
    assert not there.intersection(entry["recno"] for entry in found["keys"]["extra"])


def test_a_repair_mends_every_mismatch_and_nothing_else(reports: dict[str, dict[str, Any]]) -> None:
    before, repaired = reports["before the next sync"], reports["repaired"]
    assert repaired["code"] == 0
    wrong = {t["table"] for t in before["tables"] if t["missing"] + t["extra"] + t["differing"]}
    assert len(wrong) > 20
    assert {table["table"] for table in repaired["after"]} >= wrong
    assert reports["after the repair"]["code"] == 0
    in_flight = {t["table"]: t["in_flight"] for t in before["tables"] if t["in_flight"]}
    assert in_flight.keys() <= {t["table"] for t in reports["after the repair"]["tables"] if t["in_flight"]}
