"""The leases to relocate so that a demand fits that does not fit now.

Where leases can be parked and resumed elsewhere, a demand that fits nowhere can still be served. :func:`find_move`
looks for the smallest occupant that has another place and whose departure makes room. :func:`find_swap` looks, on a
host that has a device but not the processors, for two occupants of equal size that can change places. Both leave the
index as it was. The caller offers only occupants that may be relocated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from .capacity_index import CapacityIndex
from .demand import Demand, Placement

Key = TypeVar("Key")


class PlacedDemand(NamedTuple, Generic[Key]):
    """A demand that is placed and may be relocated."""

    key: Key
    placement: Placement
    demand: Demand


class Move(NamedTuple, Generic[Key]):
    """One occupant goes elsewhere, and the demand fits."""

    occupant: PlacedDemand[Key]
    to: Placement  #: new place of the occupant
    then: Placement  #: place of the demand


class Swap(NamedTuple, Generic[Key]):
    """Two occupants change places, and the demand fits."""

    one: PlacedDemand[Key]
    other: PlacedDemand[Key]
    then: Placement  #: place of the demand


def find_move(index: CapacityIndex, occupants: Iterable[PlacedDemand[Key]], demand: Demand) -> Move[Key] | None:
    """Return the move of the fewest units that lets ``demand`` in, of equal ones the first; ``None`` without one."""
    fits_elsewhere: dict[Demand, bool] = {}
    candidates = []
    for number, occupant in enumerate(occupants):
        if occupant.demand not in fits_elsewhere:
            fits_elsewhere[occupant.demand] = index.place(occupant.demand) is not None
        if fits_elsewhere[occupant.demand] and _would_help(index, occupant, demand):
            candidates.append((occupant.placement.units * len(occupant.placement.device_ids), number, occupant))
    for _, _, occupant in sorted(candidates):
        move = _try_move(index, occupant, demand)
        if move is not None:
            return move
    return None


def _would_help(index: CapacityIndex, occupant: PlacedDemand[Key], demand: Demand) -> bool:
    """Return False where the demand certainly would not fit on the occupant's host; exact for one device."""
    host = index.host(occupant.placement.host_id)
    if (
        host.free_cpu_milli + occupant.demand.cpu_milli < demand.cpu_milli
        or host.free_memory_bytes + occupant.demand.host_memory_bytes < demand.host_memory_bytes
    ):
        return False
    count = 0
    for device in host.devices.values():
        free = device.free + (occupant.placement.units if device.id in occupant.placement.device_ids else 0)
        if device.grantable and demand.allows(device.model) and free >= demand.units_on(device.capacity):
            count += 1
    return count >= demand.devices


def _try_move(index: CapacityIndex, occupant: PlacedDemand[Key], demand: Demand) -> Move[Key] | None:
    """Try the move on the index, undo it, and return what came of it."""
    index.release(occupant.placement, occupant.demand)
    try:
        then = index.place(demand)
        if then is None:
            return None
        index.allocate(then, demand)
        to = index.place(occupant.demand)
        index.release(then, demand)
        return Move(occupant, to, then) if to is not None else None
    finally:
        index.allocate(occupant.placement, occupant.demand)


def find_swap(index: CapacityIndex, occupants: Iterable[PlacedDemand[Key]], demand: Demand) -> Swap[Key] | None:
    """Return the swap that exchanges the fewest processors and lets ``demand`` in, of equal ones the first."""
    single = [occupant for occupant in occupants if len(occupant.placement.device_ids) == 1]
    by_units: dict[int, list[PlacedDemand[Key]]] = {}
    for occupant in single:
        by_units.setdefault(occupant.placement.units, []).append(occupant)
    missing: dict[str, int] = {}  # by host that has the devices for the demand: processors that it lacks
    best: tuple[int, PlacedDemand[Key], PlacedDemand[Key]] | None = None
    for one in single:
        host_id = one.placement.host_id
        if host_id not in missing:
            missing[host_id] = _missing_cpu(index, host_id, demand)
        least = missing[host_id]
        if not 0 < least <= one.demand.cpu_milli:
            continue
        for other in by_units[one.placement.units]:
            exchanged = one.demand.cpu_milli - other.demand.cpu_milli
            if exchanged >= least and (best is None or exchanged < best[0]) and _can_swap(index, one, other):
                best = exchanged, one, other
    return _try_swap(index, best[1], best[2], demand) if best else None


def _missing_cpu(index: CapacityIndex, host_id: str, demand: Demand) -> int:
    """Return the milli-cores that a host lacks for the demand; 0 where it lacks something else."""
    host = index.host(host_id)
    fitting = sum(
        device.grantable and demand.allows(device.model) and device.free >= demand.units_on(device.capacity)
        for device in host.devices.values()
    )
    enough = fitting >= demand.devices and host.free_memory_bytes >= demand.host_memory_bytes
    return max(0, demand.cpu_milli - host.free_cpu_milli) if enough else 0


def _can_swap(index: CapacityIndex, one: PlacedDemand[Key], other: PlacedDemand[Key]) -> bool:
    """Return whether two occupants of equal size can take each other's place."""
    here, there = index.host(one.placement.host_id), index.host(other.placement.host_id)
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
    index: CapacityIndex, one: PlacedDemand[Key], other: PlacedDemand[Key], demand: Demand
) -> Swap[Key] | None:
    """Try the swap on the index, undo it, and return what came of it."""
    before = [(one.placement, one.demand), (other.placement, other.demand)]
    after = [(other.placement, one.demand), (one.placement, other.demand)]
    for step, pairs in ((index.release, before), (index.allocate, after)):
        for placement, moved in pairs:
            step(placement, moved)
    then = index.place(demand)
    for step, pairs in ((index.release, after), (index.allocate, before)):
        for placement, moved in pairs:
            step(placement, moved)
    return Swap(one, other, then) if then is not None else None
