"""Parking and resuming: device memory moves to host memory and back while the kernel lives."""

from __future__ import annotations

from dataclasses import replace

from ...errors import Conflict, Message
from ..accounting import budgets, fairshare, meter, reservations
from ..model import commands as c
from ..model import events as e
from ..model.entities import (
    GRANTS_TO_OVERTAKE_ALL,
    RELOCATING,
    EndReason,
    Image,
    Instant,
    Lease,
    ParkReason,
    Retention,
    State,
)
from ..model.events import Event
from ..model.lifecycle import PARKED_OR_PARKING, LeaseState
from ..placement import parkability
from . import allocation, idle, request, unaccounted_memory
from .lookup import find_granted, find_live_lease
from .transition import advance

#: How long it is tried to move parked memory to its device before the lease waits again: at first, and at most.
RESUME_MS, RESUME_MS_MAX = 5000, 60_000

#: After these a lease waits where it was in the queue: those that came later must not compute before it only because it
#: has begun already.
_KEEP_PLACE = frozenset({ParkReason.PRIORITY, ParkReason.GUARANTEE, ParkReason.BUDGET})


def set_policy(state: State, command: c.SetPolicy, at: Instant) -> list[Event]:
    """Set when the pool parks leases of its own accord."""
    return [] if state.policy == command.policy else [e.PolicySet(command.policy)]


def apply_policy(state: State, event: e.PolicySet, at: Instant) -> None:
    """Record the parking policy."""
    state.policy = event.policy


def set_retention(state: State, command: c.SetRetention, at: Instant) -> list[Event]:
    """Set whether the lease may be parked for others. Raises where it would keep borrowed capacity."""
    lease = find_live_lease(state, command.lease_id)
    if lease.request.retention is command.retention:
        return []
    if lease.cluster_job is None and lease.logical_gpu is not None and command.retention is Retention.HOLD:
        reservations.require_not_reserved_by_others(state, lease, lease.request.size)
    return [e.LeaseRetentionSet(lease.id, command.retention)]


def apply_retention(state: State, event: e.LeaseRetentionSet, at: Instant) -> None:
    """Record whether the lease may be parked for others."""
    lease = advance(state, event.lease_id, event)
    lease.request = replace(lease.request, retention=event.retention)


def park_lease(state: State, command: c.ParkLease, at: Instant) -> list[Event]:
    """Park the lease as its user requests, or keep one parked that waits to resume.

    An earlier attempt that failed does not matter. Raises :class:`Conflict` with the reason where it cannot be parked.
    """
    lease = find_live_lease(state, command.lease_id)
    if lease.state in PARKED_OR_PARKING:
        return []
    if lease.state is LeaseState.WAITING and lease.has_image:
        return [e.LeaseResumeWithdrawn(lease.id)]
    refusal = parkability.park_refusal(state, lease)
    if refusal is not None:
        raise Conflict(Message.of("parking.refused", reason=refusal))
    return [e.LeaseParking(lease.id, ParkReason.REQUESTED)]


def apply_parking(state: State, event: e.LeaseParking, at: Instant) -> None:
    """Stop billing. The host memory that parking takes is accounted for when it is done."""
    lease = advance(state, event.lease_id, event)
    meter.close_segment(state, lease, at.ms)
    gpu = lease.logical_gpu
    assert gpu is not None
    spec = state.devices[gpu.device_id].spec
    lease.park_reason, lease.migration_requested = event.reason, False
    lease.over_limit_since_ms, lease.over_limit_parks = (
        None,
        lease.over_limit_parks + (event.reason is ParkReason.OVER_LIMIT),
    )
    lease.image = Image(lease.holder, spec.model, spec.memory_bytes, gpu.device_ids)


def park_succeeded(state: State, command: c.ParkSucceeded, at: Instant) -> list[Event]:
    """Complete the parking; a lease that is needed at once waits for a device again."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.PARKING)
    if lease is None:
        return []
    parked: list[Event] = unaccounted_memory.left_by(state, lease, command.scrub_result)
    parked.append(e.LeaseParked(lease.id, command.host_memory_bytes, *(command.scrub_result or ())))
    # A cell runs or began meanwhile, or that is unknown: it waits to go on, as one that comes now.
    stays = lease.park_reason in (ParkReason.REQUESTED, ParkReason.OVER_LIMIT)
    goes_on = not stays and lease.busy is not False
    goes_on = goes_on or lease.park_reason in RELOCATING
    resumes = e.LeaseResumeRequested(lease.id, keeps_place=lease.park_reason in _KEEP_PLACE)
    return [*parked, resumes] if goes_on and not budgets.is_spent(lease, at.ms) else parked


def apply_parked(state: State, event: e.LeaseParked, at: Instant) -> None:
    """Free the devices, and account for the host memory that parking took."""
    lease = advance(state, event.lease_id, event)
    gpu, lease.logical_gpu = lease.logical_gpu, None
    assert gpu is not None
    allocation.free(state, lease, gpu, at)
    _set_parked_bytes(state, lease, event.host_memory_bytes)
    forget_failures(lease)
    lease.scrub, lease.scrub_bytes, lease.scrub_detail = event.scrub, event.scrub_bytes, event.scrub_detail
    idle.note_parked(state, lease, at)


def park_failed(state: State, command: c.ParkFailed, at: Instant) -> list[Event]:
    """Keep the lease where it is; its user is notified where its process was broken."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.PARKING)
    if lease is None:
        return []
    stays = e.LeaseParkFailed(lease.id, command.detail)
    return (
        [stays, e.LeaseFaulted(lease.id, Message.of("parking.broke_process", detail=command.detail))]
        if command.broken
        else [stays]
    )


