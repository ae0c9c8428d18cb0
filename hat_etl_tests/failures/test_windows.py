"""The hours in which the ERP may be read: nothing is read outside of them, and what they catch can be taken up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from hat_etl.errors import DecisionNeeded
from hat_etl.sync import window
from hat_etl.sync.run import Silent
from hat_etl.tenants import store

from .ground import Ground
from .syncing import assert_told

MAKE_GROUND = Callable[..., Ground]
ZONE = ZoneInfo("America/Sao_Paulo")


def hours(first: timedelta, last: timedelta) -> str:
    """A window from so much after now to so much after now, as a line of the tenant file."""
    now = datetime.now(ZONE)
    return f'windows = ["{now + first:%H:%M}-{now + last:%H:%M}"]'


CLOSED = (timedelta(hours=2), timedelta(hours=3))
OPEN = (timedelta(hours=-1), timedelta(hours=3))


class EndsAfter:
    """A clock that leaves the window after it was asked so many times; the processes of commands take it over."""

    def __init__(self, questions: int) -> None:
        self.questions = questions

    def __call__(self) -> datetime:
        self.questions -= 1
        return datetime.now(UTC) + (timedelta(hours=12) if self.questions < 0 else timedelta())

    def install(self) -> None:
        window.now = self


@pytest.mark.parametrize("command", [("load", "--restart"), ("sync",), ("reconcile",)], ids=" ".join)
def test_a_command_outside_the_windows_reads_nothing_unless_told_to(
    command: tuple[str, ...], make_ground: MAKE_GROUND
) -> None:
    ground = make_ground(erp_extra=hours(*CLOSED))
    before = ground.state()
    name, *options = command
    refused = ground.run(name, ground.name, *options)
    assert refused.exit_code == 7, refused.err
    assert_told(refused.err, "demo", "may not be read now", "Nothing was read", f"hat-etl {name} demo", window.OPTION)
    assert ground.state() == before
    told = ground.run(name, ground.name, *options, window.OPTION)
    assert told.exit_code == 0, told.err


def test_inside_the_windows_everything_is_as_ever(make_ground: MAKE_GROUND) -> None:
    ground = make_ground(erp_extra=hours(*OPEN))
    assert ground.run("sync", ground.name).exit_code == 0
    ground.assert_clean()


def test_a_load_that_the_end_of_the_window_catches_is_taken_up_in_the_next(make_ground: MAKE_GROUND) -> None:
    ground = make_ground(erp_extra=hours(*OPEN))
    before, contents = ground.state(), ground.contents()
    stopped = ground.start("load", ground.name, prepare=EndsAfter(20).install).wait()
    assert stopped.exit_code == 7, stopped.err
    assert_told(stopped.err, "ended before all was read", "HAT is as it was", "hat-etl load demo --resume")
    assert ground.state() == before
    ground.assert_nobody_left()
    ground.load("--resume")
    assert ground.contents() == contents
    ground.assert_clean()


def test_a_sync_that_the_end_of_the_window_catches_has_changed_nothing(make_ground: MAKE_GROUND) -> None:
    ground = make_ground(erp_extra=hours(*OPEN))
    before = ground.state()
    stopped = ground.start("sync", ground.name, "--full", prepare=EndsAfter(5).install).wait()
    assert stopped.exit_code == 7, stopped.err
    assert_told(stopped.err, "ended before all was read", "hat-etl sync demo")
    assert ground.state() == before
    ground.assert_nobody_left()
    assert ground.run("sync", ground.name).exit_code == 0
    ground.assert_clean()


def test_the_end_of_the_window_does_not_stop_a_run_that_has_read_all(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is HAT's work, which the ERP does not notice."""
    ground.erp_extra = hours(*OPEN)
    ground.write()
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(ground.folder))
    progress = window.keep_to(store.load(ground.name), Silent(), "hat-etl sync demo")
    progress.phase("reading")
    monkeypatch.setattr(window, "now", EndsAfter(0))
    with pytest.raises(DecisionNeeded):
        progress.advanced("persons", 1)
    with pytest.raises(DecisionNeeded):
        progress.phase("comparing keys")
    for phase in ("merging", "committing"):
        progress.phase(phase)
