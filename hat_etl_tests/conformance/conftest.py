"""Tenants for these tests, each with an ERP and a HAT of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from hat_etl_tests.conformance.model import Pls
from hat_etl_tests.conformance.site import Site
from hat_etl_tests.conformance.world import widths
from hat_etl_tests.servers import Server

MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def make_site(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> MakeSite:
    """Makes a tenant with empty databases; takes what ``Site`` takes."""

    def make(**options: str) -> Site:
        return Site(postgres, tmp_path_factory.mktemp("tenants"), **options)

    return make


@pytest.fixture(scope="session")
def plain_site(make_site: MakeSite) -> Site:
    """A tenant with our views on empty PLS tables, for tests that fill these and renew HAT as they like."""
    site = make_site()
    site.create_tables(Pls(widths()))
    site.install_views()
    return site


@pytest.fixture(scope="session")
def today() -> date:
    """The day in the tenants' time zone. Runs note the day they go by; this one only makes values about as old."""
    return datetime.now(ZoneInfo("America/Sao_Paulo")).date()
