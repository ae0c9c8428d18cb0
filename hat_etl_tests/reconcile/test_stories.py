"""What a reconciliation says of one row and what a repair does with it, one story each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hat_etl.errors import SourceError
from hat_etl.sync import compared_table, ranges
from hat_etl.sync import reconcile as reconciliation
from hat_etl.sync.reconcile import ReconcileRequest, reconcile
from hat_etl.sync.run import Silent
from hat_etl.target import ledger
from hat_etl.tenants import store
from hat_etl_tests.conformance.model import DELETED, RECNO, STAMP, PlsRow
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.undo.small import LONG_AGO, Small

KINDS = ("missing", "extra", "differing", "in_flight", "quarantined", "kept")


@dataclass
class Said:
    """A report: counts other than zero and mismatches by table, and the exit code."""

    code: int
    report: dict[str, Any]

    def counts(self, table: str = "persons") -> dict[str, int]:
        found = next(t for t in self.report["tables"] if t["table"] == table)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def keys(self, kind: str, table: str = "persons") -> list[Any]:
        found = next(t for t in self.report["tables"] if t["table"] == table)
        return [(entry["recno"], entry["key"], *entry.get("columns", ())) for entry in found["keys"][kind]]


class Story(Small):
    """The small tenant, whose HAT others than hat_etl may write into."""

    def spoil(self, *statements: str) -> None:
        """Change HAT behind hat_etl's back."""
        with self.site.server.connect(self.site.hat) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                assert connection.execute(statement.encode()).rowcount >= 1

    def quietly(self, alias: str, recno: int, **fields: str) -> None:
        """Change the ERP without moving the stamp."""
        next(row for row in self.pls.rows(alias) if row[RECNO] == recno).update(fields)

    def forget(self, alias: str, recno: int) -> None:
        self.pls.tables[alias] = [row for row in self.pls.rows(alias) if row[RECNO] != recno]

    def reconcile(self, *options: str) -> Said:
        self.site.fill_tables(self.pls)
        answer = self.site.run("reconcile", TENANT, "--json", *options)
        return Said(answer.code, json.loads(answer.out))

    def mend(self, *options: str) -> dict[str, Any]:
        """Repair; what differed is mended, and nothing differs any more."""
        said = self.reconcile("--repair", *options)
        assert said.code == 0, said.report["after"]
        again = self.reconcile()
        assert (again.code, again.report["state"]) == (0, "succeeded")
        return said.report

    def persons(self) -> dict[str, tuple[Any, int]]:
        """Key to name and Recno."""
        rows = self.site.rows()["persons"].values()
        return {str(row.values["person_id"]): (row.values["name"], row.source_recno) for row in rows}

    def copy(self, recno: int, new_key: str, new_recno: int) -> None:
        """Put a row beside that of ``recno`` into HAT's persons."""
        self.spoil(
            f"CREATE TABLE public.copied AS SELECT * FROM hat.persons WHERE source_recno = {recno}",
            f"UPDATE public.copied SET person_id = '{new_key}', source_recno = {new_recno}",
            "INSERT INTO hat.persons SELECT * FROM public.copied",
        )


@pytest.fixture
def story(plain_site: Site) -> Story:
    return Story(plain_site)


LOADED = {f"{n:08}": (f"PESSOA {n}", n) for n in range(1, 5)}


def test_a_fresh_load_is_clean(story: Story) -> None:
    said = story.reconcile()
    assert said.code == 0
    assert {t["table"]: (t["source_rows"], t["hat_rows"], t["compared"]) for t in said.report["tables"]} == {
        "health_insurers": (2, 2, 2), "companies": (2, 2, 2), "products": (2, 2, 2), "persons": (4, 4, 4),
    }  # fmt: skip
    assert not any(said.counts(table) for table in story.tables)
    assert story.reconcile("--repair").report["repair"] is None


# -- HAT was changed by others -----------------------------------------------------------------------------------------


