"""The transition table of :mod:`core.model.lifecycle`, applied to leases and events."""

from __future__ import annotations

from ...errors import InternalError
from ..model import events
from ..model.entities import Lease, State
from ..model.events import Event
from ..model.lifecycle import RELEASING_CAPACITY, TRANSITIONS, LeaseState
from .allocation import device_shares

_NEXT: dict[tuple[LeaseState, type[Event]], LeaseState] = {
    (state, getattr(events, name)): after for (state, name), after in TRANSITIONS.items()
}


def next_state(lease: Lease, event: Event) -> LeaseState:
    """Return the state of the lease after ``event``.

    Raises :class:`InternalError`, with everything that is known of the lease, where the table has no such transition.
    """
    after = _NEXT.get((lease.state, type(event)))
    if after is None:
        raise InternalError(f"{event!r} does not fit a lease that is {lease.state.value}: {lease!r}")
    return after


def advance(state: State, lease_id: str, event: Event) -> Lease:
    """Move the lease to the state after ``event`` and return it; its devices learn whether capacity is being freed."""
    lease = state.leases[lease_id]
    before = lease.state
    after = lease.state = next_state(lease, event)
    lease.version += 1
    if before is LeaseState.ACTIVE and after is not before and lease.id in state.deferred:
        del state.deferred[lease.id]
        lease.resize_deferred = None
    if after is not before and lease.logical_gpu is not None:
        releases = (after in RELEASING_CAPACITY) - (before in RELEASING_CAPACITY)
        if releases:
            for device, memory_bytes in device_shares(state, lease.logical_gpu):
                device.releasing_bytes += releases * memory_bytes
    return lease
