"""The thread that writes the journal: all writes pass it one after the other, so that the event loop never waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from ...core.model.entities import State
from .codec import encode_state
from .store import Entry, Journal

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: Records between two snapshots.
SNAPSHOT_EVERY = 5000


class JournalWriter:
    """The journal, for use from the event loop. ``new_thread`` makes the executor from a number and a name."""

    def __init__(self, journal: Journal, new_thread: Callable[[int, str], Executor] = ThreadPoolExecutor) -> None:
        self.journal = journal
        self._thread = new_thread(1, "journal")
        self._snapshot_seq = journal.replayed_after

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Return what ``call`` returns in the journal's thread, behind everything that was handed over before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    async def append(self, entries: Iterable[Entry]) -> None:
        """Make ``entries`` durable, all or none. Raises :class:`StoreFault` if they are not."""
        await self.run(self.journal.append, entries)
        if self.journal.checkpoint_due:
            with suppress(RuntimeError):  # it is being closed
                self._thread.submit(self.journal.checkpoint)  # while the callers get their answers

    @property
    def snapshot_due(self) -> bool:
        """Whether :data:`SNAPSHOT_EVERY` records were written since the last snapshot."""
        return self.journal.seq - self._snapshot_seq >= SNAPSHOT_EVERY

    def store_snapshot(self, state: State) -> None:
        """Begin to store ``state``, so that the records up to here need not be replayed again."""
        self._snapshot_seq = self.journal.seq
        # Handed over at once, so that no later record can come before it.
        stored = self._thread.submit(self._store, encode_state(state))
        stored.add_done_callback(_log_failure)

    def _store(self, payload: bytes) -> None:
        self.journal.snapshot(payload)
        self._archive()

    def _archive(self) -> None:
        """Archive a part, then let waiting writes go first before the next one."""
        if self.journal.archive_part():
            with suppress(RuntimeError):  # it is being closed; the next start continues
                self._thread.submit(self._archive).add_done_callback(_log_failure)

    def close(self, state: State | None) -> None:
        """Store a last snapshot of ``state``, if it is given and differs from the last one, and close the journal."""
        if state is not None and self.journal.seq > self._snapshot_seq:
            self.store_snapshot(state)
        self._thread.shutdown()
        self.journal.close()


def _log_failure(stored: Future[None]) -> None:
    if error := stored.exception():
        log.warning("No snapshot was stored: %s", error)
