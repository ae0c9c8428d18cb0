"""Tenants for these tests: those of the conformance tests."""

import pytest

from hat_etl.tenants.config import Dialect
from hat_etl_tests.conformance.conftest import make_site, plain_site, today

__all__ = ["make_site", "plain_site", "today"]


@pytest.fixture(scope="module")
def dialect() -> Dialect:
    """What is asked of Oracle for an explanation is tested where its reader is."""
    return "postgresql"