def test_a_missing_row_is_found_and_brought_back(story: Story) -> None:
    story.spoil("DELETE FROM hat.persons WHERE source_recno = 2")
    said = story.reconcile()
    assert (said.code, said.counts()) == (6, {"missing": 1})
    assert said.keys("missing") == [(2, "00000002")]
    assert [t["loaded"] for t in story.mend()["repair"]["tables"] if t["loaded"]] == [1]
    assert story.persons() == LOADED


@pytest.mark.parametrize("recno", [999, 0, -1, 2**62, -(2**62)])
def test_an_extra_row_is_found_and_leaves(story: Story, recno: int) -> None:
    story.copy(2, "00000099", recno)
    said = story.reconcile()
    assert (said.code, said.counts()) == (6, {"extra": 1})
    assert said.keys("extra") == [(recno, "00000099")]
    story.mend()
    assert story.persons() == LOADED


def test_an_extra_row_whose_recno_is_live_under_another_key_leaves(story: Story) -> None:
    story.copy(2, "00000099", 2)
    said = story.reconcile()
    assert (said.code, said.counts()) == (6, {"extra": 1})
    assert said.keys("extra") == [(2, "00000099")]
    story.mend()
    assert story.persons() == LOADED


def test_all_rows_of_a_table_may_be_missing(story: Story) -> None:
    story.spoil("DELETE FROM hat.persons")
    assert story.reconcile().counts() == {"missing": 4}
    story.mend()
    assert story.persons() == LOADED


def test_a_changed_key_is_a_row_missing_and_another_extra(story: Story) -> None:
    story.spoil("UPDATE hat.persons SET person_id = '00000099' WHERE source_recno = 3")
    said = story.reconcile()
    assert (said.keys("missing"), said.keys("extra")) == ([(3, "00000003")], [(3, "00000099")])
    story.mend()
    assert story.persons() == LOADED


def test_keys_that_changed_places_are_found(story: Story) -> None:
    story.spoil(
        "UPDATE hat.persons SET person_id = 'x' WHERE source_recno = 3",
        "UPDATE hat.persons SET person_id = '00000003' WHERE source_recno = 4",
        "UPDATE hat.persons SET person_id = '00000004' WHERE source_recno = 3",
    )
    said = story.reconcile()
    assert sorted(said.keys("differing")) == [
        (3, "00000003", "name", "source_recno"),
        (4, "00000004", "name", "source_recno"),
    ]
    story.mend()
    assert {key: name for key, (name, _) in story.persons().items()} == {k: name for k, (name, _) in LOADED.items()}


def test_a_wrong_recno_is_found_and_noted(story: Story) -> None:
    story.spoil("UPDATE hat.persons SET source_recno = 77 WHERE source_recno = 3")
    said = story.reconcile()
    assert (said.code, said.keys("differing")) == (6, [(3, "00000003", "source_recno")])
    story.mend()
    # The row is equal, so that it is not rewritten: the ledger knows the live row behind it.
    story.change("BTS", 3, BTS_NOMUSR="PESSOA TRES")
    story.sync()
    assert story.persons()["00000003"] == ("PESSOA TRES", 3)


def test_values_that_no_row_of_the_erp_can_have_are_found(story: Story) -> None:
    story.spoil("UPDATE hat.persons SET birthdate = 'infinity' WHERE source_recno = 1")
    story.spoil("UPDATE hat.persons SET birthdate = '-infinity' WHERE source_recno = 2")
    story.spoil("UPDATE hat.persons SET birthdate = '0044-03-15 BC' WHERE source_recno = 3")
    said = story.reconcile()
    assert said.keys("differing") == [(n, f"0000000{n}", "birthdate") for n in (1, 2, 3)]
    story.mend()


def test_a_parent_that_went_missing_comes_back_and_frees_nothing_by_mistake(story: Story) -> None:
    story.spoil("DELETE FROM hat.health_insurers WHERE source_recno = 1")
    said = story.reconcile()
    assert (said.counts("health_insurers"), said.counts("companies")) == ({"missing": 1}, {})
    story.mend()
    assert len(story.site.rows()["companies"]) == 2


# -- the ERP has moved -------------------------------------------------------------------------------------------------


