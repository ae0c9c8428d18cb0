"""Rows that come and go in ways that no stamp shows, and rows that wait for another one to go."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.sandbox.server import PLS

from . import changes
from .changes import table
from .ground import Ground, Server
from .syncing import Shown, assert_told, synced

MAKE_GROUND = Callable[..., Ground]


@pytest.fixture
def ground(make_ground: MAKE_GROUND, server: Server) -> Ground:
    """A loaded tenant with an ERP of its own, read without looking back."""
    return make_ground(pls=server.copy(PLS), extra="[sync]\nlookback_minutes = 0")


def loaded(ground: Ground, make_ground: MAKE_GROUND) -> Shown:
    other = make_ground(pls=ground.pls)
    other.load()
    return Shown.by(other)


def test_a_purge_of_parents_children_and_rejected_rows(ground: Ground, make_ground: MAKE_GROUND) -> None:
    synced(ground)
    with ground.in_hat() as connection:
        rejected = connection.execute(
            "SELECT DISTINCT recno FROM hat_etl.rejects WHERE \"table\" = 'beneficiaries' AND severity <> 'warning'"
        ).fetchall()
    with ground.in_erp() as connection:
        rng = random.Random(5)
        changes.purge(connection, "BA3", changes.live(connection, rng, "BA3", 3))
        changes.purge(connection, "BA1", changes.live(connection, rng, "BA1", 3))
        changes.purge(connection, "BFO", changes.live(connection, rng, "BFO", 3))
        changes.purge(connection, "BA1", [recno for (recno,) in rejected][:3])
    report = synced(ground)
    assert {t["table"] for t in report["tables"] if "keys" in t["strategy"]} >= {
        "families",
        "beneficiary_waiting_periods",
    }
    assert Shown.by(ground) == loaded(ground, make_ground)


RENUMBERED = {
    "packed": "row_number() OVER (ORDER BY r_e_c_n_o_)",
    "packed from the other end": "row_number() OVER (ORDER BY r_e_c_n_o_ DESC)",
    "shifted": "r_e_c_n_o_ + 7",
    "in another order, with gaps": "2 * row_number() OVER (ORDER BY md5(r_e_c_n_o_::text))",
}


@pytest.mark.parametrize("way", RENUMBERED)
def test_rows_that_were_numbered_anew_without_a_stamp(way: str, ground: Ground, make_ground: MAKE_GROUND) -> None:
    """HAT lost rows that the ERP still had, some for good as duplicates: their Recnos were those of others by then."""
    synced(ground)
    with ground.in_erp() as connection:
        ba1 = table("BA1")
        changes.purge(connection, "BA1", changes.live(connection, random.Random(6), "BA1", 3))
        connection.execute(f"ALTER TABLE {ba1} DISABLE TRIGGER USER")
        connection.execute(
            f"WITH anew AS (SELECT r_e_c_n_o_ AS recno, {RENUMBERED[way]} AS number FROM {ba1})"
            f" UPDATE {ba1} SET r_e_c_n_o_ = -number FROM anew WHERE r_e_c_n_o_ = recno"
        )
        connection.execute(f"UPDATE {ba1} SET r_e_c_n_o_ = -r_e_c_n_o_")
        connection.execute(f"ALTER TABLE {ba1} ENABLE TRIGGER USER")
    report = synced(ground)
    assert [remark.partition(":")[0] for remark in report["remarks"]] == [BY_TABLE["beneficiaries"].view]
    assert Shown.by(ground) == loaded(ground, make_ground)


@pytest.mark.parametrize("made", ["as they were loaded", "anew, unchanged"])
def test_a_few_rows_at_the_end_that_were_numbered_anew(made: str, ground: Ground, make_ground: MAKE_GROUND) -> None:
    """The last one left HAT, the one that was purged stayed: none of the rows asked for had moved."""
    bts = table("BTS")
    with ground.in_erp() as connection:
        (pattern,) = changes.live(connection, random.Random(7), "BTS", 1, "bts_nomusr <> '' AND r_e_c_n_o_ < 2000")
        rows = [changes.insert(connection, "BTS", [pattern], matvid=f"9123000{n}")[0] for n in range(9)]
    synced(ground)
    with ground.in_erp() as connection:
        if made == "anew, unchanged":
            changes.delete(connection, "BTS", rows)
            rows = sorted(changes.insert(connection, "BTS", rows))
    synced(ground)
    with ground.in_erp() as connection:
        changes.update(connection, "BTS", [pattern], nomusr="NOVO NOME")
    synced(ground)
    with ground.in_erp() as connection:
        changes.purge(connection, "BTS", rows[:1])
        connection.execute(f"ALTER TABLE {bts} DISABLE TRIGGER USER")
        for recno in rows[1:]:
            connection.execute(f"UPDATE {bts} SET r_e_c_n_o_ = r_e_c_n_o_ - 1 WHERE r_e_c_n_o_ = %s", (recno,))
        connection.execute(f"ALTER TABLE {bts} ENABLE TRIGGER USER")
    (remark,) = synced(ground)["remarks"]
    assert_told(remark, BY_TABLE["persons"].view, "R_E_C_N_O_")
    assert Shown.by(ground) == loaded(ground, make_ground)


def test_no_table_is_read_whole_because_a_row_was_purged(ground: Ground, make_ground: MAKE_GROUND) -> None:
    """Keys as HAT has them and as the ERP's rows have them are set side by side as texts: days and numbers, too."""
    synced(ground)
    shown = {"BCI": "bci_lotgui <> ''", "BEA": "bea_canedi <> ''"}
    with ground.in_erp() as connection:
        for alias in sorted({entity.reads[0] for entity in ENTITIES}):
            there = changes.live(connection, random.Random(3), alias, 1, shown.get(alias, "true"))
            changes.purge(connection, alias, there)
    report = synced(ground, "--accept")
    assert report["remarks"] == []
    assert {entry["strategy"] for entry in report["tables"]} == {"window + keys"}
    assert len(report["tables"]) == len(ENTITIES)
    assert Shown.by(ground) == loaded(ground, make_ground)


