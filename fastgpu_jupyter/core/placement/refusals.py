"""Requests that are refused because no device could serve them, and resizes that a device cannot do."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import Conflict, Message, NeedsRestart, NoSuchDevice
from ..model.entities import Device, DeviceSpec, Lease, Mechanism, Requirements, State
from ..model.size import PROFILES, Size
from . import device_share, eligibility, mechanisms
from .device_share import Devices


def require_satisfiable(state: State, requirements: Requirements) -> None:
    """Raise :class:`NoSuchDevice` with the reason where a request could not be served if all devices were free."""
    size = requirements.size
    if eligibility.of_one_host(eligibility.eligible_devices(state, requirements), size.devices) is not None:
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
    reasons = [
        reason for device in matching if (reason := eligibility.ineligibility(state, device, requirements)) is not None
    ]
    if len(reasons) == len(matching):
        raise NoSuchDevice(Message.of("refused.unfit", size=str(size), reason=reasons[0]))
    if size.whole:
        raise NoSuchDevice(Message.of("refused.no_such_host", count=size.devices, size=str(size)))
    raise NoSuchDevice(Message.of("refused.leased_whole", size=str(size)))


def _no_such_model(present: Iterable[Device], size: Size) -> Message:
    kinds = sorted({(device.spec.model, device.spec.memory_bytes) for device in present})
    models = tuple(Message.of("refused.model", model=model, memory_bytes=memory_bytes) for model, memory_bytes in kinds)
    return Message.of("refused.no_such_model", size=str(size), models=models, sizes=tuple(PROFILES))


def require_resizable(state: State, lease: Lease, size: Size) -> Devices:
    """Return the device of an active lease where it can have another size on it while its kernel runs, given room.

    Raise :class:`~fastgpu_jupyter.errors.Conflict` with the reason where it cannot. Nothing is changed.
    """
    devices = device_share.devices_of(state, lease)
    if len(devices) != 1 or size.devices != 1:
        raise NeedsRestart(Message.of("resize.device_count"))
    device = devices[0]
    spec = device.spec
    if not size.matches(spec.model, spec.memory_bytes):
        raise Conflict(Message.of("resize.other_model", size=str(size), model=spec.model))
    requirements = live_resize_requirements(lease, size)
    mechanism = lease.logical_gpu.mechanism if lease.logical_gpu else Mechanism.EXCLUSIVE
    capability = mechanisms.capability_of(spec, mechanism)
    can_change = mechanism is Mechanism.EXCLUSIVE or (capability is not None and capability.resizable)
    if not can_change or mechanisms.choose(spec, requirements) is None:
        why = mechanisms.refusal(spec, requirements) or _fixed_size_reason(spec, mechanism)
        raise NeedsRestart(Message.of("resize.fixed_while_running", reason=why))
    grows = lease.logical_gpu is not None and device_share.memory_bytes(device, size) > lease.logical_gpu.memory_bytes
    if grows and not device.grantable:
        raise Conflict(Message.of("resize.out_of_service"))
    return devices


def live_resize_requirements(lease: Lease, size: Size) -> Requirements:
    """Return the requirements of a lease with another size, and a mechanism that can change it while its kernel
    runs.
    """
    return lease.requirements._replace(size=size, resizable=True)


def _fixed_size_reason(spec: DeviceSpec, mechanism: Mechanism) -> Message:
    if mechanism is Mechanism.MPS:
        return Message.of("unfit.mps_limit_fixed")
    return Message.of("unfit.not_resizable_so", model=spec.model)
