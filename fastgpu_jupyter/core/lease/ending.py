"""Ends of leases: released, lost, failed, expired or without a process."""

from __future__ import annotations

from ..accounting import meter
from ..model import commands as c
from ..model import events as e
from ..model.entities import EndReason, Instant, Lease, State
from ..model.events import Event
from ..model.lifecycle import OVER, WITHOUT_CAPACITY, LeaseState
from . import allocation, cluster, cluster_bill, idle, parking, request, unaccounted_memory
from .lookup import find_granted, find_lease
from .transition import advance


def release_lease(state: State, command: c.ReleaseLease, at: Instant) -> list[Event]:
    """End the lease for the command's reason; harmless where it is over."""
    return _end(find_lease(state, command.lease_id), command.reason)


def holder_ended(state: State, command: c.HolderEnded, at: Instant) -> list[Event]:
    """End the lease whose process has ended, unless another one holds it by now or it is kept for one."""
    lease = state.leases.get(command.lease_id)
    if lease is None or lease.holder != command.holder:
        return []
    kept = cluster.without_holder(lease)
    return _end(lease, EndReason.HOLDER_DIED) if kept is None else kept


def logical_gpu_lost(state: State, command: c.LogicalGPULost, at: Instant) -> list[Event]:
    """End an active lease whose part of a device was destroyed by another program."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.ACTIVE)
    return [e.LeaseDraining(lease.id, EndReason.DEVICE_LOST, command.detail)] if lease else []


def drain_succeeded(state: State, command: c.DrainSucceeded, at: Instant) -> list[Event]:
    """Complete the end of a lease that has no memory on its devices any more, or of which that is unknown for good."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.DRAINING)
    if lease is None or lease.end_reason is None or lease.cluster_job is not None:  # an engine's ends with its job
        return []
    blocked = unaccounted_memory.left_by(state, lease, command.scrub_result)
    return [*blocked, e.LeaseEnded(lease.id, lease.end_reason, lease.end_detail, *command.scrub_result)]


def _end(lease: Lease, reason: EndReason) -> list[Event]:
    if lease.state in WITHOUT_CAPACITY:
        cancelled = reason is EndReason.RELEASED and lease.granted_at is None
        return [e.LeaseEnded(lease.id, EndReason.CANCELLED if cancelled else reason)]
    if lease.state in OVER:
        return []  # release, death and revocation may race: one wins
    return [e.LeaseDraining(lease.id, reason)]


def apply_draining(state: State, event: e.LeaseDraining, at: Instant) -> None:
    """Stop billing; the capacity stays allocated until the drain is done."""
    lease = advance(state, event.lease_id, event)
    lease.over_limit_since_ms, lease.migration_requested = None, False
    meter.close_segment(state, lease, at.ms)
    parking.drop_image(state, lease)
    lease.end_reason, lease.end_detail = event.reason, event.detail
    idle.note_end(state, lease)
    if state.orphaned:
        cluster.forget_orphan(state, lease)


def apply_ended(state: State, event: e.LeaseEnded, at: Instant) -> None:
    """Free what the lease holds, and keep it for a while for its user to see."""
    lease = advance(state, event.lease_id, event)
    lease.end_reason, lease.end_detail, lease.ended_at = event.reason, event.detail, at
    if event.scrub is not None:  # else it had no device, or that was known when it was parked
        lease.scrub, lease.scrub_bytes, lease.scrub_detail = event.scrub, event.scrub_bytes, event.scrub_detail
    request.leave_queue(state, lease, at)
    idle.note_end(state, lease)
    if event.billed_until_ms is not None:
        cluster_bill.apply_end(state, lease, event.billed_until_ms)
    lease.last_segment = None
    if state.budgeted:
        state.budgeted.pop(lease.id, None)
    state.ended[lease.id] = None
    state.tenants[lease.tenant].leases -= 1
    parking.drop_image(state, lease)
    if lease.logical_gpu is not None:
        allocation.free(state, lease, lease.logical_gpu, at)
