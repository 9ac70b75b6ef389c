"""Which cells run: recorded by the thread that runs cells, read by the thread that reports to the pool.

Recording the begin and the end of a cell costs a few attribute reads and at times the wake-up of the reporter
(:mod:`.activity_reporter`): no I/O, no waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Set as AbstractSet


class CellActivity:
    """The cells that run in this kernel. Safe to use from several threads: subshells run cells in their own."""

    def __init__(self) -> None:
        self._running: set[object] = set()
        #: Code that runs and does not count as use, and a lock for it.
        self._uncounted: set[object] = set()
        self._uncounted_lock = threading.Lock()
        #: The reporter sleeps until a cell wakes it; False while it polls, or while the pool needs no reports.
        self.reporter_sleeps = False
        #: Wakes the reporter.
        self.changed = threading.Event()
        #: A cell began since the last call of :meth:`acknowledge`.
        self.began = False
        self.began_at = 0.0
        self.ended_at = 0.0
        #: How many cells have ended since that was reported.
        self.ended = 0
        #: A cell waits for the lease.
        self.waits = False
        #: Held during a report, so that an older report never follows a newer one.
        self.report_lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether any cell runs now."""
        return bool(self._running)

    def begin(self) -> object:
        """Record that a cell begins; return the token that :meth:`end` takes."""
        cell = object()
        self._running.add(cell)
        if not self.began:
            self.began_at = time.monotonic()
            self.began = True
        if self.reporter_sleeps:
            self.changed.set()
        return cell

    def end(self, cell: object) -> None:
        """Record that the cell ended."""
        self._running.discard(cell)
        self.ended += 1
        self.ended_at = time.monotonic()
        if self.reporter_sleeps:
            self.changed.set()

    @property
    def uncounted(self) -> frozenset[object]:
        """The code that runs and does not count as use, as tokens."""
        return frozenset(self._uncounted)

    def begin_uncounted(self) -> object:
        """Record that code begins that does not count as use; return the token that :meth:`end_uncounted` takes."""
        code = object()
        with self._uncounted_lock:
            self._uncounted.add(code)
        return code

    def count(self, codes: AbstractSet[object]) -> None:
        """Count those of ``codes`` that still run as use from now on."""
        with self._uncounted_lock:
            codes &= self._uncounted
            self._uncounted -= codes
            self._running |= codes
            self.began = self.began or bool(codes)
        if codes:
            self.report_now()

    def end_uncounted(self, code: object) -> None:
        """Record that code ended that did not count as use when it began."""
        with self._uncounted_lock:
            self._uncounted.discard(code)
        if code in self._running:
            self.end(code)

    def report_now(self) -> None:
        """Make the reporter report without its usual delay, because a cell waits."""
        self.waits = True
        self.began_at = 0.0
        self.changed.set()

    def acknowledge(self) -> None:
        """Record that the pool knows of the cells that began."""
        self.began = False

    def forget(self) -> None:
        """Discard the cells that run or ran lately: they are no longer a reason to resume."""
        self._running.clear()
        self.began = False
