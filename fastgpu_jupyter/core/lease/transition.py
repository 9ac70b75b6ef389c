"""The transition table of :mod:`core.model.lifecycle`, applied to leases and events."""

from __future__ import annotations

from ...errors import InternalError
from ..model import events
from ..model.entities import Lease, State
from ..model.events import Event
from ..model.lifecycle import TRANSITIONS, LeaseState

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


def find_granted(state: State, lease_id: str, generation: int, expected: LeaseState) -> Lease | None:
    """Return the lease if it is in the ``expected`` state by the grant with that generation, else ``None``.

    ``None`` means that a report is about an earlier grant of the lease, or comes too late.
    """
    lease = state.leases.get(lease_id)
    if lease is None or lease.state is not expected or lease.logical_gpu is None:
        return None
    return lease if lease.logical_gpu.generation == generation else None
