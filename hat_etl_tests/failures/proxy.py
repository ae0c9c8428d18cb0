"""A TCP proxy before a PostgreSQL server: it counts what passes, and stops everything at a chosen byte or statement.

That makes "in the middle of a load" a certain moment: the test acts while nothing moves, then lets go or cuts.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["to_server", "from_server"]

CHUNK = 8192
DEADLINE = 180.0
_SO_ATTACH_FILTER = 26


@dataclass
class Gate:
    """Closes once ``condition`` holds of what has passed in ``direction``; then all that was connected stands still."""

    direction: Direction
    condition: Callable[[int, bytes], bool]
    """Asked with the bytes that have passed so far, and the last of them."""
    deliver: bool
    """Whether the piece that closed the gate still reaches its receiver."""
    closed: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    armed: threading.Event = field(default_factory=threading.Event)
    """Set from the beginning unless the test asks otherwise: until then, the gate lets everything pass."""

    def await_closed(self) -> None:
        assert self.closed.wait(DEADLINE), "what the test waits for never passed the proxy"

    def open(self) -> None:
        """Let everything go on."""
        self.opened.set()


class Proxy:
    """Listens on 127.0.0.1 for a server that listens on a Unix socket."""

    def __init__(self, socket_folder: Path) -> None:
        self._server = str(socket_folder / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.passed: dict[Direction, int] = {"to_server": 0, "from_server": 0}
        self._gate: Gate | None = None
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def url(self, database: str, user: str) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def hold_after(self, direction: Direction, total: int, *, deliver: bool = False) -> Gate:
        """A gate that closes when ``total`` bytes, counted from now, have passed."""
        start = self.passed[direction]
        return self._set(Gate(direction, lambda passed, _: passed - start >= total, deliver))

    def hold_at(self, statement: str, *, deliver: bool = False) -> Gate:
        """A gate that closes at the first statement to the server that holds these words."""
        words = statement.encode()
        return self._set(Gate("to_server", lambda _, tail: words in tail, deliver))

    def hold_when_armed(self, statement: str, *, deliver: bool = False) -> Gate:
        """As ``hold_at``, but only statements that come once the test has armed the gate."""
        words = statement.encode()
        gate = Gate("to_server", lambda _, tail: gate.armed.is_set() and words in tail, deliver)
        self._gate = gate
        return gate

    def hold_after_at(self, first: str, statement: str, *, deliver: bool = False) -> Gate:
        """As ``hold_at``, but only statements that come behind one that holds the words ``first``."""
        words, has_come = statement.encode(), False

        def condition(_: int, tail: bytes) -> bool:
            nonlocal has_come
            closes, has_come = has_come and words in tail, has_come or first.encode() in tail
            return closes

        return self._set(Gate("to_server", condition, deliver))

    def _set(self, gate: Gate) -> Gate:
        gate.armed.set()
        self._gate = gate
        return gate

    def cut(self) -> None:
        """Break every connection, as a network does."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
            gate, self._gate = self._gate, None
        for end in sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if gate is not None:
            gate.open()

    def swallow(self) -> None:
        """From now on, no packet of the clients is answered: neither data nor probes, as when a firewall forgets them.

        The kernel drops what comes in before it acknowledges it. To be called while a gate is closed.
        """
        with self._lock:
            clients = [end for end in self._sockets if end.family == socket.AF_INET]
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
        program = struct.pack("@HP", 1, ctypes.addressof(drop_all))
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def close(self) -> None:
        """Break every connection, and take no new one."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that accepts
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._server)
            except OSError:
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
                gate = self._gate
                # Who comes while the gate is closed is not of the load that the test has stopped.
                gate = None if gate is not None and gate.closed.is_set() else gate
            pair = [threading.Event(), threading.Event()]
            for source, sink, direction, ended in (
                (client, server, "to_server", pair[0]),
                (server, client, "from_server", pair[1]),
            ):
                threading.Thread(
                    target=self._pump, args=(source, sink, direction, gate, ended, pair), name="proxy", daemon=True
                ).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, direction: Direction, gate: Gate | None,
        ended: threading.Event, pair: list[threading.Event],
    ) -> None:  # fmt: skip
        tail = b""
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                self._pass(chunk, tail, sink, direction, gate)
                tail = chunk[-200:]
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        ended.set()
        if all(event.is_set() for event in pair):
            with self._lock:
                self._sockets -= {source, sink}
            source.close()
            sink.close()

    def _pass(self, chunk: bytes, tail: bytes, sink: socket.socket, direction: Direction, gate: Gate | None) -> None:
        closes = False
        with self._lock:
            self.passed[direction] += len(chunk)
            if gate is not None and not gate.closed.is_set() and gate.direction == direction:
                closes = gate.condition(self.passed[direction], tail + chunk)
                if closes:
                    gate.closed.set()
        if closes and gate is not None and gate.deliver:
            sink.sendall(chunk)
            chunk = b""
        if gate is not None and gate.closed.is_set():
            gate.opened.wait()
        if chunk:
            sink.sendall(chunk)
