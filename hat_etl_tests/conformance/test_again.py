"""What a later load does with what HAT holds, one story each."""

from __future__ import annotations

from typing import Any

import pytest

from hat_etl_tests.conformance.model import DELETED, RECNO, Pls, PlsRow
from hat_etl_tests.conformance.site import Site, only
from hat_etl_tests.conformance.world import widths

TABLES = ("health_insurers", "companies", "families", "beneficiaries", "beneficiary_status_history")
CARD, OTHER_CARD = "00010002000001008", "00010002000001007"


class Story:
    """An operator with one beneficiary, its family and one event of its history."""

    def __init__(self, site: Site) -> None:
        self.site, self.pls = site, Pls(widths())
        family = {"CODINT": "0001", "CODEMP": "0002", "MATRIC": "000001"}
        self.row("BA0", 1, BA0_CODIDE="0", BA0_CODINT="001")
        self.row("BG9", 1, BG9_CODINT="0001", BG9_CODIGO="0002")
        self.family = self.row("BA3", 1, **{f"BA3_{name}": value for name, value in family.items()})
        self.person = self.row(
            "BA1", 1, **{f"BA1_{name}": value for name, value in family.items()}, BA1_TIPREG="00", BA1_DIGITO=CARD[16],
            BA1_NOMUSR="ANA", BA1_DATNAS="19800101", BA1_DATINC="20200101",
        )  # fmt: skip
        self.row("BCA", 1, BCA_MATRIC="00010002000001", BCA_TIPREG="00", BCA_DATA="20240101", BCA_TIPO="0")

    def row(self, alias: str, recno: int, **values: Any) -> PlsRow:
        row: PlsRow = {RECNO: recno, **values}
        self.pls.rows(alias).append(row)
        return row

    def rival(self, recno: int, **changes: Any) -> PlsRow:
        """Another row for the beneficiary."""
        return self.row("BA1", recno, **{**{n: v for n, v in self.person.items() if n != RECNO}, **changes})

    def load(self, *tables: str) -> None:
        self.site.fill_tables(self.pls)
        # Of one row, to lose one is to lose more than half.
        self.site.load(*only(tables or TABLES), "--accept-shrink")

    def cards(self) -> dict[str, tuple[str, int]]:
        """Card of each beneficiary in HAT, to its name and Recno."""
        rows = self.site.rows()["beneficiaries"].values()
        return {str(row.values["subscriber_id"]): (str(row.values["name"]), row.source_recno) for row in rows}

    def events(self) -> int:
        return len(self.site.rows()["beneficiary_status_history"])

    def entries(self) -> set[tuple[str, int, str, str]]:
        return {(entry.table, entry.recno, entry.rule, entry.severity) for entry in self.site.rejects()}


HELD_EVENT = ("beneficiary_status_history", 1, "parent_missing", "held")


@pytest.fixture
def story(plain_site: Site) -> Story:
    plain_site.renew_hat()
    return Story(plain_site)


@pytest.fixture
def loaded(story: Story) -> Story:
    story.load()
    assert (story.cards(), story.events(), story.entries()) == ({CARD: ("ANA", 1)}, 1, set())
    return story


def test_a_row_that_goes_bad_leaves_its_last_good_version_and_that_one_its_children(loaded: Story) -> None:
    loaded.person |= {"BA1_DATNAS": "19811301", "BA1_NOMUSR": "ANA MARIA"}
    loaded.load()
    assert (loaded.cards(), loaded.events()) == ({CARD: ("ANA", 1)}, 1)
    assert loaded.entries() == {("beneficiaries", 1, "invalid_date", "reject")}


def test_the_last_good_version_belongs_to_the_key_and_not_to_the_recno(loaded: Story) -> None:
    loaded.rival(2, BA1_NOMUSR="")
    loaded.person[DELETED] = "*"
    loaded.load()
    assert (loaded.cards(), loaded.events()) == ({CARD: ("ANA", 1)}, 1)
    assert loaded.entries() == {("beneficiaries", 2, "required", "reject")}


def test_a_last_good_version_is_kept_from_load_to_load(loaded: Story) -> None:
    loaded.person["BA1_NOMUSR"] = ""
    loaded.load()
    loaded.load()
    assert (loaded.cards(), loaded.events()) == ({CARD: ("ANA", 1)}, 1)


def test_without_a_live_row_of_its_key_the_last_good_version_goes_even_if_its_row_is_bad_elsewhere(
    loaded: Story,
) -> None:
    loaded.person |= {"BA1_TIPREG": "01", "BA1_DIGITO": "6", "BA1_NOMUSR": ""}
    loaded.load()
    assert (loaded.cards(), loaded.events()) == ({}, 0)
    assert loaded.entries() == {("beneficiaries", 1, "required", "reject"), HELD_EVENT}


def test_a_deleted_row_leaves_hat_with_its_children_though_a_bad_one_was_its_last(loaded: Story) -> None:
    loaded.person["BA1_NOMUSR"] = ""
    loaded.load()
    loaded.person[DELETED] = "*"
    loaded.load()
    assert (loaded.cards(), loaded.events(), loaded.entries()) == ({}, 0, {HELD_EVENT})


