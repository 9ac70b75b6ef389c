"""Which devices serve a size: best fit, so that large holes stay for large requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ..errors import Conflict, NoSuchDevice
from ..units import format_memory
from .ask import PROFILES, Size
from .model import Device, Enforcement, Lease, LogicalGPU, Mechanism, PendingReason, State

#: The devices of one lease: one, or several whole ones.
Devices = tuple[Device, ...]
MILLI = 1000


def place(state: State, size: Size, taken: Collection[str]) -> Devices | None:
    """The devices that would have the least memory left, or ``None`` where none can serve now.

    Devices in ``taken`` are left alone.
    """
    fitting = [device for device in _able(state, size) if device.grantable and _fits(device, size)]
    fitting = [device for device in fitting if device.spec.id not in taken]
    fitting.sort(key=lambda device: (_left(device, size), device.spec.index, device.spec.id))
    return tuple(fitting[: size.devices]) if len(fitting) >= size.devices else None


def soonest(state: State, size: Size, taken: Collection[str]) -> tuple[str, ...]:
    """The devices that lack least to serve the size; empty where there are not enough, in use or not."""
    able = [device for device in _able(state, size) if device.grantable and device.spec.id not in taken]
    able.sort(key=lambda device: (_lacks(device, size), device.spec.index, device.spec.id))
    return tuple(device.spec.id for device in able[: size.devices]) if len(able) >= size.devices else ()


def devices_of(state: State, lease: Lease) -> Devices:
    """The devices that the lease holds."""
    return () if lease.logical_gpu is None else tuple(state.devices[name] for name in lease.logical_gpu.device_ids)


def resized(state: State, lease: Lease, size: Size) -> Devices:
    """The device of an active lease, if it can have that size there without its kernel noticing.

    Raises :class:`~fastgpu_jupyter.errors.Conflict` with the reason where it cannot; nothing is changed.
    """
    devices = devices_of(state, lease)
    if len(devices) != 1 or size.devices != 1:
        raise Conflict(
            "The number of GPUs changes only with a restart: CUDA does not see new ones. Nothing was changed."
        )
    device = devices[0]
    spec = device.spec
    if not size.matches(spec.model, spec.memory_bytes):
        raise Conflict(f"{str(size)!r} is another device than the {spec.model} of this lease. Nothing was changed.")
    if not _shareable(device):
        raise Conflict(f"The {spec.model} of this lease is leased whole. Nothing was changed.")
    others = device.promised_bytes - (lease.logical_gpu.memory_bytes if lease.logical_gpu else 0)
    free_bytes = spec.memory_bytes - others
    if (size.whole and len(device.lease_ids) > 1) or _needed(device, size) > free_bytes:
        raise Conflict(
            f"There is no room for {str(size)!r} on this device: {format_memory(free_bytes)} could be had. "
            "Nothing was changed; release the lease and ask anew to get another device."
        )
    return devices


def why_not(state: State, size: Size) -> PendingReason:
    """Why a request of that size is not granted now."""
    able = list(_able(state, size))
    if sum(device.grantable for device in able) < size.devices:
        return PendingReason.DRAINED if any(device.drained for device in able) else PendingReason.HEALTH
    fitting = sum(device.grantable and _fits(device, size) for device in able)
    return PendingReason.BEHIND if fitting >= size.devices else PendingReason.CAPACITY


def milli(size: Size, devices: Devices) -> int:
    """Thousandths of devices that the size takes on those."""
    return sum(
        MILLI if size.whole else -(-_needed(device, size) * MILLI // device.spec.memory_bytes) for device in devices
    )


def nominal_milli(state: State, size: Size) -> int:
    """Thousandths of devices that the size takes at least, wherever it is placed."""
    if size.whole:
        return MILLI * size.devices
    return min((milli(size, (device,)) for device in _able(state, size)), default=MILLI)


def require_possible(state: State, size: Size) -> None:
    """Raise :class:`NoSuchDevice` with the reason where the size could not be served even if all devices were free."""
    if sum(1 for _ in _able(state, size)) >= size.devices:
        return
    present = [device for device in state.devices.values() if device.present]
    if not present:
        raise NoSuchDevice(
            "This pool has no GPU, so the request could never be granted. Run `jupyter fastgpu status` to see why; "
            "without an NVIDIA GPU, start the pool with `--simulate 2xA100-80GB` to try FastGPU."
        )
    matching = [device for device in present if size.matches(device.spec.model, device.spec.memory_bytes)]
    if not matching:
        raise NoSuchDevice(_no_such_model(present, size))
    largest = max(device.spec.memory_bytes for device in matching)
    if size.memory_bytes is not None and size.memory_bytes > largest:
        raise NoSuchDevice(
            f"{format_memory(size.memory_bytes)} is more than any device of this pool has; "
            f"the largest has {format_memory(largest)}."
        )
    if size.whole:
        raise NoSuchDevice(f"This pool has {len(matching)} such devices, so {str(size)!r} could never be granted.")
    raise NoSuchDevice(
        f"The devices of this pool are leased whole, so {str(size)!r} cannot be served. Ask for the profile 'full'."
    )


def carve(size: Size, devices: Devices, generation: int) -> LogicalGPU:
    """The logical GPU of that size on those devices."""
    first = devices[0].spec
    if first.simulated:
        mechanism, enforcement = Mechanism.SIMULATED, Enforcement.NONE
    elif size.whole:
        mechanism, enforcement = Mechanism.EXCLUSIVE, Enforcement.HARDWARE
    else:
        mechanism, enforcement = Mechanism.SHARED, Enforcement.COOPERATIVE
    memory_bytes = [_needed(device, size) for device in devices]
    rates = [
        device.spec.rate_micro_per_hour * needed // device.spec.memory_bytes
        for device, needed in zip(devices, memory_bytes, strict=True)
    ]
    return LogicalGPU(
        device_id=first.id,
        memory_bytes=sum(memory_bytes),
        whole=size.whole,
        mechanism=mechanism,
        enforcement=enforcement,
        rate_micro_per_hour=sum(rates),
        generation=generation,
        more_device_ids=tuple(device.spec.id for device in devices[1:]),
    )


def _able(state: State, size: Size) -> Iterator[Device]:
    """Devices that could serve the size, or one of its several, if they were free and in service."""
    for device in state.devices.values():
        spec = device.spec
        if not device.present or not size.matches(spec.model, spec.memory_bytes):
            continue
        if size.whole or (_shareable(device) and _needed(device, size) <= spec.memory_bytes):
            yield device


def _shareable(device: Device) -> bool:
    return Mechanism.SHARED in device.spec.mechanisms or Mechanism.SIMULATED in device.spec.mechanisms


def _needed(device: Device, size: Size) -> int:
    return size.memory_on(device.spec.memory_bytes)


def _fits(device: Device, size: Size) -> bool:
    return not device.lease_ids if size.whole else _needed(device, size) <= device.free_bytes


def _left(device: Device, size: Size) -> int:
    return device.free_bytes - _needed(device, size)


def _lacks(device: Device, size: Size) -> int:
    """Bytes that must be given back before the device can serve the size."""
    if size.whole:
        return device.promised_bytes
    return _needed(device, size) - device.free_bytes


def _no_such_model(present: Iterable[Device], size: Size) -> str:
    models = ", ".join(
        sorted({f"{device.spec.model} ({format_memory(device.spec.memory_bytes)})" for device in present})
    )
    return (
        f"No device of this pool is {str(size)!r}; it has {models}. "
        f"Name one of them, a profile ({', '.join(PROFILES)}) or an amount of memory."
    )
