"""The inventory of hosts and devices: what is there, what is drained, and what is still to be scrubbed."""

from __future__ import annotations

from ...errors import Message, NotFound
from ..model import commands as c
from ..model import events as e
from ..model.entities import Device, DeviceSpec, EndReason, Host, Instant, PartitionProfile, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from . import mig_partitions


def set_devices(state: State, command: c.SetDevices, at: Instant) -> list[Event]:
    """Record which devices the hosts show; leases on devices that are gone are ended."""
    shown = {spec.id: spec for spec in command.specs}
    present = [device for device in state.devices.values() if device.present]
    # Divided while it was leased whole, or the other way: the device that was leased is no more.
    switched = [device for device in present if device.lease_ids and _is_switched(device, shown.get(device.spec.id))]
    gone = [device for device in present if device.spec.id not in shown] + switched
    # A lease of several devices is lost with the first of them, once.
    lost = dict.fromkeys(lease_id for device in gone for lease_id in device.lease_ids)
    leases = [state.leases[lease_id] for lease_id in lost]
    switched_message = Message.of("end.mig_switched")
    of_switched = {lease_id for device in switched for lease_id in device.lease_ids}
    events: list[Event] = [
        e.LeaseDraining(lease.id, EndReason.DEVICE_LOST, switched_message if lease.id in of_switched else None)
        for lease in leases
        if lease.state is not LeaseState.DRAINING
    ]
    events += [e.DeviceVanished(device.spec.id) for device in gone]
    for host in command.hosts:
        known_host = state.hosts.get(host.id)
        if known_host is None or known_host.spec != host:
            events.append(e.HostAppeared(host))
    for spec in command.specs:
        known = state.devices.get(spec.id)
        if known is not None and known.lease_ids and _counts(known.spec) != _counts(spec):
            continue  # a driver that counts differently: what is promised of it stands until it is empty
        if known is None or not known.present or known.spec != spec:
            events.append(e.DeviceAppeared(spec))
    return events


def _is_switched(device: Device, now: DeviceSpec | None) -> bool:
    return now is not None and mig_partitions.is_partitioned(device.spec) != mig_partitions.is_partitioned(now)


def _counts(spec: DeviceSpec) -> tuple[int, tuple[PartitionProfile, ...]]:
    return spec.memory_bytes, spec.profiles


def drain_device(state: State, command: c.DrainDevice, at: Instant) -> list[Event]:
    """Drain a device, or put it back into service. Raises :class:`NotFound`."""
    device = find_device(state, command.device_id)
    events: list[Event] = []
    if device.drained != command.drained:
        events.append(e.DeviceDrained(command.device_id, command.drained))
    if not command.drained and device.scrub_pending is not None:  # an administrator goes on without
        events.append(e.DeviceScrubPendingSet(command.device_id, None))
    if not command.drained and device.unaccounted is not None:  # what is in use there is not a lease's, by his word
        baseline_bytes = max(device.baseline_bytes or 0, device.unaccounted.in_use_bytes or 0)
        events.append(e.DeviceMemoryAssessed(command.device_id, baseline_bytes, None))
    return events


def report_scrub_failure(state: State, command: c.ReportScrubFailure, at: Instant) -> list[Event]:
    """Record that memory of a device could not be overwritten, or that it was by now."""
    device = state.devices.get(command.device_id)
    if device is None or device.scrub_pending == command.reason:
        return []
    return [e.DeviceScrubPendingSet(command.device_id, command.reason)]


def apply_host(state: State, event: e.HostAppeared, at: Instant) -> None:
    """Record a host and the sums over all hosts."""
    state.hosts.setdefault(event.spec.id, Host(event.spec)).spec = event.spec
    state.cpu_milli = sum(host.spec.cpu_milli for host in state.hosts.values())
    state.memory_bytes = sum(host.spec.memory_bytes for host in state.hosts.values())


def apply_device(state: State, event: e.DeviceAppeared, at: Instant) -> None:
    """Record a device as present."""
    device = state.devices.setdefault(event.spec.id, Device(event.spec))
    device.spec, device.present = event.spec, True


def apply_device_vanished(state: State, event: e.DeviceVanished, at: Instant) -> None:
    """Record that a device is gone; it is forgotten once no lease has any of it."""
    device = state.devices[event.device_id]
    device.present = False
    if not device.lease_ids:
        forget_device(state, event.device_id)


def apply_drained(state: State, event: e.DeviceDrained, at: Instant) -> None:
    """Record whether a device is drained."""
    state.devices[event.device_id].drained = event.drained


def apply_scrub_pending(state: State, event: e.DeviceScrubPendingSet, at: Instant) -> None:
    """Record why the memory of a device is still to be overwritten, or that it is not."""
    if event.device_id in state.devices:  # it may have gone meanwhile
        state.devices[event.device_id].scrub_pending = event.reason


def forget_device(state: State, device_id: str) -> None:
    """Remove a device that is gone."""
    del state.devices[device_id]
    state.suspect.pop(device_id, None)


def find_device(state: State, device_id: str) -> Device:
    """The device with that id. Raises :class:`~fastgpu_jupyter.errors.NotFound`."""
    device = state.devices.get(device_id)
    if device is None:
        raise NotFound(Message.of("device.not_found", device=repr(device_id[:80])))
    return device
