"""A work process of calls between two of them: it is kept, with its lease, for the next one."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, cast

from ...core.model.lifecycle import LeaseState
from .guard import Channel, Guard
from .held_lease import HeldLease
from .reporter import DispatcherReporter

if TYPE_CHECKING:
    from ...wire.schemas.jobs import HandOver

#: After so long without a call, in seconds, the pool manager may give the device to others. Reports of shorter pauses
#: would cost more than they are worth.
REST_S = 0.5


class KeptWorker:
    """What one call leaves for the next one: the work process with its guard, its lease, and the connections."""

    def __init__(self, guard: Guard, lease: HeldLease, reporter: DispatcherReporter, channel: Channel) -> None:
        self.lease, self.reporter, self.channel = lease, reporter, channel
        self._guard = guard
        self._rests = False

    def wait(self, idle_s: float) -> HandOver | None:
        """Return the next call; end the work process and the lease, and return None, where none comes in that time.

        The same where the lease is not active any more, the work process or the dispatcher has ended, or the dispatcher
        says that others wait for a device.
        """
        began_s = time.monotonic()
        while (left_s := began_s + idle_s - time.monotonic()) > 0 and self.lease.view["state"] == LeaseState.ACTIVE:
            until_rest_s = left_s if self._rests else began_s + REST_S - time.monotonic()
            sources = [self.reporter.fileno(), self.lease.fileno(), self._guard.channel.fileno(), self.channel.fileno()]
            readable, _, _ = select.select(sources, [], [], max(0.0, min(left_s, until_rest_s)))
            for event in self.reporter.events():
                if event.get("event") == "run":
                    return cast("HandOver", event)
                if event.get("event") in ("end_worker", "disconnected"):
                    self.end()
                    return None
            if self._guard.channel.fileno() in readable or self.channel.fileno() in readable:
                break  # the work process has ended
            self.lease.changes()
            if not self._rests and time.monotonic() >= began_s + REST_S:
                self._rests = True
                self.lease.set_resting(resting=True)
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
