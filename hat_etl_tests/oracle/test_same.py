"""The same PLS on Oracle and on PostgreSQL gives the same HAT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.sandbox.churn import Activity, apply, mixture
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import HAT, PLS
from hat_etl_tests.failures.ground import LOADED, Ground, Server, contents
from hat_etl_tests.failures.syncing import MOVED, Shown, synced
from hat_etl_tests.oracle.conftest import address

MAKE = Callable[..., Ground]
START = Callable[..., OracleServer]


@pytest.mark.parametrize("profile", ["12c", "19c", "23ai"])
def test_a_load_from_oracle_gives_every_table_row_by_row_as_one_from_postgresql(
    profile: str, start_oracle: START, make_ground: MAKE, server: Server
) -> None:
    ground = make_ground(dialect="oracle", erp_url=address(start_oracle(profile=profile)), hat=server.copy(HAT))
    report = ground.load()
    assert [table["table"] for table in report["tables"]] == [entity.table for entity in ENTITIES]
    with make_ground(hat=LOADED).in_hat() as loaded:
        assert ground.contents() == contents(loaded)
    assert _judged(ground) == _judged(make_ground(hat=LOADED))
    ground.assert_clean()


@pytest.mark.parametrize("options", [(), ("--full",)], ids=["window", "full"])
@pytest.mark.parametrize("user", ["hat_reader", "present"], ids=["scn", "read only transaction"])
def test_a_sync_from_oracle_leaves_hat_as_a_load_of_the_same_pls(
    options: tuple[str, ...], user: str, start_oracle: START, ground: Ground, moved: Shown
) -> None:
    ground.pls, ground.erp_url = MOVED, address(start_oracle(MOVED), user)
    synced(ground, *options)
    shown = Shown.by(ground)
    assert shown.rows == moved.rows
    assert _without_values(shown.reported) == _without_values(moved.reported)
    ground.assert_nobody_left()
    again = synced(ground)
    assert sum(table["updated"] + table["deleted"] for table in again["tables"]) == 0


def test_after_every_round_of_changes_a_sync_from_oracle_leaves_hat_as_one_from_postgresql(
    start_oracle: START, make_ground: MAKE, from_oracle: str, server: Server
) -> None:
    pls = server.copy(PLS)
    grounds = [
        make_ground(pls=pls),
        make_ground(pls=pls, dialect="oracle", erp_url=address(start_oracle(pls)), hat=server.copy(from_oracle)),
    ]
    moved = set()
    with Activity(server.url(pls, "postgres")) as activity:
        for number, options in enumerate(((), (), ("--full",))):
            for operation in mixture(number, 300, server.manifest.rows):
                apply(operation, activity)
            reports = [synced(ground, "--accept", *options) for ground in grounds]
            postgresql, oracle = map(Shown.by, grounds)
            assert oracle.rows == postgresql.rows
            assert _without_values(oracle.reported) == _without_values(postgresql.reported)
            assert len({str([_way(table) for table in report["tables"]]) for report in reports}) == 1
            moved |= {table["table"] for table in reports[1]["tables"] if table["loaded"] + table["updated"]}
    assert len(moved) > 20


def _way(table: dict[str, Any]) -> list[Any]:
    return [table[name] for name in ("table", "strategy", "loaded", "updated", "deleted", "rejected", "held")]


def _judged(ground: Ground) -> list[tuple[object, ...]]:
    return _without_values(ground.reported())


def _without_values(reported: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """What was reported, but for the source value: each database writes a number that is none in its own way."""
    return [entry[:-1] for entry in reported]
