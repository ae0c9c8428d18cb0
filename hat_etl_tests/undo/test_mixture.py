"""Everything that syncs do to a soiled ERP, taken back: rows, quarantine and backing are exactly as before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hat_etl_tests.conformance.conftest import MakeSite
from hat_etl_tests.conformance.model import RECNO
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.test_sync_history import stamp_changes
from hat_etl_tests.conformance.world import World
from hat_etl_tests.undo.state import State, kinds, state, watermarks

EVERY_KIND = {"insert", "update", "delete", "rejects", "backing", "watermark"}


@dataclass
class Step:
    """A run, and what HAT was like after it."""

    report: dict[str, Any]
    after: State
    marks: dict[str, tuple[Any, ...]]

    @property
    def run(self) -> int:
        return int(self.report["run"])


class Story:
    """A tenant loaded and synchronised twice; then the syncs are undone, and what was undone is undone."""

    def __init__(self, site: Site, today: date) -> None:
        self.site, self.world = site, World(5, today)
        site.create_tables(self.world.pls)
        site.install_views()
        site.fill_tables(self.world.pls)
        self.load = self.noted(site.load())
        self.change(0.25)
        self.first = self.noted(self.sync("--full"))
        self.change(0.05)
        self.second = self.noted(self.sync())
        self.undone_second = self.noted(self.undo(self.second.run))
        self.undone_first = self.noted(self.undo(self.first.run))
        self.redone_first = self.noted(self.undo(self.undone_first.run))
        self.redone_second = self.noted(self.undo(self.undone_second.run))
        self.back_again = self.noted(self.undo(self.second.run))
        self.synced = self.sync()
        self.by_content = state(site, runs=False)
        self.read_whole = self.sync("--full")
        self.whole = state(site, runs=False)

    def noted(self, report: dict[str, Any]) -> Step:
        return Step(report, state(self.site), watermarks(self.site))

    def change(self, share: float) -> None:
        pls = self.world.pls
        before = {alias: {row[RECNO]: dict(row) for row in rows} for alias, rows in pls.tables.items()}
        self.world.change(share=share)
        stamp_changes(pls, before, datetime.now(UTC).replace(tzinfo=None))
        self.site.fill_tables(pls)

    def sync(self, *options: str) -> dict[str, Any]:
        report: dict[str, Any] = self.site.run("sync", TENANT, "--accept", "--json", *options).json
        return report

    def undo(self, run: int) -> dict[str, Any]:
        report: dict[str, Any] = self.site.run("undo", TENANT, str(run), "--yes", "--json").json
        return report


@pytest.fixture(scope="module")
def story(make_site: MakeSite, today: date) -> Story:
    return Story(make_site(), today)


def test_the_syncs_did_everything_that_syncs_do(story: Story) -> None:
    for step in (story.first, story.second):
        assert kinds(story.site, step.run).keys() == EVERY_KIND
    severities = {entry[6] for step in (story.load, story.first, story.second) for entry in step.after.rejects}
    assert severities == {"reject", "held", "warning"}
    assert story.load.after != story.first.after != story.second.after


@pytest.mark.parametrize(
    ("step", "before"),
    [
        ("undone_second", "first"),
        ("undone_first", "load"),
        ("redone_first", "first"),
        ("redone_second", "second"),
        ("back_again", "first"),
    ],
)
def test_all_is_exactly_as_before(story: Story, step: str, before: str) -> None:
    found, wanted = getattr(story, step).after, getattr(story, before).after
    for table in wanted.rows:
        assert found.rows[table] == wanted.rows[table], table
    assert found.rejects == wanted.rejects
    assert found.backing == wanted.backing


def test_it_tells_what_it_did(story: Story) -> None:
    report, images = story.undone_second.report, kinds(story.site, story.second.run)
    assert (report["mode"], report["state"], report["undoes"]) == ("undo", "succeeded", story.second.run)
    totals = {name: sum(table[name] for table in report["tables"]) for name in ("removed", "restored", "put_back")}
    assert totals == {"removed": images["insert"], "restored": images["update"], "put_back": images["delete"]}
    assert kinds(story.site, story.undone_second.run).keys() == EVERY_KIND, "an undo can be undone"
    assert "next sync brings the state of the ERP again" in report["remarks"][0]


def test_watermarks_go_back_and_the_next_sync_reads_the_tables_concerned_whole(story: Story) -> None:
    touched = {table["table"] for table in story.undone_second.report["tables"]}
    assert touched
    for table, (horizon, live_rows, live_recnos) in story.undone_second.marks.items():
        if table in touched:
            assert horizon <= story.first.marks[table][0]
            assert live_rows == story.first.marks[table][1], "the brake's measure"
            assert live_recnos is None
        else:
            assert (horizon, live_rows, live_recnos) == story.second.marks[table]
    undone = {table["table"] for step in (story.undone_second, story.undone_first) for table in step.report["tables"]}
    strategies = {table["table"]: table["strategy"] for table in story.synced["tables"]}
    assert {table for table, strategy in strategies.items() if strategy == "full"} == undone


def test_the_next_sync_brings_the_erp_again(story: Story) -> None:
    assert story.synced["state"] == "succeeded"
    changed = sum(t["loaded"] + t["updated"] + t["deleted"] for t in story.read_whole["tables"])
    assert changed == 0, "reading all rows finds nothing that the window left out"
    assert story.by_content == story.whole


def test_runs_tell_what_was_undone(story: Story) -> None:
    listed = {run["run"]: run for run in story.site.run("runs", TENANT, "--json").json}
    assert listed[story.second.run]["undone_by"] == story.back_again.run
    assert listed[story.first.run]["undone_by"] is None, "its undo was undone"
    assert listed[story.undone_first.run]["undone_by"] == story.redone_first.run
    assert listed[story.undone_first.run]["undoes"] == story.first.run
    assert f"{story.back_again.run}" in story.site.run("runs", TENANT).out.partition("undone by")[2]