def test_rows_that_come_with_old_stamps_are_told_of(ground: Ground) -> None:
    """Where stamps are in local time, they came by their Recnos, and nobody heard of the rows that change."""
    synced(ground)
    with ground.in_erp() as connection:
        br8, pattern = table("BR8"), changes.live(connection, random.Random(7), "BR8", 1)
        (new,) = changes.insert(connection, "BR8", pattern, codpsa="9123456")
        connection.execute(f"ALTER TABLE {br8} DISABLE TRIGGER USER")
        connection.execute(f"UPDATE {br8} SET s_t_a_m_p_ = '2026-01-02 03:04:05' WHERE r_e_c_n_o_ = %s", (new,))
        connection.execute(f"ALTER TABLE {br8} ENABLE TRIGGER USER")
    (remark,) = synced(ground)["remarks"]
    assert_told(remark, BY_TABLE["procedures"].view, "(1; ", "2026-01-02 03:04:05", "UTC", "hat-etl sync demo --full")
    assert synced(ground)["remarks"] == []


def test_rows_that_others_took_out_of_hat_are_told_of_as_such_too(ground: Ground) -> None:
    """They come back where keys are compared, with the stamps that they had: clocks of the ERP alone were blamed."""
    synced(ground)
    with ground.in_hat() as connection:
        connection.execute("DELETE FROM hat.kinships WHERE source_recno = (SELECT max(source_recno) FROM hat.kinships)")
    with ground.in_erp() as connection:
        changes.purge(connection, "BRP", changes.live(connection, random.Random(7), "BRP", 1))
    (remark,) = synced(ground, "--accept")["remarks"]
    assert_told(remark, BY_TABLE["kinships"].view, "(1; ", "takes rows out of HAT")


