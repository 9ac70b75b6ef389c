"""The thread that reports to the pool whether cells run, and which libraries need a restart for a new size.

The pool parks a lease only while no cell runs, and needs to know where a cell waits. A kernel reports at its start that
it is idle. Short cells cause few reports: *busy* is reported once a cell has run for a moment, *not busy* after a
moment without cells. A cell that waits for the lease is reported at once. The reporter compares what it would report
with the pool's view of the lease, so that a restart of the pool manager or of the kernel loses nothing.

A pool that does not answer is not an error for the user: the report is repeated later.
"""

from __future__ import annotations

import threading
import time

from ..core.model.lifecycle import BLOCKING_CELLS, OVER
from ..errors import CallerError, FastGPUError
from .gate import Gate

#: A cell that ends earlier is reported together with the cells that follow it.
BUSY_AFTER_S = 0.2
QUIET_S = 0.5
#: Pauses after a failed report, growing from the first to the second.
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 5.0


class ActivityReporter(threading.Thread):
    """Reports what the cells of ``gate`` do, until the gate's ``closed`` event is set."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(name="fastgpu-reporter", daemon=True)
        self._gate = gate
        self._activity = gate.activity
        #: Version of the lease for which a cell that waits was reported last.
        self._resumed_version: int | None = None
        self._retry_s = RETRY_FIRST_S

    def run(self) -> None:
        """Report whenever a cell or the lease changes, and as often as :meth:`report_due` says."""
        remove_listener = self._gate.add_listener(self._activity.changed.set)
        pause_s: float | None = 0.0
        while not self._gate.closed.is_set():
            if pause_s is None:
                self._activity.reporter_sleeps = self._pool_needs_activity
                pause_s = self.report_due()  # a change before the line above woke no one
            if pause_s is None or pause_s > 0:
                self._activity.changed.wait(pause_s)
            self._activity.reporter_sleeps = False
            self._activity.changed.clear()
            pause_s = self.report_due()
        remove_listener()

    def report_due(self) -> float | None:
        """Send the report that is due; return the seconds until the next call, None to wait for a change."""
        due = self._due(time.monotonic())
        libraries = self._gate.has_unreported_resize
        if not libraries and (due is None or due[1] > 0):
            return None if due is None else due[1]
        try:
            if libraries:
                self._gate.report_libraries()
            elif due is not None:
                view = self._gate.view
                self._gate.report_activity(busy=due[0])
                self._resumed_version = view["version"] if view is not None else None
        except CallerError:
            return None  # the lease ended or belongs to another process: the follower notices
        except (FastGPUError, OSError):
            self._retry_s = min(self._retry_s * 2, RETRY_MOST_S)
            return self._retry_s
        self._retry_s = RETRY_FIRST_S
        return QUIET_S

    def _due(self, now: float) -> tuple[bool, float] | None:
        """Return what to report (busy or not) and in how many seconds; None where nothing is to be reported."""
        view, activity = self._gate.view, self._activity
        if view is None or view["id"] != self._gate.lease_id or view["state"] in OVER:
            return None
        running = activity.running
        if view["usage"]["busy"] is None:
            return running, 0.0
        if activity.waits and view["state"] == "parked" and view["version"] != self._resumed_version:
            return True, 0.0  # also where the pool knows that a cell runs: it is parked because its user wanted that
        if view["usage"]["busy"]:
            activity.acknowledge()
            return None if running else (False, max(0.0, activity.ended_at + QUIET_S - now))
        if view["state"] in BLOCKING_CELLS and not running:
            activity.acknowledge()  # a cell that ended that soon did not need the GPU
        if not (running or activity.began):
            return None
        return True, max(0.0, activity.began_at + BUSY_AFTER_S - now)

    @property
    def _pool_needs_activity(self) -> bool:
        """Whether the begin or end of a cell matters to the pool: whether the lease is not over."""
        view = self._gate.view
        return view is not None and view["id"] == self._gate.lease_id and view["state"] not in OVER