def test_what_is_stamped_after_the_last_sync_is_in_flight(story: Story) -> None:
    story.change("BTS", 1, BTS_NOMUSR="OUTRA")
    story.delete("BTS", 2)
    story.person(5)
    story.change("BTS", 3, BTS_NOMUSR="")  # from now on it is rejected
    said = story.reconcile()
    assert (said.code, said.counts()) == (0, {"in_flight": 4})
    assert said.report["state"] == "succeeded"
    assert story.reconcile("--repair").report["repair"] is None
    story.sync()
    assert story.reconcile().counts() == {"quarantined": 1, "kept": 1}


def test_a_stamp_does_not_excuse_a_row_that_was_brought_with_it(story: Story) -> None:
    """As long as a transaction of the ERP is open, the watermark stays behind what has been brought."""
    with story.site.server.connect(story.site.erp, autocommit=False) as open_one:
        open_one.execute("SELECT 1")
        story.change("BTS", 1, BTS_NOMUSR="OUTRA")
        story.sync()
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno = 1")
    said = story.reconcile()
    assert said.keys("differing") == [(1, "00000001", "name")]


def test_a_stamp_of_the_future_excuses_nothing(story: Story) -> None:
    story.pls.rows("BTS")[0][STAMP] = LONG_AGO.replace(year=2100)
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno = 1")
    assert story.reconcile().counts() == {"differing": 1}


def test_what_moves_no_stamp_is_a_mismatch_that_a_repair_mends(story: Story) -> None:
    story.quietly("BTS", 1, BTS_NOMUSR="OUTRA")
    story.quietly("BTS", 2, **{DELETED: "*"})
    story.forget("BTS", 3)
    story.person(5)[STAMP] = LONG_AGO
    said = story.reconcile()
    assert said.counts() == {"missing": 1, "extra": 2, "differing": 1}
    assert said.keys("missing") == [(5, "00000005")]
    assert said.keys("extra") == [(2, "00000002"), (3, "00000003")]
    assert said.keys("differing") == [(1, "00000001", "name")]
    story.mend()
    assert story.persons() == {"00000001": ("OUTRA", 1), "00000004": ("PESSOA 4", 4), "00000005": ("PESSOA 5", 5)}


def test_a_row_that_went_bad_without_a_stamp_differs_in_what_is_bad(story: Story) -> None:
    story.quietly("BTS", 1, BTS_NOMUSR="")
    said = story.reconcile()
    assert (said.counts(), said.keys("differing")) == ({"differing": 1}, [(1, "00000001", "name")])
    story.mend()
    assert story.persons() == LOADED
    assert story.reconcile().counts() == {"quarantined": 1, "kept": 1}


def test_a_bad_row_that_quarantine_does_not_know_is_missing(story: Story) -> None:
    row = story.person(5)
    row |= {STAMP: LONG_AGO, "BTS_NOMUSR": ""}
    said = story.reconcile()
    assert (said.counts(), said.keys("missing")) == ({"missing": 1}, [(5, "00000005")])
    story.mend()
    assert story.reconcile().counts() == {"quarantined": 1}


class Meddler(Silent):
    """Changes the ERP between the two readings."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        self._meddle = meddle

    def phase(self, name: str) -> None:
        if name == "looking again at what differs":
            self._meddle()


def test_what_changes_between_the_readings_is_in_flight_though_no_stamp_tells(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAT_ETL_TENANTS", str(story.site.folder))
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno IN (1, 2)")
    story.spoil("DELETE FROM hat.persons WHERE source_recno = 3")
    story.copy(4, "00000099", 99)

    def meddle() -> None:
        story.quietly("BTS", 1, BTS_NOMUSR="DEPRESSA")
        story.forget("BTS", 3)
        story.person(99)[STAMP] = LONG_AGO
        story.site.fill_tables(story.pls)

    report = reconcile(store.load(TENANT), ReconcileRequest(("persons",)), Meddler(meddle))
    (table,) = report.tables
    # The row that is gone by now is neither; person 99 came between the readings.
    assert (table.missing, table.extra, table.differing, table.in_flight) == (0, 0, 1, 2)
    assert [entry["recno"] for entry in table.keys["differing"]] == [2]


def test_a_reconciliation_does_not_unsettle_the_quarantine(story: Story) -> None:
    """A sync need not judge again what the last run that wrote into HAT has judged today."""
    story.change("BTS", 1, BTS_NOMUSR="")
    story.sync()
    with story.site.server.connect(story.site.hat) as connection:
        before = ledger.last_writer(connection)
        story.reconcile()
        assert ledger.last_writer(connection) == before


def test_a_reconciliation_leaves_a_run_that_waits_for_a_decision(story: Story) -> None:
    """Every night one comes between the evening's stop and the person who answers it."""
    story.spoil("UPDATE hat_etl.watermarks SET horizon = horizon + interval '2 hours'")
    assert story.site.run("sync", TENANT).code == 7
    story.reconcile()
    states = [(run["mode"], run["state"]) for run in story.site.run("runs", TENANT, "--json").json]
    assert states[:2] == [("reconcile", "succeeded"), ("sync", "stopped")]