def test_rows_that_a_filter_shows_again_are_no_sign_of_wrong_stamps(ground: Ground, make_ground: MAKE_GROUND) -> None:
    """Where the segment of a table that was shown is deleted, the view shows the next one, as it was stamped long
    ago: the sync sent to look for a clock that was wrong."""
    with ground.in_erp() as connection:
        (shown,) = changes.live(connection, random.Random(8), "BR4", 1, "br4_segmen = '' AND br4_codpad <> '22'")
        changes.insert(connection, "BR4", [shown], segmen="009")
    synced(ground)
    with ground.in_erp() as connection:
        changes.delete(connection, "BR4", [shown])
    assert synced(ground)["remarks"] == []
    assert Shown.by(ground) == loaded(ground, make_ground)


@pytest.mark.parametrize("way", ["is not asked for", "has drifted"])
def test_versions_kept_of_rejected_rows_stay_when_their_table_is_not_read(way: str, ground: Ground) -> None:
    """They left HAT for good as soon as a row came to a table that they refer to."""
    with ground.in_erp() as connection:
        rng = random.Random(4)
        rejected = changes.live(connection, rng, "BA1", 3, "ba1_nomusr <> '' AND r_e_c_n_o_ < 2000")
        changes.update(connection, "BA1", rejected, nomusr="")

    def kept() -> list[tuple[int, str]]:
        with ground.in_hat() as connection:
            return connection.execute(  # type: ignore[return-value]
                "SELECT source_recno, subscriber_id FROM hat.beneficiaries WHERE source_recno = ANY (%s) ORDER BY 1",
                (rejected,),
            ).fetchall()

    synced(ground)
    before = kept()
    assert [recno for recno, _ in before] == sorted(rejected)
    view = f"hat.{BY_TABLE['beneficiaries'].view}"
    with ground.in_erp() as connection:
        changes.insert(connection, "BTS", changes.live(connection, rng, "BTS", 1), matvid="87654321")
        if way == "has drifted":
            connection.execute(f"ALTER VIEW {view} RENAME COLUMN sementetoken TO other_name")
    if way == "is not asked for":
        synced(ground, "--only", "persons")
    else:
        result = ground.run("sync", ground.name, "--json")
        assert "beneficiaries" in {problem["table"] for problem in result.document["problems"]}
        with ground.in_erp() as connection:
            connection.execute(f"ALTER VIEW {view} RENAME COLUMN other_name TO sementetoken")
    assert kept() == before
    synced(ground)
    assert kept() == before


@pytest.mark.parametrize("how", ["deleted", "purged", "given another key", "turned bad"])
def test_the_loser_of_a_duplicate_comes_back_when_the_winner_goes(
    how: str, ground: Ground, make_ground: MAKE_GROUND
) -> None:
    with ground.in_erp() as connection:
        (loser,) = changes.live(connection, random.Random(3), "BTS", 1, "bts_nomusr <> '' AND r_e_c_n_o_ < 2000")
        (winner,) = changes.insert(connection, "BTS", [loser], nomusr="VENCEDOR")

    def standing() -> tuple[int, str]:
        with ground.in_hat() as connection, ground.in_erp() as erp:
            (key,) = erp.execute(f"SELECT bts_matvid FROM {table('BTS')} WHERE r_e_c_n_o_ = %s", (loser,)).fetchall()[0]
            rows = connection.execute(
                "SELECT source_recno, name FROM hat.persons WHERE person_id = %s", (key.strip(),)
            ).fetchall()
            assert len(rows) == 1
            return rows[0]  # type: ignore[return-value]

    synced(ground, "--only", "persons")
    assert standing() == (winner, "VENCEDOR")
    with ground.in_erp() as connection:
        match how:
            case "deleted":
                changes.delete(connection, "BTS", [winner])
            case "purged":
                changes.purge(connection, "BTS", [winner])
            case "given another key":
                changes.update(connection, "BTS", [winner], matvid="87654321")
            case _:
                changes.update(connection, "BTS", [winner], nomusr="")
    synced(ground, "--only", "persons")
    if how == "turned bad":
        # The winner has the key still: its last good version stays.
        assert standing() == (winner, "VENCEDOR")
    else:
        assert standing()[0] == loser
    synced(ground)
    other = loaded(ground, make_ground)
    if how != "turned bad":
        assert Shown.by(ground) == other
    else:
        assert Shown.by(ground).reported == other.reported


