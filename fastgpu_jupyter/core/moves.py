"""Which one lease to move so that a demand fits that does not fit now.

What it is: where leases can be parked and resumed elsewhere, a refusal need not be final. :func:`one_move` looks for
the smallest holder that has another place and whose going makes room. What it promises: both placements hold together;
the fleet is left as it was. What it must not do: decide whether a lease may be moved; callers offer those that may.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from .demand import Demand, Placement
from .fleet import Fleet

Key = TypeVar("Key")


class Held(NamedTuple, Generic[Key]):
    """Something that is placed and may be moved."""

    key: Key
    placement: Placement
    demand: Demand


class Move(NamedTuple, Generic[Key]):
    """Move one holder, and the demand fits."""

    held: Held[Key]
    to: Placement  #: where the holder goes
    then: Placement  #: where the demand goes


def one_move(fleet: Fleet, holders: Iterable[Held[Key]], demand: Demand) -> Move[Key] | None:
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


def _would_help(fleet: Fleet, held: Held[Key], demand: Demand) -> bool:
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


def _try(fleet: Fleet, held: Held[Key], demand: Demand) -> Move[Key] | None:
    """Do it, keep what came of it, and undo it."""
    fleet.give_back(held.placement, held.demand)
    try:
        then = fleet.place(demand)
        if then is None:
            return None
        fleet.take(then, demand)
        to = fleet.place(held.demand)
        fleet.give_back(then, demand)
        return Move(held, to, then) if to is not None else None
    finally:
        fleet.take(held.placement, held.demand)
