"""Tenants that are late: noticed once, told once, forgotten when a run has come."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from hat_etl.errors import TargetError
from hat_etl.orchestration import lateness
from hat_etl.orchestration.assets import TENANT
from hat_etl.orchestration.lateness import PATIENCE, QUESTIONS, Memory, newly_broken, newly_late
from hat_etl.orchestration.notifications import TARGETS_VARIABLE
from hat_etl.sandbox.server import PLS, PROTHEUS
from hat_etl.target.database import TenantDatabase
from hat_etl.target.standing import standing
from hat_etl.tenants import store
from hat_etl.tenants.config import Tenant
from hat_etl_tests.orchestration.conftest import Demo, Door, hook
from hat_etl_tests.orchestration.test_due import NOON, tenant
from hat_etl_tests.orchestration.test_runs import sync

LONG_AGO = NOON - timedelta(days=2)


def hourly(*names: str) -> dict[str, Tenant]:
    return {name: tenant(name) for name in names}


def unasked(_: Tenant) -> datetime:
    raise AssertionError("nobody is to be asked")


def silent(_: Tenant) -> datetime:
    raise TargetError("It cannot be reached.", "Look.")


def test_who_is_late_is_told_once_until_a_run_has_come() -> None:
    tenants, memory = hourly("acme", "good"), Memory(shown={"acme": LONG_AGO, "good": NOON})
    assert newly_late(NOON, tenants, memory, lambda _: LONG_AGO) == ["acme"]
    assert newly_late(NOON + timedelta(minutes=1), tenants, memory, unasked) == []
    memory.shown["acme"] = NOON
    assert newly_late(NOON + timedelta(minutes=2), tenants, memory, unasked) == []
    assert memory.late == {}
    later = NOON + timedelta(hours=5)
    assert newly_late(later, tenants, memory, lambda _: NOON) == ["acme", "good"]


def test_a_sync_from_the_command_line_counts() -> None:
    memory = Memory(shown={"acme": LONG_AGO})
    assert newly_late(NOON, hourly("acme"), memory, lambda _: NOON - timedelta(minutes=5)) == []
    assert newly_late(NOON, hourly("acme"), memory, unasked) == []


def test_a_tenant_whose_database_is_silent_is_late_and_one_that_is_not_loaded_is_not() -> None:
    memory = Memory()
    assert newly_late(NOON, hourly("acme"), memory, silent) == ["acme"]
    assert newly_late(NOON + timedelta(minutes=1), hourly("acme"), memory, silent) == [], "told once"
    assert newly_late(NOON, hourly("acme"), Memory(), lambda _: None) == []


def test_one_tick_asks_few_databases_and_the_next_ones_the_others() -> None:
    names = [f"t{number}" for number in range(QUESTIONS + 5)]
    memory = Memory()
    first = newly_late(NOON, hourly(*names), memory, lambda _: LONG_AGO)
    second = newly_late(NOON, hourly(*names), memory, lambda _: LONG_AGO)
    assert (len(first), len(second)) == (QUESTIONS, 5)
    assert {*first, *second} == set(names)


def test_tenants_that_were_never_loaded_do_not_keep_the_others_from_being_asked() -> None:
    """They seem to be late at every tick, and were asked first at each: nobody else ever was."""
    unloaded, memory = [f"new{number}" for number in range(QUESTIONS + 3)], Memory()

    def ask(one: Tenant) -> datetime | None:
        return None if one.name.startswith("new") else LONG_AGO

    found = []
    for minute in range(2):
        memory = Memory.read(memory.text())
        found += newly_late(NOON + timedelta(minutes=minute), hourly(*unloaded, "zulu"), memory, ask)
    assert found == ["zulu"]
    assert newly_late(NOON, hourly("zulu"), memory, unasked) == []
    assert memory.asked.keys() == {"zulu"}, "who is gone is forgotten"


def test_the_memory_survives_its_text() -> None:
    memory = Memory({"acme": NOON}, {"other": LONG_AGO}, NOON, {"acme": NOON}, {"soon": NOON}, {"other": ["mark"]})
    assert Memory.read(memory.text()) == memory
    assert Memory.read(None) == Memory()


def test_the_check_turns_red_without_a_run_and_green_by_one(
    door: Door,
    demo: Demo,
    received: list[dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def status() -> tuple[str, bool]:
        """Of the check for the tenant, and whether Dagster counts it."""
        key = dg.AssetCheckKey(TENANT, "freshness")
        (info,) = door.instance.event_log_storage.get_asset_check_partition_info([key], partition_keys=["demo"])
        return info.latest_execution_status.value, info.is_current

    file = demo.tenants / "demo.toml"
    before = file.read_text(encoding="utf-8")
    assert door.launch(mode="restart").success
    assert status() == ("SUCCEEDED", True)
    try:
        file.write_text(f'{before}\n[schedule]\nincremental = "* * * * *"\n[alerts]\nlate_minutes = 60\n')
        monkeypatch.setattr(lateness, "_look_through_runs", lambda *_: None)  # as after a day
        lateness.tenant_files.cache_clear()
        for times in (1, 2):
            demo.change_hat("UPDATE hat_etl.watermarks SET horizon = horizon - interval '1 day'")
            demo.change_hat("UPDATE hat_etl.runs SET started_at = started_at - interval '1 day'")
            context = dg.build_sensor_context(instance=door.instance, cursor=None)
            told = lateness.late_tenants(context)
            assert isinstance(told, dg.SensorResult)
            assert "demo" in str(told.skip_reason)
            assert status() == ("FAILED", True)
            assert [message["title"] for message in received] == ["hat_etl: demo is late"] * times
            assert sync(door, accept=True).success
            assert status() == ("SUCCEEDED", True)
    finally:
        file.write_text(before, encoding="utf-8")


@pytest.fixture
def late_demo(door: Door, loaded_demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """Its runs were a day ago, and it should be synchronised each minute."""
    file = loaded_demo.tenants / "demo.toml"
    before = file.read_text(encoding="utf-8")
    file.write_text(f'{before}\n[schedule]\nincremental = "* * * * *"\n[alerts]\nlate_minutes = 60\n')
    loaded_demo.change_hat("UPDATE hat_etl.watermarks SET horizon = horizon - interval '1 day'")
    loaded_demo.change_hat("UPDATE hat_etl.runs SET started_at = started_at - interval '1 day'")
    monkeypatch.setattr(lateness, "_look_through_runs", lambda *_: None)
    lateness.tenant_files.cache_clear()
    yield loaded_demo
    file.write_text(before, encoding="utf-8")


def tick(door: Door, cursor: str | None) -> str | None:
    told = lateness.late_tenants(dg.build_sensor_context(instance=door.instance, cursor=cursor))
    assert isinstance(told, dg.SensorResult)
    return told.cursor


def test_a_target_that_refuses_is_told_when_it_takes_again_and_the_others_are_not_told_twice(
    door: Door, late_demo: Demo, received: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tried again: who was down in that minute never heard of it."""
    good = os.environ[TARGETS_VARIABLE]
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    monkeypatch.setenv(TARGETS_VARIABLE, f"{good} json://127.0.0.1:{port}/")
    cursor = tick(door, tick(door, None))
    assert [message["title"] for message in received] == ["hat_etl: demo is late"]
    assert good not in str(cursor)
    with hook(received, port):
        cursor = tick(door, cursor)
        assert [message["title"] for message in received] == ["hat_etl: demo is late"] * 2
        tick(door, cursor)
        assert len(received) == 2


