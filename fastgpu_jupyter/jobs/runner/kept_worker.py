"""A work process of calls between two of them: it is kept, with its lease, for the next one."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...core.model.lifecycle import LeaseState
from .. import places
from .guard import Channel, Guard
from .held_lease import HeldLease
from .reporter import DispatcherReporter
from .result import ResultWriter
from .work import run_message

if TYPE_CHECKING:
    from ...wire.schemas.jobs import HandOver

#: After so long without a call, in seconds, the pool manager may give the device to others. Reports of shorter pauses
#: would cost more than they are worth.
REST_S = 0.5
#: What ends a kept worker: the dispatcher says so, or is not there.
_ENDING = ("end_worker", "disconnected")


class KeptWorker:
    """What one call leaves for the next one: the work process with its guard, its lease, and the connections."""

    def __init__(
        self,
        guard: Guard,
        lease: HeldLease,
        reporter: DispatcherReporter,
        channel: Channel,
        *,
        writer: ResultWriter,
        jobs: Path,
    ) -> None:
        """``jobs``: the folder of all jobs."""
        self.writer = writer
        self.lease, self.reporter, self.channel = lease, reporter, channel
        self._guard, self._jobs = guard, jobs
        self._rests = False
        reporter.take_run = self._forward

    def _forward(self, event: dict[str, Any]) -> None:
        """Pass a call on to the work process; all else that it needs is done while it runs."""
        start = cast("HandOver", event)
        self.channel.send(run=run_message(start, places.job_folder(start["id"], self._jobs)))

    def wait(self, idle_s: float) -> HandOver | None:
        """Return the next call, which the work process has been sent; end it and the lease where none comes in time.

        The same where the lease is not active any more, the work process or the dispatcher has ended, or the dispatcher
        says that others wait for a device; None is returned then.
        """
        began_s = time.monotonic()
        while (left_s := began_s + idle_s - time.monotonic()) > 0 and self.lease.view["state"] == LeaseState.ACTIVE:
            until_rest_s = left_s if self._rests else began_s + REST_S - time.monotonic()
            sources = [self.reporter.fileno(), self.lease.fileno(), self._guard.channel.fileno(), self.channel.fileno()]
            readable, _, _ = select.select(sources, [], [], max(0.0, min(left_s, until_rest_s)))
            events = self.reporter.events()
            if (start := _call_among(events)) is not None:
                return start
            if any(event.get("event") in _ENDING for event in events):
                break
            if self._guard.channel.fileno() in readable or self.channel.fileno() in readable:
                break  # the work process has ended
            self.lease.changes()
            if not self._rests and time.monotonic() >= began_s + REST_S:
                self._rests = True
                self.lease.set_resting(resting=True)
        # The dispatcher may have given it a call at the last moment.
        if not self.reporter.retire_worker() and (start := _call_among(self.reporter.events())) is not None:
            return start
        self.end()
        return None

    def begin(self, start: HandOver) -> None:
        """Report that the work process, which was sent a call, computes again."""
        self.reporter.begin(start["id"], start["attempt"])
        if self._rests:
            self._rests = False
            self.lease.set_resting(resting=False)

    def end(self) -> None:
        """End the work process, and then its lease."""
        self.channel.close()
        self._guard.close()
        self.lease.release()
        self.writer.close()


def _call_among(events: Iterable[Mapping[str, Any]]) -> HandOver | None:
    for event in events:
        if event.get("event") == "run":
            return cast("HandOver", event)
    return None
