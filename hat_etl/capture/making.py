"""Making a capture, and asking one the same questions again."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import oracledb

from hat_etl.capture import scenario, tables
from hat_etl.capture.file import Asked, Capture, Outcome
from hat_etl.capture.recorder import Recorder
from hat_etl.capture.replay import ReplayServer
from hat_etl.errors import ConfigurationError, DataError, HatEtlError, SourceError
from hat_etl.sandbox.oracle.packets import HEADER
from hat_etl.source import oracle_errors, oracle_refusals
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.oracle_address import OracleAddress

_SHORTEST = 4
"""Letters of a name that can be looked for among packets."""


def record(tenant: Tenant, address: OracleAddress, settle: float) -> Capture:
    """Make the tables as the user of ``address``, go through the scenario, and drop them again.

    ``settle`` is how many seconds the tables rest before they are read as of a moment. The capture has been replayed
    once. Raises ConfigurationError where the address or its names will not do, SourceError for what the server says.
    """
    host, port, service = _place(tenant, address)
    names = [address.user, address.schema, address.password]
    if min(map(len, names)) < _SHORTEST:
        raise ConfigurationError(
            f"User and password of a capture need {_SHORTEST} letters at the least, so that they can be looked for in"
            " what is kept.",
            "Let the DBA make a user as docs/oracle.md shows.",
            tenant=tenant.name,
        )
    hidden = [name for name in (*names, host, service) if len(name) >= _SHORTEST]
    recorder = Recorder((host, port), address.schema, hidden)
    near = replace(address, connect_string=f"127.0.0.1:{recorder.port}/{service}")
    try:
        with tables.made(address, tenant.name):
            time.sleep(settle)
            release, outcomes = _performed(near, recorder)
    except (oracledb.Error, OSError, SourceError) as error:
        if recorder.problem is not None:
            raise _unusable(tenant, str(recorder.problem)) from None
        if isinstance(error, HatEtlError):
            raise
        raise oracle_refusals.connection_failed(tenant, address, error) from None
    finally:
        recorder.finish()
    if recorder.problem is not None:
        raise _unusable(tenant, str(recorder.problem))
    made_on = f"{datetime.now(UTC):%Y-%m-%d}"
    capture = Capture(scenario.VERSION, release, oracledb.__version__, made_on, recorder.conversations, outcomes)
    if any(name.lower() in kept.lower() for kept in _kept(capture) for name in hidden):
        raise _unusable(tenant, "user, password, host or service stand in it in a way that could not be masked")
    try:
        differing = differences(capture)
    except DataError as error:
        raise _unusable(tenant, error.cause) from None
    if differing:
        raise _unusable(tenant, f"replayed, {', '.join(differing)} come otherwise")
    return capture


def _performed(near: OracleAddress, recorder: Recorder) -> tuple[str, list[Outcome]]:
    """Go through the scenario in a thread: whoever interrupts this one need not wait for the server's next answer."""
    with ThreadPoolExecutor(1) as threads:
        performing = threads.submit(scenario.perform, near)
        try:
            return performing.result()
        except BaseException:
            recorder.cut()
            raise


def differences(capture: Capture) -> list[str]:
    """The steps of which the driver now understands something else than when the capture was made.

    Raises DataError where something else is asked, so that there are no answers.
    """
    with closing(ReplayServer(capture)) as server:
        try:
            _, outcomes = scenario.perform(server.login)
        except (oracledb.Error, OSError, HatEtlError) as error:
            raise _otherwise(server.problem or f"the replay ended with {oracle_errors.code(error)}") from None
        if server.problem:
            raise _otherwise(server.problem)
    before: dict[str, Outcome] = {outcome.step: outcome for outcome in capture.outcomes}
    now = {outcome.step: outcome for outcome in outcomes}
    return [step for step in {**before, **now} if before.get(step) != now.get(step)]


def _otherwise(problem: str) -> DataError:
    return DataError(
        f"The capture cannot be replayed: {problem}.",
        "The driver or hat_etl asks otherwise than when it was made: see what has changed, or make a capture anew.",
    )


def _place(tenant: Tenant, address: OracleAddress) -> tuple[str, int, str]:
    """Host, port and service. Raises ConfigurationError where a proxy could not stand in for them."""
    found = oracledb.ConnectParams()
    try:
        found.parse_connect_string(address.connect_string)
    except oracledb.Error as error:
        raise oracle_refusals.connection_failed(tenant, address, error) from None
    if not isinstance(found.host, str) or found.protocol != "tcp" or not found.service_name:
        raise _unusable(tenant, f"{address.place} is not one host with a service and without TLS")
    return found.host, int(found.port), str(found.service_name)


def _unusable(tenant: Tenant, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"No capture was made: {problem}.",
        "Name one node of the database directly, user/password@host:port/service, with a user of a name that occurs"
        " nowhere else.",
        tenant=tenant.name,
    )


def _kept(capture: Capture) -> Iterator[str]:
    """All that the file will hold, letters that packets divide put together."""
    for conversation in capture.conversations:
        for event in conversation.events:
            yield event.text if isinstance(event, Asked) else _carried(event.packets).decode("latin-1")


def _carried(packets: bytes) -> bytes:
    """What data packets carry, without their heads."""
    carried, place = b"", 0
    while place < len(packets):
        (length,) = struct.unpack_from(">I", packets, place)
        carried += packets[place + HEADER + 2 : place + length]
        place += length
    return carried
