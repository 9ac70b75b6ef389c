"""The placement policy as a plain scan over hosts.

This is the definition of the policy. :mod:`.capacity_index` answers the same for large pools without looking at every
host; a property test holds the two equal. Pools of up to :data:`.capacity_index.REFERENCE_HOSTS_MAX` hosts are placed
by this scan, because it is fast enough for them: ``tests/benchmarks/reference_placement.py`` measures it.

The cost of a placement is its opportunity cost, by :mod:`.shadow_prices`:

    value that the devices lose
    + cost of a core on that host x cores taken - relief of cores on that host x value taken

Placements that use nothing of what a scarce kind of demands needs come first, see :mod:`.scarcity`. Of equal costs the
fullest device wins, then the host with the fewest free devices, the most free processors and the smallest host id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from .bucket_costs import COST_SHIFT, FREE
from .capacity import IndexedDevice, IndexedHost, of_one_model
from .cutting_stock import BINS
from .demand import NO_EXCLUSION, Demand, Exclusion, Placement
from .device_classes import DeviceClass, free_bins, units_by_class
from .scarcity import Scarcity
from .shadow_prices import ShadowPrices

#: The devices of one way to serve a demand on a host.
Choice = list[IndexedDevice]


class Option(NamedTuple):
    """A way to serve a demand, with everything that options are compared by; the smallest one is chosen."""

    uses_scarce: bool  #: whether it takes what a scarce kind of other demands could use
    cost: int
    fullness: int  #: free bins of a partly used device; a free device counts more, the more of its host are free
    used_cpu: int  #: the negative of the host's free processors
    host_rank: int
    class_number: int
    placement: Placement


class ReferencePolicy(NamedTuple):
    """The placement policy for certain shadow prices and device classes; see :func:`.device_classes.classify`.

    What is free of each host, and of the pool, is as :class:`.capacity_index.CapacityIndex` has counted it.
    """

    prices: ShadowPrices
    classes: Sequence[DeviceClass]
    scarcity: Scarcity

    def place(
        self, hosts: Iterable[IndexedHost], demand: Demand, excluded: Mapping[str, Exclusion] | None = None
    ) -> Placement | None:
        """Return the placement of a demand with the lowest cost, or ``None`` where no host can serve it now.

        ``excluded``: what is reserved for other demands, by host.
        """
        units = units_by_class(self.classes, demand)
        scarce = self.scarcity.scarce_to(demand)
        best: Option | None = None
        for host in hosts:
            exclusion = excluded.get(host.id, NO_EXCLUSION) if excluded else NO_EXCLUSION
            if host.has_room(demand, exclusion):
                choices = choices_on(host, demand, units, exclusion.device_ids)
                if choices:
                    option = self.cheapest(host, choices, demand, units, scarce)
                    if best is None or option < best:
                        best = option
        return None if best is None else best.placement

    def cheapest(
        self, host: IndexedHost, choices: Iterable[Choice], demand: Demand, units: Mapping[int, int], scarce: int
    ) -> Option:
        """Return the cheapest of the ways to serve a demand on one host.

        ``units``: see :func:`.device_classes.units_by_class`. ``scarce``: the scarce kinds that the demand is not of.
        """
        prices = self.prices
        level = prices.cpu_level(host.free_cpu_milli, host.free.value)
        host_cost = prices.cpu_cost[level] * demand.cpu_milli
        scarce &= host.serves
        options: list[Option] = []
        for chosen in choices:
            lost = taken = fullness = number = n = free_devices = 0
            if chosen:
                device = chosen[0]
                number = device.device_class
                n = units[number]
                fullness = before = free_bins(device)
                after = 0 if demand.whole else before - n * BINS // device.capacity
                lost = len(chosen) * self.classes[number].value_lost(before, after)
                taken = len(chosen) * (prices.packing_value[before] - prices.packing_value[after])
                if device.free == device.capacity:
                    free_devices = min(dict(host.free.devices)[number], BINS - 1)
                    fullness = FREE + free_devices
            cost = host_cost + lost - (prices.cpu_relief[level] * taken >> 30) >> COST_SHIFT
            uses_scarce = scarce != 0 and scarce & self.scarcity.used_by(demand.devices, number, free_devices) != 0
            placement = Placement(host.id, tuple([device.id for device in chosen]), n)
            options.append(Option(uses_scarce, cost, fullness, -host.free_cpu_milli, host.rank, number, placement))
        return min(options)


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
