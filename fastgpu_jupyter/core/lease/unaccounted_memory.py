"""Rules for device memory that is in use though no visible process has it: it is not granted to others.

Processes of a device can be hidden: in a PID namespace of its own the pool does not know the numbers that the driver
lists, and some drivers list none. Then a lease ends with its processes, but its capacity does not pass to others: the
device is *unaccounted* until the memory in use there is back at its baseline, which is what was in use while no lease
was on it. The same holds where more is in use than the leases there account for. An administrator can declare
what is in use to be the baseline (``jupyter fastgpu drain DEVICE --undo``).
"""

from __future__ import annotations

from ...errors import Message
from ...units import GIB, MIB
from ..model import commands as c
from ..model import events as e
from ..model.entities import Device, Instant, Lease, ScrubOutcome, ScrubResult, State, Unaccounted
from ..model.events import Event

#: What an unused device may have in use, as for a display: a tenth of its memory, and 1 GiB at least.
TOLERATED_PART, TOLERATED_BYTES_MIN = 10, GIB
#: How much memory in use may exceed the baseline: what the driver itself takes varies by that much.
MARGIN_BYTES = 512 * MIB
#: Smaller changes of the baseline are not recorded.
CHANGE_BYTES = 128 * MIB


def left_by(state: State, lease: Lease, result: ScrubResult | None) -> list[Event]:
    """Return the events that withhold the devices of a lease that gives them back while its memory may be there."""
    if result is None or result.scrub is not ScrubOutcome.UNKNOWN or lease.logical_gpu is None:
        return []
    devices = (state.devices[device_id] for device_id in lease.logical_gpu.local_device_ids)
    why = Unaccounted(Message.of("device.memory_of_ended_lease"), lease_id=lease.id)
    return [e.DeviceMemoryAssessed(device.spec.id, device.baseline_bytes, why) for device in devices]


def report(state: State, command: c.ReportUnownedMemory, at: Instant) -> list[Event]:
    """Withhold a device with more memory in use than is accounted for, or put it back; record its baseline."""
    device = state.devices.get(command.device_id)
    if device is None:
        return []
    assessed = assess(device, command.unowned_bytes, command.explained_bytes)
    older = _was_left(device) and command.left_by != _left_by(device)
    return [] if assessed is None or (older and assessed.unaccounted is None) else [assessed]


def assess(device: Device, unowned_bytes: int, explained_bytes: int) -> e.DeviceMemoryAssessed | None:
    """Return what that much memory in use means for a device; ``None`` where that is known of it.

    See :class:`~..model.commands.ReportUnownedMemory` for the arguments.
    """
    # What other leases may use cannot be told from what one that ended has left.
    explained_bytes = explained_bytes if device.lease_ids and not _was_left(device) else 0
    over = unowned_bytes - explained_bytes > limit_bytes(device)
    baseline_bytes = device.baseline_bytes if over or device.lease_ids else _new_baseline(device, unowned_bytes)
    unaccounted = _unaccounted(device, unowned_bytes) if over else None
    if (baseline_bytes, unaccounted) == (device.baseline_bytes, device.unaccounted):
        return None
    return e.DeviceMemoryAssessed(device.spec.id, baseline_bytes, unaccounted)


def limit_of(state: State, device_id: str) -> int:
    """Return :func:`limit_bytes` of a device; 0 where there is no such device."""
    device = state.devices.get(device_id)
    return 0 if device is None else limit_bytes(device)


def limit_bytes(device: Device) -> int:
    """Return how much memory of a device may be in use though no visible process has it."""
    if device.baseline_bytes is None:
        return _tolerated_bytes(device)
    most_bytes = device.baseline_bytes + MARGIN_BYTES
    return most_bytes if device.lease_ids or _was_left(device) else max(most_bytes, _tolerated_bytes(device))


def _tolerated_bytes(device: Device) -> int:
    return max(device.spec.memory_bytes // TOLERATED_PART, TOLERATED_BYTES_MIN)


def _was_left(device: Device) -> bool:
    return _left_by(device) is not None


def _left_by(device: Device) -> str | None:
    return None if device.unaccounted is None else device.unaccounted.lease_id


def _new_baseline(device: Device, unowned_bytes: int) -> int:
    """Return the baseline of an unused device. Beyond what is tolerated it only falls."""
    known_bytes = device.baseline_bytes
    if known_bytes is None:
        return unowned_bytes
    if abs(unowned_bytes - known_bytes) < CHANGE_BYTES or unowned_bytes > max(known_bytes, _tolerated_bytes(device)):
        return known_bytes
    return unowned_bytes


def _unaccounted(device: Device, unowned_bytes: int) -> Unaccounted:
    known = device.unaccounted
    shown_bytes = None if known is None else known.in_use_bytes
    if shown_bytes is not None and abs(unowned_bytes - shown_bytes) < MARGIN_BYTES:
        unowned_bytes = shown_bytes  # it varies all the time
    if known is not None and known.lease_id is not None:
        reason = Message.of("device.memory_of_ended_lease_in_use", in_use_bytes=unowned_bytes)
        return Unaccounted(reason, unowned_bytes, known.lease_id)
    return Unaccounted(Message.of("device.memory_unaccounted", in_use_bytes=unowned_bytes), unowned_bytes)


def apply_assessed(state: State, event: e.DeviceMemoryAssessed, at: Instant) -> None:
    """Record the baseline of a device, and what is in use there without a visible owner."""
    device = state.devices.get(event.device_id)  # it may have gone meanwhile
    if device is not None:
        device.baseline_bytes, device.unaccounted = event.baseline_bytes, event.unaccounted