# -- what is no mismatch -----------------------------------------------------------------------------------------------


def test_a_kept_version_is_none(story: Story) -> None:
    story.change("BTS", 1, BTS_NOMUSR="")
    story.sync()
    assert story.reconcile().counts() == {"quarantined": 1, "kept": 1}


def test_a_held_row_is_none(story: Story) -> None:
    story.company(19, "0009")
    story.sync()
    said = story.reconcile()
    assert (said.code, said.counts("companies")) == (0, {"quarantined": 1})


def test_a_loser_is_none_and_its_winner_may_be_missing(story: Story) -> None:
    story.person(9, BTS_MATVID="00000001", BTS_NOMUSR="VENCEDORA")
    story.sync()
    assert story.reconcile().counts() == {"quarantined": 1}
    story.spoil("DELETE FROM hat.persons WHERE person_id = '00000001'")
    said = story.reconcile()
    assert (said.counts(), said.keys("missing")) == ({"missing": 1, "quarantined": 1}, [(9, "00000001")])
    story.mend()
    assert story.persons()["00000001"] == ("VENCEDORA", 9)


def test_a_loser_is_not_taken_for_the_row_of_its_key(story: Story) -> None:
    story.person(9, BTS_MATVID="00000001", BTS_NOMUSR="VENCEDORA")
    story.sync()
    story.spoil("UPDATE hat.persons SET source_recno = 1 WHERE person_id = '00000001'")
    said = story.reconcile()
    assert said.counts() == {"differing": 1, "quarantined": 1}
    assert said.keys("differing") == [(9, "00000001", "source_recno")]
    story.mend()


def test_a_row_in_hat_that_the_ledger_takes_for_held_is_compared_all_the_same(story: Story) -> None:
    story.company(19, "0009")
    story.sync()
    with story.site.server.connect(story.site.hat) as connection:
        connection.execute("UPDATE hat_etl.rejects SET recno = 11 WHERE \"table\" = 'companies'")
    assert story.reconcile().counts("companies") == {"missing": 1}
    story.spoil("UPDATE hat.companies SET name = 'ESTRANHA' WHERE source_recno = 11")
    said = story.reconcile()
    assert said.counts("companies") == {"missing": 1, "differing": 1}
    assert said.keys("differing", "companies") == [(11, "0001|0011", "name")]


def test_a_recno_that_moved_is_none_and_a_change_behind_it_is_found(story: Story) -> None:
    old: PlsRow = story.pls.rows("BTS")[0]
    story.add("BTS", 8, **{name: value for name, value in old.items() if name not in (RECNO, STAMP, DELETED)})
    story.delete("BTS", 1)
    story.sync()
    assert story.persons()["00000001"] == ("PESSOA 1", 1)
    assert story.reconcile().counts() == {}
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE person_id = '00000001'")
    assert story.reconcile().keys("differing") == [(8, "00000001", "name")]
    story.mend()
    assert story.persons()["00000001"][0] == "PESSOA 1"


