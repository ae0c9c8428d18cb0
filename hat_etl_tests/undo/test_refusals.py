"""What an undo refuses, and that it says why and what to do; what it does in the cases next to these."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hat_etl_tests.conformance.model import DELETED, STAMP
from hat_etl_tests.conformance.site import TENANT, Site, only
from hat_etl_tests.undo.small import LONG_AGO, Small
from hat_etl_tests.undo.state import state, watermarks


@pytest.fixture
def small(plain_site: Site) -> Small:
    return Small(plain_site)


@pytest.fixture
def unchanged(small: Small) -> Callable[[int], str]:
    """Asks for an undo that must be refused, and sees that nothing has changed; gives what was said."""

    def refused(run: int, code: int = 7) -> str:
        before, marks = state(small.site), watermarks(small.site)
        runs = small.site.run("runs", TENANT, "--json").json
        said = small.refused(run, code)
        assert (state(small.site), watermarks(small.site)) == (before, marks)
        assert small.site.run("runs", TENANT, "--json").json == runs, "a refusal is no run"
        return said

    return refused


def test_the_plan_changes_nothing(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.delete("BTS", 2)
    small.person(9)
    small.person(8, BTS_NOMUSR="")
    run = small.sync()
    before, marks = state(small.site), watermarks(small.site)
    runs = small.site.run("runs", TENANT, "--json").json
    told = small.site.run("undo", TENANT, str(run), "--json").json
    assert (told["state"], told["run"], told["undoes"]) == ("planned", None, run)
    assert told["tables"] == [
        {"table": "persons", "removed": 1, "restored": 1, "put_back": 1, "rejects": 1, "backing": 0}
    ]
    assert (state(small.site), watermarks(small.site)) == (before, marks)
    assert small.site.run("runs", TENANT, "--json").json == runs
    shown = small.site.run("undo", TENANT, str(run))
    assert shown.code == 0
    assert f"hat-etl undo {TENANT} {run} --yes" in shown.out
    assert "mend the ERP or the view first" in " ".join(shown.out.split())


def test_a_run_that_is_not_there(small: Small, unchanged: Callable[..., str]) -> None:
    assert "no run 99" in unchanged(99, 3)


def test_a_database_that_nobody_has_used(small: Small) -> None:
    small.site.renew_hat()
    answer = small.site.run("undo", TENANT, "1")
    assert answer.code == 3
    with small.site.server.connect(small.site.hat) as connection:
        assert connection.execute("SELECT to_regnamespace('hat_etl')").fetchone() == (None,)


def test_a_load(unchanged: Callable[..., str]) -> None:
    said = unchanged(1)
    assert "replaced whole tables" in said
    assert f"hat-etl load {TENANT}" in said


def test_a_run_that_failed(small: Small, unchanged: Callable[..., str]) -> None:
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
        connection.execute("CREATE TRIGGER no BEFORE UPDATE ON hat.persons FOR EACH ROW EXECUTE FUNCTION no()")
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.site.fill_tables(small.pls)
    assert small.site.run("sync", TENANT).code == 5
    assert "did not succeed (it is failed)" in unchanged(2)


def test_a_load_that_failed(small: Small, unchanged: Callable[..., str]) -> None:
    """It was said to have replaced whole tables, whose rows are in a backup alone."""
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
        connection.execute(
            "CREATE EVENT TRIGGER no ON ddl_command_start WHEN tag IN ('CREATE TABLE') EXECUTE FUNCTION no()"
        )
    assert small.site.run("load", TENANT).code == 5
    assert "did not succeed (it is failed): it has changed nothing" in unchanged(2)


def test_a_run_that_changed_nothing(small: Small, unchanged: Callable[..., str]) -> None:
    assert "changed no row" in unchanged(small.sync())


def test_a_run_whose_images_are_gone(small: Small, unchanged: Callable[..., str]) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("UPDATE hat_etl.runs SET finished_at = finished_at - interval '15 days' WHERE run = 2")
    small.sync()
    said = unchanged(run)
    assert "kept for 14 days" in said
    assert "--full" in said


def test_images_of_younger_runs_stay_when_those_of_an_old_one_go(small: Small) -> None:
    """With the old run's images, all would have gone, and no run could have been undone any more."""
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.sync()
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("UPDATE hat_etl.runs SET finished_at = finished_at - interval '15 days'")
    before = state(small.site, runs=False)
    small.change("BTS", 2, BTS_NOMUSR="OUTRA")
    young = small.sync()
    small.undo(young)
    assert state(small.site, runs=False) == before


