"""Recording a capture: what is kept, what is not, and what is left behind in the database."""

from __future__ import annotations

import gzip
import resource
import signal
from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from hat_etl.capture import making, scenario, tables
from hat_etl.capture.file import Asked, read
from hat_etl.sandbox.oracle.faults import Fault, HangUp, Hold
from hat_etl.tenants import oracle_address
from hat_etl_tests.captures.conftest import TENANT, Site
from hat_etl_tests.captures.writable import PASSWORD, SCHEMA, USER, WritableOracle
from hat_etl_tests.failures.ground import DEADLINE
from hat_etl_tests.failures.syncing import assert_told
from hat_etl_tests.failures.test_answers import without_room

NOT_HELD_BY_POSTGRESQL = {"nanoseconds"}
"""Steps in which a server that keeps its rows in PostgreSQL has to surprise."""


@pytest.mark.parametrize("profile", ["12c", "19c", "23ai"])
def test_a_capture_holds_every_step_and_replays_as_it_was(
    profile: str, start_oracle: Callable[..., WritableOracle]
) -> None:
    oracle = start_oracle(profile)
    address = oracle_address.parse(oracle.login)
    assert address is not None
    capture = making.record(scenario.TENANT, address, settle=0)  # replays it once
    oracle.close()
    assert making.differences(capture) == []
    outcomes = {outcome.step: outcome for outcome in capture.outcomes}
    assert {step for step, outcome in outcomes.items() if outcome.surprises} == NOT_HELD_BY_POSTGRESQL
    assert {step: outcome.error for step, outcome in outcomes.items() if outcome.error} == {
        "as of a moment that is gone": "ORA-08180",
        "no such table": "ORA-04063",
        "no such column": "ORA-00904",
        "division by zero amid rows": "ORA-01476",
        "an endless statement, interrupted": "DPY-4024",
    }
    assert outcomes["a range"].rows == tables.COUNT
    assert len(capture.conversations) == 3
    assert oracle.tables() == []


def spellings(secret: str) -> list[bytes]:
    """As text, and as packets are written; in any case of letters."""
    return [secret.lower().encode(), secret.encode().hex().encode(), secret.upper().encode().hex().encode(),
            secret.lower().encode().hex().encode()]  # fmt: skip


def test_a_capture_holds_neither_login_nor_address(site: Site) -> None:
    result = site.record().wait()
    assert result.exit_code == 0, result.err
    text = gzip.decompress(site.file.read_bytes()).lower()
    place = site.oracle.address.partition(":")[0]
    for secret in (USER, PASSWORD, place, site.oracle.service, "AUTH_SESSKEY", "AUTH_VFR_DATA", "AUTH_PASSWORD",
                   "AUTH_PBKDF2", "AUTH_SVR_RESPONSE", "operadora"):  # fmt: skip
        for spelled in spellings(secret):
            assert spelled not in text, secret
    assert b"hatcap_rows" in text
    masked = '"' + "X" * len(SCHEMA) + '"."HATCAP_NOTHING"'  # which the server told with the user's name
    assert masked.encode().hex().encode() in text
    assert not any(secret in result.out + result.err for secret in (PASSWORD, USER))


def test_a_login_is_kept_as_no_more_than_that_there_was_one(site: Site) -> None:
    assert site.record().wait().exit_code == 0
    for conversation in read(site.file, scenario.VERSION).conversations:
        login, proof = (n for n, event in enumerate(conversation.events) if "login" in getattr(event, "text", ""))
        assert proof == login + 1  # nothing the server said stands between
        assert isinstance(conversation.events[proof + 1], Asked)  # nor after


def test_a_capture_whose_making_cannot_be_told_is_said_to_be_made(site: Site) -> None:
    """One read to record it again, which the file that was there refused."""
    result = site.record(prepare=partial(without_room, 1)).wait()
    assert result.exit_code == 11, result.err
    assert f"{site.file} is written" in result.err
    assert f"hat-etl oracle replay {site.file}" in result.err
    assert site.start("oracle", "replay", str(site.file)).wait().exit_code == 0


