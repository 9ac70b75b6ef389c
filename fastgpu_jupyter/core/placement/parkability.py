"""Which active leases can be parked, and the host memory that parking takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...errors import Message
from ..model.entities import Lease, LogicalGPU, ParkReason, State
from ..model.lifecycle import LeaseState
from . import mechanisms

_EXCLUDED_BY_REQUEST = Message.of("parking.excluded_by_request")
_NOT_SUPPORTED = Message.of("parking.not_supported")
_MISSING = Message.of("parking.device_missing")
_HOST_MEMORY_FULL = Message.of("parking.host_memory_full")


class ParkDecision(NamedTuple):
    """A lease that is to be parked, and why."""

    lease: Lease
    reason: ParkReason


def park_refusal(state: State, lease: Lease) -> Message | None:
    """Return why an active lease cannot be parked, or ``None`` where it can."""
    gpu = lease.logical_gpu
    if lease.state is not LeaseState.ACTIVE or gpu is None:
        return Message.of("parking.wrong_state", state=lease.state.value)
    if lease.request.parkable is False:
        return _EXCLUDED_BY_REQUEST
    if not can_park(state, lease):
        return _NOT_SUPPORTED
    if any(state.devices[name].missing for name in gpu.device_ids):
        return _MISSING
    if lease.park_failure is not None:
        return Message.of("parking.failed_before", detail=lease.park_failure)
    if not _has_host_memory(state, parking_host_bytes(state, lease)):
        return _HOST_MEMORY_FULL
    return None


def parking_host_bytes(state: State, lease: Lease) -> int:
    """Return the host memory that parking a lease takes at most; 0 on a simulated device, which uses host memory."""
    gpu = logical_gpu_of(lease)
    return 0 if state.devices[gpu.device_id].spec.simulated else gpu.memory_bytes


def within_host_memory(state: State, parkings: Iterable[ParkDecision]) -> list[ParkDecision]:
    """Return the leading parkings that fit into the host memory for parked leases, if all are done at once."""
    found: list[ParkDecision] = []
    taken_bytes = 0
    for parking in parkings:
        wanted_bytes = parking_host_bytes(state, parking.lease)
        if _has_host_memory(state, taken_bytes + wanted_bytes):
            taken_bytes += wanted_bytes
            found.append(parking)
    return found


def _has_host_memory(state: State, more_bytes: int) -> bool:
    most = state.policy.parked_bytes_max
    return not more_bytes or most is None or state.parked_bytes + more_bytes <= most


def can_park(state: State, lease: Lease) -> bool:
    """Return whether the devices of a lease can park, and its mechanism allows it."""
    gpu = lease.logical_gpu
    if gpu is None or not all(state.devices[name].spec.parkable for name in gpu.device_ids):
        return False
    capability = mechanisms.capability_of(state.devices[gpu.device_id].spec, gpu.mechanism)
    return capability is None or capability.parkable


def logical_gpu_of(lease: Lease) -> LogicalGPU:
    """Return the logical GPU of a lease that has one."""
    assert lease.logical_gpu is not None
    return lease.logical_gpu
