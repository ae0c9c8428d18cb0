"""Addresses where nobody is let in: why, and what helps, is told, whoever refuses."""

from __future__ import annotations

from contextlib import closing

import pytest

from hat_etl.errors import ConfigurationError, SourceError
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


@pytest.mark.parametrize("host", ["erp..acme.example", f"{'a' * 64}.example"])
def test_a_host_that_can_be_no_name_is_told(host: str) -> None:
    """A full stop too many ended every command in a traceback (UnicodeError)."""
    assert_told(told(f"{host}:1521/PLSPDB"), f"nothing answers at {host}:1521/PLSPDB", "host and port")


def test_a_folder_of_the_wallet_that_cannot_be_looked_into_is_told() -> None:
    """It was said that nothing answers at the server."""
    folder = "/" + "w" * 256  # too long for a name; a folder without rights is one to everybody but the tests' root
    with pytest.raises(ConfigurationError) as raised:
        told(f"127.0.0.1:1/PLSPDB?wallet_location={folder}")
    assert_told(str(raised.value), "demo", f"{folder}/ewallet.pem", "cannot be read")
