"""Shadow prices: what capacity is worth to the requests that usually come.

A placement is chosen by its opportunity cost: the value that the remaining capacity loses. Two values enter it:

- *Remainder value.* What is left of a device is worth the best set of frequent sizes that still fits into it
  (:mod:`.cutting_stock`), less a small amount for each frequent request that it is too small for.
- *Processor cost.* A core has a cost where GPUs would be idle for lack of cores. On a host with ``c`` cores for each
  free GPU, a core costs in proportion to the requests that need more than ``c``, and taking a GPU relieves the host of
  what that GPU would have lacked.

The answers are integers and depend on the requests only, not on their order. Computing them takes milliseconds and
happens rarely: :data:`.placer.SHADOW_PRICES_EVERY` requests apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .cutting_stock import BINS, packing_values
from .demand import Demand

#: Value of one whole device; every value and every cost of this package is in this unit.
DEVICE_VALUE = 1 << 30

#: Number of distinct demands that are evaluated: the most frequent ones.
DEMANDS_MAX = 256

#: What a remainder loses for each demand (by its share of all demands) that it is too small for, per device.
_TOO_SMALL_PENALTY = DEVICE_VALUE // 30
#: Cost of a core that a frequent demand lacks, per device. Small, so that it decides between remainders of equal value.
_LACKING_CORE_COST = DEVICE_VALUE // 80
#: Processors are needed with a margin, because the mix of requests is never exactly the average.
_CPU_MARGIN = (21, 20)


class _FrequentDemand(NamedTuple):
    demand: Demand
    weight: float  #: its share of all demands
    size: int  #: in bins of one device


def to_bins(units: int, capacity: int) -> int:
    """Return units as bins, rounded down, so that parts which fit together exactly do so in bins as well."""
    return units * BINS // capacity


@dataclass(frozen=True)
class ShadowPrices:
    """The values and costs that follow from the frequent demands; see :func:`estimate_shadow_prices`."""

    #: Value of ``n`` free bins of a device.
    packing_value: tuple[int, ...] = tuple(DEVICE_VALUE * n // BINS for n in range(BINS + 1))
    #: Milli-cores per free GPU at which the processor cost changes, ascending.
    cpu_thresholds: tuple[int, ...] = ()
    #: Cost of a milli-core at each level; it is 0 at the last, where there are enough cores.
    cpu_cost: tuple[int, ...] = (0,)
    #: What taking a whole free GPU saves at each level: the cost of the cores that it would have lacked.
    cpu_relief: tuple[int, ...] = (0,)
    _frequent: tuple[_FrequentDemand, ...] = ()
    _tables: dict[frozenset[int], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def demands_refusing(self, model: str) -> frozenset[int]:
        """Return the indexes of the frequent demands that do not accept a model; models that agree are alike."""
        return frozenset(i for i, frequent in enumerate(self._frequent) if not frequent.demand.allows(model))

    def remainder_value(self, refusing: frozenset[int]) -> tuple[int, ...]:
        """Return the value of ``n`` free bins of a device that those frequent demands refuse, for each ``n``."""
        table = self._tables.get(refusing)
        if table is None:
            table = self._tables[refusing] = self._remainder_values(refusing)
        return table

    def demand_values(self) -> Iterator[tuple[Demand, float]]:
        """Yield the frequent demands and the packing value that each takes in a time in which one demand comes."""
        for demand, weight, size in self._frequent:
            yield demand, weight * demand.devices * self.packing_value[size]

    def cpu_level(self, cpu_milli: int, free_value: int) -> int:
        """Return the level of a host with so many milli-cores free and free GPUs of that packing value."""
        if not free_value:
            return len(self.cpu_thresholds)
        return bisect_right(self.cpu_thresholds, cpu_milli * DEVICE_VALUE // free_value)

    def _remainder_values(self, refusing: frozenset[int]) -> tuple[int, ...]:
        changes = [0.0] * (BINS + 2)  # of the weight of the demands that n bins cannot serve
        for i, frequent in enumerate(self._frequent):
            changes[0] += frequent.weight
            if i not in refusing:
                changes[min(frequent.size, BINS)] -= frequent.weight
        table, unserved = [], 0.0
        for n in range(BINS + 1):
            unserved += changes[n]
            table.append(self.packing_value[n] - round(_TOO_SMALL_PENALTY * unserved * n / BINS))
        return tuple(table)


def estimate_shadow_prices(history: Mapping[Demand, int] | Iterable[tuple[Demand, int]], capacity: int) -> ShadowPrices:
    """Return the shadow prices for past demands and how often each came.

    ``capacity``: units of the most common device, by which demands in units become parts of a device.
    """
    counts: Counter[Demand] = Counter()
    for demand, count in history.items() if isinstance(history, Mapping) else history:
        counts[demand] += count
    chosen = sorted(counts.items(), key=lambda item: (-item[1], _fixed_order(item[0])))[:DEMANDS_MAX]
    total = sum(count for demand, count in chosen)
    frequent = tuple(
        _FrequentDemand(demand, count / total, max(1, min(BINS, to_bins(demand.units_on(capacity), capacity))))
        for demand, count in chosen
        if demand.devices and count > 0
    )
    if not frequent:
        return ShadowPrices()
    weights: dict[int, float] = {}
    for one in frequent:
        weights[one.size] = weights.get(one.size, 0.0) + one.weight * one.demand.devices
    return ShadowPrices(
        tuple(round(DEVICE_VALUE * value) for value in packing_values(weights)),
        *_cpu_costs(frequent),
        frequent,
    )


def _fixed_order(demand: Demand) -> tuple[int, int, int, int, int, int, tuple[str, ...]]:
    """Return a sort key, so that the choice among equally frequent demands does not depend on their order."""
    return (
        demand.devices, demand.units or 0, demand.divisor or 0, demand.numerator,
        demand.cpu_milli, demand.host_memory_bytes,
        tuple(sorted(demand.models or ())),
    )  # fmt: skip


def _cpu_costs(frequent: Sequence[_FrequentDemand]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return thresholds, costs and reliefs: derivatives of E[(need - c)+], the cores that a GPU with ``c`` lacks."""
    needs: dict[int, float] = {}
    for one in frequent:
        if one.demand.cpu_milli:
            need = one.demand.cpu_milli * _CPU_MARGIN[0] // _CPU_MARGIN[1] // one.demand.devices
            needs[need] = needs.get(need, 0.0) + one.weight * one.demand.devices * one.size / BINS
    thresholds = tuple(sorted(needs))
    cost, relief = [0], [0]
    weight = lacking = 0.0
    for need in reversed(thresholds):
        weight += needs[need]
        lacking += needs[need] * need
        cost.append(round(_LACKING_CORE_COST * weight / 1000))
        relief.append(round(_LACKING_CORE_COST * lacking / 1000))
    return thresholds, tuple(reversed(cost)), tuple(reversed(relief))
