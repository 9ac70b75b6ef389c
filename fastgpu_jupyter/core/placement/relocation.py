"""Which leases to move so that a demand fits that does not fit now.

What it is: where leases can be parked and resumed elsewhere, a refusal need not be final. :func:`one_move` looks for
the smallest holder that has another place and whose going makes room; :func:`swap`, for a host that has a device but
not the processors, for two holders of equal size that change places. What it promises: all placements hold together;
the fleet is left as it was. What it must not do: decide whether a lease may be moved; callers offer those that may.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from .capacity_index import CapacityIndex
from .demand import Demand, Placement

Key = TypeVar("Key")


class PlacedDemand(NamedTuple, Generic[Key]):
    """Something that is placed and may be moved."""

    key: Key
    placement: Placement
    demand: Demand


class Move(NamedTuple, Generic[Key]):
    """Move one holder, and the demand fits."""

    held: PlacedDemand[Key]
    to: Placement  #: where the holder goes
    then: Placement  #: where the demand goes


class Swap(NamedTuple, Generic[Key]):
    """Let two holders change places, and the demand fits."""

    one: PlacedDemand[Key]
    other: PlacedDemand[Key]
    then: Placement  #: where the demand goes


def find_move(fleet: CapacityIndex, holders: Iterable[PlacedDemand[Key]], demand: Demand) -> Move[Key] | None:
    """The move of the fewest units that lets ``demand`` in, the first offered among equals; ``None`` without one."""
    elsewhere: dict[Demand, bool] = {}
    candidates = []
    for number, held in enumerate(holders):
        if held.demand not in elsewhere:
            elsewhere[held.demand] = fleet.place(held.demand) is not None
        if elsewhere[held.demand] and _would_help(fleet, held, demand):
            candidates.append((held.placement.units * len(held.placement.device_ids), number, held))
    for _, _, held in sorted(candidates):
        move = _try(fleet, held, demand)
        if move is not None:
            return move
    return None


def _would_help(fleet: CapacityIndex, held: PlacedDemand[Key], demand: Demand) -> bool:
    """Whether the demand would find room on the holder's host; quick, and never wrongly no for one device."""
    host = fleet.host(held.placement.host_id)
    if (
        host.free_cpu_milli + held.demand.cpu_milli < demand.cpu_milli
        or host.free_memory_bytes + held.demand.host_memory_bytes < demand.host_memory_bytes
    ):
        return False
    count = 0
    for device in host.devices.values():
        free = device.free + (held.placement.units if device.id in held.placement.device_ids else 0)
        if device.grantable and demand.allows(device.model) and free >= demand.units_on(device.capacity):
            count += 1
    return count >= demand.devices


def _try(fleet: CapacityIndex, held: PlacedDemand[Key], demand: Demand) -> Move[Key] | None:
    """Do it, keep what came of it, and undo it."""
    fleet.release(held.placement, held.demand)
    try:
        then = fleet.place(demand)
        if then is None:
            return None
        fleet.allocate(then, demand)
        to = fleet.place(held.demand)
        fleet.release(then, demand)
        return Move(held, to, then) if to is not None else None
    finally:
        fleet.allocate(held.placement, held.demand)


def find_swap(fleet: CapacityIndex, holders: Iterable[PlacedDemand[Key]], demand: Demand) -> Swap[Key] | None:
    """The exchange of the fewest processors that lets ``demand`` in, the first offered among equals."""
    single = [held for held in holders if len(held.placement.device_ids) == 1]
    alike: dict[int, list[PlacedDemand[Key]]] = {}
    for held in single:
        alike.setdefault(held.placement.units, []).append(held)
    lacking: dict[str, int] = {}  # by host with room for the demand on its devices: processors that are missing there
    best: tuple[int, PlacedDemand[Key], PlacedDemand[Key]] | None = None
    for one in single:
        host_id = one.placement.host_id
        if host_id not in lacking:
            lacking[host_id] = _lacking(fleet, host_id, demand)
        least = lacking[host_id]
        if not 0 < least <= one.demand.cpu_milli:
            continue
        for other in alike[one.placement.units]:
            less = one.demand.cpu_milli - other.demand.cpu_milli
            if less >= least and (best is None or less < best[0]) and _can_change(fleet, one, other):
                best = less, one, other
    return _try_swap(fleet, best[1], best[2], demand) if best else None


def _lacking(fleet: CapacityIndex, host_id: str, demand: Demand) -> int:
    """Processors that a host lacks for the demand, 0 where something else is missing."""
    host = fleet.host(host_id)
    room = sum(
        device.grantable and demand.allows(device.model) and device.free >= demand.units_on(device.capacity)
        for device in host.devices.values()
    )
    enough = room >= demand.devices and host.free_memory_bytes >= demand.host_memory_bytes
    return max(0, demand.cpu_milli - host.free_cpu_milli) if enough else 0


def _can_change(fleet: CapacityIndex, one: PlacedDemand[Key], other: PlacedDemand[Key]) -> bool:
    """Whether two holders of equal size can take each other's place."""
    here, there = fleet.host(one.placement.host_id), fleet.host(other.placement.host_id)
    memory = one.demand.host_memory_bytes - other.demand.host_memory_bytes
    return (
        here is not there
        and one.demand.whole == other.demand.whole
        and there.free_cpu_milli >= one.demand.cpu_milli - other.demand.cpu_milli
        and -here.free_memory_bytes <= memory <= there.free_memory_bytes
        and one.demand.allows(there.devices[other.placement.device_ids[0]].model)
        and other.demand.allows(here.devices[one.placement.device_ids[0]].model)
    )


def _try_swap(
    fleet: CapacityIndex, one: PlacedDemand[Key], other: PlacedDemand[Key], demand: Demand
) -> Swap[Key] | None:
    """Do it, keep what came of it, and undo it."""
    before = [(one.placement, one.demand), (other.placement, other.demand)]
    after = [(other.placement, one.demand), (one.placement, other.demand)]
    for step, pairs in ((fleet.release, before), (fleet.allocate, after)):
        for placement, held in pairs:
            step(placement, held)
    then = fleet.place(demand)
    for step, pairs in ((fleet.release, after), (fleet.allocate, before)):
        for placement, held in pairs:
            step(placement, held)
    return Swap(one, other, then) if then is not None else None
