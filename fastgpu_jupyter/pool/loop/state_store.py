"""The pool's state in memory, and the lock that keeps readers from seeing what is not durable yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from ...core.model.entities import Instant, State
from ...core.model.events import Event
from ...core.pool import Pool
from ...core.scheduling.queue_report import QueueReport
from ...core.sizing.options import SizeReport
from ..protocols import Clock

T = TypeVar("T")


class StateStore:
    """The current state of one pool. Only the command loop and degraded mode change it, while they hold the lock."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        #: Positions, pending reasons and estimates of the waiting leases. Read it inside a view only.
        self.queue_report = QueueReport(pool.state)
        #: The sizes that requests and leases can have. Read it inside a view only.
        self.size_report = SizeReport(pool.state, self.queue_report, pool)
        #: Held from the first event of a batch until it is durable.
        self.commit_lock = asyncio.Lock()

    @property
    def pool(self) -> Pool:
        """The pool, for those that change it."""
        return self._pool

    @property
    def state(self) -> State:
        """The state in memory, which may be ahead of the disk while the commit lock is held."""
        return self._pool.state

    def replace(self, pool: Pool) -> None:
        """Continue with ``pool``, whose state was replayed from the journal or changed by other means."""
        self._pool = pool
        self.queue_report = QueueReport(pool.state)
        self.size_report = SizeReport(pool.state, self.queue_report, pool)

    def follow(self, events: Iterable[Event]) -> None:
        """Update what is derived from the state, to which ``events`` have been applied."""
        self.queue_report.update(events)
        self.size_report.update(events)

    def now(self) -> Instant:
        """Return this instant in the pool's time, never before the newest event."""
        ms = self._clock.boot_ms() - self._pool.state.clock_epoch_ms
        return Instant(max(ms, self._pool.state.last.ms), self._clock.wall_ms())

    async def read(self, view: Callable[[State, Instant], T]) -> T:
        """Return what ``view`` makes of the state, all of which is on disk. ``view`` must not keep or change it."""
        async with self.commit_lock:
            return view(self._pool.state, self.now())

    async def read_in_steps(self, view: Callable[[State, Instant], Awaitable[T]]) -> T:
        """Return what ``view`` makes of the state with pauses, in which others are served and nothing is changed."""
        async with self.commit_lock:
            return await view(self._pool.state, self.now())
