"""The placement policy as a plain scan over hosts.

This is the definition of the policy. :mod:`.capacity_index` answers the same for large pools without looking at every
host; a property test holds the two equal. Pools of up to :data:`.capacity_index.REFERENCE_HOSTS_MAX` hosts are placed
by this scan, because it is fast enough for them: ``tests/benchmarks/reference_placement.py`` measures it.

The cost of a placement is its opportunity cost, by :mod:`.shadow_prices`:

    value that the devices lose
    + cost of a core on that host x cores taken - relief of cores on that host x value taken
    + first-use cost, where the host is empty and has several devices

Of equal costs the fullest device wins, then the host with the most free processors, then the smallest host id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .bucket_costs import COST_SHIFT, EMPTY, FREE
from .capacity import IndexedDevice, IndexedHost, of_one_model
from .cutting_stock import BINS
from .demand import NO_EXCLUSION, Demand, Exclusion, Placement
from .device_classes import DeviceClass, free_bins, units_by_class
from .shadow_prices import ShadowPrices

#: The devices of one way to serve a demand on a host.
Choice = list[IndexedDevice]


class Option(NamedTuple):
    """A way to serve a demand, with everything that options are compared by; the smallest one is chosen."""

    cost: int
    fullness: int  #: free bins of a partly used device; a free device counts more, the more the emptier its host is
    used_cpu: int  #: the negative of the host's free processors
    host_rank: int
    class_number: int
    placement: Placement


class ReferencePolicy(NamedTuple):
    """The placement policy for certain shadow prices and device classes; see :func:`.device_classes.classify`."""

    prices: ShadowPrices
    classes: Sequence[DeviceClass]

    def place(
        self, hosts: Iterable[IndexedHost], demand: Demand, excluded: Mapping[str, Exclusion] | None = None
    ) -> Placement | None:
        """Return the placement of a demand with the lowest cost, or ``None`` where no host can serve it now.

        ``excluded``: what is reserved for other demands, by host.
        """
        units = units_by_class(self.classes, demand)
        best: Option | None = None
        for host in hosts:
            exclusion = excluded.get(host.id, NO_EXCLUSION) if excluded else NO_EXCLUSION
            if host.has_room(demand, exclusion):
                choices = choices_on(host, demand, units, exclusion.device_ids)
                for option in self._options(host, choices, demand, units) if choices else ():
                    if best is None or option < best:
                        best = option
        return None if best is None else best.placement

    def place_on(
        self, host: IndexedHost, demand: Demand, units: Mapping[int, int], exclusion: Exclusion = NO_EXCLUSION
    ) -> Placement | None:
        """Return what :meth:`place` returns where there is no other host.

        ``units``: see :func:`.device_classes.units_by_class`.
        """
        if not host.has_room(demand, exclusion):
            return None
        choices = choices_on(host, demand, units, exclusion.device_ids)
        if not choices:
            return None
        if len(choices) == 1 and demand.devices:  # nothing to compare
            (chosen,) = choices
            return Placement(host.id, tuple([device.id for device in chosen]), units[chosen[0].device_class])
        return min(self._options(host, choices, demand, units)).placement

    def _options(
        self, host: IndexedHost, choices: Iterable[Choice], demand: Demand, units: Mapping[int, int]
    ) -> Iterator[Option]:
        """Yield each choice with its cost."""
        prices, value = self.prices, 0
        free_devices: dict[int, int] = {}  # by class
        for device in host.devices.values():
            if device.free and device.grantable:
                value += prices.packing_value[free_bins(device)]
                if device.free == device.capacity:
                    free_devices[device.device_class] = free_devices.get(device.device_class, 0) + 1
        empty = 1 < len(host.devices) == sum(free_devices.values())
        level = prices.cpu_level(host.free_cpu_milli, value)
        host_cost = prices.cpu_cost[level] * demand.cpu_milli
        if empty and demand.devices:
            host_cost += prices.first_use_cost
        for chosen in choices:
            lost = taken = fullness = number = n = 0
            if chosen:
                device = chosen[0]
                number = device.device_class
                n = units[number]
                before = free_bins(device)
                after = 0 if demand.whole else before - n * BINS // device.capacity
                lost = len(chosen) * self.classes[number].value_lost(before, after)
                taken = len(chosen) * (prices.packing_value[before] - prices.packing_value[after])
                fullness = before if before < BINS else (EMPTY if empty else FREE) + min(free_devices[number], BINS - 1)
            cost = host_cost + lost - (prices.cpu_relief[level] * taken >> 30) >> COST_SHIFT
            placement = Placement(host.id, tuple([device.id for device in chosen]), n)
            yield Option(cost, fullness, -host.free_cpu_milli, host.rank, number, placement)


def choices_on(host: IndexedHost, demand: Demand, units: Mapping[int, int], excluded: Collection[str]) -> list[Choice]:
    """Return the ways to serve a demand by devices of one host, of several equal ones the first."""
    if not demand.devices:
        return [[]]
    models, whole = demand.models, demand.whole
    fitting: dict[int, list[IndexedDevice]] = {}
    different: dict[tuple[int, int], Choice] = {}
    for device in host.devices.values():
        free = device.free
        if free and device.grantable and device.id not in excluded:
            number = device.device_class
            if number in units and free >= units[number] and (models is None or device.model in models):
                if whole:
                    fitting.setdefault(number, []).append(device)
                else:
                    different.setdefault((number, free * BINS // device.capacity), [device])
    if not whole:
        return list(different.values())
    found = (of_one_model(devices, demand.devices) for devices in fitting.values())
    return [choice for choice in found if choice]
