"""The inventory of hosts and devices: what is there, what is drained, and what is still to be scrubbed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...errors import Message, NotFound
from ..model import commands as c
from ..model import events as e
from ..model.entities import Device, DeviceSpec, Host, Instant, PartitionProfile, State
from ..model.events import Event
from . import mig_partitions


def found(state: State, command: c.SetDevices) -> Iterator[Event]:
    """Yield an event for each host and device that is new, has changed, or was missing."""
    for host in command.hosts:
        known_host = state.hosts.get(host.id)
        if known_host is None or known_host.spec != host:
            yield e.HostAppeared(host)
    for listed in command.specs:
        known = state.devices.get(listed.id)
        if known is not None and known.lease_ids and _counts(known.spec) != _counts(listed):
            # A driver that counts differently: what is promised of the device stands until it is empty.
            if known.missing is not None:
                yield e.DeviceAppeared(known.spec)
        elif known is None or not known.present or known.missing is not None or known.spec != listed:
            yield e.DeviceAppeared(listed)


def switched_devices(state: State, specs: Iterable[DeviceSpec]) -> Iterator[Device]:
    """Yield each leased device that was divided while it was leased whole, or the other way: it exists no more."""
    for spec in specs:
        device = state.devices.get(spec.id)
        if device is not None and device.present and device.lease_ids and _is_switched(device, spec):
            yield device


def _is_switched(device: Device, now: DeviceSpec) -> bool:
    return mig_partitions.is_partitioned(device.spec) != mig_partitions.is_partitioned(now)


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
    device.present, device.missing = False, None
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
