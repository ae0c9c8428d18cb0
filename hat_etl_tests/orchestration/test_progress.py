"""Lines in the log of a run: each is a write, so they must be few."""

from __future__ import annotations

from hat_etl.orchestration.progress import LogProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rows_are_said_at_most_once_in_ten_seconds() -> None:
    said: list[str] = []
    clock = Clock()
    progress = LogProgress(said.append, clock=clock)
    progress.planned("families", 1_000_000)
    for _ in range(45):
        clock.now += 1
        progress.advanced("families", 1_000)
    assert len(said) == 4


def test_a_line_tells_share_rate_and_time_left() -> None:
    said: list[str] = []
    clock = Clock()
    progress = LogProgress(said.append, clock=clock)
    progress.planned("families", 3_000)
    progress.planned("persons", 1_000)
    progress.advanced("persons", 500)
    clock.now += 10
    progress.advanced("families", 500)
    assert said == [
        "1,000 of about 4,000 rows read (25 %), 100 rows/s, about 30 s left; in families 500 of about 3,000."
    ]


def test_a_wrong_estimate_does_no_harm() -> None:
    said: list[str] = []
    clock = Clock()
    progress = LogProgress(said.append, clock=clock)
    progress.planned("persons", 0)
    clock.now += 10
    progress.advanced("persons", 0)
    clock.now += 10
    progress.advanced("persons", 100)
    assert said == [
        "0 of about 0 rows read, 0 rows/s; in persons 0 of about 0.",
        "100 of about 0 rows read, 5 rows/s, about 0 s left; in persons 100 of about 0.",
    ]


def test_each_phase_is_said() -> None:
    said: list[str] = []
    LogProgress(said.append).phase("swapping")
    assert said == ["Now: swapping."]