def test_a_held_row_comes_in_though_its_parent_came_with_a_sync_of_other_tables(
    ground: Ground, make_ground: MAKE_GROUND
) -> None:
    """That sync judged the quarantine of its own tables alone: the next one must not take all of it for settled."""
    before = ground.contents()["companies"]
    with ground.in_erp() as connection:
        rng = random.Random(2)
        changes.insert(connection, "BG9", changes.live(connection, rng, "BG9", 1), codint="7777")
    synced(ground)
    assert ground.contents()["companies"] == before
    with ground.in_erp() as connection:
        changes.insert(connection, "BA0", changes.live(connection, rng, "BA0", 1), codide="7", codint="777")
    synced(ground, "--only", "health_insurers")
    synced(ground)
    assert ground.contents()["companies"] != before
    assert Shown.by(ground) == loaded(ground, make_ground)


@pytest.mark.parametrize("options", [(), ("--full",)], ids=["by window", "read whole"])
@pytest.mark.parametrize("parent", ["never was", "leaves"])
def test_a_row_that_loses_to_one_that_is_held_leaves_hat_and_is_told_of_once(
    parent: str, options: tuple[str, ...], ground: Ground, make_ground: MAKE_GROUND
) -> None:
    """By windows it stayed in HAT, or was reported as held, too, for it was not read again itself."""
    with ground.in_erp() as connection:
        rng = random.Random(9)
        if parent == "never was":
            changes.insert(connection, "BCI", changes.live(connection, rng, "BCI", 3), codrda="999999")
        else:
            (provider,) = connection.execute(
                f"SELECT bc1_codigo FROM {table('BC1')} WHERE d_e_l_e_t_ = ' ' GROUP BY 1 HAVING count(*) > 1"
                " ORDER BY 1 LIMIT 1"
            ).fetchone() or ("",)
            changes.insert(connection, "BC1", changes.live(connection, rng, "BC1", 1, f"bc1_codigo = '{provider}'"))
            changes.delete(connection, "BAU", changes.live(connection, rng, "BAU", 1, f"bau_codigo = '{provider}'"))
    synced(ground, "--accept", *options)
    assert Shown.by(ground) == loaded(ground, make_ground)


def test_rows_that_no_sync_reads_are_warned_of_while_their_soft_parents_are_away(
    ground: Ground, make_ground: MAKE_GROUND
) -> None:
    """Of children as they were loaded, and of such as stand for another Recno, for they were made anew unchanged."""
    references = {(child.table, parent.table) for child in ENTITIES for parent in child.soft_parents}
    rng, gone = random.Random(11), dict[str, list[int]]()
    with ground.in_erp() as connection:
        for alias in sorted({BY_TABLE[child].reads[0] for child, _ in references}):
            renewed = changes.live(connection, rng, alias, 40)
            changes.delete(connection, alias, renewed)
            changes.insert(connection, alias, renewed)
    synced(ground, "--accept")
    before = set(ground.reported())
    with ground.in_erp() as connection:
        for alias in sorted({BY_TABLE[parent].reads[0] for _, parent in references}):
            there = changes.live(connection, rng, alias, 10**6)
            gone[alias] = there[: len(there) // 2]
            changes.delete(connection, alias, gone[alias])
    synced(ground, "--accept")
    warnings = [entry for entry in set(ground.reported()) - before if entry[4:6] == ("parent_missing", "warning")]
    told = {(entry[0], parent) for entry in warnings for _, parent in references if f" em {parent} (" in entry[6]}
    assert told == references
    assert Shown.by(ground) == loaded(ground, make_ground)
    with ground.in_erp() as connection:
        for alias, recnos in gone.items():
            connection.execute(f"UPDATE {table(alias)} SET d_e_l_e_t_ = ' ' WHERE r_e_c_n_o_ = ANY (%s)", (recnos,))
    synced(ground, "--accept")
    assert Shown.by(ground) == loaded(ground, make_ground)