@pytest.fixture
def many_late(door: Door, late_demo: Demo) -> Iterator[list[str]]:
    """Names of tenants that are late; of all but one, nobody reaches the database."""
    names = ["demo", *(f"late{number}" for number in range(4))]
    door.instance.add_dynamic_partitions("tenant", names[1:])
    text, nowhere = (late_demo.tenants / "demo.toml").read_text(encoding="utf-8"), late_demo.tenants / "nowhere.url"
    nowhere.write_text("postgresql://127.0.0.1:1/hat", encoding="utf-8")
    for name in names[1:]:
        file = re.sub(r'(\[hat\]\s+url = )"[^"]+"', rf'\1"file:{nowhere}"', text).replace('"demo"', f'"{name}"')
        (late_demo.tenants / f"{name}.toml").write_text(file, encoding="utf-8")
    yield names
    for name in names[1:]:
        (late_demo.tenants / f"{name}.toml").unlink()


def test_a_target_that_refuses_is_tried_once_at_a_tick_however_many_are_late(
    door: Door, many_late: list[str], received: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time-out came on top, until Dagster gave up the tick: the next one told the others all of it once more."""
    cursor, refusals = None, list[dict[str, str]]()
    with hook(refusals, status=500) as port:
        monkeypatch.setenv(TARGETS_VARIABLE, f"{os.environ[TARGETS_VARIABLE]} json://127.0.0.1:{port}/")
        for _ in range(2):
            cursor = tick(door, cursor)
    assert sorted(message["title"] for message in received) == [f"hat_etl: {name} is late" for name in many_late]
    assert len(refusals) == 2
    with hook(refusals, port):
        tick(door, cursor)
    assert len(refusals) == 2 + len(many_late)
    assert len(received) == len(many_late)


def test_what_takes_too_long_to_be_told_at_one_tick_is_told_at_the_next_ones(
    door: Door, many_late: list[str], received: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow server of mail had the same end as one that refuses."""
    monkeypatch.setattr(lateness, "SENDING", 0.0)
    cursor = None
    for number in range(1, len(many_late) + 2):
        cursor = tick(door, cursor)
        assert len(received) == min(number, len(many_late))
    assert sorted(message["title"] for message in received) == [f"hat_etl: {name} is late" for name in many_late]


def test_a_transaction_that_stays_open_in_the_erp_makes_nobody_late(door: Door, loaded_demo: Demo) -> None:
    """Freshness was judged by the horizon, which waits for that transaction: the tenant was late, whatever it did."""
    database = TenantDatabase(store.load("demo"))
    with psycopg.connect(loaded_demo.sandbox.url(PLS, PROTHEUS), options="-c search_path=protheus") as left_open:
        left_open.execute("UPDATE bts010 SET bts_nomusr = bts_nomusr WHERE r_e_c_n_o_ = 1")
        began = datetime.now(UTC)
        assert sync(door).success
        with database.connect() as connection:
            ((horizon,),) = connection.execute("SELECT min(horizon) FROM hat_etl.watermarks").fetchall()
        assert horizon < began, "of what is checked here"
        fresh = standing(database).fresh_until
        assert fresh is not None
        assert fresh >= began


def test_a_file_that_stays_unusable_is_told_once() -> None:
    memory, found = Memory(), []
    for minute in range(20):
        memory = Memory.read(memory.text())
        found.append(newly_broken(NOON + timedelta(minutes=minute), ["acme"], memory))
        assert newly_late(NOON + timedelta(minutes=minute), {}, memory, unasked) == []
    told = [minute for minute, names in enumerate(found) if names == ["acme"]]
    assert told == [PATIENCE // timedelta(minutes=1)]
    assert newly_broken(NOON + timedelta(minutes=21), [], memory) == []
    assert newly_late(NOON + timedelta(minutes=21), hourly("acme"), memory, lambda _: NOON) == []
    assert memory.late == {}


def test_a_file_that_stays_unusable_is_told_also_of_a_tenant_that_was_late_before() -> None:
    """Whoever had been told to launch a sync mended the file amiss, and nobody heard that none is launched any more."""
    memory, found = Memory(shown={"acme": LONG_AGO}), []
    assert newly_late(NOON, hourly("acme"), memory, lambda _: LONG_AGO) == ["acme"]
    memory.refused = {"acme": ["mark"]}
    for minute in range(20):
        memory = Memory.read(memory.text())
        found += newly_broken(NOON + timedelta(minutes=minute), ["acme"], memory)
        assert newly_late(NOON + timedelta(minutes=minute), {}, memory, unasked) == []
    assert found == ["acme"]
    assert memory.refused == {}, "all are told of it"


def test_a_file_that_is_unusable_for_a_moment_makes_nobody_late_twice() -> None:
    memory = Memory(shown={"acme": LONG_AGO})
    assert newly_late(NOON, hourly("acme"), memory, lambda _: LONG_AGO) == ["acme"]
    for minute, broken in ((1, ["acme"]), (2, [])):
        now, memory = NOON + timedelta(minutes=minute), Memory.read(memory.text())
        assert newly_broken(now, broken, memory) == []
        assert newly_late(now, {} if broken else hourly("acme"), memory, unasked) == []


def test_a_tenant_whose_file_breaks_is_told_though_no_run_of_it_is_launched_any_more(
    door: Door, loaded_demo: Demo, received: list[dict[str, str]]
) -> None:
    """It was neither due nor late: HAT grew old without a word, and the check stayed green."""
    file = loaded_demo.tenants / "demo.toml"
    before = file.read_text(encoding="utf-8")
    assert sync(door).success
    lateness.tenant_files.cache_clear()
    try:
        file.write_text(f"{before}\n[schedule]\npausd = false\n", encoding="utf-8")
        memory = Memory(broken={"demo": datetime.now(UTC) - timedelta(hours=1)}, looked=datetime.now(UTC))
        lateness.late_tenants(dg.build_sensor_context(instance=door.instance, cursor=memory.text()))
    finally:
        file.write_text(before, encoding="utf-8")
    (message,) = received
    assert message["title"] == "hat_etl: demo has a file that cannot be used"
    assert "pausd" in message["message"]
    key = dg.AssetCheckKey(TENANT, "freshness")
    (info,) = door.instance.event_log_storage.get_asset_check_partition_info([key], partition_keys=["demo"])
    assert (info.latest_execution_status.value, info.is_current) == ("FAILED", True)


def test_tenants_whose_files_are_gone_are_told(
    door: Door, tmp_path: Path, received: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the folder lost or moved, nothing was launched any more, and the sensor said that nobody is late."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "not mounted"))
    lateness.tenant_files.cache_clear()
    cursor = tick(door, None)
    assert received == [], "somebody may be moving it"
    memory = Memory.read(cursor)
    memory.broken = {name: since - PATIENCE for name, since in memory.broken.items()}
    cursor = tick(door, memory.text())
    tick(door, cursor)
    (message,) = received
    assert message["title"] == "hat_etl: demo has a file that cannot be used"
    assert "not mounted/demo.toml" in message["message"]
