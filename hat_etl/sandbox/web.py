"""Web servers of the sandbox: real ones on loopback, in a thread of a test or as a process that stays.

Each takes faults by parameter: calls that fail before they act, replies that are lost or spoilt after it, slow ones.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict, Field

FAULTS_PATH = "/sandbox/faults"
"""``PUT`` here changes the faults of a running server; ``GET`` shows them."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]


class Faults(BaseModel):
    """Shares are of calls, from 0 to 1; the same ``seed`` and calls, the same faults."""

    model_config = ConfigDict(extra="forbid")

    fail: float = Field(default=0, ge=0, le=1)
    """Answered with HTTP 503 before anything is done."""
    lose: float = Field(default=0, ge=0, le=1)
    """Done, and then the connection is cut instead of an answer."""
    late: float = Field(default=0, ge=0, le=1)
    """Done, and answered with the HTTP 504 of a gateway that did not wait for it."""
    slow: float = Field(default=0, ge=0, le=1)
    """Answered only after ``slow_seconds``."""
    slow_seconds: float = 0.5
    shuffle: bool = False
    """Lists come in another order each time."""
    seed: int = 0


class Faulty:
    """An application that has the faults it is told."""

    def __init__(self, app: _App, faults: Faults | None = None) -> None:
        self._app = app
        self.set(faults or Faults())

    def set(self, faults: Faults) -> None:
        """Have these from now on."""
        self.faults = faults
        self._dice = random.Random(faults.seed)

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == FAULTS_PATH:
            await self._control(scope, receive, send)
        elif self._dice.random() < self.faults.fail:
            await _answer(send, 503, b"{}")
        else:
            await self._act(scope, receive, send)

    async def _act(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        lost, slow = self._dice.random() < self.faults.lose, self._dice.random() < self.faults.slow
        # No draw where none is late: the other faults of a seed stay as they are.
        late = self.faults.late > 0 and self._dice.random() < self.faults.late
        scope["shuffle"] = self._dice if self.faults.shuffle else None
        messages: list[_Message] = []

        async def keep(message: _Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        if slow:
            await asyncio.sleep(self.faults.slow_seconds)
        if lost:
            # A body that was promised and does not come: the server cuts the connection.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
            return
        if late:
            await _answer(send, 504, b"{}")
            return
        for message in messages:
            await send(message)

    async def _control(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["method"] == "PUT":
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            self.set(Faults.model_validate_json(body))
        await _answer(send, 200, self.faults.model_dump_json().encode())


async def _answer(send: _Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def listen(port: int = 0) -> socket.socket:
    """A socket on loopback; port 0 takes a free one."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(256)
    return listener


def address_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def server_of(app: _App) -> uvicorn.Server:
    """A server for ``app``; give it the sockets to serve."""
    return uvicorn.Server(
        uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1, timeout_keep_alive=60)
    )


@contextmanager
def serving(app: _App, port: int = 0) -> Iterator[str]:
    """Serve ``app`` from a thread for as long as the block runs; gives its address."""
    listener = listen(port)
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def loads(body: bytes) -> Any:
    """JSON, or None where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None
