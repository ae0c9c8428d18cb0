"""The whole loop while replies are lost, calls fail and its process is killed: exactly once, and true in HAT."""

from __future__ import annotations

from pathlib import Path

from benchmarks.billing import Course, race
from hat_etl_tests.servers import Server


def test_every_lot_arrives_once_and_hat_shows_its_true_status_whatever_breaks(postgres: Server, tmp_path: Path) -> None:
    course = Course(lots=120, guides=1, providers=10, kills=4, lost=0.05, failing=0.05, workers=4, seed=7)
    result = race(course, postgres.url(postgres.create_database("race")), tmp_path)
    assert result.wrong == []
    assert result.kills == course.kills
    assert sum(result.states.values()) == course.lots
    assert set(result.states) == {"final", "refused"}