def small_files() -> None:
    """Called in the process of a command: a file has room for less than a capture."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))


def test_a_capture_for_which_there_is_no_room_is_told_and_leaves_no_file(site: Site) -> None:
    """It ended in a traceback, and half a file stood in the way of the next one."""
    result = site.record(small_files).wait()
    assert result.exit_code == 11, result.err
    assert_told(result.err, TENANT, str(site.file), "could not be written (File too large)", "--output")
    assert not site.file.exists()
    assert site.oracle.tables() == []


def test_a_rest_that_cannot_be_had_is_refused_before_anything_is_made(site: Site) -> None:
    """The tables were made, then something unexpected was to be reported."""
    result = site.start("oracle", "record", TENANT, "--output", str(site.file), "--settle", "-1").wait()
    assert result.exit_code == 2, result.err
    assert "--settle" in result.err


def test_tables_are_dropped_when_the_connection_is_lost_midway(site: Site) -> None:
    site.oracle.faults.plant(Fault("FREE AS C1", 2, HangUp()))
    result = site.record().wait()
    assert result.exit_code == 4
    assert "numbers without precision" in result.err
    assert site.oracle.tables() == []
    assert not site.file.exists()


def test_tables_are_dropped_when_somebody_interrupts(site: Site) -> None:
    hold = Hold()
    site.oracle.held.append(hold)
    site.oracle.faults.plant(Fault("FREE AS C1", 2, hold))
    command = site.record()
    assert hold.reached.wait(DEADLINE)
    assert site.oracle.tables() == sorted(tables.NAMES)
    command.signal(signal.SIGINT)
    assert command.wait().exit_code == 130
    assert site.oracle.tables() == []
    assert not site.file.exists()


def test_tables_of_somebody_else_are_left_alone(site: Site) -> None:
    with psycopg.connect(site.oracle.url) as connection:
        connection.execute(f"CREATE TABLE {USER}.hatcap_edges (ours int)".encode())
    result = site.record().wait()
    assert result.exit_code == 4
    assert "HATCAP_EDGES already" in result.err
    assert f"DROP TABLE {SCHEMA}.HATCAP_EDGES PURGE;" in result.err
    assert site.oracle.tables() == ["HATCAP_EDGES"]


def test_a_user_who_may_not_make_tables_is_told_what_is_missing(site: Site) -> None:
    site.oracle.writable = False
    result = site.record().wait()
    assert result.exit_code == 4
    assert "HATCAP_ROWS of the capture could not be made (ORA-01031)" in result.err
    assert "CREATE TABLE" in result.err


@pytest.mark.parametrize(
    ("login", "cause"),
    [
        ("hat_canary/abc@127.0.0.1:1521/PLSPDB", "4 letters"),
        ("hat_canary/abcdef@tcps://127.0.0.1:2484/PLSPDB", "without TLS"),
        ("hat_canary/abcdef@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=h)(PORT=1))(CONNECT_DATA=(SID=S)))", "one host"),
    ],
)  # fmt: skip
def test_an_address_that_no_capture_can_be_made_of_is_refused(site: Site, login: str, cause: str) -> None:
    result = site.start("oracle", "record", "operadora-x", "--output", str(site.file), login=login).wait()
    assert result.exit_code == 3
    assert cause in result.err


def test_a_file_is_not_overwritten(site: Site) -> None:
    site.file.write_bytes(b"ours")
    assert site.record().wait().exit_code == 3
    assert site.file.read_bytes() == b"ours"


def test_a_folder_that_is_not_there_is_told_before_anything_is_made(site: Site) -> None:
    file = site.folder / "nowhere" / "capture.jsonl.gz"
    result = site.start("oracle", "record", "operadora-x", "--output", str(file), "--settle", "0").wait()
    assert result.exit_code == 3
    assert "folder" in result.err
    assert site.oracle.statements == []
