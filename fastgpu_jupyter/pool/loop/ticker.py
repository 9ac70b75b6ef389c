"""The ticker: records the passing of time and forgets idempotency keys that are too old."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from ...core.model import commands as c
from ...core.model.entities import Instant, State
from ...core.placement import idleness
from ...errors import InternalError, LimitReached, StoreFault
from ..journal.writer import JournalWriter
from ..protocols import CommandSink, StateReader
from ..supervisor import wait_for_event
from .idempotency import REMEMBER_KEYS_MAX, REMEMBER_KEYS_MS, AnsweredKeys

TICK_S = 5.0
#: Regular ticks between two searches for keys that are too old.
FORGET_TICKS = 12


class Ticker:
    """A task that submits ``Tick`` at regular intervals, so that a reboot loses little of the usage.

    While requests wait it also does so at the instant at which a lease has been idle for long enough to make room.
    """

    def __init__(self, commands: CommandSink, state: StateReader, writer: JournalWriter, answers: AnsweredKeys) -> None:
        self._commands = commands
        self._state = state
        self._writer = writer
        self._answers = answers
        self._ticks = 0
        self._regular_s: float | None = None  #: when the next regular tick is due, on the loop's clock
        self._idle_ms: int | None = None  #: when a lease is next idle for long enough, in the pool's time
        self._contended = False  #: whether requests waited at the last commit
        self._sooner = asyncio.Event()

    def update(self, state: State, lease_ids: Iterable[str]) -> None:
        """Note when the leases ``lease_ids`` of ``state``, which changed, will have been idle for long enough."""
        if not state.queue:
            self._contended, self._idle_ms = False, None
            return
        changed = lease_ids if self._contended else state.leases
        self._contended = True
        at_ms = idleness.next_idle_ms(state, changed, state.last.ms)
        if at_ms is not None and (self._idle_ms is None or at_ms < self._idle_ms):
            self._idle_ms = at_ms
            self._sooner.set()

    async def tick(self) -> None:
        """Pause, then submit ``Tick``; every :data:`FORGET_TICKS` regular ticks forget old keys."""
        regular = await self._pause()
        # An internal error was reported already and stops grants. Time is recorded all the same.
        with suppress(StoreFault, LimitReached, InternalError):
            await self._commands.submit(c.Tick())
            await self._state.read(self._find_next_idle)
            self._ticks += regular
            if regular and self._ticks % FORGET_TICKS == 0:
                await self._forget_old_keys()

    async def _pause(self) -> bool:
        """Wait for the next tick; return whether it is a regular one."""
        clock = asyncio.get_running_loop().time
        if self._regular_s is None:
            self._regular_s = clock() + TICK_S
        while (left_s := self._regular_s - clock()) > 0:
            if self._idle_ms is not None:
                left_s = min(left_s, (self._idle_ms - self._state.now().ms) / 1000)
                if left_s <= 0:
                    self._idle_ms = None
                    return False
            self._sooner.clear()
            await wait_for_event(self._sooner, max(left_s, 0.001))  # a shorter pause may not move a clock of floats
        self._regular_s = None
        return True

    def _find_next_idle(self, state: State, at: Instant) -> None:
        self._idle_ms = idleness.next_idle_ms(state, state.leases, at.ms) if state.queue else None

    async def _forget_old_keys(self) -> None:
        answers, before_ms = self._writer.journal.answers, self._state.now().ms - REMEMBER_KEYS_MS
        if await self._writer.run(answers.forget, before_ms, REMEMBER_KEYS_MAX):
            self._answers.replace(await self._writer.run(answers.lease_ids))
