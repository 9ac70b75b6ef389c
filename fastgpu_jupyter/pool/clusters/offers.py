"""What a cluster offers: its kinds of GPUs, asked for at most once a minute and only while they are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..supervisor import wait_for_event
from .allocation import Allocations
from .engine import Engine, GPUKind
from .engine_thread import EngineThread

#: For how long an answer is taken for true.
KEEP_S = 60.0
#: Kinds of a cluster that are shown; no cluster has more by far.
KINDS_MAX = 256


class Offers:
    """The kinds of GPUs that the engine offered last, with the memory that is configured or in the catalogue."""

    def __init__(
        self,
        engine: Engine,
        thread: EngineThread,
        allocations: Allocations,
        on_change: Callable[[], None],
        wake_up: Callable[[], None],
    ) -> None:
        self._engine, self._thread, self._allocations = engine, thread, allocations
        self._on_change, self._wake_up = on_change, wake_up
        self._kinds: tuple[GPUKind, ...] | None = None
        self._asked, self._fresh_until_s = True, 0.0
        self._answered = asyncio.Event()
        #: The version of the engine; ``None`` before it has answered, and where it does not say.
        self.version: str | None = None

    def kinds(self) -> Sequence[GPUKind] | None:
        """Return the kinds of the last answer, ``None`` before there was one; a newer answer is asked for."""
        if not self._asked and asyncio.get_running_loop().time() >= self._fresh_until_s:
            self._asked = True
            self._wake_up()
        return self._kinds

    def due_in_s(self) -> float | None:
        """Return after which time the engine is to be asked; ``None`` where no reader wants to know."""
        return 0.0 if self._asked else None

    async def refresh_if_asked(self) -> None:
        """Ask the engine if a reader wants to know. Raises :class:`EngineUnavailable`."""
        if not self._asked:
            return
        if self._kinds is None:
            self.version = await self._thread.call(self._engine.version)
        found = await self._thread.call(self._engine.kinds)
        kinds = tuple(
            kind if kind.memory_bytes else kind._replace(memory_bytes=self._allocations.memory_of(kind.model))
            for kind in found[:KINDS_MAX]
        )
        self._asked, self._fresh_until_s = False, asyncio.get_running_loop().time() + KEEP_S
        self._answered.set()
        if kinds != self._kinds:
            self._kinds = kinds
            self._on_change()

    async def current(self, timeout_s: float) -> Sequence[GPUKind] | None:
        """Return the kinds, after a wait for the first answer of at most ``timeout_s``."""
        if self.kinds() is None and self._thread.unanswered_since is None:
            await wait_for_event(self._answered, timeout_s)
        return self._kinds
