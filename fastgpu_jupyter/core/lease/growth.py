"""Growth of an active lease for which idle leases on its device are parked first.

The larger size is *deferred* until there is room: the lease keeps the size that it has, and its bill, until the memory
of the others is parked. It comes before waiting requests, like every larger size of an active lease. Leases yield to it
by the rule by which they yield to a request that needs its device now (:mod:`..placement.idleness`).
"""

from __future__ import annotations

from ...errors import Conflict, Message
from ..model import events as e
from ..model.entities import Device, Instant, Lease, LeaseRequest, ParkReason, Retention, State
from ..model.events import Event
from ..model.lifecycle import RELEASING_CAPACITY
from ..placement import device_share, idleness, parkability
from ..placement.parkability import logical_gpu_of
from .transition import advance


def has_room(device: Device, lease: Lease, request: LeaseRequest) -> bool:
    """Return whether a lease of the device can have the size of ``request`` there now."""
    size, others_bytes = request.size, device.promised_bytes - logical_gpu_of(lease).memory_bytes
    alone = len(device.lease_ids) == 1
    return (alone or not size.whole) and device_share.memory_bytes(
        device, size
    ) + others_bytes <= device.spec.memory_bytes


def defer(state: State, lease: Lease, request: LeaseRequest, device: Device, at: Instant) -> list[Event]:
    """Return what makes room for the size of ``request``: the leases to park, of those that have been idle longest.

    Raises :class:`Conflict` where parking all that yield would not be enough.
    """
    others = [state.leases[name] for name in device.lease_ids if name != lease.id]
    staying = [other for other in others if other.state not in RELEASING_CAPACITY]
    yielding = sorted(
        (other for other in staying if _yields(state, other, lease, at)),
        key=lambda other: (other.last_activity_ms, other.id),
    )
    free_bytes = device.spec.memory_bytes - sum(logical_gpu_of(other).memory_bytes for other in staying)
    needed_bytes = device_share.memory_bytes(device, request.size)
    parked: list[Event] = []
    for other in yielding:
        if free_bytes >= needed_bytes:
            break
        free_bytes += logical_gpu_of(other).memory_bytes
        parked.append(e.LeaseParking(other.id, ParkReason.IDLE))
    if free_bytes < needed_bytes:
        raise Conflict(Message.of("resize.no_room", size=str(request.size), free_bytes=free_bytes))
    deferred = [] if lease.resize_deferred == request else [e.LeaseResizeDeferred(lease.id, request)]
    return [*deferred, *parked]


def _yields(state: State, other: Lease, lease: Lease, at: Instant) -> bool:
    yields = other.request.retention is Retention.YIELD and parkability.may_park(state, other, at.ms)
    return yields and idleness.yields_to(state, other, lease.tenant, at.ms)


def message(lease: Lease) -> Message | None:
    """Return what became of a larger size that was deferred, or ``None`` where there is nothing to say."""
    if lease.resize_deferred is not None:
        return Message.of("resize.deferred", size=lease.resize_deferred.name)
    return lease.resize_failure


def apply_deferred(state: State, event: e.LeaseResizeDeferred, at: Instant) -> None:
    """Record the size that the lease gets once there is room."""
    lease = advance(state, event.lease_id, event)
    lease.resize_deferred, lease.resize_failure = event.request, None
    state.deferred[lease.id] = None


def apply_dropped(state: State, event: e.LeaseResizeDropped, at: Instant) -> None:
    """Record that the lease keeps its size, and why, where its user did not want that."""
    lease = advance(state, event.lease_id, event)
    forget(state, lease)
    lease.resize_failure = event.reason


def forget(state: State, lease: Lease) -> None:
    """Forget what was deferred and what came of it."""
    lease.resize_deferred = lease.resize_failure = None
    state.deferred.pop(lease.id, None)
