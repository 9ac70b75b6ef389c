"""Moves: a lease goes from one device to another, so that one that waits fits where it was.

Only where nothing else helps, and only where an administrator lets it (``Policy.defragments``): a lease that may be
parked is parked, waits before everybody else, and comes back on the device that was found for it. Its kernel stands
still for as long as its memory travels twice. No lease is moved again before it has rested for :data:`PAUSE_MS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.entities import Lease, Retention, State
from ..placement import parkability
from ..placement.demand import Placement
from ..placement.placer import Placer
from ..placement.relocation import PlacedDemand, find_move

PAUSE_MS = 60_000
#: For how many of those who wait a move is looked for at once: each look may try every lease that can be moved.
LOOKED_AT = 4


def select_lease_to_migrate(
    state: State, books: Placer, unserved: Iterable[Lease], parkable: Iterable[str], now_ms: int
) -> Lease | None:
    """The lease to move so that the first of those who wait that can be helped is; ``None`` where there is none."""
    movable = [held for held in map(state.leases.__getitem__, parkable) if _may_move(state, held, now_ms)]
    if not movable:
        return None
    for number, waiting in enumerate(unserved):
        demand = books.demand(waiting.requirements)
        if number >= LOOKED_AT or demand is None:
            break
        lower = (held for held in movable if held.request.priority <= waiting.request.priority)
        found = find_move(books.index, _held(state, books, lower), demand)
        if found is not None:
            return state.leases[found.occupant.key]
    return None


def _may_move(state: State, lease: Lease, now_ms: int) -> bool:
    rested = lease.active_since_ms is not None and now_ms - lease.active_since_ms >= PAUSE_MS
    return rested and lease.request.retention is Retention.YIELD and parkability.park_refusal(state, lease) is None


def _held(state: State, books: Placer, leases: Iterable[Lease]) -> Iterator[PlacedDemand[str]]:
    for lease in leases:
        gpu = lease.logical_gpu
        if gpu is None:
            continue
        spec = state.devices[gpu.device_id].spec
        demand = books.demand(lease.requirements.on_kind(spec.model, spec.memory_bytes))
        if demand is not None:
            units = gpu.memory_bytes // len(gpu.device_ids)
            yield PlacedDemand(lease.id, Placement(books.host_of(gpu.device_id), gpu.device_ids, units), demand)
