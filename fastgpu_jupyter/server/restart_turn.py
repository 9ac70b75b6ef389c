"""One start or restart of a kernel at a time.

``jupyter_client`` lets restarts of one kernel overlap: one then ends the process that the other has just started, after
the other has made that process the holder of the lease, and the lease ends with it.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar


class RestartTurn:
    """The turn of the task that restarts the kernel; it has it until the launch is over, and at its own end at most."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        #: Set in the task that has the turn, and in the tasks that it makes.
        self._has_turn: ContextVar[object] = ContextVar("has_turn", default=None)
        self._holder: object = None

    @property
    def is_of_another(self) -> bool:
        """Return whether another task restarts the kernel now."""
        return self._holder is not None and self._has_turn.get() is not self._holder

    async def take(self) -> None:
        """Wait until no other task restarts the kernel, and take the turn."""
        if self._holder is not None and self._has_turn.get() is self._holder:
            return
        await self._lock.acquire()
        holder = self._holder = object()
        self._has_turn.set(holder)
        task = asyncio.current_task()
        assert task is not None
        # A restart that fails on the way never gets to its launch.
        task.add_done_callback(lambda _: self._give_back(holder))

    def give_back(self) -> None:
        """Let the next task restart the kernel, if this one has the turn."""
        self._give_back(self._has_turn.get())

    def _give_back(self, holder: object) -> None:
        if holder is not None and holder is self._holder:
            self._holder = None
            self._lock.release()
