"""What will do for a size, what it takes of a device, and why it cannot be had; :mod:`.fleet` chooses where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...errors import Conflict, InternalError, Message, NeedsRestart, NoSuchDevice
from ..model.entities import (
    Device,
    DeviceSpec,
    ExistingPartition,
    Lease,
    LogicalGPU,
    Mechanism,
    MechanismCapability,
    PartitionProfile,
    PartitionStyle,
    PendingReason,
    Requirements,
    State,
)
from ..model.size import PROFILES, Size
from . import mechanisms, mig_partitions

#: The devices of one lease: one, or several whole ones.
Devices = tuple[Device, ...]
MILLI = 1000
#: Everything that a driver says of a device but which it is.
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
    """What tells devices apart in what they can be used for."""
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


def _of_one_host(devices: Iterable[Device], count: int) -> Devices | None:
    """The first so many devices that are of one host and, since programs expect that of several, of one kind."""
    by_host: dict[tuple[str, DeviceSignature], list[Device]] = {}
    for device in devices:
        if count == 1:
            return (device,)
        chosen = by_host.setdefault((device.spec.host_id, signature_of(device.spec)), [])
        chosen.append(device)
        if len(chosen) == count:
            return tuple(chosen)
    return None


def devices_of(state: State, lease: Lease) -> Devices:
    """The devices that the lease holds."""
    return () if lease.logical_gpu is None else tuple(state.devices[name] for name in lease.logical_gpu.device_ids)


def require_resizable(state: State, lease: Lease, size: Size) -> Devices:
    """The device of an active lease, if it can have that size there without its kernel noticing.

    Raises :class:`~fastgpu_jupyter.errors.Conflict` with the reason where it cannot; nothing is changed.
    """
    devices = devices_of(state, lease)
    if len(devices) != 1 or size.devices != 1:
        raise NeedsRestart(Message.of("resize.device_count"))
    device = devices[0]
    spec = device.spec
    if not size.matches(spec.model, spec.memory_bytes):
        raise Conflict(Message.of("resize.other_model", size=str(size), model=spec.model))
    requirements = live_resize_requirements(lease, size)
    mechanism = lease.logical_gpu.mechanism if lease.logical_gpu else Mechanism.EXCLUSIVE
    now = mechanisms.capability_of(spec, mechanism)
    leaves = mechanism is Mechanism.EXCLUSIVE or (now is not None and now.resizable)
    if not leaves or mechanisms.choose(spec, requirements) is None:
        why = mechanisms.refusal(spec, requirements) or _fixed_size_reason(spec, mechanism)
        raise NeedsRestart(Message.of("resize.fixed_while_running", reason=why))
    others = device.promised_bytes - (lease.logical_gpu.memory_bytes if lease.logical_gpu else 0)
    free_bytes = spec.memory_bytes - others
    if (size.whole and len(device.lease_ids) > 1) or _needed(device, size) > free_bytes:
        raise Conflict(Message.of("resize.no_room", size=str(size), free_bytes=free_bytes))
    return devices


def live_resize_requirements(lease: Lease, size: Size) -> Requirements:
    """What a lease wants that gets another size without its kernel noticing: a mechanism that can do that."""
    return lease.requirements._replace(size=size, resizable=True)


def pending_reason(state: State, requirements: Requirements) -> PendingReason:
    """Why nothing of that kind is granted now."""
    possible = list(eligible_devices(state, requirements))
    if not possible:
        return PendingReason.NO_SUCH_DEVICE
    if sum(device.grantable for device in possible) < requirements.size.devices:
        return PendingReason.DRAINED if any(device.drained for device in possible) else PendingReason.HEALTH
    return PendingReason.BEHIND if _has_room(state, requirements, possible) else PendingReason.CAPACITY


def _has_room(state: State, requirements: Requirements, possible: Iterable[Device]) -> bool:
    """Whether it could be served at once if nobody came before it."""
    fitting = (device for device in possible if device.grantable and missing_bytes(device, requirements.size) <= 0)
    return (
        _of_one_host((d for d in fitting if _host_has_room(state, d, requirements)), requirements.size.devices)
        is not None
    )


def milli(size: Size, devices: Devices) -> int:
    """Thousandths of devices that the size takes on those."""
    return sum(_milli_on(device, size) for device in devices)


def _milli_on(device: Device, size: Size) -> int:
    profile = mig_partitions.profile_for(device.spec, size)
    if profile is not None:
        return profile.milli
    return MILLI if size.whole else -(-_needed(device, size) * MILLI // device.spec.memory_bytes)


def nominal_milli(state: State, requirements: Requirements) -> int:
    """Thousandths of devices that it takes at least, wherever it is placed."""
    size = requirements.size
    if size.whole:
        return MILLI * size.devices
    return min((milli(size, (device,)) for device in eligible_devices(state, requirements)), default=MILLI)


def held_milli(state: State, lease: Lease) -> int:
    """Thousandths of devices that the lease holds."""
    gpu = lease.logical_gpu
    if gpu is not None and gpu.partition is not None:
        return gpu.partition.milli
    return milli(lease.request.size, devices_of(state, lease))


def require_satisfiable(state: State, requirements: Requirements) -> None:
    """Raise :class:`NoSuchDevice` with the reason where it could not be served even if all devices were free."""
    size = requirements.size
    if _of_one_host(eligible_devices(state, requirements), size.devices) is not None:
        return
    present = [device for device in state.devices.values() if device.present]
    if not present:
        raise NoSuchDevice(Message.of("refused.no_devices"))
    matching = [device for device in present if size.matches(device.spec.model, device.spec.memory_bytes)]
    if not matching:
        raise NoSuchDevice(_no_such_model(present, size))
    largest = max(device.spec.memory_bytes for device in matching)
    if size.memory_bytes is not None and size.memory_bytes > largest:
        raise NoSuchDevice(
            Message.of("refused.too_much_memory", requested_bytes=size.memory_bytes, largest_bytes=largest)
        )
    if len(matching) < size.devices:
        raise NoSuchDevice(Message.of("refused.too_many_devices", count=len(matching), size=str(size)))
    reasons = [reason for device in matching if (reason := _unfit(state, device, requirements)) is not None]
    if len(reasons) == len(matching):
        raise NoSuchDevice(Message.of("refused.unfit", size=str(size), reason=reasons[0]))
    if size.whole:
        raise NoSuchDevice(Message.of("refused.no_such_host", count=size.devices, size=str(size)))
    raise NoSuchDevice(Message.of("refused.leased_whole", size=str(size)))


def make_logical_gpu(requirements: Requirements, devices: Devices, generation: int) -> LogicalGPU:
    """The logical GPU that serves the want on those devices, which can serve it."""
    first, size = devices[0].spec, requirements.size
    capability = mechanisms.choose(first, requirements)
    if capability is None:
        raise InternalError(f"{first.id} was chosen for {requirements!r}, which no mechanism of it serves.")
    partition = mig_partitions.find_partition(devices[0], size) if mig_partitions.is_partitioned(first) else None
    if partition is None and mig_partitions.is_partitioned(first):
        raise InternalError(f"{first.id} was chosen for {requirements!r}, and no partition of it is free.")
    memory_bytes, rate, more = _needed(devices[0], size), rate_of(size, devices[0]), devices[1:]
    return LogicalGPU(
        device_id=first.id,
        memory_bytes=memory_bytes + sum([_needed(device, size) for device in more]) if more else memory_bytes,
        whole=size.whole and partition is None,
        mechanism=capability.mechanism,
        enforcement=capability.enforcement,
        rate_micro_per_hour=rate + sum([rate_of(size, device) for device in more]) if more else rate,
        generation=generation,
        more_device_ids=tuple([device.spec.id for device in more]) if more else (),
        host_id=first.host_id,
        scope=capability.scope,
        partition=partition,
    )


def eligible_devices(state: State, requirements: Requirements) -> Iterator[Device]:
    """Devices that could serve, or be one of several that do, if they were free and in service."""
    matches: dict[tuple[str, int], bool] = {}  # of ten thousand devices few differ
    for device in state.devices.values():
        kind = device.spec.model, device.spec.memory_bytes
        if kind not in matches:
            matches[kind] = requirements.size.matches(*kind)
        if matches[kind] and device.present and could_serve(state, device, requirements):
            yield device


def is_eligible(state: State, device: Device, requirements: Requirements) -> bool:
    """Whether the device is one of :func:`able`."""
    return device.present and could_serve(state, device, requirements)


def could_serve(state: State, device: Device, requirements: Requirements) -> bool:
    """Whether a device could serve, or be one of several that do, if it were there, free and in service."""
    spec, size = device.spec, requirements.size
    if not size.matches(spec.model, spec.memory_bytes):
        return False
    if mig_partitions.is_partitioned(spec):
        if requirements.unpartitioned or mig_partitions.profile_for(spec, size) is None:
            return False
    elif not size.whole and not _has_part(device, size):
        return False
    return requirements == Requirements(size) or _unfit(state, device, requirements) is None


def _has_part(device: Device, size: Size) -> bool:
    spec = device.spec
    shared = size.partition is None and mechanisms.is_shareable(spec)
    return shared and _needed(device, size) <= spec.memory_bytes


def _unfit(state: State, device: Device, requirements: Requirements) -> Message | None:
    """Why a device of the right size will not do all the same."""
    spec, size = device.spec, requirements.size
    if (why_divided := _unfit_to_divide(spec, requirements)) is not None:
        return why_divided
    if (refusal := mechanisms.refusal(spec, requirements)) is not None:
        return refusal
    if (
        requirements.rate_micro_per_hour_max is not None
        and rate_of(size, device) * size.devices > requirements.rate_micro_per_hour_max
    ):
        return Message.of("unfit.too_expensive", model=spec.model, most_micro=requirements.rate_micro_per_hour_max)
    if requirements.cpu_milli or requirements.host_memory_bytes:
        host = state.hosts.get(spec.host_id)
        if (
            host is None
            or host.spec.cpu_milli < requirements.cpu_milli
            or host.spec.memory_bytes < requirements.host_memory_bytes
        ):
            return Message.of("unfit.host_too_small")
    return None


def _unfit_to_divide(spec: DeviceSpec, requirements: Requirements) -> Message | None:
    """Why no partition of a device will do, or a partition is asked for that it does not have."""
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


def _host_has_room(state: State, device: Device, requirements: Requirements) -> bool:
    host = state.hosts.get(device.spec.host_id)
    return host is None or (
        host.held_cpu_milli + requirements.cpu_milli <= host.spec.cpu_milli
        and host.held_memory_bytes + requirements.host_memory_bytes <= host.spec.memory_bytes
    )


def rate_of(size: Size, device: Device) -> int:
    """Price of what the size takes of the device, in millionths an hour; of a partition by its thousandths."""
    spec = device.spec
    profile = mig_partitions.profile_for(spec, size)
    if profile is not None:
        return spec.rate_micro_per_hour * profile.milli // MILLI
    return spec.rate_micro_per_hour * size.memory_on(spec.memory_bytes) // spec.memory_bytes


def occupied_bytes(device: Device, size: Size) -> int:
    """Memory of the device that others could not have beside that size."""
    profile = mig_partitions.profile_for(device.spec, size)
    return _needed(device, size) if profile is None else -(-device.spec.memory_bytes * profile.milli // MILLI)


def _needed(device: Device, size: Size) -> int:
    profile = mig_partitions.profile_for(device.spec, size)
    if profile is not None:
        return profile.memory_bytes
    return size.memory_on(device.spec.memory_bytes)


def missing_bytes(device: Device, size: Size) -> int:
    """Bytes that must be given back before the device can serve the size; none where it can now."""
    if mig_partitions.is_partitioned(device.spec):
        return 0 if mig_partitions.find_partition(device, size) is not None else _needed(device, size)
    if size.whole:
        return device.promised_bytes
    return _needed(device, size) - device.free_bytes


def _no_such_model(present: Iterable[Device], size: Size) -> Message:
    kinds = sorted({(device.spec.model, device.spec.memory_bytes) for device in present})
    models = tuple(Message.of("refused.model", model=model, memory_bytes=memory_bytes) for model, memory_bytes in kinds)
    return Message.of("refused.no_such_model", size=str(size), models=models, sizes=tuple(PROFILES))


def _fixed_size_reason(spec: DeviceSpec, mechanism: Mechanism) -> Message:
    if mechanism is Mechanism.MPS:
        return Message.of("unfit.mps_limit_fixed")
    return Message.of("unfit.not_resizable_so", model=spec.model)
