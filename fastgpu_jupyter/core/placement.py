"""Which device serves a request: best fit, so that large holes stay for large requests."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import NoSuchDevice
from ..units import format_memory
from .model import Device, Enforcement, LeaseRequest, LogicalGPU, Mechanism, PendingReason


def place(devices: Iterable[Device], request: LeaseRequest, generation: int) -> LogicalGPU | None:
    """A logical GPU on the device that would have the least memory left, or ``None`` where none can serve now."""
    fitting = [device for device in devices if device.grantable and _fits(device, request)]
    if not fitting:
        return None
    best = min(fitting, key=lambda device: (device.free_bytes - _needed(device, request), device.spec.index))
    return _carve(best, request, generation)


def pending_reason(devices: Iterable[Device], request: LeaseRequest) -> PendingReason:
    """Why the request at the head of the queue cannot be placed now."""
    able = [device for device in devices if _could_ever(device, request)]
    return PendingReason.CAPACITY if any(device.grantable for device in able) else PendingReason.HEALTH


def require_possible(devices: Iterable[Device], request: LeaseRequest) -> None:
    """Raise :class:`NoSuchDevice` with the reason where no device could serve the request even when all are free."""
    present = [device for device in devices if device.present]
    if any(_could_ever(device, request) for device in present):
        return
    if not present:
        raise NoSuchDevice(
            "This pool has no GPU, so the request could never be granted. Run `jupyter fastgpu status` to see why; "
            "without an NVIDIA GPU, start the pool with `--simulate 2xA100-80GB` to try FastGPU."
        )
    largest = max(device.spec.memory_bytes for device in present)
    if request.memory_bytes is not None and request.memory_bytes > largest:
        raise NoSuchDevice(
            f"{format_memory(request.memory_bytes)} is more than any device of this pool has; "
            f"the largest has {format_memory(largest)}."
        )
    raise NoSuchDevice(
        f"The devices of this pool are leased whole, so {request.name!r} cannot be served. Ask for the profile 'full'."
    )


def _needed(device: Device, request: LeaseRequest) -> int:
    return request.memory_on(device.spec.memory_bytes)


def _could_ever(device: Device, request: LeaseRequest) -> bool:
    if request.whole:
        return device.present
    shareable = not {Mechanism.SHARED, Mechanism.SIMULATED}.isdisjoint(device.spec.mechanisms)
    return device.present and shareable and _needed(device, request) <= device.spec.memory_bytes


def _fits(device: Device, request: LeaseRequest) -> bool:
    if request.whole:
        return not device.lease_ids
    return _could_ever(device, request) and _needed(device, request) <= device.free_bytes


def _carve(device: Device, request: LeaseRequest, generation: int) -> LogicalGPU:
    spec = device.spec
    memory_bytes = _needed(device, request)
    if spec.simulated:
        mechanism, enforcement = Mechanism.SIMULATED, Enforcement.NONE
    elif request.whole:
        mechanism, enforcement = Mechanism.EXCLUSIVE, Enforcement.HARDWARE
    else:
        mechanism, enforcement = Mechanism.SHARED, Enforcement.COOPERATIVE
    return LogicalGPU(
        device_id=spec.id,
        memory_bytes=memory_bytes,
        whole=request.whole,
        mechanism=mechanism,
        enforcement=enforcement,
        rate_micro_per_hour=spec.rate_micro_per_hour * memory_bytes // spec.memory_bytes,
        generation=generation,
    )
