"""The pool: a command is decided, its events applied, and whoever waits is served.

``decide`` reads the state and changes nothing; ``apply`` changes it and cannot fail except on a bug. ``Pool.execute``
strings them together for the runtime, which journals the events before anybody learns of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import commands as c
from . import events as e
from . import parking, placement
from .apply import apply
from .decide import decide
from .events import Event
from .model import Instant, LeaseState, State
from .scheduler import Scheduler

#: Events after which one that waits stands elsewhere in the queue, or no longer in it.
_REQUEUED = {
    e.LeaseGranted,
    e.LeaseResuming,
    e.LeaseEnded,
    e.LeaseResized,
    e.LeaseTransferred,
    e.LeaseRetained,
    e.HolderBound,
}
#: Events with which a lease begins to wait.
_JOINS = {e.LeaseRequested, e.LeaseWanted}


class Pool:
    """One state and the scheduler that follows it; nothing else changes that state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._scheduler = Scheduler(state)
        #: Active leases on devices that can park: without any, nobody looks for room to make.
        self._parkable = {
            lease.id: None
            for lease in state.leases.values()
            if lease.state is LeaseState.ACTIVE and parking.may_park(state, lease)
        }

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
        """The next grant, if anybody who waits can be served; else what is parked so that somebody can be, soon."""
        found = self._scheduler.next_grant(at.ms)
        if found is None:
            return self._make_room(at)
        lease, devices = found
        logical_gpu = placement.carve(lease.request.size, devices, self.state.generations + 1)
        granted = e.LeaseResuming if lease.has_image else e.LeaseGranted
        return [granted(lease.id, logical_gpu)]

    def _make_room(self, at: Instant) -> list[Event]:
        if not self._parkable or not self.state.queue:
            return []
        waiting = self._scheduler.unserved(at.ms)
        found = parking.make_room(self.state, waiting, self._scheduler.highest(), self._parkable, at.ms)
        return [e.LeaseParking(parked.lease.id, parked.reason) for parked in found]

    def _apply(self, events: Iterable[Event], at: Instant) -> None:
        for event in events:
            lease = self.state.leases.get(getattr(event, "lease_id", ""))
            waits = lease is not None and lease.state is LeaseState.WAITING and type(event) in _REQUEUED
            if lease is not None and waits:
                self._scheduler.left(lease)
            apply(self.state, event, at)
            self._follow(event, waits=waits)

    def _follow(self, event: Event, *, waits: bool) -> None:
        """Keep the scheduler, and the list of those that can be parked, as the state is now."""
        lease = self.state.leases.get(getattr(event, "lease_id", ""))
        if lease is not None:
            if lease.state is LeaseState.WAITING and (waits or type(event) in _JOINS):
                self._scheduler.requested(lease)
            if lease.state is LeaseState.ACTIVE and parking.may_park(self.state, lease):
                self._parkable[lease.id] = None
            else:
                self._parkable.pop(lease.id, None)
        match event:
            case e.LeaseEnded() | e.LeaseParked() | e.LeaseResized() if lease is not None and not waits:
                self._scheduler.freed(lease.tenant)
            case e.TenantSet() | e.GroupSet() | e.LeaseTransferred() | e.PolicySet() | e.HostAppeared():
                self._scheduler = Scheduler(self.state)
            case e.BudgetSet() | e.MonthBegan() | e.ReservationBegan() | e.ReservationEnded():
                self._scheduler = Scheduler(self.state)
            case e.DeviceAppeared() | e.DeviceVanished() | e.DeviceHealthChanged() | e.DeviceDrained():
                self._scheduler = Scheduler(self.state)


def replay(state: State, events: Iterable[Event], at: Instant) -> None:
    """Apply what was journalled; nobody is served before it all is."""
    for event in events:
        apply(state, event, at)
