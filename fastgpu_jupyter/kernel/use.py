"""Which cells run, noted by the kernel's main thread for the thread that tells the pool (:mod:`.activity`).

To begin and to end a cell costs a few attribute reads and, once in a while, to wake that thread: no I/O, no waiting.
"""

from __future__ import annotations

import threading
import time


class Use:
    """Safe to use from several threads: subshells run cells in threads of their own."""

    def __init__(self) -> None:
        self._running: set[object] = set()
        #: The other thread sleeps until a cell wakes it; False while it looks by itself, or cells are nothing to it.
        self.resting = False
        #: Wakes it.
        self.stirred = threading.Event()
        #: A cell began since the last time that :meth:`noticed` was called.
        self.began = False
        self.began_at = 0.0
        self.ended_at = 0.0
        #: Held while the pool is told, so that nothing older is said after something newer.
        self.saying = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether any cell runs now."""
        return bool(self._running)

    def begin(self) -> object:
        """A cell begins; returns what :meth:`end` takes."""
        cell = object()
        self._running.add(cell)
        if not self.began:
            self.began_at = time.monotonic()
            self.began = True
        if self.resting:
            self.stirred.set()
        return cell

    def end(self, cell: object) -> None:
        """It ended."""
        self._running.discard(cell)
        self.ended_at = time.monotonic()
        if self.resting:
            self.stirred.set()

    def hurry(self) -> None:
        """A cell waits: what is to be told is told at once."""
        self.began_at = 0.0
        self.stirred.set()

    def noticed(self) -> None:
        """That cells began is known now."""
        self.began = False

    def forget(self) -> None:
        """What runs, and what ran lately, does not count."""
        self._running.clear()
        self.began = False
