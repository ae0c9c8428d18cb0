"""A limit for the body of an answer as a whole: httpx limits the wait for each piece, and pieces may come for ever.

Of the head, each piece has that limit only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx


def within(seconds: float) -> dict[str, list[Callable[[httpx.Response], None]]]:
    """Event hooks of a client whose answers are to be there so long after their heads: else httpx.ReadTimeout."""

    def limit(response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Limited(response.stream, time.monotonic() + seconds)

    return {"response": [limit]}


class _Limited(httpx.SyncByteStream):
    def __init__(self, body: httpx.SyncByteStream, end: float) -> None:
        self._body, self._end = body, end

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            if time.monotonic() > self._end:
                raise httpx.ReadTimeout("The answer takes too long.")
            yield piece

    def close(self) -> None:
        self._body.close()
