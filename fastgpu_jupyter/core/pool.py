"""The pool: a command is decided, its events applied, and whoever waits is served.

``decide`` reads the state and changes nothing; ``apply`` changes it and cannot fail except on a bug. ``Pool.execute``
strings them together for the runtime, which journals the events before anybody learns of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import commands as c
from . import events as e
from . import placement
from .apply import apply
from .decide import decide
from .events import Event
from .model import Instant, LeaseState, State
from .scheduler import Scheduler


class Pool:
    """One state and the scheduler that follows it; nothing else changes that state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._scheduler = Scheduler(state)

    def execute(self, command: c.Command, at: Instant) -> list[Event]:
        """Decide ``command``, apply what follows from it and return the events, in order.

        Raises a :class:`~fastgpu_jupyter.errors.CallerError` and changes nothing where the command is refused.
        """
        events = decide(self.state, command, at)
        self._apply(events, at)
        while more := self.advance(at):
            self._apply(more, at)
            events += more
        return events

    def advance(self, at: Instant) -> list[Event]:
        """The next grant, if anybody who waits can be served."""
        found = self._scheduler.next_grant(at.ms)
        if found is None:
            return []
        lease, devices = found
        logical_gpu = placement.carve(lease.request.size, devices, self.state.generations + 1)
        return [e.LeaseGranted(lease.id, logical_gpu)]

    def _apply(self, events: Iterable[Event], at: Instant) -> None:
        for event in events:
            lease_id = getattr(event, "lease_id", None)
            before = self.state.leases.get(lease_id) if lease_id else None
            waited = before is not None and before.state is LeaseState.WAITING
            if before is not None and waited and isinstance(event, (e.LeaseResized, e.LeaseTransferred)):
                self._scheduler.left(before)
                apply(self.state, event, at)
                self._scheduler.requested(before)
            else:
                apply(self.state, event, at)
                self._follow(event, waited=waited)

    def _follow(self, event: Event, *, waited: bool) -> None:
        match event:
            case e.LeaseRequested(lease_id=lease_id):
                self._scheduler.requested(self.state.leases[lease_id])
            case e.LeaseGranted(lease_id=lease_id):
                self._scheduler.left(self.state.leases[lease_id])
            case e.LeaseEnded(lease_id=lease_id) if waited:
                self._scheduler.left(self.state.leases[lease_id])
            case e.LeaseEnded(lease_id=lease_id):
                self._scheduler.freed(self.state.leases[lease_id].tenant)
            case e.TenantSet(tenant=tenant):
                self._scheduler.freed(tenant)
            case e.LeaseResized(lease_id=lease_id):
                self._scheduler.freed(self.state.leases[lease_id].tenant)
            case e.LeaseTransferred():
                self._scheduler = Scheduler(self.state)
            case e.DeviceAppeared() | e.DeviceVanished() | e.DeviceHealthChanged() | e.DeviceDrained():
                self._scheduler = Scheduler(self.state)


def replay(state: State, events: Iterable[Event], at: Instant) -> None:
    """Apply what was journalled; nobody is served before it all is."""
    for event in events:
        apply(state, event, at)
