"""Defragmentation: a lease moves to another device, so that a waiting request fits where it was.

It is done only where an administrator allows it (``Policy.defragments``) and preemption does not help. The lease is
parked, waits before all other requests and comes back on the device that was found for it; its kernel stands still
while its memory is copied twice. A lease is not moved again within :data:`MIN_STAY_MS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.entities import Lease, Retention, State
from ..placement import parkability
from ..placement.demand import Placement
from ..placement.placer import Placer
from ..placement.relocation import PlacedDemand, find_move

MIN_STAY_MS = 60_000
#: Number of waiting requests that a move is looked for at once: each search may try every lease that may be moved.
REQUESTS_MAX = 4


def select_lease_to_migrate(
    state: State, placer: Placer, unserved: Iterable[Lease], parkable: Iterable[str], now_ms: int
) -> Lease | None:
    """Return a lease to migrate so that the first serviceable waiting request fits; ``None`` where there is none."""
    movable = [lease for lease in map(state.leases.__getitem__, parkable) if _may_move(state, lease, now_ms)]
    if not movable:
        return None
    for number, waiting in enumerate(unserved):
        demand = placer.demand(waiting.requirements)
        if number >= REQUESTS_MAX or demand is None:
            break
        lower = (lease for lease in movable if lease.request.priority <= waiting.request.priority)
        move = find_move(placer.index, _placed_demands(state, placer, lower), demand)
        if move is not None:
            return state.leases[move.occupant.key]
    return None


def _may_move(state: State, lease: Lease, now_ms: int) -> bool:
    stayed = lease.active_since_ms is not None and now_ms - lease.active_since_ms >= MIN_STAY_MS
    return stayed and lease.request.retention is Retention.YIELD and parkability.may_park(state, lease, now_ms)


def _placed_demands(state: State, placer: Placer, leases: Iterable[Lease]) -> Iterator[PlacedDemand[str]]:
    for lease in leases:
        gpu = lease.logical_gpu
        if gpu is None:
            continue
        spec = state.devices[gpu.device_id].spec
        demand = placer.demand(lease.requirements.on_kind(spec.model, spec.memory_bytes))
        if demand is not None:
            units = gpu.memory_bytes // len(gpu.device_ids)
            yield PlacedDemand(lease.id, Placement(placer.host_of(gpu.device_id), gpu.device_ids, units), demand)
