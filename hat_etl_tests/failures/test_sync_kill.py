"""``kill -9`` at every step of a sync: HAT is as before or as after, and the next sync brings what a load brings."""

from __future__ import annotations

import signal
from collections.abc import Callable

from .ground import Ground
from .phases import Phase
from .syncing import MOVED, Shown, Untouched, last_run, synced

MAKE_GROUND = Callable[..., Ground]


STEPS = (
    "looking at the views",
    "reading",
    "comparing keys",
    "merged procedures",
    "merged families",
    "merged beneficiary_waiting_periods",
    "committing",
)
"""The steps before the commit, the last one included; the merge of a few tables stands for that of all."""


def test_syncs_that_are_killed_have_changed_nothing(moved: Shown, make_ground: MAKE_GROUND) -> None:
    """One after another at every step, each beginning where the one before was killed; the last one goes through."""
    ground = make_ground(pls=MOVED)
    untouched = Untouched(ground)
    for number, step in enumerate(STEPS, 2):
        phase = Phase(step)
        sync = ground.start("sync", ground.name, prepare=phase)
        phase.await_reached()
        sync.signal(signal.SIGKILL)
        assert sync.wait().exit_code == -signal.SIGKILL
        untouched.check()
        assert last_run(ground) == (number, "sync", "running", None)
    synced(ground)
    assert Shown.by(ground) == moved
    with ground.in_hat() as connection:
        states = connection.execute("SELECT state FROM hat_etl.runs ORDER BY run").fetchall()
    assert states == [("succeeded",), *[("abandoned",)] * len(STEPS), ("succeeded",)]
    ground.assert_clean()


def test_a_sync_that_is_killed_after_its_commit_has_done_all(moved: Shown, make_ground: MAKE_GROUND) -> None:
    ground, phase = make_ground(pls=MOVED), Phase("committed")
    sync = ground.start("sync", ground.name, prepare=phase)
    phase.await_reached()
    sync.signal(signal.SIGKILL)
    assert sync.wait().exit_code == -signal.SIGKILL
    ground.assert_clean()
    assert Shown.by(ground) == moved
    assert last_run(ground) == (2, "sync", "succeeded", None)
    again = synced(ground)
    assert not any(table["loaded"] or table["updated"] or table["deleted"] for table in again["tables"])
    assert Shown.by(ground) == moved
