"""Rules for devices that come and go: which are missing, when one is given up, and what that means for its leases.

A device that its driver no longer lists, or whose driver does not answer, is *missing*: nothing is granted on it, and
its leases keep their place and are not billed. It is gone once the driver has answered without it for
:data:`GONE_AFTER_MS`, or an administrator says so; only then do its leases end. A device without leases goes at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Conflict, Message
from ..accounting import meter
from ..model import commands as c
from ..model import events as e
from ..model.entities import Device, EndReason, Instant, Lease, Missing, MissingReason, State
from ..model.events import Event
from ..model.lifecycle import HOLDING_CAPACITY, OVER, LeaseState
from ..placement import inventory

#: How long a driver must have answered without a device before its leases end.
GONE_AFTER_MS = 60_000
_NOT_LISTED, _NO_ANSWER = MissingReason.NOT_LISTED, MissingReason.NO_ANSWER


def set_devices(state: State, command: c.SetDevices, at: Instant) -> list[Event]:
    """Record which devices the drivers list, which are missing by that, and which are gone."""
    listed = {spec.id for spec in command.specs}
    switched = list(inventory.switched_devices(state, command.specs))
    unlisted = [device for device in state.devices.values() if device.present and device.spec.id not in listed]
    silent = [device for device in unlisted if device.spec.id in command.silent]
    absent = [device for device in unlisted if device.spec.id not in command.silent]
    gone = [device for device in absent if not device.lease_ids or _is_due(device, at)]
    events = list(
        _vanish(
            state,
            [(device, Message.of("end.mig_switched")) for device in switched]
            + [(device, Message.of("end.device_missing", missing_ms=GONE_AFTER_MS)) for device in gone],
        )
    )
    events += _become_missing([device for device in absent if device not in gone], _NOT_LISTED)
    events += _become_missing(silent, _NO_ANSWER)
    return [*events, *inventory.found(state, command)]


def report_no_answer(state: State, command: c.ReportNoAnswer, at: Instant) -> list[Event]:
    """Record that nothing is known of any device."""
    return list(_become_missing([device for device in state.devices.values() if device.present], _NO_ANSWER))


def forget_device(state: State, command: c.ForgetDevice, at: Instant) -> list[Event]:
    """Give a missing device up, and end its leases. Raises :class:`Conflict` where it is not missing."""
    device = inventory.find_device(state, command.device_id)
    if device.missing is None:
        raise Conflict(Message.of("device.not_missing", device=command.device_id))
    return list(_vanish(state, [(device, Message.of("end.device_forgotten"))]))


def _is_due(device: Device, at: Instant) -> bool:
    """Return whether the driver has answered without the device for long enough."""
    missing = device.missing
    return missing is not None and missing.reason is _NOT_LISTED and at.ms - missing.reason_since_ms >= GONE_AFTER_MS


def _become_missing(devices: list[Device], reason: MissingReason) -> Iterator[Event]:
    for device in devices:
        if device.missing is None or device.missing.reason is not reason:
            yield e.DeviceMissing(device.spec.id, reason)


def _vanish(state: State, devices: list[tuple[Device, Message]]) -> Iterator[Event]:
    """Yield the end of each lease on the devices, with the reason, and then the end of the devices."""
    details: dict[str, Message] = {}  # a lease of several devices ends with the first of them, once
    for device, detail in devices:
        for lease_id in device.lease_ids:
            details.setdefault(lease_id, detail)
    for lease_id, detail in details.items():
        if state.leases[lease_id].state not in OVER:
            yield e.LeaseDraining(lease_id, EndReason.DEVICE_LOST, detail)
    for device, _ in devices:
        yield e.DeviceVanished(device.spec.id)


def device_message(device: Device) -> Message | None:
    """Return why the device is missing and what follows, or ``None`` where it is not."""
    if device.missing is None:
        return None
    if device.missing.reason is _NO_ANSWER:
        return Message.of("device.no_answer", device=device.spec.id)
    return Message.of("device.not_listed", device=device.spec.id, missing_ms=GONE_AFTER_MS)


def message(state: State, lease: Lease) -> Message | None:
    """Return the message about a missing device of the lease, or ``None`` where all are there."""
    device = missing_device(state, lease)
    if device is None or device.missing is None:
        return None
    if lease.state in OVER:
        return Message.of("missing.ending")
    if device.missing.reason is _NO_ANSWER:
        return Message.of("missing.no_answer")
    return Message.of("missing.not_listed", missing_ms=GONE_AFTER_MS)


def missing_device(state: State, lease: Lease) -> Device | None:
    """Return the first device of the lease that is missing, or ``None`` where none is."""
    gpu = lease.logical_gpu if lease.state in HOLDING_CAPACITY else None
    devices = (state.devices[name] for name in gpu.local_device_ids if name in state.devices) if gpu else ()
    return next((device for device in devices if device.missing is not None), None)


def apply_missing(state: State, event: e.DeviceMissing, at: Instant) -> None:
    """Record that a device is missing, and stop billing its leases."""
    device = state.devices[event.device_id]
    since = at if device.missing is None else device.missing.since
    device.missing = Missing(event.reason, since, at.ms)
    for lease in _leases_of(state, device):
        meter.close_segment(state, lease, at.ms)


def apply_appeared(state: State, event: e.DeviceAppeared, at: Instant) -> None:
    """Record a device as present, and bill its leases again if it was missing."""
    inventory.apply_device(state, event, at)
    device = state.devices[event.spec.id]
    if device.missing is None:
        return
    device.missing = None
    for lease in _leases_of(state, device):
        if lease.state is LeaseState.ACTIVE:
            meter.open_segment(state, lease, at.ms)


def restart_countdown(state: State, at: Instant) -> None:
    """Count from now how long drivers answer without missing devices: no pool manager served until now."""
    for device in state.devices.values():
        if device.missing is not None:
            device.missing = device.missing._replace(reason_since_ms=at.ms)


def _leases_of(state: State, device: Device) -> list[Lease]:
    """Return the leases on the device, each as one that changed."""
    leases = [state.leases[lease_id] for lease_id in device.lease_ids]
    for lease in leases:
        lease.version += 1
    return leases
