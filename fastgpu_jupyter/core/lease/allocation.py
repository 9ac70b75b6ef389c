"""Capacity of devices, of hosts and of tenants' quotas that leases take and give back."""

from __future__ import annotations

from ..accounting import fairshare
from ..model.entities import Device, Instant, Lease, LogicalGPU, State
from ..placement import inventory


def allocate(state: State, lease: Lease, gpu: LogicalGPU, at: Instant) -> None:
    """Give the logical GPU to the lease: count it on its devices, on its host and for its tenant.

    What an engine allocated is counted nowhere: neither devices nor quotas of the pool are used.
    """
    if gpu.cluster is not None:
        return
    held_milli = 0
    for device, memory_bytes in device_shares(state, gpu):
        device.lease_ids[lease.id] = None
        device.promised_bytes += memory_bytes
        held_milli += _milli(device, memory_bytes) if gpu.partition is None else gpu.partition.milli
        if gpu.whole:
            device.whole_lease_id = lease.id
        if gpu.partition is not None:
            device.partitions[lease.id] = gpu.partition
    taken = fairshare.ResourceAmounts(held_milli, lease.request.cpu_milli, lease.request.host_memory_bytes)
    _count(state, lease, taken, gpu.host_id, at)


def free(state: State, lease: Lease, gpu: LogicalGPU, at: Instant) -> None:
    """Take the logical GPU from the lease again; a device that has gone is forgotten with its last lease."""
    if gpu.cluster is not None:
        return
    held_milli = 0
    for device, memory_bytes in device_shares(state, gpu):
        del device.lease_ids[lease.id]
        device.promised_bytes -= memory_bytes
        held_milli += _milli(device, memory_bytes) if gpu.partition is None else gpu.partition.milli
        if device.whole_lease_id == lease.id:
            device.whole_lease_id = None
        device.partitions.pop(lease.id, None)
        if not device.present and not device.lease_ids:
            inventory.forget_device(state, device.spec.id)
    given = fairshare.ResourceAmounts(-held_milli, -lease.request.cpu_milli, -lease.request.host_memory_bytes)
    _count(state, lease, given, gpu.host_id, at)


def _count(state: State, lease: Lease, change: fairshare.ResourceAmounts, host_id: str, at: Instant) -> None:
    """Enter a change in the books of tenant and host."""
    host = state.hosts.get(host_id)
    if host is not None:
        host.held_cpu_milli += change.cpu_milli
        host.held_memory_bytes += change.memory_bytes
    fairshare.hold(state, lease.tenant, change, at.ms)


def device_shares(state: State, gpu: LogicalGPU) -> list[tuple[Device, int]]:
    """Return the devices of a logical GPU, each with the bytes that it has of it."""
    if gpu.cluster is not None:
        return []
    if not gpu.more_device_ids:
        return [(state.devices[gpu.device_id], gpu.memory_bytes)]
    devices = [state.devices[device_id] for device_id in gpu.device_ids]
    return [(device, device.spec.memory_bytes) for device in devices]


def _milli(device: Device, memory_bytes: int) -> int:
    return -(-memory_bytes * 1000 // device.spec.memory_bytes)