def apply_park_failed(state: State, event: e.LeaseParkFailed, at: Instant) -> None:
    """Go on billing; the pool does not try again for a while, which grows with each failure."""
    lease = advance(state, event.lease_id, event)
    drop_image(state, lease)
    lease.park_failure, lease.park_failures = event.detail, lease.park_failures + 1
    lease.park_retry_ms = at.ms + parkability.retry_pause_ms(lease.park_failures)
    meter.open_segment(state, lease, at.ms)


def resume_lease(state: State, command: c.ResumeLease, at: Instant) -> list[Event]:
    """Let a parked lease wait for a device, as its user requests."""
    lease = find_live_lease(state, command.lease_id)
    if lease.state is not LeaseState.PARKED:
        return []
    if budgets.is_spent(lease, at.ms):
        raise Conflict(Message.of("resume.budget_spent"))
    return [e.LeaseResumeRequested(lease.id)]


def apply_resume_requested(state: State, event: e.LeaseResumeRequested, at: Instant) -> None:
    """Put the lease into the queue: at the end, where it was, or in front if it was moved for another lease's sake."""
    lease = advance(state, event.lease_id, event)
    lease.waiting_since, lease.grants_before = at, state.generations
    idle.end_idleness(state, lease)
    if lease.park_reason in RELOCATING:
        lease.grants_before -= GRANTS_TO_OVERTAKE_ALL  # it made room or had to go, and must not lose its turn by that
    if event.keeps_place or lease.park_reason is ParkReason.RESTART:
        # After a restart it takes anything, so who came after it may want the same.
        request.requeue_at_original_position(state, lease)
    else:
        state.arrivals += 1
        lease.arrival = state.arrivals
        state.queue[lease.id] = None
    fairshare.wait(state, lease.tenant, at.ms)


def apply_resume_withdrawn(state: State, event: e.LeaseResumeWithdrawn, at: Instant) -> None:
    """Take the lease out of the queue; as one that its user parked it stays parked until it is wanted again."""
    lease = advance(state, event.lease_id, event)
    lease.park_reason = ParkReason.REQUESTED
    idle.note_parked(state, lease, at)
    request.leave_queue(state, lease, at)


def resume_succeeded(state: State, command: c.ResumeSucceeded, at: Instant) -> list[Event]:
    """Make the lease active with its memory back on a device."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.RESUMING)
    return [e.LeaseResumed(lease.id, command.driver_handle)] if lease else []


def resume_failed(state: State, command: c.ResumeFailed, at: Instant) -> list[Event]:
    """End the lease whose memory could not be brought back."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.RESUMING)
    if lease is None:
        return []
    if not lease.has_image:  # a restart came between: there is nothing left to bring back, and the device is there
        return [e.LeaseResumed(lease.id)]
    return [e.LeaseDraining(lease.id, EndReason.RESUME_FAILED, command.detail)]


def resume_postponed(state: State, command: c.ResumePostponed, at: Instant) -> list[Event]:
    """Let the lease wait again where it was in the queue."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.RESUMING)
    if lease is None:
        return []
    return [e.LeaseResumePostponed(lease.id, command.detail) if lease.has_image else e.LeaseResumed(lease.id)]


def apply_resume_postponed(state: State, event: e.LeaseResumePostponed, at: Instant) -> None:
    """Give the capacity back and put the lease into the queue where it was; the attempt is counted."""
    lease = advance(state, event.lease_id, event)
    gpu, lease.logical_gpu = lease.logical_gpu, None
    assert gpu is not None
    lease.resume_attempts, lease.resume_obstacle = lease.resume_attempts + 1, event.detail
    request.requeue_at_original_position(state, lease)
    fairshare.wait(state, lease.tenant, at.ms)  # before it gives anything back, so that its tenant's turn is not over
    allocation.free(state, lease, gpu, at)


def resume_pause_ms(lease: Lease) -> int:
    """Return how long to try before the lease waits in the queue again; it doubles with each time."""
    return min(RESUME_MS << lease.resume_attempts, RESUME_MS_MAX)


def resume_message(lease: Lease) -> Message | None:
    """Return why the lease's memory could not be moved back yet; ``None`` where that was not tried in vain."""
    return None if lease.resume_obstacle is None else Message.of("resume.postponed", detail=lease.resume_obstacle)


def forget_failures(lease: Lease) -> None:
    """Forget that parking failed: it succeeded, or another process holds the lease."""
    lease.park_failure, lease.park_failures, lease.park_retry_ms = None, 0, 0


def drop_image(state: State, lease: Lease) -> None:
    """Forget the parked memory of the lease."""
    lease.image = None
    if lease.parked_bytes:
        _set_parked_bytes(state, lease, 0)


def _set_parked_bytes(state: State, lease: Lease, memory_bytes: int) -> None:
    state.parked_bytes += memory_bytes - lease.parked_bytes
    lease.parked_bytes = memory_bytes
