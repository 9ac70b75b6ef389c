"""The pool's state in memory, and the lock that keeps readers from seeing what is not durable yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ...core.model.entities import Instant, State
from ...core.pool import Pool
from ...core.scheduling import queue_report
from ..protocols import Clock, QueuePositions

T = TypeVar("T")


class StateStore:
    """The current state of one pool. Only the command loop and degraded mode change it, while they hold the lock."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._queue_positions: QueuePositions | None = None
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
        """Continue with ``pool``, which was replayed from the journal."""
        self._pool = pool
        self.mark_changed()

    def mark_changed(self) -> None:
        """Discard what was derived from the state before it changed."""
        self._queue_positions = None

    def now(self) -> Instant:
        """Return this instant in the pool's time, never before the newest event."""
        ms = self._clock.boot_ms() - self._pool.state.clock_epoch_ms
        return Instant(max(ms, self._pool.state.last.ms), self._clock.wall_ms())

    async def read(self, view: Callable[[State, Instant], T]) -> T:
        """Return what ``view`` makes of the state, all of which is on disk. ``view`` must not keep or change it."""
        async with self.commit_lock:
            return view(self._pool.state, self.now())

    def queue_positions(self) -> QueuePositions:
        """Return the position and pending reason of each waiting lease, in queue order. Call it inside a view only."""
        if self._queue_positions is None:
            positions = queue_report.positions(self._pool.state)
            self._queue_positions = {lease.id: (position, reason) for lease, position, reason in positions}
        return self._queue_positions
