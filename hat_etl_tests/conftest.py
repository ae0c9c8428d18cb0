"""What all tests share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from hat_etl_tests import servers

# A busy machine makes no property false: tests judge no times.
settings.register_profile("hat_etl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hat_etl")


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Server]:
    """One embedded PostgreSQL for the whole session; make a database of your own in it."""
    with servers.running() as server:
        yield server


@pytest.fixture
def heard() -> Iterator[threading.Event]:
    """Set when the main thread has heard of Ctrl-C, also where the tests run in the background, which ignores it."""
    event = threading.Event()

    def stop(number: int, frame: object) -> None:
        event.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    yield event
    signal.signal(signal.SIGINT, before)