def test_a_run_whose_images_went_early(small: Small, unchanged: Callable[..., str]) -> None:
    """As when undo_days was shorter for a time: what the run counted tells that there were some."""
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("DELETE FROM hat_etl.changes")
    assert "are gone" in unchanged(run)


def test_a_run_that_is_undone_already(small: Small, unchanged: Callable[..., str]) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    undo = small.undo(run)["run"]
    said = unchanged(run)
    assert f"by run {undo}" in said
    assert f"hat-etl undo {TENANT} {undo}" in said


def test_undoing_an_undo_of_an_undo_leaves_the_run_undone_and_earlier_ones_open(small: Small) -> None:
    """The run passed for done, could not be undone, and stood in the way of all before it."""
    before = state(small.site, runs=False)
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    first = small.sync()
    small.change("BTS", 1, BTS_NOMUSR="MAIS UMA")
    last = small.sync()
    for _ in range(3):
        last = small.undo(last)["run"]
    runs = {run["run"]: run for run in small.site.run("runs", TENANT, "--json").json}
    assert [runs[n]["undone_by"] for n in range(last, first - 1, -1)] == [None, last, None, last - 2, None]
    small.undo(first)
    assert state(small.site, runs=False) == before


def test_while_a_load_is_unfinished(small: Small, unchanged: Callable[..., str]) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    for recno in (1, 2, 3):
        small.delete("BTS", recno)
    small.site.fill_tables(small.pls)
    assert small.site.run("load", TENANT, "--only", "persons").code == 7  # the view has shrunk
    said = unchanged(run)
    assert "not finished" in said
    assert "--resume" in said


def test_tables_that_a_load_has_replaced(small: Small, unchanged: Callable[..., str]) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    load = small.site.load(*only(["persons"]))["run"]
    assert f"persons (run {load})" in unchanged(run)


def test_a_load_of_other_tables_is_no_matter(small: Small) -> None:
    before = state(small.site).rows["persons"]
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    small.site.load(*only(["products"]))
    small.undo(run)
    assert state(small.site).rows["persons"] == before


@pytest.mark.parametrize("later", ["row", "entry", "deletion", "version kept"])
def test_rows_that_later_runs_have_changed(small: Small, unchanged: Callable[..., str], later: str) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.change("BTS", 2, BTS_NOMUSR="")
    first = small.sync()
    match later:
        case "row":
            small.change("BTS", 1, BTS_NOMUSR="MAIS UMA")
        case "entry":
            small.change("BTS", 2, BTS_NOMUSR="BOA")
        case "deletion":
            small.delete("BTS", 1)
        case "version kept":
            small.change("BTS", 1, BTS_NOMUSR="")
    second = small.sync()
    said = unchanged(first)
    assert f"run {second}: persons (" in said
    assert f"hat-etl undo {TENANT} {second} --yes" in said
    small.undo(second)
    small.undo(first)
    assert "undone already" in unchanged(first)


def test_the_latest_of_several_later_runs_is_named_first(small: Small, unchanged: Callable[..., str]) -> None:
    runs = []
    for name in ("A", "B", "C"):
        small.change("BTS", 1, BTS_NOMUSR=name)
        runs.append(small.sync())
    step = unchanged(runs[0]).partition("Next step:")[2]
    assert step.index(f"undo {TENANT} {runs[2]}") < step.index(f"undo {TENANT} {runs[1]}")


