"""Which devices can serve a request, whether or not they are free, and why a device cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from ...errors import Message
from ..model.entities import (
    Device,
    DeviceSpec,
    ExistingPartition,
    Mechanism,
    MechanismCapability,
    PartitionProfile,
    PartitionStyle,
    PendingReason,
    Requirements,
    State,
)
from ..model.size import Size
from . import device_share, mechanisms, mig_partitions
from .device_share import MILLI, Devices

#: Everything that a driver reports of a device except its identity.
DeviceSignature = tuple[
    str,
    int,
    tuple[Mechanism, ...],
    bool,
    int,
    bool,
    PartitionStyle,
    tuple[MechanismCapability, ...],
    tuple[PartitionProfile, ...],
    tuple[ExistingPartition, ...],
]


def signature_of(spec: DeviceSpec) -> DeviceSignature:
    """Return what decides which requests a device can serve; devices with equal signatures are alike."""
    return (
        spec.model,
        spec.memory_bytes,
        spec.mechanisms,
        spec.simulated,
        spec.rate_micro_per_hour,
        spec.parkable,
        spec.partition,
        spec.capabilities,
        spec.profiles,
        spec.existing_partitions,
    )


def eligible_devices(state: State, requirements: Requirements) -> Iterator[Device]:
    """Yield the devices that could serve, or be one of several that do, if they were free and in service."""
    matches: dict[tuple[str, int], bool] = {}  # of ten thousand devices, few differ
    for device in state.devices.values():
        kind = device.spec.model, device.spec.memory_bytes
        if kind not in matches:
            matches[kind] = requirements.size.matches(*kind)
        if matches[kind] and device.present and could_serve(state, device, requirements):
            yield device


def is_eligible(state: State, device: Device, requirements: Requirements) -> bool:
    """Return whether a device is one of :func:`eligible_devices`."""
    return device.present and could_serve(state, device, requirements)


def could_serve(state: State, device: Device, requirements: Requirements) -> bool:
    """Return whether a device could serve, or be one of several that do, if it were present, free and in service."""
    spec, size = device.spec, requirements.size
    if not size.matches(spec.model, spec.memory_bytes):
        return False
    if mig_partitions.is_partitioned(spec):
        if requirements.unpartitioned or mig_partitions.profile_for(spec, size) is None:
            return False
    elif not size.whole and not _has_part(device, size):
        return False
    return requirements == Requirements(size) or ineligibility(state, device, requirements) is None


def ineligibility(state: State, device: Device, requirements: Requirements) -> Message | None:
    """Return why a device of the right model and size cannot serve; ``None`` where nothing but its size may forbid
    it.
    """
    spec, size = device.spec, requirements.size
    if (by_partitions := _refusal_by_partitions(spec, requirements)) is not None:
        return by_partitions
    if (by_mechanisms := mechanisms.refusal(spec, requirements)) is not None:
        return by_mechanisms
    rate_max = requirements.rate_micro_per_hour_max
    if rate_max is not None and device_share.rate_of(size, device) * size.devices > rate_max:
        return Message.of("unfit.too_expensive", model=spec.model, most_micro=rate_max)
    if requirements.cpu_milli or requirements.host_memory_bytes:
        host = state.hosts.get(spec.host_id)
        if (
            host is None
            or host.spec.cpu_milli < requirements.cpu_milli
            or host.spec.memory_bytes < requirements.host_memory_bytes
        ):
            return Message.of("unfit.host_too_small")
    return None


def _has_part(device: Device, size: Size) -> bool:
    spec = device.spec
    shared = size.partition is None and mechanisms.is_shareable(spec)
    return shared and device_share.memory_bytes(device, size) <= spec.memory_bytes


def _refusal_by_partitions(spec: DeviceSpec, requirements: Requirements) -> Message | None:
    """Return why no partition of a device can serve, or why a device without partitions cannot."""
    size = requirements.size
    if not mig_partitions.is_partitioned(spec):
        if size.partition is None:
            return None
        return Message.of("unfit.not_partitioned", model=spec.model, partition=size.partition)
    if requirements.unpartitioned or size.devices > 1:
        return Message.of("unfit.partitioned", model=spec.model)
    if mig_partitions.profile_for(spec, size) is not None:
        return None
    names = tuple(one.name for one in spec.profiles)
    return Message.of("unfit.no_partition", model=spec.model, partitions=names)


def of_one_host(devices: Iterable[Device], count: int) -> Devices | None:
    """Return the first ``count`` devices of one host and, since programs expect that of several, of one signature."""
    by_host: dict[tuple[str, DeviceSignature], list[Device]] = {}
    for device in devices:
        if count == 1:
            return (device,)
        chosen = by_host.setdefault((device.spec.host_id, signature_of(device.spec)), [])
        chosen.append(device)
        if len(chosen) == count:
            return tuple(chosen)
    return None


def nominal_milli(state: State, requirements: Requirements) -> int:
    """Return the thousandths of devices that a request takes at least, wherever it is placed."""
    size = requirements.size
    if size.whole:
        return MILLI * size.devices
    return min((device_share.milli(size, (one,)) for one in eligible_devices(state, requirements)), default=MILLI)


def pending_reason(state: State, requirements: Requirements, has_room: bool | None = None) -> PendingReason:
    """Return why a request with those requirements is not granted now, as far as devices are the reason.

    ``has_room``: whether it could be served at once if no request came before it, where that is known.
    """
    possible = eligible_devices(state, requirements)
    seen: list[Device] = []  # of ten thousand devices, the first few nearly always suffice
    grantable = 0
    for device in possible:
        seen.append(device)
        grantable += device.grantable
        if grantable == requirements.size.devices:
            break
    if not seen:
        return PendingReason.NO_SUCH_DEVICE
    if grantable < requirements.size.devices:
        if any(device.drained for device in seen):
            return PendingReason.DRAINED
        return PendingReason.MISSING if any(device.missing for device in seen) else PendingReason.HEALTH
    if has_room is None:
        has_room = _has_room(state, requirements, chain(seen, possible))
    return PendingReason.BEHIND if has_room else PendingReason.CAPACITY


def _has_room(state: State, requirements: Requirements, possible: Iterable[Device]) -> bool:
    """Return whether the request could be served at once if no request came before it."""
    fitting = (
        device
        for device in possible
        if device.grantable
        and device_share.missing_bytes(device, requirements.size) <= 0
        and _host_has_room(state, device, requirements)
    )
    return of_one_host(fitting, requirements.size.devices) is not None


def _host_has_room(state: State, device: Device, requirements: Requirements) -> bool:
    host = state.hosts.get(device.spec.host_id)
    return host is None or (
        host.held_cpu_milli + requirements.cpu_milli <= host.spec.cpu_milli
        and host.held_memory_bytes + requirements.host_memory_bytes <= host.spec.memory_bytes
    )
