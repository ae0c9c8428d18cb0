"""A network that is far away: TCP proxies that hold back every byte, and bound the throughput by nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

_PIECE = 1 << 18


def serve(port: int, latencies: Sequence[float], told: Connection) -> None:
    """For each latency (seconds of a round trip) a proxy before 127.0.0.1:``port``; their ports are sent to ``told``.

    Runs until its process is ended.
    """
    asyncio.run(_serve(port, latencies, told))


async def _serve(port: int, latencies: Sequence[float], told: Connection) -> None:
    servers = []
    for latency in latencies:

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float = latency / 2) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pass(reader, far_writer, delay), _pass(far_reader, writer, delay))

        servers.append(await asyncio.start_server(meet, "127.0.0.1", 0))
    told.send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.Event().wait()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Hand on what arrives, each piece ``delay`` seconds after it came, in order."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while (item := await under_way.get())[1]:
            await asyncio.sleep(item[0] - clock())
            writer.write(item[1])
            await writer.drain()
        writer.close()

    delivering = asyncio.create_task(deliver())
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            under_way.put_nowait((clock() + delay, piece))
    under_way.put_nowait((0.0, b""))
    with suppress(OSError):
        await delivering
