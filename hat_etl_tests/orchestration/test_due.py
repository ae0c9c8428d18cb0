"""Which tenants are due: the plain function, with time as it is given."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from hat_etl.orchestration.due import (
    LAUNCHES,
    QUEUE_PER_ERP,
    RUNS_PER_ERP,
    SPREAD,
    Due,
    due,
    last_instant,
    late,
)  # fmt: skip
from hat_etl.tenants.config import Tenant
from hat_etl_tests.orchestration.conftest import ROOT

ZONE = ZoneInfo("America/Sao_Paulo")
NOON = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
"""Noon in São Paulo."""
CRONS = ("*/15 * * * *", "0 * * * *", "30 2 * * *", "0 5 * * MON", "0 12 1 * *")


def tenant(name: str = "acme", cron: str | None = "0 * * * *", **changes: Any) -> Tenant:
    erp = {"dialect": "postgresql", "url": "env:A", "company": "01", "windows": changes.pop("windows", [])}
    if server := changes.pop("server", None):
        erp["server"] = server
    schedule = {"incremental": cron, "paused": changes.pop("paused", False)}
    return Tenant.model_validate(
        {"name": name, "ans_registry": "412345", "erp": erp, "hat": {"url": "env:B"}, "schedule": schedule, **changes}
    )


moments = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
names = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@given(names, st.sampled_from(CRONS), moments)
def test_the_last_instant_is_the_one_before_the_next(name: str, cron: str, now: datetime) -> None:
    found = last_instant(tenant(name, cron), now)
    assert found is not None
    assert found <= now
    spread = found - next(CronSim(cron, (found - SPREAD).astimezone(ZONE)))
    assert timedelta() <= spread < SPREAD
    following = next(CronSim(cron, (found - spread).astimezone(ZONE))) + spread
    assert following > now


def test_tenants_of_one_cron_do_not_all_begin_at_once() -> None:
    begun = Counter(last_instant(tenant(f"tenant{number}"), NOON + SPREAD) for number in range(300))
    assert max(begun.values()) < 30
    assert min(begun) >= NOON  # type: ignore[type-var]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(names, st.sampled_from(CRONS)), unique_by=lambda pair: pair[0], min_size=1, max_size=6),
    moments,
    st.lists(st.integers(1, 3 * 3600), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_every_moment_is_launched_at_most_once_and_missed_ones_once_together(
    made: list[tuple[str, str]], now: datetime, steps: list[int], random: Any
) -> None:
    """Ticks come at any distance, runs take any time: each launch is for a moment of the schedule not launched yet."""
    tenants = [tenant(name, cron) for name, cron in made]
    requested: dict[str, datetime] = {}
    running: dict[str, str] = {}
    launched: list[Due] = []
    for step in steps:
        now += timedelta(seconds=step)
        for name in list(running):
            if random.random() < 0.5:
                del running[name]
        idle = [each for each in tenants if each.name not in running]
        found = due(now, tenants, requested, running)
        assert {launch.tenant for launch in found} == {
            each.name for each in idle if requested.get(each.name) != last_instant(each, now)
        }
        for launch in found:
            requested[launch.tenant] = launch.since
            running[launch.tenant] = launch.server
        launched += found
    keys = [launch.run_key for launch in launched]
    assert len(keys) == len(set(keys))


def test_nothing_starts_by_itself_without_a_schedule_or_while_paused() -> None:
    assert due(NOON, [tenant(cron=None), tenant("other", paused=True)], {}, {}) == []


def test_outside_its_window_a_tenant_waits_and_is_launched_once_when_it_opens() -> None:
    waiting = [tenant(windows=["20:00-06:00"])]
    requested = {"acme": NOON - timedelta(hours=7)}
    assert due(NOON, waiting, requested, {}) == []
    evening = NOON + timedelta(hours=8, minutes=3)
    (launch,) = due(evening, waiting, requested, {})
    assert evening - timedelta(minutes=4) < launch.since <= evening
    requested["acme"] = launch.since
    assert due(evening + timedelta(seconds=30), waiting, requested, {}) == []


def test_runs_of_one_erp_do_not_pile_up_and_those_of_others_go_on() -> None:
    shared = [tenant(f"a{number:02}", server="one") for number in range(20)]
    alone = [tenant(f"b{number:02}") for number in range(3)]
    found = due(NOON, shared + alone, {}, {"z": "one"})
    assert Counter(launch.server for launch in found) == {"one": QUEUE_PER_ERP - 1, "b00": 1, "b01": 1, "b02": 1}


def test_the_longest_waiting_go_first_and_no_tick_launches_more_than_it_can() -> None:
    hourly = [tenant(f"h{number:03}") for number in range(LAUNCHES)]
    daily = [tenant(f"z{number:03}", "0 3 * * *") for number in range(10)]
    found = due(NOON + SPREAD, hourly + daily, {}, {})
    assert len(found) == LAUNCHES
    assert {launch.tenant for launch in found[:10]} == {each.name for each in daily}


def test_the_queue_runs_as_many_at_a_time_as_the_schedule_counts_on() -> None:
    limits = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))["concurrency"]["runs"]
    by_key = {limit["key"]: limit for limit in limits["tag_concurrency_limits"]}
    assert by_key["hat/erp"] == {"key": "hat/erp", "limit": RUNS_PER_ERP, "value": {"applyLimitPerUniqueValue": True}}
    assert by_key["dagster/partition"]["limit"] == 1


def test_a_tenant_is_late_when_its_last_due_moment_lies_too_far_back() -> None:
    one, due_at = tenant("acme", "0 6 * * *"), NOON - timedelta(hours=6)
    fresh, old = due_at + timedelta(minutes=10), due_at - timedelta(hours=20)
    assert late(NOON, one, fresh) is None
    since = late(NOON, one, old)
    assert since is not None
    assert due_at <= since < due_at + SPREAD
    assert late(due_at + timedelta(minutes=30), one, old) is None, "it may take an hour"
    assert late(NOON, one, None) is None, "it is not loaded yet"
    assert late(NOON, tenant(paused=True), old) is None


def test_hours_in_which_the_erp_may_not_be_read_make_no_tenant_late() -> None:
    one = tenant("acme", "0 9 * * *", windows=["20:00-06:00"])
    shown = NOON - timedelta(hours=20)
    assert late(NOON, one, shown) is None
    assert late(NOON + timedelta(hours=10), one, shown) is not None


def test_a_clock_that_was_wrong_for_a_moment_keeps_nobody_waiting() -> None:
    """One tick in the year after next, and the tenant was not due before then."""
    one = tenant("acme")
    (launch,) = due(NOON, [one], {"acme": NOON + timedelta(days=400)}, {})
    assert launch.since == last_instant(one, NOON)
    assert due(NOON, [one], {"acme": launch.since}, {}) == []
