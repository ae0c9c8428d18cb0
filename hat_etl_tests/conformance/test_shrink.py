"""A view that shows less than half of what the last load read stops the load until a person has decided."""

from __future__ import annotations

import json

import pytest

from hat_etl_tests.conformance.model import DELETED, RECNO, STAMP, Pls
from hat_etl_tests.conformance.site import TENANT, Answer, Site
from hat_etl_tests.conformance.world import widths
from hat_etl_tests.undo.small import Small

ONLY = ("--only", "persons", "--only", "user_types")


@pytest.fixture
def site(plain_site: Site) -> Site:
    """Ten people in HAT, one of them rejected, and no user type."""
    plain_site.renew_hat()
    people(plain_site, 10)
    report = plain_site.load(*ONLY)
    assert {table["table"]: table["read"] for table in report["tables"]} == {"user_types": 0, "persons": 10}
    return plain_site


@pytest.fixture
def small(plain_site: Site) -> Small:
    return Small(plain_site)


def load(small: Small, *options: str) -> Answer:
    """Of the ERP as it is now."""
    small.site.fill_tables(small.pls)
    return small.site.run("load", TENANT, "--json", *options)


def people(site: Site, number: int, *, deleted: int = 0) -> None:
    """This many in the ERP, the first of them without a name; then this many deleted ones."""
    pls = Pls(widths())
    for recno in range(1, number + deleted + 1):
        name = "" if recno == 1 else f"PESSOA {recno}"
        pls.rows("BTS").append({RECNO: recno, "BTS_MATVID": f"{recno:08}", "BTS_NOMUSR": name})
        pls.rows("BTS")[-1][DELETED] = "*" if recno > number else " "
    site.fill_tables(pls)


def in_hat(site: Site) -> int:
    return len(site.rows()["persons"])


def test_a_view_that_is_empty_at_the_first_load_does_not_stop_it(site: Site) -> None:
    assert (in_hat(site), len(site.rows()["user_types"])) == (9, 0)


def test_half_of_the_rows_is_enough(site: Site) -> None:
    people(site, 5)
    site.load(*ONLY)
    assert in_hat(site) == 4


@pytest.mark.parametrize(("live", "deleted"), [(4, 0), (4, 6), (0, 0)])
def test_less_than_half_stops_and_leaves_hat_as_it_is(site: Site, live: int, deleted: int) -> None:
    before, listed = site.rows(), site.rejects()
    people(site, live, deleted=deleted)
    answer = site.run("load", TENANT, "--json", *ONLY)
    assert answer.code == 7
    assert "persons" in answer.err
    assert "user_types" not in answer.err
    assert "--resume --accept-shrink" in answer.err
    assert (site.rows(), site.rejects()) == (before, listed)


def test_it_stops_again_until_the_shrink_is_accepted(site: Site) -> None:
    before = site.rows()
    people(site, 3)
    assert site.run("load", TENANT, *ONLY).code == 7
    assert site.run("load", TENANT).code == 7  # neither resumed nor restarted
    assert site.run("load", TENANT, "--resume").code == 7
    assert site.run("load", TENANT, "--restart", *ONLY).code == 7
    assert site.rows() == before
    report = site.load("--resume", "--accept-shrink")
    assert {table["table"]: table["loaded"] for table in report["tables"]} == {"user_types": 0, "persons": 2}
    assert in_hat(site) == 2


@pytest.mark.parametrize("number", [3, 0])
def test_what_was_accepted_once_is_the_measure_of_the_next_load(site: Site, number: int) -> None:
    people(site, number)
    site.load(*ONLY, "--accept-shrink")
    report = site.load(*ONLY)
    assert [table["read"] for table in report["tables"]] == [0, number]


def test_the_stop_is_told_as_json_too(site: Site) -> None:
    people(site, 1)
    answer = site.run_apart("load", TENANT, "--json", *ONLY)
    told = json.loads(answer.out)
    assert (answer.code, told["state"], told["tenant"]) == (7, "stopped", TENANT)


def test_what_a_sync_brought_is_no_measure(site: Site) -> None:
    """A sync counts what has come since, which is less than half of any table."""
    people(site, 11)
    assert site.run("sync", TENANT).code == 0
    people(site, 4)
    assert site.run("load", TENANT, *ONLY).code == 7


@pytest.mark.parametrize("number", [15, 0])
def test_less_than_half_of_what_syncs_have_made_of_a_table_stops_too(site: Site, number: int) -> None:
    """Only the last load was the measure: a view emptied since took away all that months of syncs had brought."""
    people(site, 40)
    assert site.run("sync", TENANT).code == 0
    people(site, number)
    answer = site.run("load", TENANT, *ONLY)
    assert answer.code == 7
    assert f"40 rows before, {number} now" in answer.err
    assert in_hat(site) == 39


def test_what_a_load_of_the_parents_held_is_no_measure(small: Small) -> None:
    """That load tells of the few rows that lost their parents, not of the table."""
    for recno in range(100, 110):
        small.company(recno, "0001")
    assert load(small, "--only", "companies").code == 0
    small.delete("BA0", 2)
    report = load(small, "--only", "health_insurers").json
    assert {table["table"]: table["held"] for table in report["tables"]}["companies"] == 1
    small.pls.tables["BG9"] = small.pls.rows("BG9")[:1]
    assert load(small, "--only", "companies").code == 7


# -- what changes in the ERP before a person has decided ---------------------------------------------------------------


def test_a_row_staged_as_bad_that_is_deleted_since_leaves_hat(small: Small) -> None:
    """Its last good version would have stayed, for a row that is no longer there."""
    for recno in (1, 3, 4):
        small.delete("BTS", recno)
    small.change("BTS", 2, BTS_NOMUSR="")
    assert load(small, "--only", "persons").code == 7
    small.delete("BTS", 2)
    assert load(small, "--resume", "--accept-shrink").code == 0
    assert small.site.rows()["persons"] == {}
    assert small.site.rejects() == []


def test_rows_without_a_stamp_are_read_again(small: Small) -> None:
    """Nothing tells whether they have changed: what was staged of them may be old."""
    small.pls.tables["BTS"] = small.pls.rows("BTS")[1:2]
    for row in small.pls.rows("BTS"):
        row[STAMP] = None
    assert load(small, "--only", "persons").code == 7
    small.pls.rows("BTS")[0]["BTS_NOMUSR"] = "NOVO"
    assert load(small, "--resume", "--accept-shrink").code == 0
    (person,) = small.site.rows()["persons"].values()
    assert person.values["name"] == "NOVO"
