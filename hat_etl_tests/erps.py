"""The databases in which a PLS may be, for tests that run once with each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.tenants.config import Dialect

ERPS: tuple[Dialect, ...] = ("postgresql", "oracle")

_USER, _PASSWORD = "hat_reader", "s3nha"


@contextmanager
def address(dialect: Dialect, url: str) -> Iterator[str]:
    """What a tenant's ``[erp] url`` holds for a PLS whose data are in the PostgreSQL database at ``url``.

    With Oracle, a server that speaks its protocol stands before that database for as long as the block runs.
    """
    if dialect == "postgresql":
        yield url
        return
    with closing(OracleServer(url, url, {_USER: Account(_PASSWORD)})) as server:
        yield f"oracle://{_USER}:{_PASSWORD}@{server.address}"
