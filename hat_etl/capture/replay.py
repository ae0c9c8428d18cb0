"""A server that says again what a capture holds. Only the login is its own, by a password that everybody knows."""

from __future__ import annotations

import struct
import threading
from typing import NoReturn

from hat_etl.capture.file import Capture, Conversation, Said
from hat_etl.capture.hearing import LOGIN, LOGIN_PROOF, Hearing, NotUnderstood, message
from hat_etl.sandbox.oracle.codec import Reader
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.guest import Guest
from hat_etl.sandbox.oracle.listener import Listener
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.packets import HEADER, Channel, Closed
from hat_etl.sandbox.oracle.profiles import Profile
from hat_etl.tenants.oracle_address import OracleAddress

_NAME = "HAT_REPLAY"
_ENDS_RESPONSES = 0x0200_0000
_LONG_VERSIONS = 11
"""From this field version on, the second part of a release takes a byte of its number; before, half of one."""


class ReplayServer(Listener):
    """The first connection hears what the first one of the capture heard, the second one the second, and so on."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._next = iter(enumerate(capture.conversations, 1))
        self._lock = threading.Lock()
        self.problem = ""
        """Where a client first asked for something else than what is recorded."""
        super().__init__(_NAME, {_NAME: Account(_NAME)}, _profile(capture))

    @property
    def login(self) -> OracleAddress:
        return OracleAddress(_NAME, _NAME, self.address)

    def talk(self, channel: Channel) -> None:
        with self._lock:
            number, conversation = next(self._next, (0, None))
        if conversation is None:
            self.differs(f"the capture holds {len(self._capture.conversations)} connections, and one more is made")
        else:
            _Replayed(self, channel, number, conversation).run()

    def differs(self, problem: str) -> None:
        self.problem = self.problem or problem


class _Replayed(Guest):
    def __init__(self, server: ReplayServer, channel: Channel, number: int, recorded: Conversation) -> None:
        super().__init__(server, channel)
        self._server = server
        self._recorded = recorded
        self._events = iter(enumerate(recorded.events, 1))
        self._number = number
        self._hearing = Hearing(_NAME)

    def _greet(self) -> None:
        self._channel.greet()
        self._channel.repeat(self._recorded.accept)
        self._channel.accepted()

    def _serve(self) -> None:
        """Go on by one event of the recording."""
        place, event = next(self._events, (0, None))
        if event is None:
            raise Closed
        if isinstance(event, Said):
            return self._channel.repeat(event.packets)
        packets = [self._channel.packet() for _ in range(event.packets)]
        try:
            heard = self._hearing.words(packets)
        except NotUnderstood as error:
            heard = str(error)
        if self._hearing.fields not in (0, self._recorded.fields):
            self._refuse(place, f"messages of version {self._recorded.fields}", f"version {self._hearing.fields}")
        if heard != event.text:
            self._refuse(place, event.text, heard)
        if heard in (LOGIN, LOGIN_PROOF):
            self._dispatch(Reader(message(packets)))

    def _refuse(self, place: int, recorded: str, asked: str) -> NoReturn:
        where = f"connection {self._number}, event {place}"
        self._server.differs(f"{where}: recorded was «{recorded}», asked is «{asked}»")
        self._fail(OracleError(600, f"not what was recorded at {where}"))
        raise Closed

    def _piggyback(self, function: int, reader: Reader) -> None:
        raise Closed  # none comes with a login

    def _call(self, function: int, reader: Reader) -> None:
        raise Closed  # a login is all that is answered by itself


def _profile(capture: Capture) -> Profile:
    """How the login must be spoken to be understood beside what is recorded."""
    recorded = capture.conversations[0]
    body = recorded.accept[HEADER:]
    (protocol,) = struct.unpack_from(">H", body)
    flags = struct.unpack_from(">I", body, 33)[0] if len(body) >= 37 else 0
    places = (24, 16, 12, 4, 0) if recorded.fields >= _LONG_VERSIONS else (24, 20, 12, 8, 0)
    version = sum(int(part) << place for part, place in zip(capture.server.split("."), places, strict=True))
    return Profile(capture.server, protocol, recorded.fields, version, bool(flags & _ENDS_RESPONSES))
