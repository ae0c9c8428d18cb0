"""Tenants for these tests, each with an ERP and a HAT of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from hat_etl.tenants.config import Dialect
from hat_etl_tests.conformance.model import Pls
from hat_etl_tests.conformance.site import Site
from hat_etl_tests.conformance.world import widths
from hat_etl_tests.erps import ERPS
from hat_etl_tests.servers import Server

MakeSite = Callable[..., Site]


@pytest.fixture(scope="module", params=ERPS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """The database that the PLS is in: whatever asks for it runs once with each."""
    found: Dialect = request.param
    return found


@pytest.fixture(scope="module")
def make_site(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Makes a tenant with empty databases; takes what ``Site`` takes."""
    with ExitStack() as stack:

        def make(**options: str) -> Site:
            site = Site(postgres, tmp_path_factory.mktemp("tenants"), **options)
            stack.callback(site.close)
            return site

        yield make


@pytest.fixture(scope="module")
def sites(make_site: MakeSite) -> dict[Dialect, Site]:
    """Two tenants of one PLS, which is read as PostgreSQL by the one and as Oracle by the other."""
    first = make_site()
    return {"postgresql": first, "oracle": make_site(dialect="oracle", pls=first.erp)}


@pytest.fixture(scope="module")
def plain_site(dialect: Dialect, make_site: MakeSite) -> Site:
    """A tenant with our views on empty PLS tables, for tests that fill these and renew HAT as they like."""
    site = make_site(dialect=dialect)
    site.create_tables(Pls(widths()))
    site.install_views()
    return site


@pytest.fixture(scope="session")
def today() -> date:
    """The day in the tenants' time zone. Runs note the day they go by; this one only makes values about as old."""
    return datetime.now(ZoneInfo("America/Sao_Paulo")).date()
