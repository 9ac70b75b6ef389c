"""Rules for the health of a device: which leases are notified, what is drained, and which leases are offered a move.

A driver reports a :class:`~..model.entities.DeviceFault`. One whose scope is a process concerns the leases that may
have caused it, and the device stays in service. Any other concerns the device: nothing new is granted on it, and each
of its leases is moved where that is possible, or notified. The health that follows from a fault holds until an
administrator restores the device or the machine restarts; the health that a check shows holds until the next check.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import Device, DeviceFault, EndReason, FaultScope, FaultSeverity, Health, Instant, Lease, State
from ..model.events import Event
from ..model.lifecycle import EXPOSED_TO_FAULTS
from ..placement.inventory import find_device
from . import migration, presence
from .transition import advance

_HEALTH = {
    FaultSeverity.SUSPECT: Health.SUSPECT,
    FaultSeverity.FAULTY: Health.FAULTY,
    FaultSeverity.LOST: Health.FAULTY,
}
_RANK = {Health.HEALTHY: 0, Health.SUSPECT: 1, Health.FAULTY: 2}


def report_fault(state: State, command: c.ReportFault, at: Instant) -> list[Event]:
    """Attribute a reported fault to the leases that caused it, or take its device out of service."""
    device = find_device(state, command.device_id)
    fault = command.fault
    if fault.scope is FaultScope.PROCESS:
        return list(_lease_faults(state, device, command))
    if fault.severity is FaultSeverity.MINOR:
        return []
    reason = Message.of("health.fault", fault=fault.message, fault_code=fault.code)
    health = max(_HEALTH[fault.severity], device.health, key=_RANK.__getitem__)
    events: list[Event] = []
    if (device.health, device.fault_code) != (health, fault.code):
        events.append(e.DeviceHealthChanged(command.device_id, health, reason, fault.code))
    if fault.severity is FaultSeverity.LOST:
        return [*events, *_lost(state, device, reason)]
    return [*events, *migration.of_devices(state, [device], at)] if health is Health.SUSPECT else events


def set_health(state: State, command: c.SetHealth, at: Instant) -> list[Event]:
    """A look at the device showed its health."""
    device = find_device(state, command.device_id)
    events: list[Event] = []
    better = device.fault_code is not None and _RANK[command.health] <= _RANK[device.health]
    if not better and (device.health, device.health_reason) != (command.health, command.reason):
        events.append(e.DeviceHealthChanged(command.device_id, command.health, command.reason, device.fault_code))
    if command.lost:
        return [*events, *_lost(state, device, command.reason)]
    goes = events and command.health is Health.SUSPECT
    return [*events, *migration.of_devices(state, [device], at)] if goes else events


def restore(state: State, command: c.RestoreDevice, at: Instant) -> list[Event]:
    """Put the device back into service on an administrator's word; reported faults are forgotten."""
    device = find_device(state, command.device_id)
    return [] if device.health is Health.HEALTHY else [_restored(device)]


def rebooted(state: State) -> Iterator[Event]:
    """Restore each device that a fault took out of service: the machine restarted, and the device with it."""
    return (_restored(device) for device in state.devices.values() if device.fault_code is not None)


def due(state: State, at: Instant) -> Iterator[Event]:
    """Leases that can leave a suspect device by now, because there is room elsewhere."""
    return migration.of_devices(state, map(state.devices.__getitem__, state.suspect), at)


def message(state: State, lease: Lease) -> Message | None:
    """Return the message about missing devices and faults that concern the lease, or ``None``."""
    if (missing := presence.message(state, lease)) is not None:
        return missing
    if lease.state not in EXPOSED_TO_FAULTS or lease.logical_gpu is None:
        return None
    if lease.fault is not None:
        return lease.fault
    devices = (state.devices[name] for name in lease.logical_gpu.local_device_ids if name in state.devices)
    worst = max(devices, key=lambda device: _RANK[device.health], default=None)
    if worst is None or worst.health is Health.HEALTHY:
        withheld = (
            state.devices[name].unaccounted for name in lease.logical_gpu.local_device_ids if name in state.devices
        )
        return next((one.reason for one in withheld if one is not None), None)
    advice = migration.advice(state, lease) or ""
    if worst.health is Health.SUSPECT:
        reason = worst.health_reason or Message.of("health.is_suspect")
        return Message.of("health.suspect", reason=reason, advice=advice)
    reason = worst.health_reason or Message.of("health.is_faulty")
    return Message.of("health.faulty", reason=reason, advice=advice)


def _restored(device: Device) -> Event:
    return e.DeviceHealthChanged(device.spec.id, Health.HEALTHY, None)


def _lease_faults(state: State, device: Device, command: c.ReportFault) -> Iterator[Event]:
    """Yield an event for each lease whose code caused the fault, or may have."""
    here = [state.leases[name] for name in device.lease_ids if state.leases[name].state in EXPOSED_TO_FAULTS]
    named = [lease for lease in here if lease.id in command.suspects]
    # The process that caused it may have ended before the monitor listed the processes.
    blamed = named or here
    certain = (command.certain and bool(named)) or len(here) == 1
    said = _certain_fault(command.fault) if certain else _possible_fault(command.fault)
    return (e.LeaseFaulted(lease.id, said, command.fault.code) for lease in blamed if lease.fault != said)


def _certain_fault(fault: DeviceFault) -> Message:
    return Message.of("fault.certain", fault=fault.message, fault_code=fault.code, advice=fault.advice or "")


def _possible_fault(fault: DeviceFault) -> Message:
    return Message.of("fault.possible", fault=fault.message, fault_code=fault.code)


def _lost(state: State, device: Device, reason: Message | None) -> Iterator[Event]:
    for lease_id in device.lease_ids:
        if state.leases[lease_id].state in EXPOSED_TO_FAULTS:
            yield e.LeaseDraining(lease_id, EndReason.DEVICE_LOST, reason)


def apply_health(state: State, event: e.DeviceHealthChanged, at: Instant) -> None:
    """Record the health of a device."""
    device = state.devices[event.device_id]
    device.health, device.health_reason, device.fault_code = event.health, event.reason, event.fault_code
    if event.health is Health.SUSPECT:
        state.suspect[event.device_id] = None
    else:
        state.suspect.pop(event.device_id, None)


def apply_fault(state: State, event: e.LeaseFaulted, at: Instant) -> None:
    """Record the fault to show to the lease's user."""
    advance(state, event.lease_id, event).fault = event.detail
