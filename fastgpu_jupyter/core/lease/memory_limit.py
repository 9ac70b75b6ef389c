"""Leases that use more device memory than they have: told, then parked, then ended, as the policy says.

Only where neither hardware nor driver enforces the limit, because then it can be exceeded. The pool manager measures
and reports (:class:`~core.model.commands.ReportMemory`); a lease that is within its limit again starts over.
"""

from __future__ import annotations

from dataclasses import replace

from ...errors import Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import EndReason, Enforcement, Instant, Lease, LogicalGPU, OverLimit, ParkReason, State
from ..model.events import Event
from ..model.lifecycle import PARKED_OR_RETURNING, RETURNING, LeaseState
from ..placement import mechanisms, parkability
from .lookup import find_granted
from .transition import advance

#: Who keeps a limit only as far as programs play along.
WATCHED = frozenset({Enforcement.COOPERATIVE, Enforcement.USERSPACE})


def is_watched(gpu: LogicalGPU) -> bool:
    """Whether what a lease uses must be compared with what it has."""
    return not gpu.whole and gpu.enforcement in WATCHED


def report_memory(state: State, command: c.ReportMemory, at: Instant) -> list[Event]:
    """What a lease uses of its device was measured."""
    lease = state.leases.get(command.lease_id)
    gpu = lease.logical_gpu if lease is not None else None
    if lease is None or gpu is None or lease.state is not LeaseState.ACTIVE or gpu.generation != command.generation:
        return []
    if not is_watched(gpu) or command.used_bytes <= gpu.memory_bytes:
        return [e.LeaseWithinLimit(lease.id)] if lease.over_limit_since_ms is not None or lease.over_limit_parks else []
    if lease.over_limit_since_ms is None:
        return [e.LeaseOverLimit(lease.id, command.used_bytes)]
    if at.ms - lease.over_limit_since_ms < state.policy.over_limit_grace_ms:
        return []
    return _act(state, lease, gpu, command.used_bytes, at.ms)


def _act(state: State, lease: Lease, gpu: LogicalGPU, used_bytes: int, now_ms: int) -> list[Event]:
    """It was told, and had time."""
    policy = state.policy.over_limit
    again = policy is OverLimit.REVOKE and lease.over_limit_parks > 0
    if policy is not OverLimit.WARN and not again and parkability.may_park(state, lease, now_ms):
        return [e.LeaseParking(lease.id, ParkReason.OVER_LIMIT)]
    if policy is OverLimit.REVOKE:
        detail = Message.of("end.memory_used", used_bytes=used_bytes, limit_bytes=gpu.memory_bytes)
        return [e.LeaseDraining(lease.id, EndReason.OVER_LIMIT, detail)]
    return []


def message(state: State, lease: Lease) -> Message | None:
    """Return the message about the lease's memory limit, or ``None``."""
    gpu = lease.logical_gpu
    if lease.state in PARKED_OR_RETURNING and lease.park_reason is ParkReason.OVER_LIMIT and lease.over_limit_bytes:
        return _parked(state, lease)
    if lease.state is not LeaseState.ACTIVE or gpu is None:
        return None
    if lease.over_limit_since_ms is None:
        return lease.limit_detail
    used_bytes, limit_bytes, grace_ms = lease.over_limit_bytes, gpu.memory_bytes, state.policy.over_limit_grace_ms
    match _next_step(state, lease):
        case OverLimit.PARK:
            return Message.of(
                "limit.over_then_parked", used_bytes=used_bytes, limit_bytes=limit_bytes, grace_ms=grace_ms
            )
        case OverLimit.REVOKE:
            return Message.of(
                "limit.over_then_ended", used_bytes=used_bytes, limit_bytes=limit_bytes, grace_ms=grace_ms
            )
        case _:
            return Message.of("limit.over", used_bytes=used_bytes, limit_bytes=limit_bytes)


def _parked(state: State, lease: Lease) -> Message:
    """Return why the lease was parked, what is kept, and every way out of it."""
    returning = lease.state in RETURNING
    revoked_next = state.policy.over_limit is OverLimit.REVOKE
    return Message.of(
        "limit.parked",
        used_bytes=lease.over_limit_bytes,
        size=lease.request.name,
        lease=lease.id,
        state=Message.of("limit.parked_returning") if returning else Message.of("limit.parked_until_you_choose"),
        next_step=Message.of("limit.then_ended") if revoked_next else Message.of("limit.then_parked_again"),
        grace_ms=state.policy.over_limit_grace_ms,
    )


def _next_step(state: State, lease: Lease) -> OverLimit:
    """Return what happens after the grace period: ``WARN`` where nothing does."""
    policy = state.policy.over_limit
    if policy is OverLimit.WARN:
        return policy
    again = policy is OverLimit.REVOKE and lease.over_limit_parks > 0
    if not again and parkability.obstacle(state, lease) is None:
        return OverLimit.PARK
    return OverLimit.REVOKE if policy is OverLimit.REVOKE else OverLimit.WARN


def limit_set(state: State, command: c.LimitSet, at: Instant) -> list[Event]:
    """Record who enforces the memory limit; end the lease where that is less than it requires."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.ACTIVE)
    if lease is None or lease.logical_gpu is None:
        return []
    gpu = lease.logical_gpu
    if command.memory_bytes not in (None, gpu.memory_bytes):
        # It was given another size meanwhile: what was made is there, and is asked to be what it should be now.
        made = e.LeaseLimitSet(lease.id, gpu.enforcement, command.driver_handle, lease.limit_detail)
        return [] if gpu.driver_handle == command.driver_handle else [made]
    if (gpu.enforcement, gpu.driver_handle) == (command.enforcement, command.driver_handle):
        return []
    limited = e.LeaseLimitSet(lease.id, command.enforcement, command.driver_handle, command.detail)
    if gpu.whole or command.enforcement in mechanisms.ENFORCED_BY[lease.request.isolation]:
        return [limited]
    # It was granted because the driver keeps its limit, and it does not: that is not passed over.
    return [limited, e.LeaseDraining(lease.id, EndReason.PREPARE_FAILED, command.detail)]


def apply_limit(state: State, event: e.LeaseLimitSet, at: Instant) -> None:
    """Record who enforces the memory limit of the lease."""
    lease = advance(state, event.lease_id, event)
    assert lease.logical_gpu is not None
    lease.logical_gpu = replace(lease.logical_gpu, enforcement=event.enforcement, driver_handle=event.driver_handle)
    lease.limit_detail = event.detail


def apply_over_limit(state: State, event: e.LeaseOverLimit, at: Instant) -> None:
    """Record since when the lease uses more memory than it has."""
    lease = advance(state, event.lease_id, event)
    lease.over_limit_since_ms, lease.over_limit_bytes = at.ms, event.used_bytes


def apply_within_limit(state: State, event: e.LeaseWithinLimit, at: Instant) -> None:
    """Record that the lease uses no more memory than it has."""
    lease = advance(state, event.lease_id, event)
    lease.over_limit_since_ms, lease.over_limit_bytes, lease.over_limit_parks = None, 0, 0
