"""ERP activity on a small PLS: each test works on a copy of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from psycopg import sql
from psycopg.rows import dict_row

from hat_etl.cli.main import main
from hat_etl.sandbox import command, loading, physical
from hat_etl.sandbox.churn import LABELS, Activity, Clock, Kind, Operation, apply, generate, mixture, serves, work
from hat_etl.sandbox.churn.operations import CLOCKS, ENDS, LATE
from hat_etl.sandbox.churn.planning import ROOTS
from hat_etl.sandbox.churn.tables import FILTERS, table
from hat_etl.sandbox.churn.values import ways_to_spoil
from hat_etl_tests.conformance import model
from hat_etl_tests.sandbox import activity as strategies
from hat_etl_tests.sandbox import plain_contract
from hat_etl_tests.servers import Server

TODAY = date(2025, 2, 28)
NUMBERS = count(1)
SOME = ("BTS", "BA1", "BA3", "BFE", "BFC", "BC0", "BEA", "BCI", "BR4", "BGD", "BC4")
"""Tables of every sort: keys of one field and of many, unique indexes, joins, filters, nothing but a key."""
CHANGES = [kind for kind in Kind if kind not in ENDS]

Row = dict[str, Any]
MakePls = Callable[..., "Pls"]


@dataclass
class Pls:
    """A PLS, its activity, and a connection that sees what others have committed."""

    url: str
    activity: Activity
    connection: psycopg.Connection[Row]

    def do(self, kind: Kind, alias: str, rows: int = 1, choice: int = 0, **more: Any) -> list[int]:
        return list(apply(Operation(kind, alias, rows, choice, **more), self.activity))

    def rows(self, alias: str) -> dict[int, Row]:
        found = self.connection.execute(f"SELECT * FROM {self.activity.name(table(alias))}".encode())
        return {row["r_e_c_n_o_"]: row for row in found}

    def shown(self, alias: str) -> dict[int, Row]:
        """What the extraction view shows, deleted rows included."""
        query = plain_contract.view_sql(table(alias).entity, "protheus", "01")
        return {row["recno"]: row for row in self.connection.execute(query.encode())}

    def live_keys(self, alias: str) -> list[tuple[str, ...]]:
        return [key_of(alias, row) for row in self.rows(alias).values() if row["d_e_l_e_t_"] == " "]

    def issues(self) -> set[tuple[int, str, str, str]]:
        """Recno, table, rule and severity of all that a load would have to report today."""
        with psycopg.connect(self.url) as connection:
            # The day before: rows are made for a day that may not have come yet where the tenant is.
            found = plain_contract.report(connection, "01", TODAY)
        return {(recno, name, rule, severity) for name, recno, rule, severity, _ in found}

    def now(self) -> datetime:
        row = self.connection.execute("SELECT clock_timestamp() AT TIME ZONE 'utc' AS now").fetchone()
        assert row is not None
        moment: datetime = row["now"]
        return moment

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """All tables without their stamps, but with what a wrong clock has left."""
        return {
            alias: sorted(
                tuple(
                    (value is None or value.year > 2900)
                    if isinstance(value, datetime) or name == "s_t_a_m_p_"
                    else value
                    for name, value in row.items()
                )
                for row in self.rows(alias).values()
            )
            for alias in physical.aliases()
        }


def key_of(alias: str, row: Row) -> tuple[str, ...]:
    return tuple(row[field.column] for field in table(alias).key)


def values_of(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("s_t_a_m_p_", "carimbo")}


@pytest.fixture(scope="module")
def template(postgres: Server) -> str:
    """A database with a clean PLS, to be copied."""
    name = postgres.create_database("churn")
    with psycopg.connect(postgres.url(name)) as connection:
        connection.execute("CREATE SCHEMA protheus")
        loading.fill(connection, "01", 1, 250, TODAY)
    return name


def copied(postgres: Server, template: str, *statements: str) -> Pls:
    name = f"{template}_copy_{next(NUMBERS)}"
    with postgres.connect() as connection:
        parts = sql.Identifier(name), sql.Identifier(template)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(*parts))
    url = postgres.url(name)
    connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)
    for statement in statements:
        connection.execute(statement.encode())
    return Pls(url, Activity(url), connection)


def dropped(postgres: Server, pls: Pls) -> None:
    name = pls.connection.info.dbname
    pls.activity.close()
    pls.connection.close()
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def make_pls(postgres: Server, template: str) -> Iterator[MakePls]:
    made: list[Pls] = []

    def make(*statements: str) -> Pls:
        made.append(copied(postgres, template, *statements))
        return made[-1]

    yield make
    for pls in made:
        dropped(postgres, pls)


@pytest.fixture
def pls(make_pls: MakePls) -> Pls:
    return make_pls()


@pytest.fixture(scope="module")
def used(postgres: Server, template: str) -> Iterator[Pls]:
    """A PLS that other tests have used, for those that only look at one table before and after."""
    pls = copied(postgres, template)
    yield pls
    dropped(postgres, pls)


# -- what each kind does ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", physical.aliases())
def test_an_update_changes_one_value_of_just_these_rows_and_stamps_them(used: Pls, alias: str) -> None:
    before, shown, moment = used.rows(alias), used.shown(alias), used.now()
    changed = used.do(Kind.UPDATE, alias, 3, 5)
    after, shown_after = used.rows(alias), used.shown(alias)
    assert 1 <= len(changed) <= 3
    assert {recno for recno, row in after.items() if row != before[recno]} == set(changed)
    for recno in changed:
        differing = [name for name in values_of(after[recno]) if after[recno][name] != before[recno][name]]
        # Two tables hold nothing but their key and a third a joined value: there, only the stamp moves.
        assert len(differing) == (0 if alias in ("BFC", "BRV", "BC4") else 1)
        assert after[recno]["d_e_l_e_t_"] == " "
        assert moment <= after[recno]["s_t_a_m_p_"] <= used.now()
        if recno not in shown:
            assert alias == "BR4"  # another segment of the same table is shown
            continue
        assert shown_after[recno]["carimbo"] >= moment
        if differing:
            assert values_of(shown_after[recno]) != values_of(shown[recno])


def test_inserted_rows_have_new_recnos_and_keys_and_a_load_finds_nothing_wrong_with_them(pls: Pls) -> None:
    new: set[tuple[int, str]] = set()
    for alias in physical.aliases():
        keys, last = [key_of(alias, row) for row in pls.rows(alias).values()], max(pls.rows(alias))
        added = pls.do(Kind.INSERT, alias, 3, 4)
        rows = pls.rows(alias)
        assert added, alias
        assert all(recno > last for recno in added)
        fresh = [key_of(alias, rows[recno]) for recno in added]
        assert len(set(fresh)) == len(fresh)
        assert not set(fresh) & set(keys)
        assert added[0] in pls.shown(alias)
        new |= {(recno, table(alias).entity.table) for recno in added}
    assert not {issue for issue in pls.issues() if issue[:2] in new}


def test_inserted_people_have_documents_of_their_own(pls: Pls) -> None:
    added = pls.do(Kind.INSERT, "BTS", 20)
    documents = [row["bts_cpfusr"] for row in pls.rows("BTS").values() if row["bts_cpfusr"].strip()]
    assert all(documents.count(pls.rows("BTS")[recno]["bts_cpfusr"]) == 1 for recno in added)


@pytest.mark.parametrize("alias", SOME)
def test_a_deletion_marks_and_an_undeletion_takes_the_mark_back(pls: Pls, alias: str) -> None:
    before = pls.rows(alias)
    gone = pls.do(Kind.DELETE, alias, 2, 1)
    rows = pls.rows(alias)
    assert len(gone) == 2
    assert {recno: (rows[recno]["d_e_l_e_t_"], rows[recno]["r_e_c_d_e_l_"]) for recno in gone} == {
        recno: ("*", recno) for recno in gone
    }
    assert all(rows[recno]["s_t_a_m_p_"] > before[recno]["s_t_a_m_p_"] for recno in gone)
    assert [row["recno"] for row in pls.shown(alias).values() if row["recno"] in gone and not row["excluido"]] == []
    back = pls.do(Kind.UNDELETE, alias, 1_000)
    assert set(gone) <= set(back)
    assert {recno: values_of(row) for recno, row in pls.rows(alias).items() if recno in gone} == {
        recno: values_of(before[recno]) for recno in gone
    }


def test_a_touch_moves_only_the_stamp(pls: Pls) -> None:
    before, moment = pls.rows("BA1"), pls.now()
    touched = pls.do(Kind.TOUCH, "BA1", 2)
    after = pls.rows("BA1")
    assert len(touched) == 2
    assert [values_of(row) for row in after.values()] == [values_of(before[recno]) for recno in after]
    assert {recno for recno, row in after.items() if row["s_t_a_m_p_"] >= moment} == set(touched)


def test_a_mass_update_leaves_one_stamp_on_many_neighbours(pls: Pls) -> None:
    recnos = pls.do(Kind.MASS_UPDATE, "BTS", 120, 30)
    rows = pls.rows("BTS")
    assert len(recnos) == 120
    assert len({rows[recno]["s_t_a_m_p_"] for recno in recnos}) == 1
    live = sorted(recno for recno, row in rows.items() if row["d_e_l_e_t_"] == " ")
    assert recnos == live[30:150]


@pytest.mark.parametrize("alias", SOME)
def test_a_purged_row_is_gone_and_its_key_comes_back_under_a_new_recno(pls: Pls, alias: str) -> None:
    before = pls.rows(alias)
    gone = pls.do(Kind.PURGE, alias, 1, 2)
    assert before.keys() - pls.rows(alias).keys() == set(gone)
    assert before[gone[0]]["d_e_l_e_t_"] == " "
    back = pls.do(Kind.REINCLUDE_PURGED, alias)
    assert back[0] > max(before)
    assert key_of(alias, pls.rows(alias)[back[0]]) == key_of(alias, before[gone[0]])
    # It has come back once and for all, even if it goes again.
    name = pls.activity.name(table(alias))
    pls.connection.execute(f"UPDATE {name} SET d_e_l_e_t_ = '*' WHERE r_e_c_n_o_ = {back[0]}".encode())
    assert pls.do(Kind.REINCLUDE_PURGED, alias) == []


def test_packing_removes_rows_that_were_deleted(pls: Pls) -> None:
    before = pls.rows("BA1")
    gone = pls.do(Kind.PACK, "BA1", 2)
    assert before.keys() - pls.rows("BA1").keys() == set(gone)
    assert [before[recno]["d_e_l_e_t_"] for recno in gone] == ["*", "*"]


@pytest.mark.parametrize("alias", SOME)
def test_a_renewed_row_lives_on_under_a_new_recno(pls: Pls, alias: str) -> None:
    before = pls.rows(alias)
    old, new = pls.do(Kind.RENEW, alias, 1, 2)
    rows = pls.rows(alias)
    assert (rows[old]["d_e_l_e_t_"], rows[new]["d_e_l_e_t_"]) == ("*", " ")
    assert new > max(before)
    assert key_of(alias, rows[new]) == key_of(alias, before[old])
    assert rows[old]["s_t_a_m_p_"] == rows[new]["s_t_a_m_p_"]


@pytest.mark.parametrize("alias", SOME)
def test_the_key_of_a_deleted_row_is_included_again(pls: Pls, alias: str) -> None:
    gone = pls.do(Kind.DELETE, alias, 1, 3)
    key = key_of(alias, pls.rows(alias)[gone[0]])
    assert pls.live_keys(alias).count(key) == 0
    new = pls.do(Kind.REINCLUDE, alias, 1_000)
    again = [recno for recno in new if key_of(alias, pls.rows(alias)[recno]) == key]
    assert len(again) == 1
    assert again[0] > gone[0]
    assert pls.live_keys(alias).count(key) == 1
    assert pls.do(Kind.REINCLUDE, alias, 1_000) == []


@pytest.mark.parametrize("alias", physical.aliases())
def test_a_duplicate_is_a_second_live_row_with_the_key(used: Pls, alias: str) -> None:
    for choice in (3, 3):
        new = used.do(Kind.DUPLICATE, alias, 1, choice)
        assert used.live_keys(alias).count(key_of(alias, used.rows(alias)[new[0]])) >= 2
        assert new[0] in used.shown(alias)


@pytest.mark.parametrize("alias", physical.aliases())
def test_a_key_change_keeps_the_recno_and_takes_a_free_key(used: Pls, alias: str) -> None:
    before = used.rows(alias)
    changed = used.do(Kind.KEY_CHANGE, alias, 2, 1)
    after = used.rows(alias)
    assert after.keys() == before.keys()
    assert 1 <= len(changed) <= 2
    for recno in changed:
        assert key_of(alias, after[recno]) not in [key_of(alias, row) for row in before.values()]
        assert after[recno]["s_t_a_m_p_"] > before[recno]["s_t_a_m_p_"]


def test_a_card_under_another_key_has_the_digit_that_belongs_to_it(used: Pls) -> None:
    changed = used.do(Kind.KEY_CHANGE, "BA1", 10)
    assert changed
    for recno in changed:
        row = used.rows("BA1")[recno]
        assert row["ba1_digito"] == model.card_digit("".join(key_of("BA1", row))[:16])


def test_spoiled_rows_are_rejected_until_they_are_mended(pls: Pls) -> None:
    before = {alias: pls.rows(alias) for alias in physical.aliases()}
    spoiled = {
        (recno, table(alias).entity.table)
        for alias in physical.aliases()
        for way in range(ways_to_spoil(table(alias)))
        for recno in pls.do(Kind.SPOIL, alias, 1, way)
    }
    assert {name for _, name in spoiled} == {table(alias).entity.table for alias in physical.aliases()}
    rules = {(recno, name): rule for recno, name, rule, severity in pls.issues() if severity == "reject"}
    assert spoiled <= rules.keys()
    assert {rules[place] for place in spoiled} == {"required", "invalid_date", "invalid_number", "in"}
    for alias in physical.aliases():
        pls.do(Kind.MEND, alias, 1_000)
        after = pls.rows(alias)
        assert {recno: values_of(row) for recno, row in after.items()} == {
            recno: values_of(row) for recno, row in before[alias].items()
        }
        assert pls.do(Kind.MEND, alias, 1_000) == []


@pytest.mark.parametrize("alias", FILTERS)
def test_rows_enter_and_leave_what_a_view_shows(pls: Pls, alias: str) -> None:
    before = set(pls.shown(alias))
    flipped = pls.do(Kind.FILTER, alias, 1_000)
    after = set(pls.shown(alias))
    assert before - after
    assert after - before
    if alias != "BR4":  # there, a row decides whether another is shown
        assert before ^ after == set(flipped)


def test_children_of_a_deleted_parent_are_held_until_it_returns(pls: Pls) -> None:
    gone, held = set(), set()
    places = [("BA3", 0), ("BA1", 1), ("BA1", 2), ("BAU", 0), ("BI3", 3)]
    for alias, choice in places:
        recnos = pls.do(Kind.PARENT_DELETE, alias, 1, choice)
        assert pls.rows(alias)[recnos[0]]["d_e_l_e_t_"] == "*"
        gone.add((alias, *recnos))
        held.add(table(alias).children[choice][0].entity.table)
    assert held <= {name for _, name, _, severity in pls.issues() if severity == "held"}
    back = {(alias, recno) for alias, choice in places for recno in pls.do(Kind.PARENT_RETURN, alias, 1_000, choice)}
    assert back == gone
    assert not any(severity == "held" for *_, severity in pls.issues())


@pytest.mark.parametrize(("joined", "alias", "column"), [("BA3", "BA1", "codigoproduto"), ("BAU", "BC4", "cpfcnpj")])
def test_a_joined_row_changes_what_a_view_shows_of_other_rows(pls: Pls, joined: str, alias: str, column: str) -> None:
    before, rows, moment = pls.shown(alias), pls.rows(alias), pls.now()
    assert pls.do(Kind.JOINED_UPDATE, joined, 1_000)
    after = pls.shown(alias)
    assert pls.rows(alias) == rows
    assert any(after[recno][column] != before[recno][column] for recno in after)
    assert all(after[r]["carimbo"] >= moment for r in after if after[r][column] != before[r][column])


def test_every_kind_finds_rows_in_every_table_that_it_serves(pls: Pls) -> None:
    for alias in physical.aliases():
        for kind in CHANGES:
            # The insurer, the companies and the table of all procedures are parents of the other choices.
            choices = range(8) if kind is Kind.PARENT_DELETE else (1,)
            if kind in (Kind.REINCLUDE, Kind.REINCLUDE_PURGED, Kind.PARENT_RETURN, Kind.MEND, Kind.PACK):
                continue  # they find what others left, which has tests of its own
            if serves(kind, table(alias)):
                assert any(pls.do(kind, alias, 1, choice) for choice in choices), (kind, alias)


# -- stamps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.INSERT, Kind.DELETE])
def test_clocks(pls: Pls, kind: Kind) -> None:
    def stamps(clock: Clock) -> list[datetime | None]:
        return [pls.rows("BA1")[recno]["s_t_a_m_p_"] for recno in pls.do(kind, "BA1", 2, 11, clock=clock)]

    moment = pls.now()
    assert stamps(Clock.NONE) == [None, None]
    assert {stamp.year for stamp in stamps(Clock.FUTURE) if stamp} == {2999}
    assert all(stamp and stamp < moment - timedelta(hours=1) for stamp in stamps(Clock.BACK))
    # The trigger is on again.
    assert all(stamp and stamp >= moment for stamp in stamps(Clock.RIGHT))


def test_where_stamps_are_off_clocks_show_nowhere(make_pls: MakePls) -> None:
    pls = make_pls("DROP TRIGGER bts010_stamp ON protheus.bts010", "ALTER TABLE protheus.bts010 DROP COLUMN s_t_a_m_p_")
    assert not pls.activity.has_stamp("BTS")
    for kind in CHANGES:
        if serves(kind, table("BTS")):
            pls.do(kind, "BTS", 2, 3, clock=Clock.NONE)
    assert "s_t_a_m_p_" not in pls.rows("BTS")[1]


# -- long transactions -----------------------------------------------------------------------------------------------


def test_a_late_commit_brings_rows_older_than_those_seen_before(pls: Pls) -> None:
    late = pls.do(Kind.UPDATE, "BA1", 1, 0, transaction="a")
    added = pls.do(Kind.INSERT, "BA1", 1, 5, transaction="a")
    seen = pls.do(Kind.UPDATE, "BA1", 1, 50)
    between = pls.now()
    newest = pls.rows("BA1")[seen[0]]["s_t_a_m_p_"]
    assert added[0] not in pls.rows("BA1")
    late += pls.do(Kind.DELETE, "BA1", 1, 90, transaction="a")
    assert pls.rows("BA1")[late[1]]["d_e_l_e_t_"] == " "
    assert pls.activity.open_transactions == ("a",)
    assert pls.do(Kind.COMMIT, "", transaction="a") == []
    rows = pls.rows("BA1")
    assert [rows[recno]["d_e_l_e_t_"] for recno in (*late, *added)] == [" ", "*", " "]
    # What it wrote after the others had committed is as old as what it wrote first.
    assert all(rows[recno]["s_t_a_m_p_"] < newest < between for recno in (*late, *added))
    assert pls.activity.open_transactions == ()


def test_a_wrong_clock_is_right_again_for_the_rest_of_a_long_transaction(pls: Pls) -> None:
    moment = pls.now()
    wrong = pls.do(Kind.UPDATE, "BTS", 1, 0, transaction="a", clock=Clock.NONE)
    right = pls.do(Kind.UPDATE, "BTS", 1, 50, transaction="a")
    pls.do(Kind.COMMIT, "", transaction="a")
    rows = pls.rows("BTS")
    assert rows[wrong[0]]["s_t_a_m_p_"] is None
    assert rows[right[0]]["s_t_a_m_p_"] >= moment


def test_a_rollback_leaves_nothing_but_a_gap_in_the_recnos(pls: Pls) -> None:
    before = pls.rows("BTS")
    lost = pls.do(Kind.INSERT, "BTS", 2, 0, transaction="b")
    pls.do(Kind.DELETE, "BTS", 2, 0, transaction="b")
    pls.do(Kind.ROLLBACK, "", transaction="b")
    assert pls.rows("BTS") == before
    assert pls.do(Kind.INSERT, "BTS", 1, 0)[0] > max(lost)


def test_rows_in_a_long_transaction_are_left_alone_by_others(pls: Pls) -> None:
    live = sum(row["d_e_l_e_t_"] == " " for row in pls.rows("BFE").values())
    late = pls.do(Kind.DELETE, "BFE", 2, 0, transaction="a")
    others = pls.do(Kind.UPDATE, "BFE", 1_000, 0)
    assert len(others) == live - 2
    assert not set(late) & set(others)
    # In the same transaction they are at hand.
    assert set(late) <= set(pls.do(Kind.UNDELETE, "BFE", 1_000, 0, transaction="a"))


# -- lists of operations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "history",
    [generate(5, 250), mixture(5, 2_000, dict.fromkeys(physical.aliases(), 300))],
    ids=["generate", "mixture"],
)
def test_the_same_operations_on_the_same_pls_give_the_same_rows(make_pls: MakePls, history: list[Operation]) -> None:
    first, second = make_pls(), make_pls()
    written = [[apply(operation, pls.activity) for operation in history] for pls in (first, second)]
    assert written[0] == written[1]
    assert first.contents() == second.contents()
    assert first.activity.open_transactions == ()


def test_another_seed_gives_other_operations() -> None:
    assert generate(1, 50) == generate(1, 50) != generate(2, 50)


def test_generate_does_everything_and_spares_the_roots() -> None:
    history = generate(3, 600)
    changes = [operation for operation in history if operation.kind not in ENDS]
    assert len(changes) == 600
    assert {operation.label for operation in changes} == set(LABELS)
    assert {operation.kind for operation in history if operation.kind in ENDS} == ENDS
    opened = [operation.transaction for operation in changes if operation.transaction]
    closed = [operation.transaction for operation in history if operation.kind in ENDS]
    assert sorted(opened) == sorted(closed)
    assert not {o.kind for o in changes if o.alias in ROOTS} & {Kind.DELETE, Kind.PURGE, Kind.SPOIL, Kind.PARENT_DELETE}


def test_generate_can_be_narrowed() -> None:
    history = generate(3, 40, ["late", "purge"], ["BA1", "BTS"])
    assert {operation.label for operation in history if operation.kind not in ENDS} == {LATE, "purge"}
    assert {operation.alias for operation in history if operation.kind not in ENDS} == {"BA1", "BTS"}


def test_a_mixture_is_of_the_size_asked_mostly_updates_and_all_is_in_it() -> None:
    sizes = {alias: 50_000 for alias in physical.aliases()}
    history = mixture(1, 10_000, sizes)
    rows = {label: sum(o.rows for o in history if o.label == label and o.alias) for label in LABELS}
    assert sum(rows.values()) == 10_000
    assert (rows["update"], rows["insert"], rows["delete"]) == (6_000, 2_500, 1_000)
    assert all(rows.values())
    assert {o.alias for o in history if o.alias} == set(sizes)
    assert {o.kind for o in history if not o.alias} == {Kind.COMMIT}
    assert rows[LATE] == sum(o.rows for o in history if o.transaction and o.alias)
    assert {o.clock for o in history} == {Clock.RIGHT, *CLOCKS.values()}


def test_large_tables_are_not_counted_but_picked_from_all_over(pls: Pls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_LARGE", 100)
    monkeypatch.setattr(work, "_MANY", 8)
    live = sorted(recno for recno, row in pls.rows("BA1").items() if row["d_e_l_e_t_"] == " ")
    few = pls.do(Kind.UPDATE, "BA1", 5, 3)
    assert len(few) == 5
    assert set(few) <= set(live)
    assert few[0] < 60 < 180 < few[-1]
    assert live.index(few[1]) - live.index(few[0]) > 20
    assert len(pls.do(Kind.MASS_UPDATE, "BA1", 12, 3)) == 12
    with monkeypatch.context() as context:
        context.setattr(work, "_RUN", 4)
        many = pls.do(Kind.UPDATE, "BA1", 12, 3)
    assert len(many) == 12
    assert live.index(many[3]) - live.index(many[0]) == 3
    assert live.index(many[4]) - live.index(many[3]) > 20


@settings(max_examples=25)
@given(history=strategies.histories(max_size=15))
def test_whatever_happens_the_control_fields_agree(postgres: Server, template: str, history: list[Operation]) -> None:
    pls = copied(postgres, template)
    try:
        for operation in strategies.ended(history):
            apply(operation, pls.activity)
        assert pls.activity.open_transactions == ()
        for alias in {operation.alias for operation in history if operation.alias}:
            rows = pls.rows(alias)
            assert all(row["r_e_c_d_e_l_"] == (recno if row["d_e_l_e_t_"] == "*" else 0) for recno, row in rows.items())
            assert set(pls.shown(alias)) <= set(rows)
    finally:
        dropped(postgres, pls)


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_churns_a_sandbox_and_says_what_it_did(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    try:
        command.up(folder, beneficiaries=300, tenants=folder / "tenants")
        result = CliRunner().invoke(main, ["sandbox", "churn", "--folder", str(folder), "--changes", "400", "--json"])
        assert result.exit_code == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["total"] == sum(sum(tables.values()) for tables in report["rows"].values())
        assert 350 <= report["total"] <= 450
        assert {"update", "insert", "delete", "late"} <= report["rows"].keys()
        only = ["--kinds", "purge, null_stamp", "--seed", "2", "--changes", "100"]
        result = CliRunner().invoke(main, ["sandbox", "churn", "--folder", str(folder), *only])
        assert result.exit_code == 0, result.stderr
        assert "purge" in result.stdout
        assert "null_stamp" in result.stdout
        assert "insert" not in result.stdout
    finally:
        command.down(folder)


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--kinds", "update,explode"], "explode"), (["--changes", "0"], "one change"), ([], "no sandbox")],
)
def test_the_command_refuses_what_cannot_be(tmp_path: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["sandbox", "churn", "--folder", str(tmp_path), *options])
    assert result.exit_code == 3
    assert said in result.stderr
    assert "Next step" in result.stderr
