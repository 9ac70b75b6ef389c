"""What a demand costs on each shelf of :mod:`.fleet`: everything that does not depend on the hosts.

What it is: the kinds of devices that no usual request tells apart, and for each demand one :class:`Quote` a kind. A
quote knows what is spoiled and what is sold on a shelf; what a host's processors cost comes on top, in the fleet. What
it must not do: know what is free, or where.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from .demand import Demand, IndexedDevice
from .shadow_prices import BINS, DEVICE, ShadowPrices

#: Costs are compared in steps of this many bits of :data:`DEVICE`: finer differences are rounding.
COST_SHIFT = 10
# Which shelf of a kind: free bins of a partly used device, or how many devices are free (on a host in use, or on one
# that is not), or just the host.
FREE = BINS
UNTOUCHED = 2 * BINS
HOST = 3 * BINS
#: A shelf is numbered by its kind and, in this many bits, by its code: one of the above.
CODE_BITS = 12
CODE_MASK = (1 << CODE_BITS) - 1

#: Capacities are compared in so many bits.
_WEIGHT_BITS = 12
#: What the largest device costs beyond what is spoiled, where sizes differ: more than bins can be wrong by.
_LARGE = DEVICE >> 8
#: Demands that are remembered.
_DEMANDS_MAX = 4096


@dataclass(slots=True)
class DeviceClass:
    """Devices that no usual request tells apart."""

    number: int
    capacity: int
    worth: tuple[int, ...]
    weight: int = 1 << _WEIGHT_BITS  #: how large it is beside the largest
    extra: int = 0  #: what taking one costs beyond what that spoils
    models: set[str] = field(default_factory=set)
    known: list[int] = field(default_factory=list)  #: every shelf that ever was
    ordered: list[int] = field(default_factory=list)  #: the same, by number


@dataclass(slots=True)
class BucketCosts:
    """What a demand costs on each shelf of one kind."""

    kind: DeviceClass
    units: int
    bins: int
    #: (lowest cost, code, cost without processors, what is sold, shelf), cheapest first
    lines: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    seen: int = 0  #: how many known shelves are quoted
    by_code: dict[int, tuple[int, int] | None] = field(default_factory=dict)  #: what is spoiled and sold, as needed
    lowest: dict[int, int] = field(default_factory=dict)  #: what is sold -> cost at the cheapest price step


class CostTable:
    """The quotes of one fleet at certain prices; made anew when its devices or the prices change."""

    def __init__(self, prices: ShadowPrices, devices: Iterable[IndexedDevice]) -> None:
        """Sorts the devices into kinds, and tells each its own."""
        self._prices = prices
        self._by_demand: dict[Demand, dict[int, BucketCosts]] = {}
        self.kinds: list[DeviceClass] = []
        devices = sorted(devices, key=lambda device: device.id)
        numbers: dict[tuple[int, frozenset[int]], int] = {}
        capacities = {device.capacity for device in devices}
        refused_by = {model: prices.kind(model) for model in {device.model for device in devices}}
        for device in devices:
            signature = device.capacity, refused_by[device.model]
            if signature not in numbers:
                numbers[signature] = len(self.kinds)
                weight = (device.capacity << _WEIGHT_BITS) // max(capacities)
                extra = _LARGE * weight >> _WEIGHT_BITS if len(capacities) > 1 else 0
                worth = prices.worth(refused_by[device.model])
                self.kinds.append(DeviceClass(len(self.kinds), device.capacity, worth, weight, extra))
            device.kind = numbers[signature]
            self.kinds[device.kind].models.add(device.model)
        self.as_such = DeviceClass(
            len(self.kinds), 1, prices.worth(frozenset())
        )  #: for hosts, whatever devices they have

    def of(self, demand: Demand) -> dict[int, BucketCosts]:
        """The quotes of a demand, by the kinds that will do."""
        quotes = self._by_demand.get(demand)
        return self._quote(demand) if quotes is None else quotes

    def _quote(self, demand: Demand) -> dict[int, BucketCosts]:
        if len(self._by_demand) >= _DEMANDS_MAX:
            self._by_demand.clear()
        if demand.devices:
            allowed = [kind for kind in self.kinds if any(map(demand.allows, kind.models))]
            units = [(kind, demand.units_on(kind.capacity)) for kind in allowed]
            quotes = [BucketCosts(kind, n, n * BINS // kind.capacity) for kind, n in units if 1 <= n <= kind.capacity]
        else:
            quotes = [BucketCosts(self.as_such, 0, -1)]
        by_kind = self._by_demand[demand] = {quote.kind.number: quote for quote in quotes}
        return by_kind

    def note(self, place: int) -> None:
        """There is a shelf of that number."""
        number = place >> CODE_BITS
        kind = self.kinds[number] if number < len(self.kinds) else self.as_such
        if place not in kind.known:
            kind.known.append(place)
            insort(kind.ordered, place)

    def extend(self, quote: BucketCosts, demand: Demand) -> None:
        """Quote the shelves that have come into use since."""
        prices, kind = self._prices, quote.kind
        for place in kind.known[quote.seen :]:
            code = place & CODE_MASK
            line = self.line(quote, code, demand)
            if line is not None:
                spoiled, sold = line
                if sold not in quote.lowest:
                    steps = zip(prices.core, prices.relief, strict=True)
                    quote.lowest[sold] = min(core * demand.cpu_milli - (relief * sold >> 30) for core, relief in steps)
                insort(quote.lines, (spoiled + quote.lowest[sold] >> COST_SHIFT, code, spoiled, sold, place))
        quote.seen = len(kind.known)

    def line(self, quote: BucketCosts, code: int, demand: Demand) -> tuple[int, int] | None:
        """What taking the demand from a shelf of that code spoils, and what is sold; ``None`` where it cannot be."""
        if code not in quote.by_code:
            quote.by_code[code] = self._line(quote, code, demand)
        return quote.by_code[code]

    def _line(self, quote: BucketCosts, code: int, demand: Demand) -> tuple[int, int] | None:
        if code == HOST:
            return 0, 0
        prices, worth = self._prices, quote.kind.worth
        untouched = prices.untouched if code > UNTOUCHED else 0
        if demand.whole:
            if code < FREE or code % BINS < demand.devices:
                return None
            spoiled = _weighed(quote.kind, worth[BINS] - worth[0])
            return untouched + demand.devices * spoiled, demand.devices * prices.sale[BINS]
        before = min(code, BINS)
        if before < quote.bins:
            return None
        after = before - quote.bins
        spoiled = _weighed(quote.kind, worth[before] - worth[after])
        return untouched + spoiled, prices.sale[before] - prices.sale[after]


def _weighed(kind: DeviceClass, spoiled: int) -> int:
    return (spoiled * kind.weight >> _WEIGHT_BITS) + kind.extra
