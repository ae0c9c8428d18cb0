"""The brake: what would change an unusual part of a table stops, and goes on when a person says so."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from hat_etl.sandbox.server import PLS

from . import changes
from .ground import Ground, Server
from .syncing import Shown, Untouched, assert_told, last_run, synced

MAKE_GROUND = Callable[..., Ground]


def rename(ground: Ground, alias: str, field: str, count: int) -> None:
    """Give so many rows of HAT another name in the ERP."""
    with ground.in_erp() as connection:
        recnos = changes.live(connection, random.Random(1), alias, count, f"{alias}_{field} <> ''")
        assert len(recnos) == count
        changes.update(connection, alias, recnos, **{field: "OUTRO NOME"})


@pytest.mark.parametrize(
    ("hat_table", "alias", "field", "count", "stops"),
    [
        # 30 rows: 10 % are 3, but no hundred. 2985 rows: 100 are less than 10 %.
        ("specialties", "BAQ", "descri", 25, False),
        ("persons", "BTS", "nomusr", 270, False),
        ("persons", "BTS", "nomusr", 320, True),
    ],
)
def test_it_takes_a_tenth_of_a_table_and_a_hundred_rows(
    hat_table: str, alias: str, field: str, count: int, stops: bool, make_ground: MAKE_GROUND, server: Server
) -> None:
    ground = make_ground(pls=server.copy(PLS))
    rename(ground, alias, field, count)
    only = ("sync", ground.name, "--only", hat_table)
    if stops:
        untouched = Untouched(ground)
        result = ground.run(*only)
        assert result.exit_code == 7, result.err
        told = f"{hat_table}: {count:,} of"
        assert_told(result.err, "demo", told, "rows change", "hat-etl sync demo", "--accept", "Nothing was changed")
        assert last_run(ground)[1:3] == ("sync", "stopped")
        untouched.check()
        only = (*only, "--accept")
    result = ground.run(*only, "--json")
    assert result.exit_code == 0, result.err
    (outcome,) = [table for table in result.document["tables"] if table["table"] == hat_table]
    assert outcome["updated"] == count
    ground.assert_clean()


def test_rows_that_leave_count_too_and_accepting_brings_what_a_load_brings(
    make_ground: MAKE_GROUND, server: Server
) -> None:
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        rng = random.Random(2)
        changes.purge(connection, "BFO", changes.live(connection, rng, "BFO", 60))
        changes.delete(connection, "BFO", changes.live(connection, rng, "BFO", 70))
    untouched = Untouched(ground)
    result = ground.run("sync", ground.name)
    assert result.exit_code == 7, result.err
    assert_told(result.err, "demo / beneficiary_waiting_periods", "leave HAT", "hat-etl sync demo --accept")
    untouched.check()
    synced(ground, "--accept")
    loaded = make_ground(pls=ground.pls)
    loaded.load("--accept-shrink")
    assert Shown.by(ground) == Shown.by(loaded)
    synced(ground)
    ground.assert_clean()
