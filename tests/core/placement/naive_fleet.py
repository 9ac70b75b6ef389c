"""The placement policy once more, as a scan over every device of every host: slow, with nothing to keep up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand, Exclusion, IndexedDevice, IndexedHost, Placement
from fastgpu_jupyter.core.placement.shadow_prices import BINS, DEVICE, ShadowPrices, bins

NOTHING = Exclusion(frozenset())
#: What places are compared by; of a part of a device also the device, which comes last.
Order = tuple[int | str, ...]


def place(
    fleet: CapacityIndex,
    prices: ShadowPrices,
    demand: Demand,
    without: Mapping[str, Exclusion] | None = None,
    only: str | None = None,
) -> Placement | None:
    """The cheapest place by the words of ``core/placement/capacity_index.py``, its ties included."""
    kinds = _kinds(fleet, prices)
    capacities = {device.capacity for host in fleet.hosts() for device in host.devices.values()}
    largest = max(capacities) if len(capacities) > 1 else 0
    best: tuple[Order, Placement] | None = None
    for host in fleet.hosts():
        if only is not None and host.id != only:
            continue
        kept = (without or {}).get(host.id, NOTHING)
        if max(0, host.free_cpu_milli - kept.cpu_milli) < demand.cpu_milli:
            continue
        if max(0, host.free_memory_bytes - kept.memory_bytes) < demand.host_memory_bytes:
            continue
        for order, placement in _places(host, prices, demand, kinds, largest, kept):
            if best is None or order < best[0]:
                best = order, placement
    return best[1] if best else None


def _places(
    host: IndexedHost, prices: ShadowPrices, demand: Demand, kinds: dict[str, int], largest: int, kept: Exclusion
) -> Iterator[tuple[Order, Placement]]:
    grantable = [device for device in host.devices.values() if device.grantable]
    free = [device for device in grantable if device.free == device.capacity]
    untouched = len(host.devices) > 1 and len(free) == len(host.devices)
    sellable = sum(prices.sale[bins(device.free, device.capacity)] for device in grantable)
    step = prices.step(host.free_cpu_milli, sellable)

    def order(spoiled: int, sold: int, fullness: int, kind: int) -> Order:
        first_use = prices.untouched if untouched and demand.devices else 0
        cost = first_use + spoiled + prices.core[step] * demand.cpu_milli - (prices.relief[step] * sold >> 30)
        return cost >> 10, fullness, -host.free_cpu_milli, host.id, kind

    if not demand.devices:
        yield order(0, 0, 0, 0), Placement(host.id, (), 0)
        return
    mine = (device for device in grantable if demand.allows(device.model) and device.id not in kept.device_ids)
    allowed = sorted(mine, key=lambda device: device.id)
    for kind in sorted({kinds[device.id] for device in allowed}):
        among = [device for device in allowed if kinds[device.id] == kind]
        whole = [device for device in free if kinds[device.id] == kind]  # of any model: that is how full the host is
        fullness = (2000 if untouched else 1000) + len(whole)
        if demand.whole:
            chosen = _of_one_model([device for device in among if device in free], demand.devices)
            if chosen:
                spoiled = sum(_spoiled(prices, device, BINS, 0, largest) for device in chosen)
                ids = tuple(device.id for device in chosen)
                yield (
                    order(spoiled, DEVICE * demand.devices, fullness, kind),
                    Placement(host.id, ids, chosen[0].capacity),
                )
            continue
        for device in among:
            units = demand.units_on(device.capacity)
            if not 1 <= units <= device.free:
                continue
            before = bins(device.free, device.capacity)
            after = before - bins(units, device.capacity)
            spoiled = _spoiled(prices, device, before, after, largest)
            sold = prices.sale[before] - prices.sale[after]
            full = fullness if device in free else before
            yield (*order(spoiled, sold, full, kind), device.id), Placement(host.id, (device.id,), units)


def _of_one_model(devices: list[IndexedDevice], count: int) -> list[IndexedDevice]:
    seen: dict[str, list[IndexedDevice]] = {}
    for device in devices:
        seen.setdefault(device.model, []).append(device)
        if len(seen[device.model]) == count:
            return seen[device.model]
    return []


def _spoiled(prices: ShadowPrices, device: IndexedDevice, before: int, after: int, largest: int) -> int:
    """By the device's size beside the largest; where sizes differ, a little more for each unit of it."""
    weight = (device.capacity << 12) // largest if largest else 1 << 12
    extra = (DEVICE >> 8) * weight >> 12 if largest else 0
    return ((_worth(prices, device, before) - _worth(prices, device, after)) * weight >> 12) + extra


def _worth(prices: ShadowPrices, device: IndexedDevice, free: int) -> int:
    return prices.worth(prices.kind(device.model))[free]


def _kinds(fleet: CapacityIndex, prices: ShadowPrices) -> dict[str, int]:
    """Kinds are numbered in the order of the smallest device id of each."""
    numbers: dict[tuple[int, frozenset[int]], int] = {}
    devices = sorted((device for host in fleet.hosts() for device in host.devices.values()), key=lambda one: one.id)
    return {
        device.id: numbers.setdefault((device.capacity, prices.kind(device.model)), len(numbers)) for device in devices
    }
