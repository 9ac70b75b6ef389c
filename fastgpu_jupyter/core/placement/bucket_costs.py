"""The cost of a demand in each bucket of :mod:`.capacity_index`: everything that does not depend on the host.

A bucket lists the hosts that have a device of one class with the same number of free bins, or with the same number of
entirely free devices. So the value that a demand destroys there is the same on all of them, and is computed once. The
cost of a host's processors, and of what scarce kinds could use there (:mod:`.scarcity`), is added by the index.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .capacity import IndexedDevice
from .cutting_stock import BINS
from .demand import Demand
from .device_classes import DeviceClass, classify, units_by_class
from .scarcity import Scarcity
from .shadow_prices import ShadowPrices, to_bins

#: Costs are compared in units of this many bits of :data:`.shadow_prices.DEVICE_VALUE`; the rest is rounding.
COST_SHIFT = 10

# A bucket is a number: its device class in the high bits, and in the lowest CODE_BITS bits one of these codes.
#   n           a partly used device with n free bins
#   FREE + n    n entirely free devices
#   HOST_ONLY   the host itself, for demands without a device
FREE = BINS
HOST_ONLY = 2 * BINS
CODE_BITS = 11
CODE_MASK = (1 << CODE_BITS) - 1

# In a bucket, hosts are listed by a number: the kinds that they serve in the high bits, and in the lowest LEVEL_BITS
# bits the level of their processor cost.
LEVEL_BITS = 10
LEVEL_MASK = (1 << LEVEL_BITS) - 1

#: Number of demands of which costs are kept.
_DEMANDS_MAX = 4096


@dataclass(slots=True)
class BucketCosts:
    """The costs of one demand in the buckets of one device class."""

    device_class: DeviceClass
    units: int
    bins: int
    #: (lower bound of the cost, code, cost without processors, value taken, kinds used << LEVEL_BITS, bucket), cheapest
    #: first.
    entries: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    seen: int = 0  #: number of the class's buckets that have an entry
    by_code: dict[int, tuple[int, int] | None] = field(default_factory=dict)  #: results of :meth:`CostTable.cost`
    cheapest_cpu: dict[int, int] = field(default_factory=dict)  #: by value taken, the lowest cost of processors


class DemandCosts(NamedTuple):
    """The costs of one demand, by the numbers of the device classes that can serve it."""

    by_class: dict[int, BucketCosts]
    units: dict[int, int]  #: of a device; see :func:`.device_classes.units_by_class`
    others: int  #: the kinds that the demand is not of; see :mod:`.scarcity`


class CostTable:
    """The costs of demands in buckets, for certain devices and shadow prices; made again when either changes."""

    def __init__(self, prices: ShadowPrices, devices: Iterable[IndexedDevice]) -> None:
        self._prices = prices
        self._by_demand: dict[Demand, DemandCosts] = {}
        self.classes = classify(devices, prices)
        self.scarcity = Scarcity(prices, self.classes)
        #: The class that hosts belong to for demands without a device.
        self.host_class = DeviceClass(len(self.classes), 1, prices.remainder_value(frozenset()))

    def of(self, demand: Demand) -> DemandCosts:
        """Return the costs of a demand."""
        costs = self._by_demand.get(demand)
        return self._make(demand) if costs is None else costs

    def _make(self, demand: Demand) -> DemandCosts:
        if len(self._by_demand) >= _DEMANDS_MAX:
            self._by_demand.clear()
        units = units_by_class(self.classes, demand)
        by_class = {
            number: BucketCosts(self.classes[number], n, to_bins(n, self.classes[number].capacity))
            for number, n in units.items()
        }
        if not demand.devices:
            by_class[self.host_class.number] = BucketCosts(self.host_class, 0, -1)
        costs = self._by_demand[demand] = DemandCosts(by_class, units, self.scarcity.others(demand))
        return costs

    def add_bucket(self, bucket: int) -> None:
        """Note that a bucket is in use."""
        number = bucket >> CODE_BITS
        device_class = self.classes[number] if number < len(self.classes) else self.host_class
        if bucket not in device_class.buckets:
            device_class.buckets.append(bucket)
            insort(device_class.sorted_buckets, bucket)

    def extend(self, costs: BucketCosts, demand: Demand) -> None:
        """Add entries for the buckets that have come into use since the last call."""
        prices, device_class = self._prices, costs.device_class
        for bucket in device_class.buckets[costs.seen :]:
            code = bucket & CODE_MASK
            cost = self.cost(costs, code, demand)
            if cost is not None:
                lost, taken = cost
                if taken not in costs.cheapest_cpu:
                    levels = zip(prices.cpu_cost, prices.cpu_relief, strict=True)
                    costs.cheapest_cpu[taken] = min(
                        per_core * demand.cpu_milli - (relief * taken >> 30) for per_core, relief in levels
                    )
                lowest = lost + costs.cheapest_cpu[taken] >> COST_SHIFT
                free_devices = code - FREE if FREE < code < HOST_ONLY else 0
                used = self.scarcity.used_by(demand.devices, device_class.number, free_devices)
                insort(costs.entries, (lowest, code, lost, taken, used << LEVEL_BITS, bucket))
        costs.seen = len(device_class.buckets)

    def cost(self, costs: BucketCosts, code: int, demand: Demand) -> tuple[int, int] | None:
        """Return the value lost and the value taken in a bucket of that code; ``None`` where it cannot serve."""
        if code not in costs.by_code:
            costs.by_code[code] = self._cost(costs, code, demand)
        return costs.by_code[code]

    def _cost(self, costs: BucketCosts, code: int, demand: Demand) -> tuple[int, int] | None:
        if code == HOST_ONLY:
            return 0, 0
        prices, device_class = self._prices, costs.device_class
        if demand.whole:
            if code < FREE + demand.devices:
                return None
            return demand.devices * device_class.value_lost(BINS, 0), demand.devices * prices.packing_value[BINS]
        before = min(code, BINS)
        if before < costs.bins:
            return None
        after = before - costs.bins
        taken = prices.packing_value[before] - prices.packing_value[after]
        return device_class.value_lost(before, after), taken
