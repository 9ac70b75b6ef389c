"""The connection to the pool manager: one thread that reads its event stream, and one that makes calls.

Both hand what they get to the event loop. Nothing is opened before it is needed, so that a dispatcher that only lists
jobs starts no pool manager.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ...errors import FastGPUError, Message
from ...wire.client import EventStream, PoolClient
from ...wire.spawn import ensure_pool

T = TypeVar("T")
PAUSE_FIRST_S = 0.1
PAUSE_MOST_S = 5.0


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
        self._receive, self._lost, self._connect = receive, lost, connect
        self._loop = asyncio.get_running_loop()
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="fastgpu-pool-calls")
        self._reader: threading.Thread | None = None
        self._stopped = threading.Event()
        self._stream: EventStream | None = None
        self._lock = threading.Lock()

    async def call(self, function: Callable[[PoolClient], T]) -> T:
        """Return what ``function`` returns for a client of the pool manager; calls are made one after the other.

        Raises the client's errors.
        """
        return await self._loop.run_in_executor(self._calls, lambda: function(self._connect()))

    def follow(self) -> None:
        """Read the event stream from now on."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="fastgpu-pool-events", daemon=True)
            self._reader.start()

    def _read(self) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._stopped.is_set():
            reason = Message.of("pool.ended")
            try:
                for message in self._open():
                    pause_s = PAUSE_FIRST_S
                    self._hand_over(self._receive, message)
            except FastGPUError as error:
                reason = error.message
            except (OSError, ValueError) as error:
                reason = Message.of("pool.events_unreadable", reason=str(error))
            if not self._stopped.is_set():
                self._hand_over(self._lost, reason)
                self._stopped.wait(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MOST_S)

    def _open(self) -> EventStream:
        stream = self._connect().events()
        with self._lock:
            self._stream = stream
        if self._stopped.is_set():
            stream.close()
        return stream

    def _hand_over(self, function: Callable[[Any], None], value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, value)

    def close(self) -> None:
        """End both threads; a call that is under way ends by its own time limit."""
        self._stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()
        self._calls.shutdown(wait=False, cancel_futures=True)