def test_rows_with_one_recno_in_hat_are_told_apart(story: Story) -> None:
    """The version kept of a key, and the row of another key that the same Recno has now."""
    story.change("BTS", 1, BTS_NOMUSR="")
    story.person(7, BTS_MATVID="00000001", BTS_NOMUSR="")
    story.sync()
    story.change("BTS", 1, BTS_MATVID="00000050", BTS_NOMUSR="CINQUENTA")
    story.sync()
    assert story.persons()["00000001"] == ("PESSOA 1", 1)
    assert story.persons()["00000050"] == ("CINQUENTA", 1)
    assert story.reconcile().counts() == {"quarantined": 1, "kept": 1}
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE person_id = '00000050'")
    assert story.reconcile().keys("differing") == [(1, "00000050", "name")]
    story.mend()
    assert story.persons()["00000050"][0] == "CINQUENTA"


# -- the doors ---------------------------------------------------------------------------------------------------------


def test_a_repair_leaves_the_watermark_and_what_is_in_flight(story: Story) -> None:
    story.spoil("DELETE FROM hat.persons WHERE source_recno = 2")
    story.change("BTS", 1, BTS_NOMUSR="OUTRA")
    before = story.site.run("status", TENANT, "--json").json["watermarks"]
    report = story.reconcile("--repair").report
    assert story.site.run("status", TENANT, "--json").json["watermarks"] == before
    assert story.persons()["00000001"] == ("PESSOA 1", 1)
    assert story.persons()["00000002"] == ("PESSOA 2", 2)
    assert [(t["table"], t["in_flight"]) for t in report["after"]] == [("persons", 1)]
    story.sync()
    assert story.persons()["00000001"] == ("OUTRA", 1)


def test_a_repair_can_be_undone(story: Story) -> None:
    story.spoil("DELETE FROM hat.persons WHERE source_recno = 2")
    run = story.reconcile("--repair").report["repair"]["run"]
    story.undo(run)
    assert "00000002" not in story.persons()


def test_the_brake_stops_a_repair_until_it_is_accepted(story: Story) -> None:
    for number in range(10, 160):
        story.person(number)
    story.sync()
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA'")
    story.site.fill_tables(story.pls)
    stopped = story.site.run("reconcile", TENANT, "--repair")
    assert stopped.code == 7
    assert f"hat-etl reconcile {TENANT} --repair --accept" in stopped.err
    assert "154 differing" in stopped.err
    assert set(name for name, _ in story.persons().values()) == {"ESTRANHA"}
    story.mend("--accept")
    assert story.persons()["00000001"] == ("PESSOA 1", 1)


def test_the_ledger_keeps_counts_and_the_first_keys(story: Story) -> None:
    story.spoil("DELETE FROM hat.persons WHERE source_recno = 2")
    run = story.reconcile("--table", "persons").report["run"]
    (last,) = story.site.run("runs", TENANT, "--limit", "1", "--json").json
    assert (last["run"], last["mode"], last["state"]) == (run, "reconcile", "differs")
    assert "persons: 1 missing, 0 extra, 0 differing" in last["error"]
    assert [(t["table"], t["strategy"], t["read"]) for t in last["tables"]] == [("persons", "reconcile", 4)]
    with story.site.server.connect(story.site.hat) as connection:
        kept = connection.execute(
            'SELECT "table", source_rows, hat_rows, compared, missing, keys FROM hat_etl.reconciliations'
            " WHERE run = %s",
            (run,),
        ).fetchall()
    keys = {"missing": [{"recno": 2, "key": "00000002"}], "extra": [], "differing": []}
    assert kept == [("persons", 4, 3, 3, 1, keys)]


def test_it_tells_a_person_what_differs_and_what_to_do(story: Story) -> None:
    story.spoil("DELETE FROM hat.persons WHERE source_recno = 2")
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno = 1")
    told = story.site.run("reconcile", TENANT)
    assert told.code == 6
    assert "persons, missing: 00000002 (R_E_C_N_O_ 2)" in told.out
    assert "persons, differing: 00000001 (R_E_C_N_O_ 1): name" in told.out
    assert "persons, rows by column: name 1" in told.out
    assert f"hat-etl reconcile {TENANT} --repair" in told.out
    assert "ESTRANHA" not in told.out + told.err
    assert "PESSOA" not in told.out + told.err
    mended = story.site.run("reconcile", TENANT, "--repair")
    assert mended.code == 0
    assert "After the repair" in mended.out


