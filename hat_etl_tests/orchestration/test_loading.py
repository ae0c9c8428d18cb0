"""The step on real servers: what Dagster is told must be what HAT holds."""

from __future__ import annotations

import psycopg
import pytest
from dagster._core.storage.tags import RETRY_NUMBER_TAG

from hat_etl.entities import ENTITIES
from hat_etl.errors import SourceError
from hat_etl.orchestration.loading import LEDGER_TAG
from hat_etl.orchestration.progress import LogProgress
from hat_etl.sandbox.server import HAT, LOADER
from hat_etl_tests.orchestration.conftest import Demo, Door, failure, materialized

ALL = {entity.table for entity in ENTITIES}


def test_every_table_is_materialized_with_the_rows_that_hat_holds(door: Door, demo: Demo) -> None:
    result = door.launch(mode="restart")
    assert result.success
    told = materialized(result)
    assert list(told) == [entity.table for entity in ENTITIES]
    assert {table: metadata["dagster/row_count"] for table, metadata in told.items()} == {
        table: demo.count(table) for table in told
    }
    for metadata in told.values():
        parts = metadata["loaded"] + metadata["rejected"] + metadata["held"] + metadata["deleted"]
        assert metadata["read"] == parts
        assert set(metadata) >= {"warnings", "seconds", "rows_per_s"}
        assert metadata["strategy"] == "initial"
    assert len({metadata["run"] for metadata in told.values()}) == 1
    said = [entry.user_message for entry in door.instance.all_logs(result.run_id) if not entry.is_dagster_event]
    assert "Now: reading." in said
    assert "Now: swapping." in said


def test_a_subset_loads_its_tables_only(door: Door, loaded_demo: Demo) -> None:
    result = door.launch("persons", "families")
    told = materialized(result)
    assert list(told) == ["persons", "families"]
    assert told["persons"]["dagster/row_count"] == loaded_demo.count("persons")


def test_a_kept_last_good_version_counts_as_a_row(door: Door, demo: Demo) -> None:
    door.launch("persons", mode="restart")
    before = demo.count("persons")
    demo.change_erp(
        "UPDATE bts010 SET bts_nomusr = ' ' WHERE r_e_c_n_o_ ="
        " (SELECT max(r_e_c_n_o_) FROM bts010 WHERE d_e_l_e_t_ = ' ')"
    )
    told = materialized(door.launch("persons"))["persons"]
    assert (told["rejected"], told["dagster/row_count"]) == (1, before)
    assert demo.count("persons") == before


def test_children_that_lose_their_parent_are_observed(door: Door, loaded_demo: Demo) -> None:
    before = loaded_demo.count("beneficiary_coverage_groups")
    loaded_demo.change_erp(
        "DELETE FROM bg7010 WHERE (bg7_codint, bg7_codgru) ="
        " (SELECT bfe_codint, bfe_codgru FROM bfe010 WHERE d_e_l_e_t_ = ' ' ORDER BY r_e_c_n_o_ LIMIT 1)"
    )
    result = door.launch("coverage_groups")
    assert list(materialized(result)) == ["coverage_groups"]
    observed = {
        observation.asset_key.path[-1]: observation
        for event in result.get_asset_observation_events()
        for observation in [event.asset_observation_data.asset_observation]
    }
    child = observed["beneficiary_coverage_groups"]
    told = {name: value.value for name, value in child.metadata.items()}
    assert child.partition == "demo"
    assert told["held"] == before - loaded_demo.count("beneficiary_coverage_groups")
    assert 0 < loaded_demo.count("beneficiary_coverage_groups") < before


def test_a_load_that_needs_a_decision_says_so_and_takes_it(door: Door, demo: Demo) -> None:
    door.launch("product_waiting_periods", mode="restart")
    before = demo.count("product_waiting_periods")
    demo.change_erp("DELETE FROM bae010 WHERE r_e_c_n_o_ > (SELECT min(r_e_c_n_o_) FROM bae010)")

    description, told = failure(door.launch("product_waiting_periods"))
    assert told["kind"] == "decision"
    assert told["cause"] in description
    assert told["next_step"] in description
    assert "accept_shrink: true" in told["in_dagster"]
    assert demo.count("product_waiting_periods") == before

    assert failure(door.launch("product_waiting_periods"))[1]["kind"] == "decision", "one was broken off already"

    done = materialized(door.launch("product_waiting_periods", mode="resume", accept_shrink=True))
    assert done["product_waiting_periods"]["dagster/row_count"] == demo.count("product_waiting_periods") < before


def test_resuming_everything_says_which_tables_the_broken_load_was_not_of(door: Door, demo: Demo) -> None:
    door.launch("kinships", mode="restart")
    demo.change_erp("DELETE FROM brp010 WHERE r_e_c_n_o_ > (SELECT min(r_e_c_n_o_) FROM brp010)")
    failure(door.launch("kinships"))
    result = door.launch(mode="resume", accept_shrink=True)
    assert result.success
    assert list(materialized(result)) == ["kinships"]
    said = [entry.user_message for entry in door.instance.all_logs(result.run_id) if not entry.is_dagster_event]
    assert any("is not of these tables" in line and "families" in line for line in said)


def test_resuming_what_has_ended_long_ago_leaves_the_numbers_of_later_runs(door: Door, loaded_demo: Demo) -> None:
    """Dagster showed the rows of that load as those of now, though syncs had changed them since."""
    result = door.launch(mode="resume")
    assert result.success
    assert result.asset_materializations_for_node("load_tenant") == []
    said = [entry.user_message for entry in door.instance.all_logs(result.run_id) if not entry.is_dagster_event]
    (line,) = said[-1:]
    assert "Nothing was left to be done" in line
    assert {verdict.check_name for verdict in result.get_asset_check_evaluations()} >= {"decision", "freshness"}


def broken_off(door: Door, demo: Demo) -> int:
    """A load that has staged something; its run."""

    def break_off(*_: object) -> None:
        raise SourceError("The network is gone.", "Wait.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogProgress, "advanced", break_off)
        assert not door.launch(mode="restart").success
    with psycopg.connect(demo.sandbox.url(HAT, LOADER)) as connection:
        return int(connection.execute("SELECT run FROM hat_etl_stage.load").fetchall()[0][0])


def test_a_retry_goes_on_with_what_its_own_run_has_staged_and_with_nothing_else(door: Door, loaded_demo: Demo) -> None:
    """Who asked for a restart, and was killed before it began, was given what an older load had staged."""
    earlier = broken_off(door, loaded_demo)
    killed_at_once = {RETRY_NUMBER_TAG: "1", LEDGER_TAG: f"{earlier - 1}/{earlier}"}
    restarted = door.launch(mode="restart", tags=killed_at_once)
    assert restarted.success
    assert {metadata["run"] for metadata in materialized(restarted).values()} == {earlier + 1}

    earlier = broken_off(door, loaded_demo)
    killed_amid = {RETRY_NUMBER_TAG: "1", LEDGER_TAG: f"{earlier - 1}/0"}
    resumed = door.launch(mode="restart", tags=killed_amid)
    assert resumed.success
    assert {metadata["run"] for metadata in materialized(resumed).values()} == {earlier}


def test_a_load_notes_how_the_ledger_stood_when_it_began(door: Door, loaded_demo: Demo) -> None:
    first = materialized(door.launch())["persons"]["run"]
    run = door.instance.get_run_by_id(door.launch("persons").run_id)
    assert run is not None
    assert run.tags[LEDGER_TAG] == f"{first}/0"
