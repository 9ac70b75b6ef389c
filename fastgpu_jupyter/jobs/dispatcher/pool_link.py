"""The connection to the pool manager: one thread that reads its event stream, and one that makes calls.

Both hand what they get to the event loop. Nothing is opened before it is needed, so that a dispatcher that only lists
jobs starts no pool manager.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ...errors import FastGPUError, Message
from ...wire.client import PoolClient
from ...wire.spawn import ensure_pool
from ...wire.stream_follower import StreamFollower

T = TypeVar("T")
PAUSE_FIRST_S = 0.1


class PoolLink:
    """The pool manager that this user's jobs get their leases from; for the thread of the event loop.

    ``receive`` gets each message of the event stream, ``lost`` the reason for which there is none.
    """

    def __init__(
        self,
        receive: Callable[[dict[str, Any]], None],
        lost: Callable[[Message], None],
        connect: Callable[[], PoolClient] = ensure_pool,
    ) -> None:
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="fastgpu-pool-calls")
        self._reader = _EventReader(receive, lost, connect)
        self._follows = False

    async def call(self, function: Callable[[PoolClient], T]) -> T:
        """Return what ``function`` returns for a client of the pool manager; calls are made one after the other.

        Raises the client's errors.
        """
        return await self._loop.run_in_executor(self._calls, lambda: function(self._connect()))

    def follow(self) -> None:
        """Read the event stream from now on."""
        if not self._follows:
            self._follows = True
            self._reader.start()

    def close(self) -> None:
        """End both threads; a call that is under way ends by its own time limit."""
        self._reader.stop()
        self._calls.shutdown(wait=False, cancel_futures=True)


class _EventReader(StreamFollower):
    def __init__(
        self,
        receive: Callable[[dict[str, Any]], None],
        lost: Callable[[Message], None],
        connect: Callable[[], PoolClient],
    ) -> None:
        super().__init__("fastgpu-pool-events", asyncio.get_running_loop(), PAUSE_FIRST_S)
        self._receive, self._lost, self._connect = receive, lost, connect

    def follow(self) -> None:
        """Hand each message of one stream over."""
        for message in self.opened(self._connect().events()):
            self.heard()
            self.hand_over(self._receive, message)

    def lost(self, error: Exception | None) -> None:
        """Hand the reason over."""
        reason = Message.of("pool.ended")
        if isinstance(error, FastGPUError):
            reason = error.message
        elif error is not None:
            reason = Message.of("pool.events_unreadable", reason=str(error))
        self.hand_over(self._lost, reason)
