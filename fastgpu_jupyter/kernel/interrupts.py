"""SIGINT in a kernel: it ends the waits of all its cells, whichever thread they wait in.

Python calls signal handlers in the main thread only, and a cell may wait in the thread of a subshell. ipykernel ignores
SIGINT while the main shell is idle and has a handler of its own while that runs a cell; methods of :class:`Interrupts`
replace both.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """The waits that SIGINT ends. Safe to use from several threads."""

    def __init__(self) -> None:
        self._stops: set[Callable[[], None]] = set()

    def install(self) -> None:
        """Handle SIGINT from now on, while no cell of the main shell runs; does nothing outside the main thread."""
        if _in_main_thread():
            signal.signal(signal.SIGINT, self._stop_waits)

    def install_for_cell(self) -> None:
        """Handle SIGINT while a cell of the main shell runs, which it interrupts, too."""
        if _in_main_thread():
            signal.signal(signal.SIGINT, self._stop_waits_and_cell)

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` on SIGINT inside the block, in which a cell waits; any number of blocks may be entered."""
        self._stops.add(stop)
        # A cell of the main shell that waits does not run: a KeyboardInterrupt would end the event loop.
        saved = signal.signal(signal.SIGINT, self._stop_waits) if _in_main_thread() else None
        try:
            yield
        finally:
            self._stops.discard(stop)
            if saved is not None:
                signal.signal(signal.SIGINT, saved)

    def stop_waits(self) -> None:
        """Stop the cells that wait."""
        for stop in list(self._stops):
            stop()

    def _stop_waits(self, _signum: int, _frame: FrameType | None) -> None:
        self.stop_waits()

    def _stop_waits_and_cell(self, signum: int, frame: FrameType | None) -> None:
        self.stop_waits()
        signal.default_int_handler(signum, frame)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
