"""The pool's one function: a command is decided, its events applied, and whoever waits is served.

``decide`` and ``advance`` read the state and change nothing; ``apply`` changes it and cannot fail except on a bug.
``execute`` strings them together for the runtime, which journals the events before anybody learns of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import Conflict, InternalError, NotFound
from . import commands as c
from . import events as e
from . import meter, placement, queue
from .events import Event
from .lifecycle import next_state
from .model import HOLDING, Device, EndReason, Instant, Lease, LeaseState, State

#: How long a lease that ended stays in the state, so that people see what it cost.
REMEMBER_ENDED_MS = 3_600_000


def execute(state: State, command: c.Command, at: Instant) -> list[Event]:
    """Decide ``command``, apply what follows from it to ``state`` and return the events, in order.

    Raises a :class:`~fastgpu_jupyter.errors.CallerError` and changes nothing where the command is refused.
    """
    events = decide(state, command, at)
    _apply_all(state, events, at)
    while more := advance(state):
        _apply_all(state, more, at)
        events += more
    return events


def advance(state: State) -> list[Event]:
    """The next grant, if the head of the queue can be served; strictly in order."""
    lease = queue.head(state)
    if lease is None:
        return []
    logical_gpu = placement.place(state.devices.values(), lease.request, state.generations + 1)
    return [e.LeaseGranted(lease.id, logical_gpu)] if logical_gpu else []


# -- decide -----------------------------------------------------------------------------------------------------------


def decide(state: State, command: c.Command, at: Instant) -> list[Event]:
    """What follows from ``command`` alone. Pure. Raises a typed refusal where it cannot be."""
    decider = _DECIDERS.get(type(command))
    if decider is None:
        raise InternalError(f"There is no rule for {command!r}.")
    return decider(state, command, at)


def _start_pool(state: State, command: c.StartPool, at: Instant) -> list[Event]:
    if command.boot_id == state.boot_id:
        return [e.PoolStarted(command.boot_id, state.clock_epoch_ms)]
    # No process survives a reboot: every lease ended when the journal last heard of it, and time goes on from there.
    events: list[Event] = [e.PoolStarted(command.boot_id, command.boot_clock_ms - state.last.ms)]
    for lease in state.leases.values():
        if lease.state in HOLDING and lease.state is not LeaseState.DRAINING:
            events.append(e.LeaseDraining(lease.id, EndReason.HOLDER_DIED, "The machine was restarted."))
        elif lease.state is LeaseState.WAITING:
            events.append(e.LeaseEnded(lease.id, EndReason.HOLDER_DIED, "The machine was restarted."))
    return events


def _set_devices(state: State, command: c.SetDevices, at: Instant) -> list[Event]:
    shown = {spec.id: spec for spec in command.specs}
    events: list[Event] = []
    for device_id, device in state.devices.items():
        if device_id in shown or not device.present:
            continue
        events += [_draining(state.leases[lease_id], EndReason.DEVICE_LOST) for lease_id in device.lease_ids
                   if state.leases[lease_id].state is not LeaseState.DRAINING]  # fmt: skip
        events.append(e.DeviceVanished(device_id))
    for spec in command.specs:
        known = state.devices.get(spec.id)
        if known is None or not known.present or known.spec != spec:
            events.append(e.DeviceAppeared(spec))
    return events


def _set_health(state: State, command: c.SetHealth, at: Instant) -> list[Event]:
    device = state.devices.get(command.device_id)
    if device is None:
        raise NotFound(f"There is no device {command.device_id[:80]!r} in this pool.")
    if (device.health, device.health_reason) == (command.health, command.reason):
        return []
    return [e.DeviceHealthChanged(command.device_id, command.health, command.reason)]


def _request_lease(state: State, command: c.RequestLease, at: Instant) -> list[Event]:
    command.request.validate()
    placement.require_possible(state.devices.values(), command.request)
    return [
        e.LeaseRequested(command.lease_id, command.tenant, command.request, command.holder, command.token_sha256),
    ]


def _bind_holder(state: State, command: c.BindHolder, at: Instant) -> list[Event]:
    lease = find_lease(state, command.lease_id)
    if lease.state in (LeaseState.DRAINING, LeaseState.ENDED):
        raise Conflict("This lease is over; ask for a new one.")
    return [] if lease.holder == command.holder else [e.HolderBound(lease.id, command.holder)]


def _release_lease(state: State, command: c.ReleaseLease, at: Instant) -> list[Event]:
    return _over(find_lease(state, command.lease_id), command.reason)


def _holder_ended(state: State, command: c.HolderEnded, at: Instant) -> list[Event]:
    lease = state.leases.get(command.lease_id)
    if lease is None or lease.holder != command.holder:
        return []
    return _over(lease, EndReason.HOLDER_DIED)


def _prepare_succeeded(state: State, command: c.PrepareSucceeded, at: Instant) -> list[Event]:
    lease = _current(state, command.lease_id, command.generation, LeaseState.PREPARING)
    return [e.LeasePrepared(lease.id)] if lease else []


def _prepare_failed(state: State, command: c.PrepareFailed, at: Instant) -> list[Event]:
    lease = _current(state, command.lease_id, command.generation, LeaseState.PREPARING)
    return [e.LeaseDraining(lease.id, EndReason.PREPARE_FAILED, command.detail)] if lease else []


def _drain_succeeded(state: State, command: c.DrainSucceeded, at: Instant) -> list[Event]:
    lease = _current(state, command.lease_id, command.generation, LeaseState.DRAINING)
    if lease is None or lease.end_reason is None:
        return []
    return [e.LeaseEnded(lease.id, lease.end_reason, lease.end_detail)]


def _tick(state: State, command: c.Tick, at: Instant) -> list[Event]:
    stale = [
        e.LeaseForgotten(lease.id)
        for lease in state.leases.values()
        if lease.ended_at is not None and at.ms - lease.ended_at.ms >= REMEMBER_ENDED_MS
    ]
    running = any(lease.state is LeaseState.ACTIVE for lease in state.leases.values())
    return [*stale, e.Ticked()] if running else list(stale)


def _over(lease: Lease, reason: EndReason) -> list[Event]:
    if lease.state is LeaseState.WAITING:
        cancelled = reason is EndReason.RELEASED
        return [e.LeaseEnded(lease.id, EndReason.CANCELLED if cancelled else reason)]
    if lease.state in (LeaseState.DRAINING, LeaseState.ENDED):
        return []  # release, death and revocation may race: one wins
    return [_draining(lease, reason)]


def _draining(lease: Lease, reason: EndReason) -> Event:
    return e.LeaseDraining(lease.id, reason)


def _current(state: State, lease_id: str, generation: int, expected: LeaseState) -> Lease | None:
    """The lease, unless the report is about an earlier grant of it or comes too late."""
    lease = state.leases.get(lease_id)
    if lease is None or lease.state is not expected or lease.logical_gpu is None:
        return None
    return lease if lease.logical_gpu.generation == generation else None


def find_lease(state: State, lease_id: str) -> Lease:
    """The lease with that id. Raises :class:`NotFound`."""
    lease = state.leases.get(lease_id)
    if lease is None:
        raise NotFound(f"There is no lease {lease_id[:40]!r}. `jupyter fastgpu status` lists yours.")
    return lease


_DECIDERS: dict[type[c.Command], Callable[[State, Any, Instant], list[Event]]] = {
    c.StartPool: _start_pool,
    c.SetDevices: _set_devices,
    c.SetHealth: _set_health,
    c.RequestLease: _request_lease,
    c.BindHolder: _bind_holder,
    c.ReleaseLease: _release_lease,
    c.HolderEnded: _holder_ended,
    c.PrepareSucceeded: _prepare_succeeded,
    c.PrepareFailed: _prepare_failed,
    c.DrainSucceeded: _drain_succeeded,
    c.Tick: _tick,
}


# -- apply ------------------------------------------------------------------------------------------------------------


def apply(state: State, event: Event, at: Instant) -> State:
    """Make ``event`` true in ``state`` (the same object is returned).

    Raises :class:`InternalError` where the event does not fit, which no event of :func:`decide` can.
    """
    applier = _APPLIERS.get(type(event))
    if applier is None:
        raise InternalError(f"There is no rule to apply {event!r}.")
    applier(state, event, at)
    state.last = at
    return state


def _apply_all(state: State, events: Iterable[Event], at: Instant) -> None:
    for event in events:
        apply(state, event, at)


def _pool_started(state: State, event: e.PoolStarted, at: Instant) -> None:
    state.boot_id, state.clock_epoch_ms = event.boot_id, event.clock_epoch_ms


def _device_appeared(state: State, event: e.DeviceAppeared, at: Instant) -> None:
    device = state.devices.setdefault(event.spec.id, Device(event.spec))
    device.spec, device.present = event.spec, True


def _device_vanished(state: State, event: e.DeviceVanished, at: Instant) -> None:
    device = state.devices[event.device_id]
    device.present = False
    if not device.lease_ids:
        del state.devices[event.device_id]


def _device_health_changed(state: State, event: e.DeviceHealthChanged, at: Instant) -> None:
    device = state.devices[event.device_id]
    device.health, device.health_reason = event.health, event.reason


def _lease_requested(state: State, event: e.LeaseRequested, at: Instant) -> None:
    if event.lease_id in state.leases:
        raise InternalError(f"Lease {event.lease_id} was requested twice.")
    state.arrivals += 1
    state.leases[event.lease_id] = Lease(
        id=event.lease_id,
        tenant=event.tenant,
        request=event.request,
        holder=event.holder,
        token_sha256=event.token_sha256,
        arrival=state.arrivals,
        requested_at=at,
    )
    state.queue[event.lease_id] = None


def _lease_granted(state: State, event: e.LeaseGranted, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    del state.queue[lease.id]
    gpu = event.logical_gpu
    lease.logical_gpu, lease.granted_at = gpu, at
    state.generations = gpu.generation
    device = state.devices[gpu.device_id]
    device.lease_ids[lease.id] = None
    device.promised_bytes += gpu.memory_bytes
    if gpu.whole:
        device.whole_by = lease.id


def _lease_prepared(state: State, event: e.LeasePrepared, at: Instant) -> None:
    meter.open_segment(_move(state, event.lease_id, event), at.ms)


def _holder_bound(state: State, event: e.HolderBound, at: Instant) -> None:
    _move(state, event.lease_id, event).holder = event.holder


def _lease_draining(state: State, event: e.LeaseDraining, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    meter.close_segment(lease, at.ms)
    lease.end_reason, lease.end_detail = event.reason, event.detail


def _lease_ended(state: State, event: e.LeaseEnded, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.end_reason, lease.end_detail, lease.ended_at = event.reason, event.detail, at
    state.queue.pop(lease.id, None)
    if lease.logical_gpu is not None:
        _give_back(state, lease)


def _give_back(state: State, lease: Lease) -> None:
    assert lease.logical_gpu is not None
    device = state.devices[lease.logical_gpu.device_id]
    del device.lease_ids[lease.id]
    device.promised_bytes -= lease.logical_gpu.memory_bytes
    if device.whole_by == lease.id:
        device.whole_by = None
    if not device.present and not device.lease_ids:
        del state.devices[device.spec.id]


def _lease_forgotten(state: State, event: e.LeaseForgotten, at: Instant) -> None:
    del state.leases[event.lease_id]


def _ticked(state: State, event: e.Ticked, at: Instant) -> None:
    """Only the time of its record matters."""


def _move(state: State, lease_id: str, event: Event) -> Lease:
    lease = state.leases[lease_id]
    lease.state = next_state(lease, event)
    lease.version += 1
    return lease


_APPLIERS: dict[type[Event], Callable[[State, Any, Instant], None]] = {
    e.PoolStarted: _pool_started,
    e.DeviceAppeared: _device_appeared,
    e.DeviceVanished: _device_vanished,
    e.DeviceHealthChanged: _device_health_changed,
    e.LeaseRequested: _lease_requested,
    e.LeaseGranted: _lease_granted,
    e.LeasePrepared: _lease_prepared,
    e.HolderBound: _holder_bound,
    e.LeaseDraining: _lease_draining,
    e.LeaseEnded: _lease_ended,
    e.LeaseForgotten: _lease_forgotten,
    e.Ticked: _ticked,
}
