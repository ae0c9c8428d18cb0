"""A proxy before a real Oracle that keeps what is said on each connection, but for the login."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress

from hat_etl.capture.file import Asked, Conversation, Said
from hat_etl.capture.hearing import LOGIN, LOGIN_PROOF, Hearing, NotUnderstood
from hat_etl.sandbox.oracle.packets import HEADER, PacketType

_REDIRECT, _RESEND = 5, 11
_CONNECT_SECONDS = 15
_URGENT_OFFERED, _URGENT_TRIED = 0x0400, 0x01
"""Bits by which client and server agree on interrupting by urgent data of TCP, which does not pass a proxy."""
_LOGIN_AT_ONCE = 0x1000_0000
"""The server offers to take negotiation and login in one message, which could not be told apart."""
_OPTIONS_OF_CONNECT, _FLAGS_OF_CONNECT = HEADER + 4, HEADER + 62
_OPTIONS_OF_ACCEPT, _FLAGS_OF_ACCEPT = HEADER + 2, HEADER + 33


class Unusable(Exception):
    """No capture can be made of what passes; the text says why."""


class Recorder:
    """Takes connections one after the other, hands their packets on to ``place``, and keeps them.

    ``schema`` is the user's who has the tables; ``hidden`` are names that answers may repeat and a capture must not.
    """

    def __init__(self, place: tuple[str, int], schema: str, hidden: Sequence[str]) -> None:
        self.conversations: list[Conversation] = []
        self.problem: Exception | None = None
        self._place, self._schema = place, schema
        self._hidden = re.compile(b"|".join(re.escape(name.encode()) for name in hidden), re.IGNORECASE)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Take no more connections, and wait until those are over that were taken."""
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def cut(self) -> None:
        """Break off what is under way, and take no more connections."""
        for opened in [self._listener, *self._open]:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                with client, socket.create_connection(self._place, _CONNECT_SECONDS) as server:
                    server.settimeout(None)
                    self._open = [client, server]
                    passage = _Passage(client, server, Hearing(self._schema), self._hidden)
                    self.conversations.append(passage.run())
            except (OSError, Unusable, NotUnderstood) as problem:
                self.problem = self.problem or problem


class _Passage:
    """One connection through the proxy."""

    def __init__(
        self, client: socket.socket, server: socket.socket, hearing: Hearing, hidden: re.Pattern[bytes]
    ) -> None:
        self._ends = {client: server, server: client}
        self._client = client
        self._hearing = hearing
        self._hidden = hidden
        self._waiting = {client: bytearray(), server: bytearray()}
        self._kept = Conversation()
        self._asking: list[tuple[int, bytes]] = []
        """Packets of the client that nothing has followed yet."""
        self._answer = bytearray()
        self._in_login = False

    def run(self) -> Conversation:
        """Hand on what comes until one end closes."""
        for end in self._ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # an end that is gone: what that means, the driver tells
            self._pass()
        self._turn()
        return self._kept

    def _pass(self) -> None:
        while True:
            for end in select.select(list(self._ends), [], [])[0]:
                data = end.recv(1 << 16)
                if not data:
                    return
                self._waiting[end] += data
                while packet := self._packet(self._waiting[end]):
                    heard = self._from_client if end is self._client else self._from_server
                    self._ends[end].sendall(heard(packet))

    def _packet(self, waiting: bytearray) -> bytes:
        """The next whole packet; empty where there is none yet."""
        if len(waiting) < HEADER:
            return b""
        (length,) = struct.unpack_from(">I" if self._kept.accept else ">H", waiting)
        if len(waiting) < length:
            return b""
        packet = bytes(waiting[:length])
        del waiting[:length]
        return packet

    def _from_client(self, packet: bytes) -> bytes:
        kind = packet[4]
        if not self._kept.accept:
            if kind == PacketType.CONNECT:
                packet = _without(packet, ">H", _OPTIONS_OF_CONNECT, _URGENT_OFFERED)
                packet = _without(packet, ">I", _FLAGS_OF_CONNECT, _URGENT_TRIED)
            return packet
        # A marker is no part of the message before it, whether that was answered or not.
        if self._answer or kind != PacketType.DATA or (self._asking and self._asking[-1][0] != kind):
            self._turn()
        self._asking.append((kind, packet[HEADER:]))
        return packet

    def _from_server(self, packet: bytes) -> bytes:
        kind = packet[4]
        if not self._kept.accept:
            if kind == PacketType.ACCEPT:
                packet = _without(packet, ">H", _OPTIONS_OF_ACCEPT, _URGENT_OFFERED)
                packet = _without(packet, ">I", _FLAGS_OF_ACCEPT, _LOGIN_AT_ONCE | _URGENT_TRIED)
                self._kept.accept = packet
            elif kind == _REDIRECT:
                raise Unusable("the listener sends its clients on to another address")
            elif kind not in (_RESEND, PacketType.REFUSE):
                raise Unusable(f"the server began with a packet of type {kind}")
            return packet
        self._answer += packet
        return packet

    def _turn(self) -> None:
        """Keep what the client asked last, and what it heard since."""
        if self._asking:
            words = self._hearing.words(self._asking)
            self._in_login = words in (LOGIN, LOGIN_PROOF)
            self._kept.events.append(Asked(words, len(self._asking)))
            self._kept.fields = self._hearing.fields
        if self._answer and not self._in_login:
            said = self._hidden.sub(lambda found: b"X" * len(found[0]), bytes(self._answer))
            self._kept.events.append(Said(said))
        self._asking.clear()
        self._answer.clear()


def _without(packet: bytes, form: str, place: int, bits: int) -> bytes:
    """The packet with these bits off, where it is long enough to have them."""
    size = struct.calcsize(form)
    if len(packet) < place + size:
        return packet
    (flags,) = struct.unpack_from(form, packet, place)
    return packet[:place] + struct.pack(form, flags & ~bits) + packet[place + size :]