def test_only_the_tables_asked_for_are_compared(story: Story) -> None:
    story.spoil("DELETE FROM hat.persons WHERE source_recno = 2")
    said = story.reconcile("--table", "companies", "--table", "products")
    assert (said.code, [t["table"] for t in said.report["tables"]]) == (0, ["companies", "products"])


@pytest.mark.parametrize(
    ("options", "code"), [(("--table", "nonsense"), 3), (("--accept",), 2), (("--table",), 2)], ids=str
)
def test_what_makes_no_sense_is_refused(story: Story, options: tuple[str, ...], code: int) -> None:
    assert story.site.run("reconcile", TENANT, *options).code == code


def test_before_a_load_there_is_nothing_to_compare(plain_site: Site) -> None:
    plain_site.renew_hat()
    answer = plain_site.run("reconcile", TENANT)
    assert answer.code == 7
    assert "hat-etl load" in answer.err


def test_errors_of_either_server_tell_to_reconcile_again_and_quote_nothing(story: Story) -> None:
    story.site.execute("ALTER VIEW hat.hat_bts_vida RENAME TO kept")
    story.site.execute("CREATE VIEW hat.hat_bts_vida AS SELECT * FROM hat.kept WHERE (nome || 'x')::int > 0")
    try:
        of_erp = story.site.run("reconcile", TENANT)
    finally:
        story.site.execute("DROP VIEW hat.hat_bts_vida", "ALTER VIEW hat.kept RENAME TO hat_bts_vida")
    with story.site.server.connect(story.site.hat) as connection:
        connection.execute("ALTER TABLE hat.persons RENAME TO away")
    of_hat = story.site.run("reconcile", TENANT)
    assert (of_erp.code, of_hat.code) == (4, 5)
    for answer in (of_erp, of_hat):
        assert f"hat-etl reconcile {TENANT}" in answer.err
        assert "PESSOA" not in answer.out + answer.err
    (last,) = story.site.run("runs", TENANT, "--limit", "1", "--json").json
    assert (last["mode"], last["state"]) == ("reconcile", "failed")


def test_a_view_that_is_gone_is_told_and_the_others_are_compared(story: Story) -> None:
    story.site.execute("ALTER VIEW hat.hat_bts_vida RENAME TO gone")
    try:
        said = story.reconcile()
    finally:
        story.site.execute("ALTER VIEW hat.gone RENAME TO hat_bts_vida")
    assert (said.code, said.report["state"]) == (6, "partial")
    assert [problem["table"] for problem in said.report["problems"]] == ["persons"]
    assert "persons" not in [table["table"] for table in said.report["tables"]]


# -- ways of reading ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several ranges, chunks and buckets even of few rows."""
    monkeypatch.setattr(reconciliation, "CHUNK", 3)
    for name, size in (("RANGE_ROWS", 7), ("SPLIT_ROWS", 1)):
        monkeypatch.setattr(ranges, name, size)
    for name, size in (("BUCKET_BREADTH", 5), ("SHOWN", 4)):
        monkeypatch.setattr(compared_table, name, size)


def spoil_many(story: Story) -> None:
    """Persons 10 to 69 come, and of all persons a seventh goes, a fifth changes, and one is there under two keys."""
    for number in range(10, 70):
        story.person(number)
    story.sync()
    with story.site.server.connect(story.site.erp) as connection:
        connection.execute("ANALYZE")
    story.spoil("DELETE FROM hat.persons WHERE source_recno % 7 = 0")
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno % 5 = 0")
    story.copy(12, "00000099", 13)


