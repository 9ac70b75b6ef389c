"""Preemption: which active leases are parked so that waiting requests can be served.

:mod:`.claims` has the rights by which a request may preempt a lease, :mod:`.preemption_planner` the choice among
devices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..accounting.fairshare import FairShareKey
from ..model.entities import Lease, Priority, Requirements, State
from ..placement import eligibility
from ..placement.parkability import ParkDecision
from .claims import Claimant, preemptible_by_device
from .max_tree import HIGHEST
from .preemption_planner import PreemptionPlanner, room_on_several


def plan_preemptions(
    state: State,
    unserved: Iterable[tuple[Lease, Collection[str]]],
    highest: Priority,
    parkable: Iterable[str],
    now_ms: int,
) -> list[ParkDecision]:
    """Return the leases to park so that waiting requests can be served, in the order of these requests.

    ``unserved``: the requests in order, each with the devices that are reserved for its class; ``highest``: the highest
    priority among them; ``parkable``: ids of active leases on devices that can park.
    """
    preemptible = preemptible_by_device(state, highest, parkable, now_ms)
    if not preemptible:
        return []
    # What is already being freed counts for the first request that it helps.
    being_freed = (name for name, device in state.devices.items() if device.releasing_bytes)
    candidates = dict.fromkeys([*being_freed, *preemptible])
    spare = {name: None for name, device in state.devices.items() if not device.lease_ids}  # one of several may be free
    parkings: dict[str, ParkDecision] = {}  # a lease of several devices may make room for more than one request
    planners: dict[Requirements, PreemptionPlanner] = {}
    nominal: dict[Requirements, int] = {}
    #: The lowest key with which a request for several devices found no room.
    unsatisfiable: dict[tuple[Requirements, Priority, bool], FairShareKey] = {}
    for lease, reserved in unserved:
        requirements = lease.requirements
        if requirements not in nominal:
            nominal[requirements] = eligibility.nominal_milli(state, requirements)
        claimant = Claimant(state, lease, nominal[requirements], now_ms)
        if requirements.size.devices > 1:
            alike = requirements, claimant.priority, claimant.below_guarantee
            options = []
            if claimant.key() < unsatisfiable.get(alike, HIGHEST):
                devices = (state.devices[name] for name in {**candidates, **spare})
                options = room_on_several(state, claimant, devices, preemptible)
                if not options and not claimant.below_guarantee:  # below it, tenants may be guaranteed other devices
                    unsatisfiable[alike] = claimant.key()
        else:
            if requirements not in planners:
                planners[requirements] = PreemptionPlanner(state, requirements, candidates, preemptible, now_ms)
            options = planners[requirements].least_disruptive(claimant, candidates)
        parkings.update((parking.lease.id, parking) for option in options for parking in option.parkings)
        for device_id in [option.device_id for option in options] or reserved:
            candidates.pop(device_id, None)
            spare.pop(device_id, None)
        if candidates.keys().isdisjoint(preemptible):
            break
    return list(parkings.values())
