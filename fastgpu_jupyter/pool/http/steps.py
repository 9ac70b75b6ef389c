"""Long work in the thread of the event loop, in steps between which other requests are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
#: After this time the event loop gets a turn.
STEP_S = 0.002


class Steps:
    """The steps of one piece of long work."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + STEP_S

    async def pause(self) -> None:
        """Let the event loop serve others if the step has taken :data:`STEP_S`."""
        if self._loop.time() > self._until_s:
            await asyncio.sleep(0)
            self._until_s = self._loop.time() + STEP_S


async def in_steps(make: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """Return what ``make`` returns for each of ``items``, made in steps."""
    steps = Steps()
    made: list[B] = []
    for item in items:
        made.append(make(item))
        await steps.pause()
    return made
