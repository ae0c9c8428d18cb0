"""A server that answers a piece at a time, so that each comes in time and the whole takes seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.responses import StreamingResponse

SECONDS = 6


def trickling(end: bytes) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """An application whose every answer is blanks and then ``end``."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(SECONDS * 50):
            await asyncio.sleep(0.02)
            yield b" "
        yield end

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(pieces())(scope, receive, send)

    return answer
