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

#: So many other placements are tried at most, of devices that are unlike each other where one is requested.
TRIES = 8


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
        excluded = _without(excluded, placer.devices(forbidden), guard)
        found = None if demand is None else placer.place(lease.requirements, demand, excluded)
        if found is None:
            return None
        devices = placer.devices(found)
        if guard.leaves_room(lease, devices):
            return devices if tenant_limits.may_hold(state, lease, devices) else None
        forbidden = found
    return None


def _without(excluded: Mapping[str, Exclusion], forbidden: Devices, guard: ReservationGuard) -> dict[str, Exclusion]:
    """Return the exclusions with those of the forbidden devices, and of all that are forbidden with a single one."""
    by_host: dict[str, set[str]] = {}
    for device in guard.alike(forbidden[0]) if len(forbidden) == 1 else forbidden:
        by_host.setdefault(device.spec.host_id, set()).add(device.spec.id)
    combined = dict(excluded)
    for host_id, device_ids in by_host.items():
        tried, known = Exclusion(frozenset(device_ids)), excluded.get(host_id)
        combined[host_id] = known.combined_with(tried) if known else tried
    return combined
