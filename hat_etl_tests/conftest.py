"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hat_etl_tests import servers


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Server]:
    """One embedded PostgreSQL for the whole session; make a database of your own in it."""
    with servers.running() as server:
        yield server
