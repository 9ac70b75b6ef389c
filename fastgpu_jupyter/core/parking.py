"""Who makes room for whom: which active leases are parked so that one that waits can be served.

Taken is only from leases that may be parked: their user lets them (``yield``), their device can. Of those

* any whose kernel has said that it runs no cell for a while (``Policy.idle_ms``) makes room for whoever waits, the one
  that was used longest ago first;
* one that computes makes room for a higher priority class, and for a tenant that has less than it is guaranteed, unless
  its own tenant has no more than that either;
* one that has computed for a whole turn (``Policy.quantum_ms``, where an administrator set one) makes room for a tenant
  that has had less.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from . import fairshare, placement
from .model import Device, Lease, LeaseState, ParkReason, Retention, State


class Parking(NamedTuple):
    """One lease is to be parked."""

    lease: Lease
    reason: ParkReason


def why_not(state: State, lease: Lease) -> str | None:
    """Why an active lease cannot be parked, or ``None`` where it can."""
    gpu = lease.logical_gpu
    if lease.state is not LeaseState.ACTIVE or gpu is None:
        return f"A lease that is {lease.state.value} cannot be parked."
    if lease.request.parkable is False:
        return "This lease was asked for as one that is never parked."
    if not may_park(state, lease):
        return "The memory of this device cannot be moved to the host and back."
    if lease.unparkable is not None:
        return f"This lease could not be parked when that was tried: {lease.unparkable}"
    most = state.policy.parked_bytes_max
    simulated = state.devices[gpu.device_id].spec.simulated
    if most is not None and not simulated and state.parked_bytes + gpu.memory_bytes > most:
        return "The host memory that parked leases may take is used up."
    return None


def may_park(state: State, lease: Lease) -> bool:
    """Whether the lease's devices can park at all."""
    gpu = lease.logical_gpu
    return gpu is not None and all(state.devices[name].spec.parkable for name in gpu.device_ids)


class Room(NamedTuple):
    """What to park so that one that waits can be served, nothing where enough is on its way; and where it will be."""

    parkings: list[Parking]
    device_ids: set[str]


def room_for(state: State, waiting: Lease, avoid: Collection[str], now_ms: int) -> Room | None:
    """How room can be made for ``waiting``, if it can. Devices in ``avoid`` are for others."""
    options: dict[str, list[_Option]] = {}
    for device in placement.able(state, waiting.want):
        if device.grantable and device.spec.id not in avoid:
            option = _on(state, device, waiting, now_ms)
            if option is not None:
                options.setdefault(device.spec.host_id, []).append(option)
    count = waiting.want.size.devices
    best: list[_Option] | None = None
    for of_host in options.values():
        if len(of_host) >= count:
            chosen = sorted(of_host)[:count]
            if best is None or chosen < best:
                best = chosen
    if best is None:
        return None
    parked = {parking.lease.id: parking for option in best for parking in option.parkings}
    return Room(list(parked.values()), {option.device_id for option in best})


class _Option(NamedTuple):
    """What it takes to serve on one device, the cheapest first."""

    busy: int  #: leases that compute
    latest_ms: int  #: when the last of those that go was used
    bytes: int
    device_id: str
    parkings: list[Parking]


def _on(state: State, device: Device, waiting: Lease, now_ms: int) -> _Option | None:
    lacking = placement.lacking_bytes(device, waiting.want.size) - device.leaving_bytes
    parkings: list[Parking] = []
    for parking in sorted(_takeable(state, device, waiting, now_ms), key=_gentlest):
        if lacking <= 0:
            break
        gpu = parking.lease.logical_gpu
        assert gpu is not None
        lacking -= device.spec.memory_bytes if gpu.whole else gpu.memory_bytes
        parkings.append(parking)
    if lacking > 0:
        return None
    leases = [parking.lease for parking in parkings]
    busy = sum(parking.reason is not ParkReason.IDLE for parking in parkings)
    latest_ms = max((lease.used_ms for lease in leases), default=0)
    moved = sum(lease.logical_gpu.memory_bytes for lease in leases if lease.logical_gpu)
    return _Option(busy, latest_ms, moved, device.spec.id, parkings)


def _gentlest(parking: Parking) -> tuple[bool, int, int, str]:
    lease = parking.lease
    return parking.reason is not ParkReason.IDLE, lease.request.priority, lease.used_ms, lease.id


def _takeable(state: State, device: Device, waiting: Lease, now_ms: int) -> Iterable[Parking]:
    for lease_id in device.lease_ids:
        lease = state.leases[lease_id]
        if lease.request.retention is Retention.YIELD and why_not(state, lease) is None:
            reason = next(_claims(state, waiting, lease, now_ms), None)
            if reason is not None:
                yield Parking(lease, reason)


def _claims(state: State, waiting: Lease, holding: Lease, now_ms: int) -> Iterator[ParkReason]:
    """By what right ``waiting`` may take the place of ``holding``."""
    policy = state.policy
    idle = holding.reports and not holding.busy
    if idle and policy.idle_ms is not None and now_ms - holding.used_ms >= policy.idle_ms:
        yield ParkReason.IDLE
    if waiting.request.priority > holding.request.priority:
        yield ParkReason.PRIORITY
    if waiting.request.priority < holding.request.priority or waiting.tenant == holding.tenant:
        return
    if not fairshare.standing(state, waiting.tenant, now_ms).beyond and _is_beyond(state, holding):
        yield ParkReason.GUARANTEE
    turn_ms = now_ms - (holding.active_since_ms or now_ms)
    if policy.quantum_ms is not None and turn_ms >= policy.quantum_ms:
        wanted = placement.nominal_milli(state, waiting.want)
        mine = fairshare.standing(state, waiting.tenant, now_ms, wanted)
        if mine < fairshare.standing(state, holding.tenant, now_ms):
            yield ParkReason.FAIRNESS


def _is_beyond(state: State, holding: Lease) -> bool:
    """Whether the lease's tenant would keep what it is guaranteed without it."""
    milli = placement.held_milli(state, holding)
    return fairshare.standing(state, holding.tenant, state.last.ms, -milli).beyond
