"""What follows from what a device says of itself: who is told, what is drained, and which leases are offered a move.

An error number that NVIDIA's driver reports is an *Xid*. Some mean that a program did something wrong: they end at its
lease, and the device stays in service. The others mean that the device did: nothing new is granted on it, and each of
its leases is moved where that can be, or told. What a device has once shown by an Xid is believed until somebody puts
it back into service or the machine is started anew; what a look at it shows holds for as long as it shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from ...errors import NotFound
from ..model import commands as c
from ..model import events as e
from ..model.entities import Device, EndReason, Health, Instant, Lease, LeaseState, State
from ..model.events import Event
from . import migration


class Blame(Enum):
    """What an Xid speaks of."""

    CODE = "code"  #: of a user; the device is as good as before
    SUSPECT = "suspect"  #: the device, which may go on for what runs there
    FAULTY = "faulty"  #: the device, and what is on it is not to be trusted
    LOST = "lost"  #: the device is gone, with all that was on it


class Xid(NamedTuple):
    """One error number; ``said`` goes on from "your code" where that is to blame, else from "the GPU"."""

    blame: Blame
    said: str


#: Every number that is told apart; any other one makes the device suspect.
XIDS: dict[int, Xid] = {
    13: Xid(Blame.CODE, "made the GPU fault: an illegal instruction or a wrong address in a GPU function"),
    31: Xid(Blame.CODE, "read or wrote outside its memory on the GPU"),
    43: Xid(Blame.CODE, "was stopped on the GPU after an error in it"),
    45: Xid(Blame.CODE, "lost its work on the GPU, because its process failed or was ended"),
    46: Xid(Blame.SUSPECT, "stopped working for a moment"),
    48: Xid(Blame.FAULTY, "has memory errors that it could not correct"),
    63: Xid(Blame.SUSPECT, "has bad memory that is replaced when the GPU is reset"),
    64: Xid(Blame.FAULTY, "has bad memory that it could not replace"),
    68: Xid(Blame.CODE, "made the video decoder of the GPU fault"),
    74: Xid(Blame.SUSPECT, "has errors on its links to other GPUs"),
    79: Xid(Blame.LOST, "has fallen off the bus"),
    94: Xid(Blame.SUSPECT, "has a memory error, which hit one program only"),
    95: Xid(Blame.FAULTY, "has a memory error that may have hit every program on it"),
    109: Xid(Blame.CODE, "took too long on the GPU and was stopped"),
    119: Xid(Blame.FAULTY, "has a controller that does not answer"),
    120: Xid(Blame.FAULTY, "has a controller that failed"),
}
_OTHER = Xid(Blame.SUSPECT, "reported a critical error")

_HEALTH = {Blame.SUSPECT: Health.SUSPECT, Blame.FAULTY: Health.FAULTY, Blame.LOST: Health.FAULTY}
_RANK = {Health.HEALTHY: 0, Health.SUSPECT: 1, Health.FAULTY: 2}
#: States in which a lease has something on its device that can be hit.
EXPOSED = frozenset({LeaseState.PREPARING, LeaseState.ACTIVE, LeaseState.PARKING, LeaseState.RESUMING})


def xid(number: int) -> Xid:
    """What is known of an error number."""
    return XIDS.get(number, _OTHER)


def report_xid(state: State, command: c.ReportXid, at: Instant) -> list[Event]:
    """An Xid was seen: it ends at who caused it, or the device leaves service."""
    device = find_device(state, command.device_id)
    known = xid(command.xid)
    if known.blame is Blame.CODE:
        return list(_told(state, device, command, known))
    reason = f"The GPU {known.said} (Xid {command.xid})."
    health = max(_HEALTH[known.blame], device.health, key=_RANK.__getitem__)
    events: list[Event] = []
    if (device.health, device.xid) != (health, command.xid):
        events.append(e.DeviceHealthChanged(command.device_id, health, reason, command.xid))
    if known.blame is Blame.LOST:
        return [*events, *_lost(state, device, reason)]
    return [*events, *migration.of_devices(state, [device])] if health is Health.SUSPECT else events


def set_health(state: State, command: c.SetHealth, at: Instant) -> list[Event]:
    """A look at the device showed its health."""
    device = find_device(state, command.device_id)
    events: list[Event] = []
    better = device.xid is not None and _RANK[command.health] <= _RANK[device.health]
    if not better and (device.health, device.health_reason) != (command.health, command.reason):
        events.append(e.DeviceHealthChanged(command.device_id, command.health, command.reason, device.xid))
    if command.lost:
        return [*events, *_lost(state, device, command.reason)]
    goes = events and command.health is Health.SUSPECT and not command.stays
    return [*events, *migration.of_devices(state, [device])] if goes else events


def restore(state: State, command: c.RestoreDevice, at: Instant) -> list[Event]:
    """Somebody vouches for the device: what was held against it is forgotten."""
    device = find_device(state, command.device_id)
    return [] if device.health is Health.HEALTHY else [_restored(device)]


def rebooted(state: State) -> Iterator[Event]:
    """The machine was started anew, and each device with it: an error by number is no longer held against it."""
    return (_restored(device) for device in state.devices.values() if device.xid is not None)


def due(state: State) -> Iterator[Event]:
    """Leases that can leave a suspect device by now, because there is room elsewhere."""
    return migration.of_devices(state, map(state.devices.__getitem__, state.suspect))


def message(state: State, lease: Lease) -> str | None:
    """What the lease's user is to be told of faults, or ``None``."""
    if lease.state not in EXPOSED or lease.logical_gpu is None:
        return None
    if lease.fault is not None:
        return lease.fault
    devices = (state.devices[name] for name in lease.logical_gpu.device_ids if name in state.devices)
    worst = max(devices, key=lambda device: _RANK[device.health], default=None)
    if worst is None or worst.health is Health.HEALTHY:
        return None
    trust = "may go wrong" if worst.health is Health.SUSPECT else "is not to be trusted"
    said = (
        f"{worst.health_reason or f'Its GPU is {worst.health.value}.'} What runs on it {trust}, and nothing new is "
        f"granted there. Save your work. {migration.advice(state, lease)}"
    )
    return said.rstrip()


