"""Degraded mode: what the pool does while the journal cannot be written.

A release is recorded in the preallocated release log and applied; any other command is refused, and nothing is granted.
What is acknowledged is durable: a pool manager that is killed now finds it at its next start. The journal is tried
again and again, and the pool continues by itself once it can be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from ...core.decide import decide
from ...core.model import commands as c
from ...core.model.entities import EndReason, Instant, State
from ...core.model.events import Ticked
from ...core.pool import Pool
from ...core.pool import replay as apply_all
from ...errors import FastGPUError, StoreFault
from ..journal.release_log import PreallocatedReleaseLog, Release
from ..journal.store import Entry, Journal
from ..journal.writer import JournalWriter
from ..protocols import ChangePublisher, CommandSink, LoopMetrics, TaskSupervisor
from .command_queue import QueuedCommand
from .faults import FaultState
from .idempotency import AnsweredKeys
from .publication import CommitPublisher
from .recovery import replay
from .state_store import StateStore

#: Free space from which on the journal is tried: with less, one record would be written and the next would not.
ROOM_BYTES_MIN = 128 * 2**10
#: The pause between two tries to write the journal.
PROBE_S = 1.0
#: The pause between two looks at the files of the journal.
WATCH_S = 2.0
#: Why nothing is granted if the disk was full already at the start.
FULL_AT_START = (
    "The disk had no room for the journal when the pool manager started. Free or repair it; the pool then goes on by "
    "itself. Until then releases are accepted, but nothing new is granted."
)


class DegradedMode:
    """The part of the command loop that works without the journal.

    ``on_writable`` is awaited once the journal can be written again, before waiting requests are served: a start
    without the disk could not record which devices there are.
    """

    def __init__(
        self,
        *,
        store: StateStore,
        writer: JournalWriter,
        release_log: PreallocatedReleaseLog | None,
        answers: AnsweredKeys,
        faults: FaultState,
        publisher: CommitPublisher,
        commands: CommandSink,
        changes: ChangePublisher,
        supervisor: TaskSupervisor,
        metrics: LoopMetrics,
        on_writable: Callable[[], Awaitable[object]],
    ) -> None:
        self._store = store
        self._writer = writer
        self._release_log = release_log
        self._answers = answers
        self._faults = faults
        self._publisher = publisher
        self._commands = commands
        self._changes = changes
        self._supervisor = supervisor
        self._metrics = metrics
        self._on_writable = on_writable

    def start(self) -> None:
        """Try the journal again and again if it could not be written at the start."""
        if self._faults.unwritable:
            self._supervisor.run_once(self._retry_until_writable())

    async def watch(self) -> None:
        """Pause, then begin degraded mode if a file of the journal was removed or replaced: nothing else may notice."""
        await asyncio.sleep(WATCH_S)
        try:
            await self._writer.run(self._writer.journal.require_in_place)
        except StoreFault as fault:
            async with self._store.commit_lock:
                if not self._faults.only_releases:
                    await self.enter(fault)

    async def enter(self, fault: StoreFault) -> None:
        """Begin degraded mode after a write failed. The caller holds the commit lock."""
        self._faults.begin_unwritable(str(fault))
        await self.reload()
        self._changes.publish_pool()
        self._supervisor.run_once(self._retry_until_writable())

    async def reload(self) -> None:
        """Replace the state in memory by what is on disk, so that it is neither ahead of it nor behind it."""
        journal = self._writer.journal
        expected_seq = journal.seq
        if self._release_log and self._release_log.pending_entries:
            self._faults.memory_ahead = True  # only a start can find out whether the journal has them
        try:
            self._store.replace(Pool(await self._writer.run(replay, journal)))
            self._answers.replace(await self._writer.run(journal.answers.lease_ids))
        except StoreFault as unreadable:
            self._faults.memory_ahead = True
            self._faults.stop_grants(str(unreadable))
        else:
            self._publisher.publish_reloaded(self._store.state)
            if journal.seq != expected_seq:  # the write that was reported as failed is there
                self._publisher.publish_missed(self._store.state)

    async def commit_releases(self, batch: list[QueuedCommand]) -> None:
        """Carry out the releases of ``batch`` and refuse the other commands. The caller holds the commit lock."""
        in_place = await self._is_in_place()
        for call in batch:
            at, state = self._store.now(), self._store.state
            try:
                call.require_allowed(state)
                answered = self._answers.find(call.key)
                if answered is not None and in_place:
                    call.answer(state, at, answered)
                    continue
                record = partial(record_release, always=self._faults.memory_ahead)
                why = self._faults.message
                entry = await self._writer.run(record, state, call.command, at, self._release_log, why)
            except FastGPUError as refusal:
                call.refuse(refusal)
                continue
            apply_all(state, entry.events, at)
            self._store.follow(entry.events)
            if self._release_log:
                self._release_log.defer([entry])
            call.answer(state, at, entry.lease_id)
            self._publisher.publish(state, entry.events)

    async def _is_in_place(self) -> bool:
        """Return whether what is in the journal outlives this process."""
        try:
            await self._writer.run(self._writer.journal.require_in_place)
        except StoreFault:
            return False
        return True

    async def _retry_until_writable(self) -> None:
        while self._faults.unwritable and not self._faults.memory_ahead:
            await asyncio.sleep(PROBE_S)
            await self._supervisor.attempt("journal", self._retry_once)
        with suppress(FastGPUError):
            await self._on_writable()
            await self._commands.submit(c.Tick())  # grants what can be granted

    async def _retry_once(self) -> None:
        async with self._store.commit_lock:
            if not self._faults.memory_ahead:  # an internal error may have occurred meanwhile
                await self._write_pending()

    async def _write_pending(self) -> None:
        entries = unwritten_entries(self._store.state, self._release_log, self._store.now())
        try:
            await self._writer.run(catch_up, self._writer.journal, self._release_log, entries)
        except StoreFault:
            return
        self._metrics.count_events([event for entry in entries for event in entry.events])
        self._store.replace(Pool(self._store.state))  # its queue did not follow what was applied meanwhile
        self._faults.end_unwritable()


def record_release(
    state: State,
    command: c.Command,
    at: Instant,
    release_log: PreallocatedReleaseLog | None,
    why: str | None,
    *,
    always: bool,
) -> Entry:
    """Return the events of a release after it was made durable; the caller applies them.

    Blocks on the disk. ``always`` records it even if the lease is over in ``state``, for a state that may be ahead of
    the disk. Raises :class:`StoreFault` with ``why`` if ``command`` is no release, or if it could not be made durable.
    """
    if release_log is None or not isinstance(command, (c.ReleaseLease, c.HolderEnded)):
        raise StoreFault(why)
    events = decide(state, command, at)
    if events or always:
        reason = command.reason if isinstance(command, c.ReleaseLease) else EndReason.HOLDER_DIED
        try:
            release_log.note(Release(command.lease_id, reason, at))
        except StoreFault as fault:
            raise StoreFault(
                f"The lease is not released, because that could not be written down: {fault} It ends with its kernel, "
                "or release it again once the disk has room."
            ) from fault
    return Entry(at, events, None, command.lease_id)


def unwritten_entries(state: State, release_log: PreallocatedReleaseLog | None, at: Instant) -> list[Entry]:
    """Return the entries that ``state`` has and the journal does not, and at least one, that time passed.

    An empty write would prove nothing. The entries stay the same, with others behind them, until they are written: a
    write that is reported as failed may have been done, and is recognized by its records.
    """
    entries = release_log.pending_entries if release_log else []
    if not any(entry.events for entry in entries):
        tick = Entry(at, [Ticked()])
        apply_all(state, tick.events, at)
        entries.append(tick)
    return list(entries)


def catch_up(journal: Journal, release_log: PreallocatedReleaseLog | None, entries: list[Entry]) -> None:
    """Write ``entries`` and clear the release log. Raises :class:`StoreFault` if the journal cannot be written."""
    journal.require_room(ROOM_BYTES_MIN)
    journal.append(entries)
    if release_log:
        release_log.clear()
