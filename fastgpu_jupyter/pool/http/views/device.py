"""Views of devices and of what is on them."""

from __future__ import annotations

from collections.abc import Iterable

from ....core.lease import presence
from ....core.model.entities import Device, Lease, State
from ....messages import view_of
from ....wire.schemas import AllocationView, DeviceReading, DeviceView, UnleasedProcessView
from ...devices.driver import DeviceUsage
from ...identity import key_of_uid
from ...monitors.process_owners import ForeignProcess
from .context import UNKNOWN_USAGE, AccessScope, ViewContext, tenant_reference


def device_views(
    state: State, access: AccessScope, context: ViewContext, only: Iterable[str] | None = None
) -> list[DeviceView]:
    """Return all devices, or those named, in order of index."""
    chosen = state.devices.values() if only is None else (state.devices[i] for i in only if i in state.devices)
    return [
        _device_view(state, device, access, context)
        for device in sorted(chosen, key=lambda device: device.spec.index)
        if device.present or device.lease_ids
    ]


def device_reading(device_id: str, usage: DeviceUsage) -> DeviceReading:
    """Return the fields of a device that change each second."""
    return {
        "id": device_id,
        "memory": {"used_bytes": usage.memory_used_bytes},
        "usage": {"utilization_percent": usage.utilization_percent},
    }


def _device_view(state: State, device: Device, access: AccessScope, context: ViewContext) -> DeviceView:
    spec = device.spec
    usage = context.usage.devices.get(spec.id, UNKNOWN_USAGE)
    return {
        "id": spec.id,
        "index": spec.index,
        "model": spec.model,
        "simulated": spec.simulated,
        "drained": device.drained or not device.present,
        "rate_micro_per_hour": spec.rate_micro_per_hour,
        "health": {
            "state": device.reported_health,
            "message": view_of(presence.device_message(device) or device.health_message),
            "missing_since": device.missing.since.wall_ms if device.missing else None,
        },
        "memory": {
            "total_bytes": spec.memory_bytes,
            "free_bytes": device.free_bytes,
            "used_bytes": usage.memory_used_bytes,
        },
        "usage": {"utilization_percent": usage.utilization_percent},
        "capabilities": {
            "mechanisms": [mechanism.value for mechanism in spec.mechanisms],
            "partitions": [profile.name for profile in spec.profiles],
            "parkable": spec.parkable,
        },
        "allocations": [_allocation(state.leases[lease_id], access, context) for lease_id in device.lease_ids],
        "processes_message": view_of(context.unseen.get(spec.id)),
        "unleased_processes": [
            _unleased_process(state, one, access, context) for one in context.foreign.get(spec.id, ())
        ],
    }


def _unleased_process(
    state: State, process: ForeignProcess, access: AccessScope, context: ViewContext
) -> UnleasedProcessView:
    lease = state.leases.get(process.lease_id or "")
    return {
        "pid": process.holder.pid,
        "user": context.name_of(key_of_uid(process.holder.uid)),
        "memory_bytes": process.memory_bytes,
        "lease_id": lease.id if lease is not None and access.includes(lease) else None,
    }


def _allocation(lease: Lease, access: AccessScope, context: ViewContext) -> AllocationView:
    visible = access.includes(lease)
    return {
        "lease_id": lease.id if visible else None,
        "tenant": tenant_reference(lease.tenant, context.name_of) if visible else None,
        "notebook": lease.request.notebook if visible else None,
        "job": lease.request.job if visible else None,
        "state": lease.state.value,
        "memory_bytes": _memory_of_each(lease),
        "mine": access.owns(lease),
    }


def _memory_of_each(lease: Lease) -> int:
    """Return the bytes that the lease holds of each of its devices."""
    gpu = lease.logical_gpu
    return gpu.memory_bytes // len(gpu.device_ids) if gpu else 0
