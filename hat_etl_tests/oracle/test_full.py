"""A server that takes nobody in now: why, and what helps, is told in its own words."""

from __future__ import annotations

from contextlib import closing

import pytest

from hat_etl.errors import SourceError
from hat_etl.sandbox.oracle.listener import Listener
from hat_etl.sandbox.oracle.packets import Channel
from hat_etl.sandbox.oracle.profiles import PROFILES
from hat_etl.source.oracle import OracleSource
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.oracle_address import OracleAddress
from hat_etl_tests.failures.syncing import assert_told

TENANT = Tenant.model_validate(
    {
        "name": "demo",
        "ans_registry": "412345",
        "erp": {"dialect": "oracle", "url": "env:NONE", "company": "01"},
        "hat": {"url": "env:NONE"},
    },
    by_name=False,
)


class _Refusing(Listener):
    """A listener that hands nobody on."""

    def __init__(self, code: int) -> None:
        self._code = code
        super().__init__("PLSPDB", {}, PROFILES["19c"])

    def talk(self, channel: Channel) -> None:
        channel.greet()
        channel.refuse(self._code)


def told(address: str) -> str:
    """What is told of a login there."""
    source = OracleSource(TENANT, "hat-etl load demo", OracleAddress("hat_reader", "s3nha", address))
    with pytest.raises(SourceError) as raised, closing(source):
        source.health()
    return str(raised.value)


@pytest.mark.parametrize("code", [12516, 12518, 12519, 12520])
def test_a_listener_that_has_no_place_left_is_told_as_one(code: int) -> None:
    """It was said that the listener does not let this machine in (DPY-6000), and the DBA searched for a filter."""
    with closing(_Refusing(code)) as listener:
        text = told(listener.address)
    assert_told(text, "no process left", f"(ORA-{code})", "connections in [erp]", "PROCESSES")


@pytest.mark.parametrize("code", [12526, 12527, 12528])
def test_a_listener_whose_database_takes_nobody_yet_is_told_as_one(code: int) -> None:
    with closing(_Refusing(code)) as listener:
        text = told(listener.address)
    assert_told(text, "starting or stopping", f"(ORA-{code})")


def test_a_listener_that_filters_is_told_as_one() -> None:
    with closing(_Refusing(12506)) as listener:
        text = told(listener.address)
    assert_told(text, "refuses the connection", "lets this machine in")