def find_device(state: State, device_id: str) -> Device:
    """The device with that id. Raises :class:`~fastgpu_jupyter.errors.NotFound`."""
    device = state.devices.get(device_id)
    if device is None:
        raise NotFound(f"There is no device {device_id[:80]!r} in this pool; `jupyter fastgpu status` lists them.")
    return device


def _restored(device: Device) -> Event:
    return e.DeviceHealthChanged(device.spec.id, Health.HEALTHY, None)


def _told(state: State, device: Device, command: c.ReportXid, known: Xid) -> Iterator[Event]:
    """Who is told that it was, or may have been, its code."""
    here = [state.leases[name] for name in device.lease_ids if state.leases[name].state in EXPOSED]
    named = [lease for lease in here if lease.id in command.suspects]
    # The process that did it may have ended before anybody looked who it was.
    blamed = named or here
    certain = (command.certain and bool(named)) or len(here) == 1
    said = _certainly(known, command.xid) if certain else _perhaps(known, command.xid)
    return (e.LeaseFaulted(lease.id, said, command.xid) for lease in blamed if lease.fault != said)


def _certainly(known: Xid, number: int) -> str:
    return (
        f"Your code {known.said}: Xid {number}. What this kernel has on the GPU is lost; restart the kernel. "
        "With CUDA_LAUNCH_BLOCKING=1 in its environment the error is raised where it happens."
    )


def _perhaps(known: Xid, number: int) -> str:
    return (
        f"The code of somebody on this GPU {known.said}: Xid {number}. It may have been yours: "
        "if calls to the GPU fail here, restart the kernel."
    )


def _lost(state: State, device: Device, reason: str | None) -> Iterator[Event]:
    for lease_id in device.lease_ids:
        if state.leases[lease_id].state in EXPOSED:
            yield e.LeaseDraining(lease_id, EndReason.DEVICE_LOST, reason)
