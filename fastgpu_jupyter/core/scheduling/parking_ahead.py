"""Parking ahead: idle leases are parked before a request waits for it.

A lease that resumes on a full pool waits for two transfers: the memory of another lease leaves the device, then its own
comes back. Where an administrator allows it (``Policy.ahead_ms``), the first one is done ahead: room is kept for one
parked lease of each size, by parking leases that have been idle for that long, the least disruptive ones as for a
request that waits. The room for different sizes is kept side by side; otherwise a small lease would take that of a
large one, and spread the small ones over all hosts. Without parked leases nothing is done: no lease is known that could
need the room.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..accounting import budgets
from ..model.entities import Lease, ParkReason, Priority, State
from ..model.size import Size
from ..placement import idleness
from ..placement.demand import NO_EXCLUSION, Exclusion
from ..placement.parkability import ParkDecision
from ..placement.placer import Placer
from . import tenant_limits
from .preemption import PreemptionPlan

#: Of more sizes, room is kept for the largest ones.
SIZES_MAX = 4


def plan_ahead(
    state: State, placer: Placer, parkable: Iterable[str], parked: Iterable[str], now_ms: int
) -> list[ParkDecision]:
    """Return the leases to park so that a parked lease of each size could resume at once; none where all could.

    ``parkable``: ids of active leases on devices that can park; ``parked``: ids of parked leases.
    """
    plan: PreemptionPlan | None = None
    excluded: dict[str, Exclusion] = {}
    chosen: dict[str, Lease] = {}
    kept: list[str] = []
    for lease in _one_of_each_size(state, parked, now_ms):
        demand = placer.demand(lease.requirements)
        if demand is None:
            continue
        placement = placer.place(lease.requirements, demand, excluded)
        if placement is not None:
            before = excluded.get(placement.host_id, NO_EXCLUSION)
            here = Exclusion(frozenset(placement.device_ids), demand.cpu_milli, demand.host_memory_bytes)
            excluded[placement.host_id] = before.combined_with(here)
            kept += placement.device_ids
            continue
        if plan is None:
            idle = [lease_id for lease_id in parkable if _is_idle(state, state.leases[lease_id], now_ms)]
            plan = PreemptionPlan(state, Priority.LOW, idle, now_ms)
        plan.take((), kept)
        options = plan.options_for(lease)
        plan.take(options, ())
        chosen.update((parking.lease.id, parking.lease) for option in options for parking in option.parkings)
    return [ParkDecision(lease, ParkReason.AHEAD) for lease in chosen.values()]


def _one_of_each_size(state: State, parked: Iterable[str], now_ms: int) -> list[Lease]:
    """Return a parked lease of each size, of those that may resume; the largest one first."""
    found: dict[Size, Lease] = {}
    for lease in sorted(map(state.leases.__getitem__, parked), key=lambda lease: lease.arrival):
        size, spent = lease.request.size, budgets.is_spent(lease, now_ms)
        if size not in found and not spent and tenant_limits.may_hold_more(state, lease, now_ms):
            found[size] = lease
    return sorted(found.values(), key=lambda lease: (-lease.request.size.devices, -lease.parked_bytes))[:SIZES_MAX]


def _is_idle(state: State, lease: Lease, now_ms: int) -> bool:
    """Return whether a lease has been idle for so long that it is parked ahead."""
    at_ms, ahead_ms = idleness.idle_at_ms(state, lease), state.policy.ahead_ms
    return at_ms is not None and ahead_ms is not None and now_ms >= max(at_ms, lease.last_activity_ms + ahead_ms)
