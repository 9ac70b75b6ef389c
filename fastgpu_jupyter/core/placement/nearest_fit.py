"""The devices that will soonest be able to serve a demand that fits nowhere now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from .capacity import IndexedHost, of_one_model
from .capacity_index import REFERENCE_HOSTS_MAX, CapacityIndex
from .demand import NO_EXCLUSION, Demand, Exclusion, Placement

#: Number of hosts that are compared for each device class; of a small pool all are.
HOSTS_MAX = 4


def nearest_fit(
    index: CapacityIndex, demand: Demand, excluded: Mapping[str, Exclusion], being_freed: Mapping[str, int]
) -> Placement | None:
    """Return the devices of one host that lack the fewest units to serve a demand, in use or not.

    ``excluded``: what is reserved for other demands, by host. ``being_freed``: units that leases are giving back, by
    device. Of many hosts only those with most free on a device, or where most is being freed, are compared. The result
    is ``None`` where no compared host has enough such devices.
    """
    hosts_max = REFERENCE_HOSTS_MAX if index.small else HOSTS_MAX
    best: tuple[int, int, int, Placement] | None = None
    for class_number, units in index.units_by_class(demand).items():
        compared: set[str] = set()
        found = 0
        for host in _promising(index, class_number, being_freed):
            if host.id in compared or len(host.devices) < demand.devices:
                continue
            compared.add(host.id)
            exclusion = excluded.get(host.id, NO_EXCLUSION)
            option = _option(host, demand, exclusion, class_number, units=units, being_freed=being_freed)
            if option is not None:
                found += 1
                best = option if best is None else min(best, option)
            if found >= hosts_max:
                break
    return None if best is None else best[3]


def _promising(index: CapacityIndex, class_number: int, being_freed: Mapping[str, int]) -> Iterator[IndexedHost]:
    """Yield hosts in the order in which they are compared; a host may come twice."""
    for device_id in islice(being_freed, HOSTS_MAX):
        host = index.host_of(device_id)
        if host is not None:
            yield host
    yield from index.most_free_first(class_number, HOSTS_MAX)


def _option(
    host: IndexedHost,
    demand: Demand,
    exclusion: Exclusion,
    class_number: int,
    *,
    units: int,
    being_freed: Mapping[str, int],
) -> tuple[int, int, int, Placement] | None:
    """Return the units and processors that a host lacks, its rank and its devices; ``None`` where it is too small."""
    if (
        host.cpu_milli - exclusion.cpu_milli < demand.cpu_milli
        or host.memory_bytes - exclusion.memory_bytes < demand.host_memory_bytes
    ):
        return None
    lacking = [
        (units - device.free - being_freed.get(device.id, 0), number, device)
        for number, device in enumerate(host.devices.values())
        if device.grantable
        and device.device_class == class_number
        and device.id not in exclusion.device_ids
        and demand.allows(device.model)
    ]
    lacking.sort()
    chosen = of_one_model([device for _, _, device in lacking], demand.devices)
    if not chosen:
        return None
    most = next(lack for lack, _, device in lacking if device is chosen[-1])
    cpu_milli = max(0, demand.cpu_milli - host.free_cpu_milli)
    return max(0, most), cpu_milli, host.rank, Placement(host.id, tuple([device.id for device in chosen]), units)
