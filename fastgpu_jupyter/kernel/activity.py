"""The thread that tells the pool whether cells run, so that a lease is parked only while nobody computes; and which
libraries keep to another size of the lease.

A run of short cells says little: *busy* once a cell began a moment ago, *not busy* after a moment of quiet. A cell that
waits because the lease is parked says so at once, which is how the lease comes back. What the pool is told is compared
with what its views say, so that nothing is lost when the pool manager or the kernel was started anew.

A pool that does not answer is no error for anybody: it is told later.
"""

from __future__ import annotations

import threading
import time

from ..errors import CallerError, FastGPUError
from .gate import OVER, PARKED, Gate

#: A cell that is over sooner is told together with those that follow it.
BUSY_AFTER_S = 0.2
QUIET_S = 0.5
#: After a failure, growing to the second.
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 5.0


class Reporter(threading.Thread):
    """Tells the pool of ``gate`` what its cells do, until the gate's ``closed`` event is set."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(name="fastgpu-reporter", daemon=True)
        self._gate = gate
        self._use = gate.use
        #: The lease was seen to be one that can be parked, now or later.
        self._parkable: str | None = None
        self._retry_s = RETRY_FIRST_S

    def run(self) -> None:
        """Look whenever a cell or the lease changes, and as often as :meth:`look` says."""
        forget = self._gate.listen(self._use.stirred.set)
        pause_s: float | None = 0.0
        while not self._gate.closed.is_set():
            if pause_s is None:
                self._use.resting = self._heeds_cells
                pause_s = self.look()  # again: what happened before we rested woke nobody
            if pause_s is None or pause_s > 0:
                self._use.stirred.wait(pause_s)
            self._use.resting = False
            self._use.stirred.clear()
            pause_s = self.look()
        forget()

    def look(self) -> float | None:
        """Say what is to be said now; the time after which to look again, ``None`` if nothing else changes."""
        due = self._due(time.monotonic())
        word = self._gate.has_unreported_resize
        if not word and (due is None or due[1] > 0):
            return None if due is None else due[1]
        try:
            if word:
                self._gate.say_libraries()
            elif due is not None:
                self._gate.say(busy=due[0])
        except CallerError:
            return None  # the lease is over, or another's: the follower hears of it
        except (FastGPUError, OSError):
            self._retry_s = min(self._retry_s * 2, RETRY_MOST_S)
            return self._retry_s
        self._retry_s = RETRY_FIRST_S
        return QUIET_S

    def _due(self, now: float) -> tuple[bool, float] | None:
        """What is to be told, and in how many seconds; ``None`` where there is nothing to tell."""
        view, use = self._gate.view, self._use
        if view is None or view["id"] != self._gate.lease_id or view["state"] in OVER:
            return None
        running = use.running
        if view["parkable"] or view["busy"] or view["state"] in PARKED:
            self._parkable = view["id"]
        if view["busy"]:
            use.noticed()
            return None if running else (False, max(0.0, use.ended_at + QUIET_S - now))
        if view["state"] in PARKED and not running:
            use.noticed()  # what was over that soon did not need the GPU
        if not self._heeds_cells or not (running or use.began):
            return None
        return True, max(0.0, use.began_at + BUSY_AFTER_S - now)

    @property
    def _heeds_cells(self) -> bool:
        """Whether it matters to the pool, as the lease is now, that a cell begins or ends."""
        view = self._gate.view
        if view is None or view["id"] != self._gate.lease_id or self._parkable != view["id"]:
            return False
        return view["busy"] or view["state"] == "active" or view["state"] in PARKED
