"""The logical GPU that a placement becomes."""

from __future__ import annotations

from ...errors import InternalError
from ..model.entities import LogicalGPU, Requirements
from . import device_share, mechanisms, mig_partitions
from .device_share import Devices


def make_logical_gpu(requirements: Requirements, devices: Devices, generation: int) -> LogicalGPU:
    """Return the logical GPU that serves a request on devices that can serve it.

    Raise :class:`~fastgpu_jupyter.errors.InternalError` where they cannot.
    """
    first, size = devices[0].spec, requirements.size
    capability = mechanisms.choose(first, requirements)
    if capability is None:
        raise InternalError(f"{first.id} was chosen for {requirements!r}, which no mechanism of it serves.")
    partition = mig_partitions.find_partition(devices[0], size) if mig_partitions.is_partitioned(first) else None
    if partition is None and mig_partitions.is_partitioned(first):
        raise InternalError(f"{first.id} was chosen for {requirements!r}, and no partition of it is free.")
    memory_bytes, rate = device_share.memory_bytes(devices[0], size), device_share.rate_of(size, devices[0])
    more = devices[1:]
    if more:
        memory_bytes += sum([device_share.memory_bytes(device, size) for device in more])
        rate += sum([device_share.rate_of(size, device) for device in more])
    return LogicalGPU(
        device_id=first.id,
        memory_bytes=memory_bytes,
        whole=size.whole and partition is None,
        mechanism=capability.mechanism,
        enforcement=capability.enforcement,
        rate_micro_per_hour=rate,
        generation=generation,
        more_device_ids=tuple([device.spec.id for device in more]) if more else (),
        host_id=first.host_id,
        scope=capability.scope,
        partition=partition,
    )
