"""The connection of the extension to the pool manager, which it starts if the user's own pool does not run.

Calls run in threads of their own, a few at a time, so that a pool manager that does not answer delays neither kernels
nor other extensions. Each has one time limit. A pool manager that fails to start is started again only after a pause,
so that an open browser tab does not start processes in a loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import FastGPUError, LimitReached, Message, OutcomeUnknown, PoolSilent, PoolUnreachable
from ..wire.client import PoolClient
from ..wire.client.transport import TIMEOUT_S
from ..wire.locate import pool_socket
from ..wire.spawn import ensure_pool
from .threads import CallThreads

T = TypeVar("T")
RETRY_S = 5.0
#: Calls that are under way at a time; the others wait for one of these, as long as their time limit allows.
CALLS_MAX = 8


class PoolConnector:
    """Calls to the pool manager. Safe to use from several threads."""

    def __init__(self, *, start_pool: bool = True) -> None:
        self._start_pool = start_pool
        self._lock = threading.Lock()
        self._failed_at: float | None = None
        self._failure: PoolUnreachable | None = None
        self._threads = CallThreads(CALLS_MAX)

    async def call(
        self, function: Callable[[PoolClient], T], *, key: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> T:
        """Return the result of ``function`` for a client of a pool manager that answers; raise the client's errors.

        ``key`` is the idempotency key of a change. After ``timeout_s``, which is not less than the client's own limit,
        raises :class:`LimitReached` if nothing was
        sent, :class:`OutcomeUnknown` if the change may have been done, else :class:`PoolSilent`.
        """
        future = self._threads.submit(self._call, function, key)
        try:
            # A little more than the client, whose errors say more.
            async with asyncio.timeout(timeout_s + 0.5):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if future.cancelled():
                raise LimitReached(Message.of("server.busy")) from None
            if key is not None:
                raise OutcomeUnknown(Message.of("pool.outcome_unknown", seconds=round(timeout_s))) from None
            raise PoolSilent(Message.of("pool.starting")) from None

    def connect(self) -> PoolClient:
        """Return a client of a pool manager that answers. Blocks for as long as the pool manager takes to start."""
        if not self._start_pool:
            client = PoolClient(pool_socket())
            client.health()
            return client
        # One start at a time: the callers behind the first find the pool manager running, or its failure.
        with self._lock:
            if self._failure is not None and time.monotonic() - (self._failed_at or 0) < RETRY_S:
                raise type(self._failure)(self._failure.message)
            try:
                client = ensure_pool()
            except PoolUnreachable as error:
                self._failed_at, self._failure = time.monotonic(), error
                raise
            except OSError as error:
                self._failed_at = time.monotonic()
                self._failure = PoolUnreachable(Message.of("pool.not_startable", reason=str(error)))
                raise self._failure from error
            self._failure = None
            return client

    def _call(self, function: Callable[[PoolClient], T], key: str | None) -> T:
        try:
            return function(PoolClient(pool_socket(), key=key))
        except PoolSilent:
            raise
        except PoolUnreachable:
            pass
        except OSError as error:
            raise FastGPUError(Message.of("pool.not_callable", reason=str(error))) from error
        return function(PoolClient(self.connect().path, key=key))
