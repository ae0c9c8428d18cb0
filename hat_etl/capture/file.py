"""The file of a capture: lines of JSON, gzipped, with a checksum in the last one.

It holds what the server said from the end of the login on, and of the client a line of text per call.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hat_etl.errors import ConfigurationError

FORMAT = 1

_MAKE_ANEW = "Make one with this hat_etl: hat-etl oracle record TENANT"


@dataclass(frozen=True)
class Asked:
    """One message of the client: what it asks, in words, and the packets that it took."""

    text: str
    packets: int


@dataclass(frozen=True)
class Said:
    """What the server sent until the client's next message: whole packets."""

    packets: bytes


@dataclass
class Conversation:
    """One connection in the order in which it went, from the packet that accepted it on; the login is left out."""

    accept: bytes = b""
    fields: int = 0
    """Field version on which client and server agreed: which additions their messages carry."""
    events: list[Asked | Said] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What came of a step of the scenario, without its values: rows and a digest of them, or the code of an error."""

    step: str
    rows: int
    digest: str
    error: str = ""
    surprises: bool = False
    """It is not what was put into the tables."""


@dataclass(frozen=True)
class Capture:
    """What the connections of one run of the scenario heard, and what came of each step."""

    scenario: int
    server: str
    """Release, as 19.21.0.0.0."""
    driver: str
    made_on: str
    conversations: list[Conversation]
    outcomes: list[Outcome]

    def text(self) -> str:
        """The lines of the file."""
        lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines())
        return lines + json.dumps({"sha256": _checksum(lines)}) + "\n"

    def _lines(self) -> Iterator[dict[str, object]]:
        yield {
            "hat_etl_capture": FORMAT, "scenario": self.scenario, "server": self.server, "driver": self.driver,
            "made_on": self.made_on,
        }  # fmt: skip
        for conversation in self.conversations:
            yield {"accept": conversation.accept.hex(), "fields": conversation.fields}
            for event in conversation.events:
                yield asdict(event) if isinstance(event, Asked) else {"said": event.packets.hex()}
        for outcome in self.outcomes:
            yield asdict(outcome)

    def write(self, path: Path) -> None:
        path.write_bytes(gzip.compress(self.text().encode(), mtime=0))


def read(path: Path, scenario: int) -> Capture:
    """The capture in a file. Raises ConfigurationError where it is none, was changed, or is of another version."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
        head, *rest, end = map(json.loads, lines)
        found = head["hat_etl_capture"], head["scenario"]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is no capture ({type(error).__name__}).", _MAKE_ANEW) from None
    if found != (FORMAT, scenario):
        raise ConfigurationError(
            f"{path} is a capture of format {found[0]} and scenario {found[1]}; this hat_etl replays format {FORMAT}"
            f" and scenario {scenario}.",
            _MAKE_ANEW,
        )
    if end != {"sha256": _checksum("".join(lines[:-1]))}:
        raise ConfigurationError(f"{path} is not as it was written: its checksum differs.", _MAKE_ANEW)
    conversations, outcomes = _parts(rest)
    return Capture(head["scenario"], head["server"], head["driver"], head["made_on"], conversations, outcomes)


def _parts(lines: list[dict[str, Any]]) -> tuple[list[Conversation], list[Outcome]]:
    conversations: list[Conversation] = []
    outcomes: list[Outcome] = []
    for line in lines:
        if "accept" in line:
            conversations.append(Conversation(bytes.fromhex(line["accept"]), line["fields"]))
        elif "said" in line:
            conversations[-1].events.append(Said(bytes.fromhex(line["said"])))
        elif "text" in line:
            conversations[-1].events.append(Asked(**line))
        else:
            outcomes.append(Outcome(**line))
    return conversations, outcomes


def _checksum(lines: str) -> str:
    return hashlib.sha256(lines.encode()).hexdigest()
