"""Packets of Oracle's network layer (TNS) on one socket: connecting, data in pieces, and the markers that interrupt."""

from __future__ import annotations

import select
import socket
import struct
from enum import IntEnum

from hat_etl.sandbox.oracle.profiles import Profile

HEADER = 8
"""Bytes of what stands before every packet's body."""
_DATA_FLAGS = 2
_LONGEST_PIECE = 65_535
_LARGEST_TDU = 2 << 20
_SENT_AT_ONCE = 1 << 18
_END_OF_FILE, _END_OF_RESPONSE = 0x40, 0x2000
_END_MESSAGE = b"\x1d"


class PacketType(IntEnum):
    """The packets that are understood."""

    CONNECT = 1
    ACCEPT = 2
    REFUSE = 4
    DATA = 6
    MARKER = 12


class Marker(IntEnum):
    """What a marker packet asks for."""

    BREAK = 1
    RESET = 2
    INTERRUPT = 3


class Closed(Exception):
    """The client has gone, or said that it goes."""


class Interrupted(Exception):
    """The client has sent a marker instead of waiting for its answer."""


class Refused(Exception):
    """The connection is refused before any login; ``code`` is the listener's TNS error."""

    def __init__(self, code: int) -> None:
        super().__init__(f"TNS-{code}")
        self.code = code


class Channel:
    """One connection: whole messages in and out. Raises Closed when the client has gone."""

    def __init__(self, client: socket.socket, profile: Profile) -> None:
        self._client = client
        self._profile = profile
        self._received = bytearray()
        self._accepted = False
        self._piece = 8192

    # -- connecting --------------------------------------------------------------------------------------------------

    def greet(self) -> str:
        """The connect descriptor that the client asks with."""
        kind, body = self.packet()
        if kind != PacketType.CONNECT:
            raise Closed
        length, start = struct.unpack(">HH", body[16:20])
        if len(body) >= 54:
            self._piece = struct.unpack(">I", body[50:54])[0] or self._piece
        text = body[start - HEADER : start - HEADER + length]
        if len(text) < length:  # a long one follows in a packet of its own
            _, rest = self.packet()
            text = rest[_DATA_FLAGS:]
        return text.decode(errors="replace")

    def refuse(self, code: int) -> None:
        """Turn the client away as a listener does."""
        text = f"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={code})(ERROR_STACK=(ERROR=(CODE={code})(EMFI=4))))".encode()
        self._send(PacketType.REFUSE, b"\x22\0" + struct.pack(">H", len(text)) + text)

    def accept(self) -> None:
        """Take the client in; from here on packets have lengths of four bytes."""
        self._piece = max(512, min(self._piece, _LONGEST_PIECE))
        options, native_services_off = 0x0001, b"\x04\x04"
        ends_responses = 0x0200_0000 if self._profile.ends_responses else 0
        body = struct.pack(">HHHHHHH", self._profile.protocol, options, self._piece, _LONGEST_PIECE, 0x0100, 0, 45)
        body += native_services_off + bytes(8)
        body += struct.pack(">IIBI", self._piece, _LARGEST_TDU, 0, ends_responses)
        self._send(PacketType.ACCEPT, body)
        self._accepted = True

    def repeat(self, packets: bytes) -> None:
        """Send what another server has sent, packets and all."""
        self._client.sendall(packets)

    def accepted(self) -> None:
        """Go on as if ``accept`` had been called."""
        self._accepted = True

    # -- talking -----------------------------------------------------------------------------------------------------

    def receive(self) -> bytes:
        """The next piece of a message. Raises Interrupted for a marker."""
        kind, body = self.packet()
        if kind == PacketType.MARKER:
            raise Interrupted
        if kind != PacketType.DATA or struct.unpack(">H", body[:_DATA_FLAGS])[0] & _END_OF_FILE:
            raise Closed
        return body[_DATA_FLAGS:]

    def answer(self, message: bytes, *, ends_response: bool = True) -> None:
        """Send a whole answer, in as many packets as it takes."""
        marked = ends_response and self._profile.ends_responses
        if marked:
            message += _END_MESSAGE
        room = self._piece - HEADER - _DATA_FLAGS
        waiting = bytearray()
        for start in range(0, len(message), room):
            piece = message[start : start + room]
            flags = _END_OF_RESPONSE if marked and start + room >= len(message) else 0
            length = len(piece) + HEADER + _DATA_FLAGS
            waiting += struct.pack(">IBBHH", length, PacketType.DATA, 0, 0, flags) + piece
            if len(waiting) > _SENT_AT_ONCE:
                self._client.sendall(waiting)
                waiting.clear()
        self._client.sendall(waiting)

    def cut_off(self, message: bytes) -> None:
        """Send the beginning of an answer and hang up: the last packet promises more than comes."""
        length = len(message) + HEADER + _DATA_FLAGS + 1_000
        self._client.sendall(struct.pack(">IBBHH", length, PacketType.DATA, 0, 0, 0) + message)

    def hang(self) -> None:
        """Answer nothing any more, and wait until the client gives up."""
        while self._client.recv(65_536):
            pass

    @property
    def spoken_to(self) -> bool:
        """Whether the client has sent something that nobody has looked at."""
        return bool(self._received) or bool(select.select([self._client], [], [], 0)[0])

    def fileno(self) -> int:
        return self._client.fileno()

    def make_up(self) -> None:
        """After a marker: both sides forget what was under way."""
        self._mark(Marker.BREAK)
        while True:
            kind, body = self.packet()
            if kind == PacketType.MARKER and body[2] == Marker.RESET:
                break
        self._mark(Marker.RESET)

    def _mark(self, marker: Marker) -> None:
        self._send(PacketType.MARKER, bytes((1, 0, marker)))

    def _send(self, kind: PacketType, body: bytes) -> None:
        length = len(body) + HEADER
        head = struct.pack(">I", length) if self._accepted else struct.pack(">HH", length, 0)
        self._client.sendall(head + struct.pack(">BBH", kind, 0, 0) + body)

    def packet(self) -> tuple[int, bytes]:
        """Type and body of the next packet, whatever it is."""
        self._wait_for(HEADER)
        (length,) = struct.unpack_from(">I" if self._accepted else ">H", self._received)
        self._wait_for(length)
        kind, body = self._received[4], bytes(self._received[HEADER:length])
        del self._received[:length]
        return kind, body

    def _wait_for(self, count: int) -> None:
        while len(self._received) < count:
            arrived = self._client.recv(65_536)
            if not arrived:
                raise Closed
            self._received += arrived
