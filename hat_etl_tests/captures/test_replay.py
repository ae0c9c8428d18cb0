"""Replaying: every capture in ``recordings`` is understood as it was recorded, and another client is refused."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import oracledb
import pytest

from hat_etl.capture import making, scenario
from hat_etl.capture.file import Capture, Said, read
from hat_etl.capture.replay import ReplayServer
from hat_etl.errors import ConfigurationError, DataError
from hat_etl_tests.captures import writable
from hat_etl_tests.captures.conftest import Site

RECORDINGS = sorted(writable.RECORDINGS.glob("*.jsonl.gz"))
STAND_IN = writable.RECORDINGS / "wire-server-19c.jsonl.gz"


@pytest.fixture
def capture() -> Capture:
    return read(STAND_IN, scenario.VERSION)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_a_recording_is_understood_as_it_was(path: Path) -> None:
    assert making.differences(read(path, scenario.VERSION)) == []


def test_the_command_replays_a_file(site: Site) -> None:
    result = site.start("oracle", "replay", str(STAND_IN)).wait()
    assert result.exit_code == 0, result.err
    assert "steps come the same" in result.out


def changed(capture: Capture, old: bytes, new: bytes) -> Capture:
    """The capture with the first ``old`` that the server said replaced."""
    for number, conversation in enumerate(capture.conversations):
        for place, event in enumerate(conversation.events):
            if isinstance(event, Said) and old in event.packets:
                events = [*conversation.events]
                events[place] = Said(event.packets.replace(old, new, 1))
                conversations = [*capture.conversations]
                conversations[number] = replace(conversation, events=events)
                return replace(capture, conversations=conversations)
    raise AssertionError(f"nobody said {old!r}")


def test_an_answer_that_is_understood_otherwise_is_told(capture: Capture, site: Site) -> None:
    other = changed(capture, "Conceição 1".encode(), b"Conceicao   1")
    assert making.differences(other) == ["batches of 1"]
    other.write(site.file)
    result = site.start("oracle", "replay", str(site.file)).wait()
    assert result.exit_code == 6
    assert "batches of 1" in result.err


def test_a_client_that_asks_otherwise_is_refused_and_told_where(capture: Capture) -> None:
    with closing(ReplayServer(capture)) as server:
        login = server.login
        connection = oracledb.connect(user=login.user, password=login.password, dsn=login.connect_string)
        with (
            connection.cursor() as cursor,
            pytest.raises(oracledb.DatabaseError, match=r"ORA-00600.*connection 1, event"),
        ):
            cursor.execute("SELECT 1 FROM DUAL")
        assert "SELECT 1 FROM DUAL" in server.problem
        assert "ALTER SESSION SET TIME_ZONE" in server.problem


def test_other_binds_are_asking_otherwise(capture: Capture) -> None:
    """A number that the server told, and that the client sends back: here it is told another one."""
    conversation = capture.conversations[0]
    asked = next(n for n, event in enumerate(conversation.events) if "AS OF SCN" in getattr(event, "text", ""))
    event = conversation.events[asked]
    spoiled = replace(event, text=event.text.replace("binds ['", "binds ['9"))  # type: ignore[type-var, union-attr]
    events = [*conversation.events[:asked], spoiled, *conversation.events[asked + 1 :]]
    other = replace(capture, conversations=[replace(conversation, events=events), *capture.conversations[1:]])
    with pytest.raises(DataError, match=f"connection 1, event {asked + 1}"):
        making.differences(other)


def test_a_capture_with_a_connection_less_cannot_be_replayed(capture: Capture) -> None:
    with pytest.raises(DataError, match="one more is made"):
        making.differences(replace(capture, conversations=capture.conversations[:-1]))


def test_a_driver_that_speaks_newer_messages_is_told(capture: Capture) -> None:
    first = capture.conversations[0]
    older = replace(first, fields=first.fields - 1)
    with pytest.raises(DataError, match=f"messages of version {older.fields}"):
        making.differences(replace(capture, conversations=[older, *capture.conversations[1:]]))


def rewritten(path: Path, **head: object) -> bytes:
    first, *rest = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    return gzip.compress(b"".join([json.dumps({**json.loads(first), **head}).encode() + b"\n", *rest]))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is no capture"),
        (b"no capture", "is no capture"),
        (gzip.compress(b"{}\n{}\n"), "is no capture"),
        (STAND_IN.read_bytes()[:-100], "is no capture"),
        (rewritten(STAND_IN, server="12.2.0.1.0"), "checksum differs"),
        (rewritten(STAND_IN, scenario=0), "scenario 0"),
        (rewritten(STAND_IN, hat_etl_capture=2), "format 2"),
    ],
    ids=["empty", "other text", "no head", "cut off", "other head", "other scenario", "other format"],
)
def test_what_is_no_capture_of_this_version_is_refused(content: bytes, cause: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigurationError, match=cause):
        read(tmp_path / "file", scenario.VERSION)
