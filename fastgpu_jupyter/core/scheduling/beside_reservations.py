"""Other devices for a request where reservations of other tenants forbid the ones that placement prefers.

What a lease may take on one device, because it can be parked there, it may not take on each.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..accounting.reservations import ReservationGuard
from ..model.entities import Lease, State
from ..placement.demand import Exclusion, Placement
from ..placement.device_share import Devices
from ..placement.placer import Placer
from . import tenant_limits

#: So many other placements are tried at most.
TRIES = 4


def other_devices(
    state: State,
    placer: Placer,
    lease: Lease,
    forbidden: Placement,
    *,
    guard: ReservationGuard,
    excluded: Mapping[str, Exclusion],
) -> Devices | None:
    """Return devices that reservations allow, other than those of the ``forbidden`` placement; ``None`` without any.

    ``excluded``: by host, what is reserved for earlier requests.
    """
    demand = placer.make_demand(lease.requirements)
    for _ in range(TRIES):
        tried, on_host = Exclusion(frozenset(forbidden.device_ids)), excluded.get(forbidden.host_id)
        excluded = {**excluded, forbidden.host_id: on_host.combined_with(tried) if on_host else tried}
        found = None if demand is None else placer.place(lease.requirements, demand, excluded)
        if found is None:
            return None
        devices = placer.devices(found)
        if guard.leaves_room(lease, devices):
            return devices if tenant_limits.may_hold(state, lease, devices) else None
        forbidden = found
    return None
