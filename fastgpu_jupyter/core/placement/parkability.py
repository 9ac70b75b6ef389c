"""Which active leases can be parked, and the host memory that parking takes."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import Message
from ..model.entities import Lease, LogicalGPU, ParkReason, State
from ..model.lifecycle import LeaseState
from . import mechanisms

#: How long the pool does not try again to park a lease after the first failure, and at most; it doubles with each.
RETRY_MS, RETRY_MS_MAX = 60_000, 30 * 60_000

_EXCLUDED_BY_REQUEST = Message.of("parking.excluded_by_request")
_NOT_SUPPORTED = Message.of("parking.not_supported")
_MISSING = Message.of("parking.device_missing")
_ON_ENGINE = Message.of("cluster.cannot_park")
_HOST_MEMORY_FULL = Message.of("parking.host_memory_full")


class ParkDecision(NamedTuple):
    """A lease that is to be parked, and why."""

    lease: Lease
    reason: ParkReason


def may_park(state: State, lease: Lease, now_ms: int) -> bool:
    """Return whether the pool may try to park an active lease of its own accord."""
    return not is_resting_after_failure(lease, now_ms) and park_refusal(state, lease) is None


def is_resting_after_failure(lease: Lease, now_ms: int) -> bool:
    """Return whether parking the lease failed so lately that the pool does not try it again yet."""
    return lease.park_failure is not None and now_ms < lease.park_retry_ms


def obstacle(state: State, lease: Lease, used_bytes: int | None = None) -> Message | None:
    """Return why an active lease is not parked, or would probably not be; ``None`` where nothing prevents it.

    ``used_bytes``: its device memory at the last reading, where that is known.
    """
    refusal = park_refusal(state, lease)
    if refusal is not None:
        return refusal
    if lease.park_failure is not None:
        pause_ms = retry_pause_ms(lease.park_failures)
        return Message.of("parking.failed_before", detail=lease.park_failure, pause_ms=pause_ms)
    left_bytes, needed_bytes = host_bytes_left(state, lease), host_bytes_needed(used_bytes or 0)
    if left_bytes is None or needed_bytes <= left_bytes:
        return None
    return Message.of("parking.host_memory_short", needed_bytes=needed_bytes, left_bytes=left_bytes)


def retry_pause_ms(failures: int) -> int:
    """Return how long the pool does not try again after so many failures in a row."""
    return min(RETRY_MS << max(0, failures - 1), RETRY_MS_MAX)


def park_refusal(state: State, lease: Lease) -> Message | None:
    """Return why an active lease cannot be parked, even if its user requests it; ``None`` where it can be tried."""
    gpu = lease.logical_gpu
    if lease.cluster_job is not None:
        return _ON_ENGINE
    if lease.state is not LeaseState.ACTIVE or gpu is None:
        return Message.of("parking.wrong_state", state=lease.state.value)
    if lease.request.parkable is False:
        return _EXCLUDED_BY_REQUEST
    if not can_park(state, lease):
        return _NOT_SUPPORTED
    if any(state.devices[name].missing for name in gpu.device_ids):
        return _MISSING
    if host_bytes_left(state, lease) == 0:
        return _HOST_MEMORY_FULL
    return None


def host_bytes_needed(used_bytes: int) -> int:
    """Return the host memory to have for device memory of that size: 5 % more, for what is needed while it moves."""
    return used_bytes + used_bytes // 20


def host_bytes_left(state: State, lease: Lease) -> int | None:
    """Return what is left of the host memory that parked leases may take; ``None`` where the lease takes any or none.

    What a lease needs is measured and reserved when it is parked. The memory of a simulated device is host memory, and
    is not moved.
    """
    most_bytes = state.policy.parked_bytes_max
    if most_bytes is None or state.devices[logical_gpu_of(lease).device_id].spec.simulated:
        return None
    return max(0, most_bytes - state.parked_bytes)


def can_park(state: State, lease: Lease) -> bool:
    """Return whether the devices of a lease can park, and its mechanism allows it."""
    gpu = lease.logical_gpu
    if gpu is None or gpu.cluster is not None or not all(state.devices[name].spec.parkable for name in gpu.device_ids):
        return False
    capability = mechanisms.capability_of(state.devices[gpu.device_id].spec, gpu.mechanism)
    return capability is None or capability.parkable


def logical_gpu_of(lease: Lease) -> LogicalGPU:
    """Return the logical GPU of a lease that has one."""
    assert lease.logical_gpu is not None
    return lease.logical_gpu
