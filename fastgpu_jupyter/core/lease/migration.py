"""Leases leave a device that is not well, or that an administrator empties.

Where its memory can be parked, a lease goes elsewhere by itself and goes on there. Where it cannot (no driver parks the
memory of a MIG partition), a move is only *offered*: the lease keeps its id and its bill, but gets another logical GPU,
its kernel must be restarted, and what it had on the old one is lost. So nothing is moved before its user has asked for
it by :class:`~core.model.commands.MigrateLease`, and then at the next restart of the kernel, because only then
is there nothing left to lose. What is asked for is not taken back by a device that is well again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum

from ...errors import Conflict, Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import Device, Health, Instant, Lease, ParkReason, Retention, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from ..placement import device_share, eligibility, parkability
from ..placement.parkability import ParkDecision
from .lookup import find_live_lease
from .transition import advance


class MigrationOption(StrEnum):
    """How a lease could leave its device."""

    LIVE = "live"  #: with its memory, while its kernel goes on
    RESTART = "restart"  #: without its memory, when its kernel is restarted
    ACCEPTED = "accepted"  #: so, and its user wants that


def migration_option(state: State, lease: Lease) -> MigrationOption | None:
    """What is offered to the lease; ``None`` where it has no reason to leave."""
    if lease.state is not LeaseState.ACTIVE or lease.logical_gpu is None or lease.cluster_job is not None:
        return None
    if lease.migration_requested:
        return MigrationOption.ACCEPTED
    devices = [state.devices[name] for name in lease.logical_gpu.device_ids]
    if any(device.missing for device in devices):
        return None  # it may come back with what the lease has on it
    if all(device.health is Health.HEALTHY and not device.drained for device in devices):
        return None
    return MigrationOption.LIVE if parkability.obstacle(state, lease) is None else MigrationOption.RESTART


def advice(state: State, lease: Lease) -> Message | None:
    """Return what the lease's user can do, or ``None`` where there is no reason to migrate."""
    match migration_option(state, lease):
        case MigrationOption.ACCEPTED:
            return Message.of("migration.at_restart")
        case MigrationOption.LIVE:
            return Message.of("migration.live_possible", lease=lease.id)
        case MigrationOption.RESTART:
            return Message.of("migration.restart_possible", lease=lease.id)
        case _:
            return None


def move(state: State, lease: Lease) -> list[Event]:
    """Its user accepts what is offered. Raises :class:`Conflict` with the reason where nothing is, or has room."""
    found = migration_option(state, lease)
    if found is MigrationOption.ACCEPTED:
        return []
    if lease.state is not LeaseState.ACTIVE:
        raise Conflict(Message.of("migration.wrong_state", state=lease.state.value))
    if found is None:
        raise Conflict(Message.of("migration.not_needed"))
    if not _has_room_elsewhere(state, lease, Counter(), live=found is MigrationOption.LIVE):
        raise Conflict(Message.of("migration.no_room"))
    return [
        e.LeaseParking(lease.id, ParkReason.HEALTH)
        if found is MigrationOption.LIVE
        else e.LeaseMigrationRequested(lease.id)
    ]


def rebound(state: State, lease: Lease) -> Iterator[Event]:
    """What comes before another process holds the lease: one that wants to move goes now, if there is still room."""
    if (
        lease.migration_requested
        and lease.state is LeaseState.ACTIVE
        and _has_room_elsewhere(state, lease, Counter(), live=False)
    ):
        yield e.LeaseParking(lease.id, ParkReason.RESTART)


def of_devices(state: State, devices: Iterable[Device], at: Instant) -> Iterator[Event]:
    """Leases on those devices that are parked so that they go on elsewhere, each with room of its own to go to."""
    ids = dict.fromkeys(lease_id for device in devices for lease_id in device.lease_ids)
    taken_bytes: Counter[str] = Counter()
    movable = (
        ParkDecision(lease, ParkReason.HEALTH)
        for lease in map(state.leases.__getitem__, ids)
        if lease.request.retention is Retention.YIELD
        and parkability.may_park(state, lease, at.ms)
        and _has_room_elsewhere(state, lease, taken_bytes, live=True)
    )
    return (e.LeaseParking(one.lease.id, one.reason) for one in movable)


def _has_room_elsewhere(state: State, lease: Lease, taken_bytes: Counter[str], *, live: bool) -> bool:
    """Whether other devices, of its kind if it goes ``live``, could take the lease now.

    If so, its room is noted in ``taken_bytes``.
    """
    gpu = lease.logical_gpu
    assert gpu is not None
    spec = state.devices[gpu.device_id].spec
    requirements = lease.requirements.on_kind(spec.model, spec.memory_bytes) if live else lease.requirements
    by_host: dict[tuple[str, eligibility.DeviceSignature], list[str]] = {}
    for name, device in state.devices.items():
        free = device.grantable and device_share.missing_bytes(device, requirements.size) + taken_bytes[name] <= 0
        if free and name not in gpu.device_ids and eligibility.is_eligible(state, device, requirements):
            by_host.setdefault((device.spec.host_id, eligibility.signature_of(device.spec)), []).append(name)
    for names in by_host.values():
        if len(names) >= requirements.size.devices:
            taken_bytes.update(
                dict.fromkeys(names[: requirements.size.devices], gpu.memory_bytes // requirements.size.devices)
            )
            return True
    return False


def migrate_lease(state: State, command: c.MigrateLease, at: Instant) -> list[Event]:
    """Migrate the lease as its user requests. Raises :class:`Conflict` with the reason where it cannot be migrated."""
    lease = find_live_lease(state, command.lease_id)
    if lease.cluster_job is not None:
        raise Conflict(Message.of("cluster.cannot_migrate"))
    return move(state, lease)


def apply_requested(state: State, event: e.LeaseMigrationRequested, at: Instant) -> None:
    """Record that the lease migrates with the next restart of its kernel."""
    advance(state, event.lease_id, event).migration_requested = True
