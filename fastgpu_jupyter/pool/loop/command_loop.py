"""The command loop: decide on commands, append their events to the journal, apply them, and answer.

    command --decide(state, command, now)--> events --append, fsync--> journal --> answer, effects, notifications

Commands that are queued together are decided one after the other and share one write to disk. ``decide`` and ``apply``
run in memory while the commit lock is held, so that no reader sees an event before it is durable. Answers are made
before the write, which keeps them for requests that are repeated, and sent after it. If the write fails, the state is
replayed from the journal (:mod:`.degraded_mode`).

The loop runs in the event loop's thread and knows no driver, no monitor and no HTTP. The journal has a thread of its
own, so that a slow disk delays no reader.
"""

from __future__ import annotations

import logging
import time

from ...core.accounting import changes
from ...core.decide import decide
from ...core.model import commands as c
from ...core.model.entities import Instant
from ...core.model.events import Event
from ...core.pool import replay as apply_all
from ...errors import FastGPUError, InternalError, StoreFault
from ..journal.store import Entry
from ..journal.writer import JournalWriter
from ..protocols import Admission, LoopMetrics
from .answers import AnswerMaker
from .command_queue import CommandQueue, QueuedCommand
from .degraded_mode import DegradedMode
from .faults import FaultState
from .idempotency import AnsweredKeys
from .publication import CommitPublisher
from .state_store import StateStore

log = logging.getLogger("fastgpu.pool")


class CommandLoop:
    """The only writer of one pool's state."""

    def __init__(
        self,
        *,
        commands: CommandQueue,
        store: StateStore,
        writer: JournalWriter,
        answers: AnsweredKeys,
        faults: FaultState,
        degraded: DegradedMode,
        publisher: CommitPublisher,
        admit: Admission,
        metrics: LoopMetrics,
    ) -> None:
        self._commands = commands
        self._store = store
        self._writer = writer
        self._answers = answers
        self._answer_maker = AnswerMaker()
        self._faults = faults
        self._degraded = degraded
        self._publisher = publisher
        self._admit = admit
        self._metrics = metrics

    async def process_batch(self) -> None:
        """Wait for commands and carry out those that are queued. An internal error stops grants, not the loop."""
        batch = await self._commands.next_batch()
        async with self._store.commit_lock:
            try:
                await self._commit_or_degrade(batch)
            except Exception as error:  # noqa: BLE001 (any error stops grants, and the loop continues)
                self._faults.stop_grants(f"The pool manager met an internal error ({error!r}).", error)
                try:
                    await self._degraded.reload()
                finally:
                    for call in batch:
                        call.refuse(InternalError(self._faults.message))

    async def _commit_or_degrade(self, batch: list[QueuedCommand]) -> None:
        if self._faults.only_releases:
            await self._degraded.commit_releases(batch)
        else:
            await self._commit(batch)

    async def _commit(self, batch: list[QueuedCommand]) -> None:
        decided, after_error = self._decide_all(batch)
        events = [event for _, entry in decided for event in entry.events]
        self._store.follow(events)
        state, at = self._store.state, self._store.now()
        answers = self._answer_maker.make(state, at, decided if after_error is None else (), events)
        entries = answers.entries(decided, at)
        if any(entry.events or entry.key for entry in entries):
            began_s = time.perf_counter()
            try:
                await self._writer.append(entries)
            except StoreFault as fault:
                await self._degraded.enter(fault)
                await self._degraded.commit_releases([*(call for call, _ in decided), *(after_error or ())])
                return
            self._metrics.count_append(time.perf_counter() - began_s)
            self._metrics.count_events(events)
        if after_error is not None:
            await self._degraded.reload()  # memory may have a part of what the disk will never have
            state, at = self._store.state, self._store.now()
            answers = self._answer_maker.make(state, at, decided, events)
        self._answers.add(entries)
        if self._writer.snapshot_due:
            self._writer.store_snapshot(state)
        self._answer_maker.send(answers)
        self._publisher.publish(state, events)
        if after_error and self._faults.memory_ahead:
            await self._degraded.commit_releases(after_error)
        elif after_error:
            await self._commit(after_error)

    def _decide_all(
        self, batch: list[QueuedCommand]
    ) -> tuple[list[tuple[QueuedCommand, Entry]], list[QueuedCommand] | None]:
        """Return the calls with what is to be written for each.

        After an internal error the second value has the calls behind it, which are decided once memory is reloaded.
        """
        decided: list[tuple[QueuedCommand, Entry]] = []
        fresh = AnsweredKeys({})  # keys that are not on disk yet: the batch may have the same call twice
        for number, call in enumerate(batch, start=1):
            try:
                entry = self._decide(call, fresh)
            except InternalError as error:
                call.refuse(error)
                return decided, batch[number:]
            except FastGPUError as refusal:
                call.refuse(refusal)
            else:
                decided.append((call, entry))
                fresh.add([entry])
        return decided, None

    def _decide(self, call: QueuedCommand, fresh: AnsweredKeys) -> Entry:
        at = self._store.now()
        call.require_allowed(self._store.state)
        lease_id = getattr(call.command, "lease_id", None)
        answered = self._answers.find(call.key)
        answered = fresh.find(call.key) if answered is None else answered
        if answered is not None:
            return Entry(at, [], None, answered)
        if self._faults.message is not None and isinstance(call.command, c.RequestLease):
            raise StoreFault(self._faults.message)
        began_s = time.perf_counter()
        try:
            self._admit(self._store.state, call.command, at)
            tenant = changes.counted_tenant(self._store.state, call.command)
            events = self._execute(call.command, at)
            if tenant is not None and (events or call.key):  # each is written
                events += self._execute_alone(c.CountChange(tenant), at)
        except (AssertionError, KeyError, InternalError) as error:
            self._faults.stop_grants(f"The pool manager met an internal error ({error!r}).", error)
            raise InternalError(self._faults.message) from error
        self._metrics.count_decision(time.perf_counter() - began_s)
        return Entry(at, events, call.key, lease_id)

    def _execute(self, command: c.Command, at: Instant) -> list[Event]:
        """Decide and apply; during a fault no waiting request is granted by it."""
        if self._faults.message is None:
            return self._store.pool.execute(command, at)
        return self._execute_alone(command, at)

    def _execute_alone(self, command: c.Command, at: Instant) -> list[Event]:
        events = decide(self._store.state, command, at)
        apply_all(self._store.state, events, at)
        return events
