"""The end of a work process that does not end by itself: signals, each after the one before had some time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ...wire.job_states import JobState

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobFailure

#: Seconds after the beginning, and what is sent then. SIGKILL goes to everything that descends from the work process.
INTERRUPTED = ((0.0, signal.SIGINT), (5.0, signal.SIGTERM), (10.0, signal.SIGKILL))
#: Without a GPU an interrupted program could not go on in an orderly way, either.
WITHOUT_LEASE = ((0.0, signal.SIGTERM), (10.0, signal.SIGKILL))
#: SIGKILL is repeated after that time, because processes may have been started meanwhile.
_AGAIN_S = 5.0


class Why(NamedTuple):
    """Why the work is ended, and the state that the job has then."""

    state: JobState
    error: JobFailure | None
    steps: tuple[tuple[float, signal.Signals], ...] = INTERRUPTED


class Ending:
    """The signals that end the work process; at first there is no reason to end it, and the first reason counts."""

    def __init__(self, send: Callable[[signal.Signals], None]) -> None:
        self._send = send
        self.why: Why | None = None
        self._began_s = 0.0
        self._steps: list[tuple[float, signal.Signals]] = []

    def begin(self, why: Why, now_s: float) -> None:
        """End the work for this reason."""
        if self.why is None:
            self.why, self._began_s, self._steps = why, now_s, list(why.steps)

    def due_in_s(self, now_s: float) -> float | None:
        """Return the seconds until the next signal, None without one."""
        return max(0.0, self._began_s + self._steps[0][0] - now_s) if self._steps else None

    def step(self, now_s: float) -> None:
        """Send the signals that are due."""
        while self._steps and now_s >= self._began_s + self._steps[0][0]:
            after_s, signum = self._steps.pop(0)
            self._send(signum)
            if signum == signal.SIGKILL:
                self._steps.append((after_s + _AGAIN_S, signum))
