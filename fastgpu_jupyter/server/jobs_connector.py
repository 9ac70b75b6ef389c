"""The connection of the extension to the dispatcher of jobs.

Calls run in threads of their own, a few at a time, and each has one time limit, so that a dispatcher that does not
answer delays neither kernels nor other extensions. A call starts a dispatcher where none runs; a server whose user has
never had a job neither starts one nor loads the code for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import DispatcherUnreachable, LimitReached, Message
from ..wire.locate import user_state_dir
from .threads import CallThreads

if TYPE_CHECKING:
    from ..jobs.client import JobsClient

T = TypeVar("T")
#: Calls that are under way at a time; the others wait for one of these, as long as their time limit allows.
CALLS_MAX = 4
#: The longest time of a call, a little more than the client's own limit.
TIMEOUT_S = 31.0


def has_jobs() -> bool:
    """Return whether this user ever had a job."""
    return (user_state_dir() / "jobs").is_dir()


class JobsConnector:
    """Calls to the dispatcher. Safe to use from several threads."""

    def __init__(self) -> None:
        self._threads = CallThreads(CALLS_MAX)
        self._client: JobsClient | None = None

    async def call(self, function: Callable[[JobsClient], T]) -> T:
        """Return the result of ``function`` for a client of the dispatcher; raise the client's errors.

        Raises :class:`LimitReached` if nothing was sent in time, :class:`DispatcherUnreachable` if nothing came back.
        """
        return await self.in_thread(lambda: function(self._get_client()))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Return the result of a function that reads what jobs have left, within the same limits."""
        future = self._threads.submit(function)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if future.cancelled():
                raise LimitReached(Message.of("server.busy")) from None
            raise DispatcherUnreachable(Message.of("jobs.dispatcher_silent", seconds=round(TIMEOUT_S))) from None

    def _get_client(self) -> JobsClient:
        from ..jobs.client import JobsClient

        if self._client is None:
            self._client = JobsClient()
        return self._client
