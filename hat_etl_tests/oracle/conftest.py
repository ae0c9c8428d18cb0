"""Tenants whose PLS is Oracle to the eye of the real driver, and the same PLS on PostgreSQL beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import HAT, PLS, READER
from hat_etl_tests.failures.conftest import make_ground, moved, server
from hat_etl_tests.failures.ground import Ground, Server

__all__ = ["make_ground", "moved", "server"]

PASSWORD = "s3nha/c@rta"
PROXY_PASSWORD = "outra-s3nha"
ACCOUNTS = {
    READER: Account(PASSWORD, proxies=("PROXY",)),
    "hat": Account("de ninguém", proxies=("PROXY",)),
    "proxy": Account(PROXY_PASSWORD),
    "locked": Account(PASSWORD, locked=True, proxies=("PROXY",)),
    "expired": Account(PASSWORD, expired=True),
    "simple": Account(PASSWORD, flashback_package=False, dynamic_views=False),
    "present": Account(PASSWORD, flashback=False, flashback_package=False, dynamic_views=False, proxies=("PROXY",)),
}
"""By user. ``hat`` is the owner of the views, and ``proxy`` may act for some. ``simple`` may read the past, but has no
exact way to its number; ``present`` may not read it."""

FROM_ORACLE = "hat_from_oracle"
"""HAT database that a load from Oracle has filled; tests take copies of it."""


def started(server: Server, pls: str = PLS, profile: str = "19c", *, keeps_results: bool = False) -> OracleServer:
    """An Oracle server over a database of the test's PostgreSQL."""
    reader, admin = server.url(pls, READER), server.url(pls, "postgres")
    return OracleServer(reader, admin, ACCOUNTS, profile=profile, keeps_results=keeps_results)


def address(oracle: OracleServer, user: str = READER, password: str = PASSWORD) -> str:
    return f"{user}/{password}@{oracle.address}"


@pytest.fixture
def start_oracle(server: Server) -> Iterator[Callable[..., OracleServer]]:
    """Starts servers, which end with the test."""
    begun: list[OracleServer] = []

    def start(pls: str = PLS, profile: str = "19c") -> OracleServer:
        begun.append(started(server, pls, profile))
        return begun[-1]

    yield start
    for oracle in begun:
        oracle.close()


@pytest.fixture
def oracle(start_oracle: Callable[..., OracleServer]) -> OracleServer:
    """Oracle over the soiled PLS that all tests share."""
    return start_oracle()


@pytest.fixture(scope="session")
def from_oracle(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Makes the database ``FROM_ORACLE``, which tests leave as it is."""
    oracle = started(server)
    folder = tmp_path_factory.mktemp("first")
    ground = Ground(server, folder, dialect="oracle", erp_url=address(oracle), hat=server.copy(HAT))
    ground.load()
    with server.admin() as admin:
        admin.execute(f"ALTER DATABASE {ground.hat} RENAME TO {FROM_ORACLE}")
    oracle.close()
    return FROM_ORACLE


@pytest.fixture
def ground(oracle: OracleServer, from_oracle: str, server: Server, make_ground: Callable[..., Ground]) -> Ground:
    """A tenant of that Oracle, with a loaded HAT database."""
    return make_ground(dialect="oracle", erp_url=address(oracle), hat=server.copy(from_oracle))