def test_later_runs_that_changed_other_rows_are_no_matter(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    first = small.sync()
    small.change("BTS", 2, BTS_NOMUSR="OUTRA")
    small.sync()
    small.undo(first)
    names = {row[0]: row[2] for row in state(small.site).rows["persons"]}
    assert (names["00000001"], names["00000002"]) == ("PESSOA 1", "OUTRA")


def test_the_brake_measures_by_the_rows_before_the_run_though_later_ones_stay(small: Small) -> None:
    before = watermarks(small.site)["persons"]
    small.person(8)
    first = small.sync()
    small.person(9)
    small.sync()
    small.undo(first)
    assert watermarks(small.site)["persons"] == (*before[:2], None)


def test_a_row_put_back_whose_parent_has_left_since(small: Small, unchanged: Callable[..., str]) -> None:
    small.delete("BG9", 12)
    small.delete("BI3", 22)
    first = small.sync()
    small.delete("BA0", 2)
    second = small.sync()
    said = unchanged(first)
    assert f"companies (1 row without health_insurers; run {second})" in said
    assert f"products (1 row without health_insurers; run {second})" in said
    small.undo(second)
    small.undo(first)


def test_a_row_put_back_whose_parent_a_load_has_removed(small: Small, unchanged: Callable[..., str]) -> None:
    small.delete("BG9", 12)
    first = small.sync()
    small.delete("BI3", 22)
    small.sync()
    small.delete("BA0", 2)
    small.site.fill_tables(small.pls)
    load = small.site.load(*only(["health_insurers"]))["run"]
    assert f"companies (1 row without health_insurers; run {load})" in unchanged(first)


def test_a_parent_that_later_rows_refer_to(small: Small, unchanged: Callable[..., str]) -> None:
    small.insurer(3)
    first = small.sync()
    small.company(13, "0003")
    second = small.sync()
    assert f"companies (1 row without health_insurers; run {second})" in unchanged(first)


def test_a_parent_that_goes_back_to_what_it_was_may_have_new_children(small: Small) -> None:
    before = state(small.site).rows["health_insurers"]
    small.change("BA0", 1, BA0_NOMINT="OUTRA")
    first = small.sync()
    small.company(13, "0001")
    small.sync()
    small.undo(first)
    assert state(small.site).rows["health_insurers"] == before


def test_parents_and_children_of_one_run_go_and_come_together(small: Small) -> None:
    before = state(small.site)
    small.insurer(3)
    small.company(13, "0003")
    small.delete("BA0", 2)
    run = small.sync()
    assert {entry[6] for entry in state(small.site).rejects} == {"held"}
    after = state(small.site)
    undo = small.undo(run)["run"]
    assert state(small.site) == before
    small.undo(undo)
    assert state(small.site) == after


def test_alternate_keys_that_later_rows_hold(small: Small, unchanged: Callable[..., str]) -> None:
    """The alternate key of a product is insurer and code as one text; another row can take it without the key."""
    small.delete("BI3", 21)
    first = small.sync()
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute(
            "UPDATE hat.products SET product_id = '0001A001', loaded_run = 77 WHERE health_insurer_id = '0002'"
        )
    assert "products (1 row; run 77)" in unchanged(first)


def test_alternate_keys_that_change_places(small: Small) -> None:
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("UPDATE hat.products SET product_id = 'X' WHERE health_insurer_id = '0001'")
        connection.execute("UPDATE hat.products SET product_id = '0001A001' WHERE health_insurer_id = '0002'")
        connection.execute("UPDATE hat.products SET product_id = '0002A001' WHERE health_insurer_id = '0001'")
    before = state(small.site)
    for recno in (21, 22):
        small.change("BI3", recno, BI3_DESCRI="NOVO")
    run = small.sync()
    assert state(small.site) != before
    small.undo(run)
    assert state(small.site) == before


@pytest.mark.parametrize("statement", [
    "DELETE FROM hat.persons WHERE person_id = '00000001'",
    "INSERT INTO hat.persons SELECT '00000002', holder_cpf, name, birthdate, gender, nationalhealthcard, zipcode,"
    " citycode, social_name, email, source_recno, source_stamp, loaded_run FROM hat.persons LIMIT 1",
])  # fmt: skip
def test_rows_that_somebody_else_has_removed_or_added(
    small: Small, unchanged: Callable[..., str], statement: str
) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.delete("BTS", 2)
    run = small.sync()
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute(statement.encode())
    assert "persons (1 row)" in unchanged(run)


def test_while_another_run_is_going_on(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    before = state(small.site)
    with small.site.server.connect(small.site.hat) as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", (0x484154, 1))
        assert small.site.run("undo", TENANT, str(run), "--yes").code == 8
        assert small.site.run("undo", TENANT, str(run)).code == 0, "the plan waits for nobody"
    assert state(small.site) == before


def test_what_fails_on_the_way_changes_nothing(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.insurer(3)
    run = small.sync()
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
        connection.execute("CREATE TRIGGER no BEFORE UPDATE ON hat.persons FOR EACH ROW EXECUTE FUNCTION no()")
    before, marks = state(small.site), watermarks(small.site)
    answer = small.site.run("undo", TENANT, str(run), "--yes")
    assert answer.code == 5
    assert f"hat-etl undo {TENANT} {run} --yes" in answer.err
    assert (state(small.site), watermarks(small.site)) == (before, marks)
    assert small.site.run("runs", TENANT, "--json").json[0]["state"] == "failed"


@pytest.mark.parametrize(
    "change", [{"BTS_NOMUSR": "OUTRA"}, {"BTS_NOMUSR": ""}, {"BTS_MATVID": "00000099"}], ids=["other", "bad", "moved"]
)
def test_a_change_that_moved_no_stamp_is_read_again(small: Small, change: dict[str, str]) -> None:
    """Found by reading everything; the windows after the undo never came to a row that had turned bad or moved."""
    small.change("BTS", 1, **change)
    small.pls.rows("BTS")[0][STAMP] = LONG_AGO
    run = small.sync("--full")
    after = state(small.site, runs=False)
    small.undo(run)
    assert state(small.site, runs=False) != after
    small.sync()
    assert state(small.site, runs=False) == after


def test_a_repair_can_be_undone_like_a_sync(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.pls.rows("BTS")[0][STAMP] = LONG_AGO
    small.site.fill_tables(small.pls)
    before = state(small.site)
    run = small.site.run("reconcile", TENANT, "--repair", "--json").json["repair"]["run"]
    after = state(small.site, runs=False)
    small.undo(run)
    assert state(small.site) == before
    small.sync()
    assert state(small.site, runs=False) == after


def test_what_left_and_came_without_a_stamp_is_found_again(small: Small) -> None:
    small.pls.rows("BTS").pop()
    small.person(7)[STAMP] = LONG_AGO
    before = state(small.site)
    run = small.sync()
    after = state(small.site, runs=False)
    small.undo(run)
    assert state(small.site) == before
    small.sync()
    assert state(small.site, runs=False) == after


def test_a_mended_erp_is_what_the_next_sync_brings(small: Small) -> None:
    before = state(small.site, runs=False)
    small.delete("BTS", 1)
    small.change("BTS", 2, BTS_NOMUSR="")
    small.undo(small.sync())
    small.change("BTS", 1, **{DELETED: " "})
    small.change("BTS", 2, BTS_NOMUSR="PESSOA 2")
    for row in small.pls.rows("BTS"):
        row[STAMP] = LONG_AGO  # from a backup
    small.sync()
    assert state(small.site, runs=False) == before


def test_what_is_shown_when_it_is_done(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    run = small.sync()
    answer = small.site.run("undo", TENANT, str(run), "--yes")
    assert answer.code == 0
    assert f"undid run {run}" in answer.out
    assert "0 rows put back, 0 removed, 1 restored" in " ".join(answer.out.split())
    assert "mend the ERP or the view first" in " ".join(answer.out.split())
    assert "OUTRA" not in answer.out
