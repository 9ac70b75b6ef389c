"""What an event changes: the only code that touches a state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InternalError
from . import events as e
from . import fairshare, meter
from .events import Event
from .lifecycle import next_state
from .model import Device, Instant, Lease, LogicalGPU, State


def apply(state: State, event: Event, at: Instant) -> State:
    """Make ``event`` true in ``state`` (the same object is returned).

    Raises :class:`InternalError` where the event does not fit, which no event of :func:`decide` can.
    """
    applier = _APPLIERS.get(type(event))
    if applier is None:
        raise InternalError(f"There is no rule to apply {event!r}.")
    applier(state, event, at)
    state.last = at
    return state


def _pool_started(state: State, event: e.PoolStarted, at: Instant) -> None:
    state.boot_id, state.clock_epoch_ms = event.boot_id, event.clock_epoch_ms


def _device_appeared(state: State, event: e.DeviceAppeared, at: Instant) -> None:
    device = state.devices.setdefault(event.spec.id, Device(event.spec))
    device.spec, device.present = event.spec, True


def _device_vanished(state: State, event: e.DeviceVanished, at: Instant) -> None:
    device = state.devices[event.device_id]
    device.present = False
    if not device.lease_ids:
        del state.devices[event.device_id]


def _device_health_changed(state: State, event: e.DeviceHealthChanged, at: Instant) -> None:
    device = state.devices[event.device_id]
    device.health, device.health_reason = event.health, event.reason


def _device_drained(state: State, event: e.DeviceDrained, at: Instant) -> None:
    state.devices[event.device_id].drained = event.drained


def _tenant_set(state: State, event: e.TenantSet, at: Instant) -> None:
    tenant = fairshare.tenant_of(state, event.tenant)
    tenant.weight, tenant.limit_milli = event.weight, event.limit_milli


def _lease_requested(state: State, event: e.LeaseRequested, at: Instant) -> None:
    if event.lease_id in state.leases:
        raise InternalError(f"Lease {event.lease_id} was requested twice.")
    state.arrivals += 1
    state.leases[event.lease_id] = Lease(
        id=event.lease_id,
        tenant=event.tenant,
        request=event.request,
        holder=event.holder,
        token_sha256=event.token_sha256,
        arrival=state.arrivals,
        requested_at=at,
        grants_before=state.generations,
    )
    state.queue[event.lease_id] = None
    fairshare.tenant_of(state, event.tenant)


def _lease_granted(state: State, event: e.LeaseGranted, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    del state.queue[lease.id]
    gpu = event.logical_gpu
    lease.logical_gpu, lease.granted_at = gpu, at
    state.generations = gpu.generation
    _take(state, lease, gpu, at)


def _lease_prepared(state: State, event: e.LeasePrepared, at: Instant) -> None:
    meter.open_segment(_move(state, event.lease_id, event), at.ms)


def _holder_bound(state: State, event: e.HolderBound, at: Instant) -> None:
    _move(state, event.lease_id, event).holder = event.holder


def _lease_resized(state: State, event: e.LeaseResized, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    if event.logical_gpu is None or lease.logical_gpu is None:
        lease.request = event.request
        return
    meter.close_segment(lease, at.ms)  # at the old rate
    _give_back(state, lease, lease.logical_gpu, at)
    lease.request, lease.logical_gpu = event.request, event.logical_gpu
    _take(state, lease, event.logical_gpu, at)
    meter.open_segment(lease, at.ms)


def _lease_transferred(state: State, event: e.LeaseTransferred, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    if lease.logical_gpu is not None:
        _give_back(state, lease, lease.logical_gpu, at)
    lease.tenant = event.tenant
    fairshare.tenant_of(state, event.tenant)
    if lease.logical_gpu is not None:
        _take(state, lease, lease.logical_gpu, at)


def _lease_draining(state: State, event: e.LeaseDraining, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    meter.close_segment(lease, at.ms)
    lease.end_reason, lease.end_detail = event.reason, event.detail


def _lease_ended(state: State, event: e.LeaseEnded, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.end_reason, lease.end_detail, lease.ended_at = event.reason, event.detail, at
    state.queue.pop(lease.id, None)
    if lease.logical_gpu is not None:
        _give_back(state, lease, lease.logical_gpu, at)


def _take(state: State, lease: Lease, gpu: LogicalGPU, at: Instant) -> None:
    held_milli = 0
    for device, memory_bytes in _parts(state, gpu):
        device.lease_ids[lease.id] = None
        device.promised_bytes += memory_bytes
        held_milli += _milli(device, memory_bytes)
        if gpu.whole:
            device.whole_by = lease.id
    fairshare.hold(state, lease.tenant, held_milli, at.ms)


def _give_back(state: State, lease: Lease, gpu: LogicalGPU, at: Instant) -> None:
    held_milli = 0
    for device, memory_bytes in _parts(state, gpu):
        del device.lease_ids[lease.id]
        device.promised_bytes -= memory_bytes
        held_milli += _milli(device, memory_bytes)
        if device.whole_by == lease.id:
            device.whole_by = None
        if not device.present and not device.lease_ids:
            del state.devices[device.spec.id]
    fairshare.hold(state, lease.tenant, -held_milli, at.ms)


def _parts(state: State, gpu: LogicalGPU) -> list[tuple[Device, int]]:
    """The devices of a logical GPU and what it has of each."""
    devices = [state.devices[device_id] for device_id in gpu.device_ids]
    if len(devices) == 1:
        return [(devices[0], gpu.memory_bytes)]
    return [(device, device.spec.memory_bytes) for device in devices]


def _milli(device: Device, memory_bytes: int) -> int:
    return -(-memory_bytes * 1000 // device.spec.memory_bytes)


def _lease_forgotten(state: State, event: e.LeaseForgotten, at: Instant) -> None:
    del state.leases[event.lease_id]


def _ticked(state: State, event: e.Ticked, at: Instant) -> None:
    """Only the time of its record matters."""


def _move(state: State, lease_id: str, event: Event) -> Lease:
    lease = state.leases[lease_id]
    lease.state = next_state(lease, event)
    lease.version += 1
    return lease


_APPLIERS: dict[type[Event], Callable[[State, Any, Instant], None]] = {
    e.PoolStarted: _pool_started,
    e.DeviceAppeared: _device_appeared,
    e.DeviceVanished: _device_vanished,
    e.DeviceHealthChanged: _device_health_changed,
    e.DeviceDrained: _device_drained,
    e.TenantSet: _tenant_set,
    e.LeaseRequested: _lease_requested,
    e.LeaseGranted: _lease_granted,
    e.LeasePrepared: _lease_prepared,
    e.HolderBound: _holder_bound,
    e.LeaseResized: _lease_resized,
    e.LeaseTransferred: _lease_transferred,
    e.LeaseDraining: _lease_draining,
    e.LeaseEnded: _lease_ended,
    e.LeaseForgotten: _lease_forgotten,
    e.Ticked: _ticked,
}
