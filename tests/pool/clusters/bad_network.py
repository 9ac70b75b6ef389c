"""A network that delays and cuts: a TCP proxy in front of a rendezvous."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress


class BadNetwork:
    """Passes bytes to ``port``, each piece after a delay, and cuts each connection after some of them; seeded."""

    def __init__(self, port: int, seed: int, *, delay_s: float, pieces_max: int) -> None:
        self._port, self._random = port, random.Random(seed)
        self._delay_s, self._pieces_max = delay_s, pieces_max
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut = 0  #: connections that were cut

    async def open(self) -> int:
        """Begin to listen; return the port."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1")
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Cut every connection, and make no more."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            left = [self._random.randint(5, self._pieces_max)]
            ways = [asyncio.ensure_future(self._pass(*way, left)) for way in ((reader, back), (there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                for each in (writer, back):
                    each.transport.abort()
            self.cut += left[0] <= 0
        except OSError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]) -> None:
        with suppress(OSError):
            while left[0] > 0 and (piece := await reader.read(4096)):
                left[0] -= 1
                await asyncio.sleep(self._random.uniform(0, self._delay_s))
                writer.write(piece)
                await writer.drain()
