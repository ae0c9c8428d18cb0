"""Sessions of Oracle in a process of their own, for runs that read much.

The driver decodes rows under the interpreter's lock, under which they are transformed and encoded, too: in one process
the two wait for each other. Apart, each has a core.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

import hat_etl.pandas_free  # noqa: F401 - before any array is made
from hat_etl import memory
from hat_etl.source.oracle_login import OracleLogin
from hat_etl.source.oracle_session import Binds, OracleSession, fetched_schema

_SECONDS_TO_END = 5.0
"""How long a fetcher may take to log out before it is killed."""

_END_OF_ROWS = b""
_LENGTH = struct.Struct("!Q")


class FetcherDied(ConnectionError):
    """The process with the sessions is gone."""


class Fetcher:
    """The process, and its sessions, which are to be connected yet.

    It ends when it is closed, and when the process that made it ends, whichever way. Raises FetcherDied.
    """

    def __init__(self, login: OracleLogin, sessions: int) -> None:
        ours, theirs = zip(*(socket.socketpair() for _ in range(1 + sessions)), strict=True)
        self._life, *ends = ours
        numbers = [end.fileno() for end in theirs]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                pass_fds=numbers,
                process_group=0,  # Ctrl-C of a terminal is for the one who asks, which then ends this process
            )
        except OSError:
            raise FetcherDied from None
        for end in theirs:
            end.close()
        self.sessions = [FetcherSession(login, _Line(end)) for end in ends]

    def close(self) -> None:
        memory.note_helper(self._process.pid)
        for session in self.sessions:
            session.close()
        self._life.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Line:
    """One end of a connection between two processes, which carries messages whole.

    Its bytes are moved by few and large system calls: each takes its turn among the threads.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, message: bytes | pa.Buffer) -> None:
        """Raises OSError."""
        self._end.sendall(_LENGTH.pack(len(message)))
        self._end.sendall(message)

    def receive(self) -> pa.Buffer:
        """Raises EOFError where nobody is at the other end any more, or OSError."""
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        return self._take(length)

    def _take(self, length: int) -> pa.Buffer:
        buffer = pa.allocate_buffer(length)
        missing = memoryview(buffer)
        while missing:
            taken = self._end.recv_into(missing, 0, socket.MSG_WAITALL)
            if not taken:
                raise EOFError
            missing = missing[taken:]
        return buffer

    def close(self) -> None:
        self._end.close()


class FetcherSession:
    """An OracleSession over there: the same methods, the same errors, and FetcherDied."""

    def __init__(self, login: OracleLogin, line: _Line) -> None:
        self._login = login
        self._line = line

    def reconnect(self) -> None:
        """Log in, or log in anew where the connection is lost."""
        self._ask("connect", self._login)

    def run(self, statement: str) -> None:
        self._ask("run", statement)

    def rows(self, query: str, binds: Binds | None = None) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._ask("rows", query, binds)
        return found

    def batches(
        self, query: str, binds: Binds, types: Sequence[pa.DataType], size: int
    ) -> Generator[pa.RecordBatch, None, None]:
        """As OracleSession's. Who closes the iterator before its end closes the session."""
        schema = fetched_schema(types)
        self._tell("batches", query, binds, types, size)
        ended = False
        try:
            while (rows := self._hear()).size:
                yield pa.ipc.read_record_batch(rows, schema)
            ended = True
        finally:
            if not ended:
                self.close()
        self._outcome()

    def close(self) -> None:
        self._line.close()

    def _ask(self, method: str, *arguments: object) -> Any:
        self._tell(method, *arguments)
        return self._outcome()

    def _tell(self, method: str, *arguments: object) -> None:
        try:
            self._line.send(pickle.dumps((method, arguments)))
        except OSError:
            raise FetcherDied from None

    def _outcome(self) -> Any:
        outcome = pickle.loads(self._hear())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _hear(self) -> pa.Buffer:
        try:
            return self._line.receive()
        except (EOFError, OSError):
            raise FetcherDied from None


class _Served:
    """One session here, asked for from there."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._session: OracleSession | None = None

    def serve(self) -> None:
        try:
            with suppress(EOFError, OSError):  # nobody asks any more
                while True:
                    method, arguments = pickle.loads(self._line.receive())
                    try:
                        outcome = getattr(self, method)(*arguments)
                    except Exception as error:  # noqa: BLE001 - raised there
                        outcome = _sendable(error)
                    self._line.send(pickle.dumps(outcome))
        finally:
            self._line.close()  # whatever has happened: there somebody may wait for an answer
            if self._session is not None:
                self._session.close()

    def connect(self, login: OracleLogin) -> None:
        if self._session is None:
            self._session = OracleSession(login)
        else:
            self._session.reconnect()

    def run(self, statement: str) -> None:
        self._connected.run(statement)

    def rows(self, query: str, binds: Binds | None) -> list[tuple[Any, ...]]:
        return self._connected.rows(query, binds)

    def batches(self, query: str, binds: Binds, types: Sequence[pa.DataType], size: int) -> None:
        try:
            for batch in self._connected.batches(query, binds, types, size):
                self._line.send(batch.serialize())
        finally:
            self._line.send(_END_OF_ROWS)

    @property
    def _connected(self) -> OracleSession:
        if self._session is None:
            raise ConnectionError("not connected")
        return self._session


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever an error's own pickling raises
        return RuntimeError(f"{type(error).__name__} in the process that fetches")
    return error


def main() -> None:
    """Serve the connections whose file descriptors are the arguments; the first one tells, by its end, to end."""
    life, *ends = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    threads = [threading.Thread(target=_Served(_Line(end)).serve, daemon=True) for end in ends]
    for thread in threads:
        thread.start()
    with suppress(OSError):
        life.recv(1)
    for thread in threads:
        thread.join(_SECONDS_TO_END / 2)
    os._exit(0)  # a thread may wait for the server still


if __name__ == "__main__":
    main()
