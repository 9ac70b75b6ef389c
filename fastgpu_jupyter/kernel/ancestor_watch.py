"""A thread that finds out whether a waiting cell waits for the GPU of a kernel from which this one descends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from ..errors import FastGPUError
from ..messages import render
from ..wire.ancestors import held_by_ancestor
from .gate import Gate

#: Between two questions to the pool manager.
PAUSE_S = 5.0


class AncestorWatch(threading.Thread):
    """Keeps :attr:`note` current until :meth:`end`, and calls ``changed`` when it changes."""

    def __init__(self, gate: Gate, changed: Callable[[], None]) -> None:
        super().__init__(name="fastgpu-ancestors", daemon=True)
        #: A sentence for the display of the wait; None where no ancestor is known to hold a GPU.
        self.note: str | None = None
        self._gate = gate
        self._changed = changed
        self._ended = threading.Event()

    def run(self) -> None:
        """Ask the pool manager again and again."""
        while not self._ended.is_set():
            note = self.note
            with suppress(FastGPUError, OSError):  # what was known stays; the display says that the pool is silent
                held = held_by_ancestor(self._gate.pool.quick(), self._gate.environment.ancestors)
                note = None if held is None else render(held)
            if note != self.note:
                self.note = note
                self._changed()
            self._ended.wait(PAUSE_S)

    def end(self) -> None:
        """End the thread, at the latest after its present question."""
        self._ended.set()
