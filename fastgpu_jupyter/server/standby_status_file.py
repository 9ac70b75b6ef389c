"""Writes what other processes of the user learn of the standby kernels of this server. All methods are for threads."""

from __future__ import annotations

import os
from contextlib import suppress

from ..wire import standby_status
from ..wire.standby_status import ColdStarts, StandbyStatus
from . import recent_starts
from .preload_refusals import refusals
from .start_counters import counters
from .start_match import Start


class StandbyStatusFile:
    """The file of this server, and the starts that the next server prepares for. What cannot be written is left out."""

    def __init__(self) -> None:
        #: The start of the last launch, until it is noted.
        self.used: Start | None = None
        self._written: StandbyStatus | None = None

    def update(self, waiting: int) -> None:
        """Write what has changed; ``waiting`` standby kernels are ready."""
        used, self.used = self.used, None
        if used is not None:
            with suppress(OSError):
                recent_starts.note(used.kernelspec, used.hidden or {})
        status = _status(waiting)
        if status != self._written:
            with suppress(OSError):
                standby_status.write(status)
                self._written = status

    def remove(self) -> None:
        """Remove the file, and those of servers that were killed."""
        with suppress(OSError):
            standby_status.remove()


def _status(waiting: int) -> StandbyStatus:
    # Copies: the event loop counts on.
    differed = dict(counters.differed)
    cold = tuple(ColdStarts(*key, count, differed.get(key, "")) for key, count in counters.misses.copy().items())
    refused = tuple((kernelspec, refusal) for (kernelspec, _), refusal in refusals.all().items())
    return StandbyStatus(os.getpid(), waiting, sum(counters.hits.copy().values()), cold, refused)
