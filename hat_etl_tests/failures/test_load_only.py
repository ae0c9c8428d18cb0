"""Loads of some tables: the others are told what has become of their parents."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from hat_etl.sandbox.server import PLS

from . import changes
from .ground import Ground, Server
from .syncing import Shown, synced

MAKE_GROUND = Callable[..., Ground]


@pytest.mark.parametrize("then", ["a load of the parents", "and a full sync", "and a sync"])
def test_soft_parents_that_come_or_go_are_told_of_though_their_children_are_not_loaded(
    then: str, make_ground: MAKE_GROUND, server: Server
) -> None:
    """The warnings stayed as they were, until the children changed themselves."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        rng = random.Random(7)
        changes.delete(connection, "BTS", changes.live(connection, rng, "BTS", 40, "bts_nomusr <> ''"))
        changes.update(connection, "BTS", changes.live(connection, rng, "BTS", 20), nomusr="OUTRO")
    before = ground.reported()
    ground.load("--only", "persons")
    if then != "a load of the parents":
        synced(ground, *(["--full"] if then == "and a full sync" else []))
    other = make_ground(pls=ground.pls)
    other.load()
    assert (Shown.by(ground) == Shown.by(other), before == ground.reported()) == (True, False)
    with ground.in_erp() as connection:
        connection.execute("UPDATE protheus.bts010 SET d_e_l_e_t_ = ' '")
    ground.load("--only", "persons")
    other.load()
    assert Shown.by(ground) == Shown.by(other)
