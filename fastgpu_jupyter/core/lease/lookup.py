"""Lookups of leases by id, with a refusal where there is none in the required state."""

from __future__ import annotations

from ...errors import Conflict, Message, NotFound
from ..model.entities import Lease, State
from ..model.lifecycle import OVER, LeaseState


def find_lease(state: State, lease_id: str) -> Lease:
    """Return the lease with that id. Raises :class:`NotFound`."""
    lease = state.leases.get(lease_id)
    if lease is None:
        raise NotFound(Message.of("lease.not_found", lease=repr(lease_id[:40])))
    return lease


def find_live_lease(state: State, lease_id: str) -> Lease:
    """Return the lease. Raises :class:`Conflict` where it is over."""
    lease = find_lease(state, lease_id)
    if lease.state in OVER:
        raise Conflict(Message.of("lease.over"))
    return lease


def find_granted(state: State, lease_id: str, generation: int, expected: LeaseState) -> Lease | None:
    """Return the lease if it is in the ``expected`` state by the grant with that generation, else ``None``.

    ``None`` means that a report is about an earlier grant of the lease, or comes too late.
    """
    lease = state.leases.get(lease_id)
    if lease is None or lease.state is not expected or lease.logical_gpu is None:
        return None
    return lease if lease.logical_gpu.generation == generation else None
