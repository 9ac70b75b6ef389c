"""What a size takes of a device: memory, thousandths, and the rate that is billed for it."""

from __future__ import annotations

from ..model.entities import Device, Lease, State
from ..model.size import Size
from . import mig_partitions

#: The devices of one lease: one, or several whole ones.
Devices = tuple[Device, ...]

#: Thousandths of a whole device.
MILLI = 1000


def devices_of(state: State, lease: Lease) -> Devices:
    """Return the devices that a lease holds; none where an engine allocated them."""
    gpu = lease.logical_gpu
    return () if gpu is None else tuple(state.devices[name] for name in gpu.local_device_ids)


def memory_bytes(device: Device, size: Size) -> int:
    """Return the memory that a lease of that size has on a device."""
    profile = mig_partitions.profile_for(device.spec, size)
    if profile is not None:
        return profile.memory_bytes
    return size.memory_on(device.spec.memory_bytes)


def occupied_bytes(device: Device, size: Size) -> int:
    """Return the memory of a device that other leases cannot have beside that size."""
    profile = mig_partitions.profile_for(device.spec, size)
    return memory_bytes(device, size) if profile is None else -(-device.spec.memory_bytes * profile.milli // MILLI)


def missing_bytes(device: Device, size: Size) -> int:
    """Return the bytes that leases must give back before a device can serve a size; 0 or less where it can now."""
    if mig_partitions.is_partitioned(device.spec):
        return 0 if mig_partitions.find_partition(device, size) is not None else memory_bytes(device, size)
    if size.whole:
        return device.promised_bytes
    return memory_bytes(device, size) - device.free_bytes


def milli(size: Size, devices: Devices) -> int:
    """Return the thousandths of devices that a size takes on those devices."""
    return sum(_milli_on(device, size) for device in devices)


def _milli_on(device: Device, size: Size) -> int:
    profile = mig_partitions.profile_for(device.spec, size)
    if profile is not None:
        return profile.milli
    return MILLI if size.whole else -(-memory_bytes(device, size) * MILLI // device.spec.memory_bytes)


def held_milli(state: State, lease: Lease) -> int:
    """Return the thousandths of devices that a lease holds."""
    gpu = lease.logical_gpu
    if gpu is not None and gpu.partition is not None:
        return gpu.partition.milli
    return milli(lease.request.size, devices_of(state, lease))


def rate_of(size: Size, device: Device) -> int:
    """Return the rate of what a size takes of a device, in millionths per hour; of a partition by its thousandths."""
    spec = device.spec
    profile = mig_partitions.profile_for(spec, size)
    if profile is not None:
        return spec.rate_micro_per_hour * profile.milli // MILLI
    return spec.rate_micro_per_hour * size.memory_on(spec.memory_bytes) // spec.memory_bytes
