"""The ticker: records the passing of time and forgets idempotency keys that are too old."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ...core.model import commands as c
from ...errors import InternalError, LimitReached, StoreFault
from ..journal.writer import JournalWriter
from ..protocols import CommandSink, StateReader
from .idempotency import REMEMBER_KEYS_MAX, REMEMBER_KEYS_MS, AnsweredKeys

TICK_S = 5.0
#: Ticks between two searches for keys that are too old.
FORGET_TICKS = 12


class Ticker:
    """A task that submits ``Tick`` at regular intervals, so that a reboot loses little of the usage."""

    def __init__(self, commands: CommandSink, state: StateReader, writer: JournalWriter, answers: AnsweredKeys) -> None:
        self._commands = commands
        self._state = state
        self._writer = writer
        self._answers = answers
        self._ticks = 0

    async def tick(self) -> None:
        """Pause, then submit ``Tick``; every :data:`FORGET_TICKS` ticks forget old keys."""
        await asyncio.sleep(TICK_S)
        # An internal error was reported already and stops grants. Time is recorded all the same.
        with suppress(StoreFault, LimitReached, InternalError):
            await self._commands.submit(c.Tick())
            self._ticks += 1
            if self._ticks % FORGET_TICKS == 0:
                await self._forget_old_keys()

    async def _forget_old_keys(self) -> None:
        journal, before_ms = self._writer.journal, self._state.now().ms - REMEMBER_KEYS_MS
        if await self._writer.run(journal.forget_answers, before_ms, REMEMBER_KEYS_MAX):
            self._answers.replace(await self._writer.run(journal.answers))