def test_a_bad_winner_brings_no_other_row_in_and_the_losers_say_only_that_they_lost(loaded: Story) -> None:
    loaded.person |= {"BA1_NOMUSR": "ANA B", "BA1_SEXO": "9"}
    loaded.rival(2, BA1_NOMUSR="")
    loaded.load()
    assert loaded.cards() == {CARD: ("ANA", 1)}
    assert loaded.entries() == {
        ("beneficiaries", 1, "duplicate_key", "reject"),
        ("beneficiaries", 2, "required", "reject"),
        ("beneficiaries", 2, "in", "warning"),
    }


def test_a_bad_rival_for_an_alternate_key_leaves_the_last_good_version(loaded: Story) -> None:
    loaded.rival(2, BA1_DIGITO=OTHER_CARD[16], BA1_NOMUSR="")
    loaded.load()
    assert (loaded.cards(), loaded.events()) == ({CARD: ("ANA", 1)}, 1)
    assert {entry for entry in loaded.entries() if entry[3] == "reject"} == {
        ("beneficiaries", 1, "duplicate_key", "reject"),
        ("beneficiaries", 2, "required", "reject"),
    }


def test_a_good_rival_for_an_alternate_key_takes_the_place(loaded: Story) -> None:
    loaded.rival(2, BA1_DIGITO=OTHER_CARD[16], BA1_NOMUSR="ANA NOVA")
    loaded.load()
    assert (loaded.cards(), loaded.events()) == ({OTHER_CARD: ("ANA NOVA", 2)}, 1)


def test_a_duplicate_comes_in_when_the_winner_is_deleted(story: Story) -> None:
    winner = story.rival(2, BA1_NOMUSR="ANA NOVA")
    story.load()
    assert story.cards() == {CARD: ("ANA NOVA", 2)}
    winner[DELETED] = "*"
    story.load()
    assert (story.cards(), story.entries()) == ({CARD: ("ANA", 1)}, set())


def test_a_mended_row_clears_its_reject_and_frees_what_it_held(story: Story) -> None:
    story.person["BA1_NOMUSR"] = ""
    story.load()
    assert (story.cards(), story.events()) == ({}, 0)
    assert story.entries() == {("beneficiaries", 1, "required", "reject"), HELD_EVENT}
    story.person["BA1_NOMUSR"] = "ANA"
    story.load()
    assert (story.cards(), story.events(), story.entries()) == ({CARD: ("ANA", 1)}, 1, set())


def test_a_parent_that_goes_takes_children_and_grandchildren_and_brings_them_back(loaded: Story) -> None:
    loaded.family[DELETED] = "*"
    loaded.load()
    assert (loaded.cards(), loaded.events()) == ({}, 0)
    assert loaded.entries() == {("beneficiaries", 1, "parent_missing", "held"), HELD_EVENT}
    loaded.family[DELETED] = " "
    loaded.load()
    assert (loaded.cards(), loaded.events(), loaded.entries()) == ({CARD: ("ANA", 1)}, 1, set())


def test_children_leave_too_when_only_their_parent_is_loaded(loaded: Story) -> None:
    loaded.family[DELETED] = "*"
    loaded.load("families")
    assert (loaded.cards(), loaded.events()) == ({}, 0)
    assert loaded.entries() == {("beneficiaries", 1, "parent_missing", "held"), HELD_EVENT}


def test_a_loaded_row_is_held_when_the_table_between_it_and_the_loaded_parent_loses_its_parent(loaded: Story) -> None:
    loaded.family[DELETED] = "*"
    loaded.load("families", "beneficiary_status_history")
    assert (loaded.cards(), loaded.events()) == ({}, 0)
    assert loaded.entries() == {("beneficiaries", 1, "parent_missing", "held"), HELD_EVENT}


def test_a_kept_version_leaves_with_its_parent_and_its_row_stays_rejected(loaded: Story) -> None:
    loaded.person["BA1_NOMUSR"] = ""
    loaded.load()
    loaded.family[DELETED] = "*"
    loaded.load("families")
    assert (loaded.cards(), loaded.events()) == ({}, 0)
    assert loaded.entries() == {("beneficiaries", 1, "required", "reject"), HELD_EVENT}


def test_a_purged_row_leaves_hat_and_its_reject_the_list(loaded: Story) -> None:
    loaded.person["BA1_NOMUSR"] = ""
    loaded.load()
    loaded.pls.rows("BA1").clear()
    loaded.load()
    assert (loaded.cards(), loaded.events(), loaded.entries()) == ({}, 0, {HELD_EVENT})


def test_a_held_row_stays_held_when_the_version_that_once_was_its_own_goes(loaded: Story) -> None:
    """HAT called that version by the Recno of the row, and with it went the entry of the row, which was forgotten."""
    loaded.rival(2, BA1_NOMUSR="")
    loaded.person |= {"BA1_MATRIC": "000009"}
    loaded.load()
    assert loaded.cards() == {CARD: ("ANA", 1)}
    held = ("beneficiaries", 1, "parent_missing", "held")
    assert held in loaded.entries()
    loaded.family[DELETED] = "*"
    loaded.load("families")
    assert loaded.cards() == {}
    assert held in loaded.entries()