@pytest.mark.usefixtures("small_pieces")
def test_many_ranges_chunks_and_buckets_find_the_same(story: Story) -> None:
    spoil_many(story)
    said = story.reconcile("--table", "persons")
    recnos = [*range(1, 5), *range(10, 70)]
    missing = [n for n in recnos if n % 7 == 0]
    differing = [n for n in recnos if n % 5 == 0 and n % 7]
    assert said.counts() == {"missing": len(missing), "differing": len(differing), "extra": 1}
    (table,) = said.report["tables"]
    assert [entry["recno"] for entry in table["keys"]["missing"]] == missing[:4]
    buckets = table["differing_buckets"]
    assert table["buckets"] == 14  # of five Recnos each, from 1 to 69
    assert sum(bucket["missing"] for bucket in buckets) == len(missing)
    assert sum(bucket["differing"] for bucket in buckets) == len(differing)
    first = next(bucket for bucket in buckets if bucket["low"] <= 14 <= bucket["high"])
    assert first == {
        "low": 11, "high": 15, "source_rows": 5, "hat_rows": 5,
        "missing": 1, "extra": 1, "differing": 1, "columns": {"name": 1},
    }  # fmt: skip
    story.mend("--accept")


@pytest.mark.usefixtures("small_pieces")
def test_a_full_sync_in_many_ranges_mends_all_of_it(story: Story) -> None:
    spoil_many(story)
    story.sync("--full", "--accept")
    said = story.reconcile()
    assert (said.code, said.report["state"]) == (0, "succeeded")


def test_a_server_that_hashes_otherwise_is_read_row_by_row(story: Story) -> None:
    story.change("BTS", 1, BTS_NOMUSR="")
    story.sync()
    with story.site.server.connect(story.site.hat) as connection:
        connection.execute("CREATE SCHEMA other")
        connection.execute(
            "CREATE FUNCTION other.hash_record_extended(record, bigint) RETURNS bigint LANGUAGE plpgsql"
            " AS 'BEGIN RETURN 0; END'"
        )
        connection.execute(f"ALTER DATABASE {story.site.hat} SET search_path = other, pg_catalog".encode())
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno = 2")
    said = story.reconcile()
    assert (said.counts(), said.keys("differing")) == (
        {"differing": 1, "quarantined": 1, "kept": 1},
        [(2, "00000002", "name")],
    )


def test_what_a_repair_has_changed_besides_is_compared_afterwards_too(story: Story) -> None:
    """A row that comes without a stamp frees those that were held for it, which are no mismatches themselves."""
    story.company(13, "0003")
    story.sync()
    story.insurer(3)[STAMP] = LONG_AGO
    said = story.reconcile("--repair")
    assert [table["table"] for table in said.report["tables"] if table["missing"]] == ["health_insurers"]
    assert [table["table"] for table in said.report["after"]] == ["health_insurers", "companies"]
    assert (said.code, len(story.site.rows()["companies"])) == (0, 3)


def test_after_a_repair_what_could_not_be_compared_is_still_told(story: Story) -> None:
    """The comparison of what was repaired was clean, and the ledger said that all was."""
    story.spoil("UPDATE hat.products SET health_product_code = 'Z999' WHERE source_recno = 21")
    story.site.execute("ALTER VIEW hat.hat_bts_vida RENAME TO gone")
    try:
        said = story.reconcile("--repair")
    finally:
        story.site.execute("ALTER VIEW hat.gone RENAME TO hat_bts_vida")
    assert said.code == 6
    assert [table["table"] for table in said.report["after"]] == ["products"]
    with story.site.server.connect(story.site.hat) as connection:
        ((state, told),) = connection.execute(
            "SELECT state, error FROM hat_etl.runs ORDER BY run DESC LIMIT 1"
        ).fetchall()
    assert state == "partial"
    assert "persons" in told


def test_a_repair_whose_second_comparison_fails_is_told_all_the_same(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window closed during it: the run said that HAT was as before, and Dagster never heard of the repair."""

    class ClosesAtLast(Silent):
        looks = 0

        def phase(self, name: str) -> None:
            self.looks += name == "looking at the views"
            if self.looks == 3:
                raise SourceError("The ERP may not be read now.", "Wait.")

    monkeypatch.setenv("HAT_ETL_TENANTS", str(story.site.folder))
    story.spoil("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno = 1")
    report = reconcile(store.load(TENANT), ReconcileRequest(repair=True), ClosesAtLast())
    assert report.repair is not None
    assert [table.updated for table in report.repair.tables if table.table == "persons"] == [1]
    assert not report.after
    assert "The repair is done" in " ".join(report.remarks)
    assert story.persons()["00000001"][0] == "PESSOA 1"
