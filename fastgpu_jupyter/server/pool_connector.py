"""The connection of the extension to the pool manager, which it starts if the user's own pool does not run.

Calls run in threads. A pool manager that fails to start is started again only after a pause, so that an open browser
tab does not start processes in a loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import FastGPUError, PoolUnreachable
from ..wire.client import PoolClient
from ..wire.locate import pool_socket
from ..wire.spawn import ensure_pool
from .threads import in_thread

T = TypeVar("T")
RETRY_S = 5.0


class PoolConnector:
    """Calls to the pool manager. Safe to use from several threads."""

    def __init__(self, *, start_pool: bool = True) -> None:
        self._start_pool = start_pool
        self._lock = threading.Lock()
        self._failed_at: float | None = None
        self._failure: PoolUnreachable | None = None

    async def call(self, function: Callable[[PoolClient], T]) -> T:
        """Return the result of ``function`` for a client of a pool manager that answers; raise the client's errors."""
        return await in_thread(self._call, function)

    def connect(self) -> PoolClient:
        """Return a client of a pool manager that answers. Blocks for as long as the pool manager takes to start."""
        if not self._start_pool:
            client = PoolClient(pool_socket())
            client.health()
            return client
        # One start at a time: the callers behind the first find the pool manager running, or its failure.
        with self._lock:
            if self._failed_at is not None and time.monotonic() - self._failed_at < RETRY_S:
                assert self._failure is not None
                raise PoolUnreachable(str(self._failure))
            try:
                client = ensure_pool()
            except PoolUnreachable as error:
                self._failed_at, self._failure = time.monotonic(), error
                raise
            except OSError as error:
                self._failed_at = time.monotonic()
                self._failure = PoolUnreachable(f"The pool manager could not be started: {error}.")
                raise self._failure from error
            self._failed_at = None
            return client

    def _call(self, function: Callable[[PoolClient], T]) -> T:
        try:
            return function(PoolClient(pool_socket()))
        except PoolUnreachable:
            pass
        except OSError as error:
            raise FastGPUError(f"The pool manager could not be called: {error}.") from error
        return function(self.connect())
