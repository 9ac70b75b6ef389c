"""What the parts of a device are worth, learned from what is usually asked for.

What it is: the input of :mod:`fastgpu_jupyter.core.placement.capacity_index`. Three prices, each with a short reason:

- *A remainder is worth what it can still be sold for.* The best way to cut devices into the sizes usually asked for is
  a linear program (cutting stock); its dual prices say how much of a device each size really uses up: 0.81 of a device
  uses up all of it, since little fits beside it, and 0.65 uses two thirds where thirds are common. A remainder is
  worth the dearest set of sizes that fits into it, less a small part for every request that it is too small for.
- *Processors are worth something where GPUs are idle for lack of them.* On a host with ``c`` cores for each GPU that is
  free, a core costs in proportion to the requests that want more than ``c``, and a free GPU earns what they would lack.
- *A host that nobody uses is worth keeping whole*, where requests for several devices at once are known.

What it promises: integers only in the answers, and the same answers for the same requests in whatever order they come.
What it must not do: know any device, host or clock. Everything here is computed seldom, when the habits of the users
have changed, and takes milliseconds; :mod:`fleet` only looks it up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import NamedTuple

from .demand import Demand

#: One whole device, in the unit of every price here.
DEVICE = 1 << 30

#: Parts that a device is divided into for pricing; capacity itself is never rounded.
BINS = 1000

#: Distinct requests that are learned from: the most frequent ones.
SHAPES_MAX = 256

#: Sizes that are priced; further ones count as the next smaller size that is.
SIZES_MAX = 24

#: What a remainder loses for each request (as a part of all) that it is too small for, per device.
_TOO_SMALL = DEVICE // 30
#: What a core that a usual request lacks costs, per device. Small: it decides between remainders of equal worth.
_LACK = DEVICE // 80
#: Cores are wanted with a margin, because what comes is never exactly the average.
_MARGIN = (21, 20)
#: What is paid to leave an untouched host untouched, where somebody may want several of its devices.
_UNTOUCHED = DEVICE // 50


class _Usual(NamedTuple):
    demand: Demand
    weight: float  #: as a part of all
    size: int  #: bins of one device


def bins(units: int, capacity: int) -> int:
    """Units as bins, rounded down, so that parts which fit together exactly do so as bins too."""
    return units * BINS // capacity


@dataclass(frozen=True)
class ShadowPrices:
    """The prices that follow from what is usually asked for; made by :func:`learn`."""

    #: What ``n`` bins of a device can be sold for.
    sale: tuple[int, ...] = tuple(DEVICE * n // BINS for n in range(BINS + 1))
    #: Milli-cores per free GPU at which the price of cores changes, ascending.
    steps: tuple[int, ...] = ()
    #: Price of a milli-core after ``i`` steps; the last is 0.
    core: tuple[int, ...] = (0,)
    #: What selling a whole free GPU saves in cores that it would have lacked, after ``i`` steps.
    relief: tuple[int, ...] = (0,)
    #: Cost of being the first to use a host.
    untouched: int = 0
    _usual: tuple[_Usual, ...] = ()
    _tables: dict[frozenset[int], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def kind(self, model: str) -> frozenset[int]:
        """What tells models apart: which of the usual requests would refuse them."""
        return frozenset(i for i, usual in enumerate(self._usual) if not usual.demand.allows(model))

    def worth(self, kind: frozenset[int]) -> tuple[int, ...]:
        """What ``n`` free bins are worth on a device of that kind."""
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = self._worth(kind)
        return table

    def step(self, cpu_milli: int, free: int) -> int:
        """Which price of cores holds on a host with so many cores free and GPUs that can be sold for ``free``."""
        return bisect_right(self.steps, cpu_milli * DEVICE // free) if free else len(self.steps)

    def _worth(self, kind: frozenset[int]) -> tuple[int, ...]:
        too_small = [0.0] * (BINS + 2)  # as differences: the weight of the requests that n bins cannot serve
        for i, usual in enumerate(self._usual):
            too_small[0] += usual.weight
            if i not in kind:
                too_small[min(usual.size, BINS)] -= usual.weight
        table, unserved = [], 0.0
        for n in range(BINS + 1):
            unserved += too_small[n]
            table.append(self.sale[n] - round(_TOO_SMALL * unserved * n / BINS))
        return tuple(table)


def estimate_shadow_prices(history: Mapping[Demand, int] | Iterable[tuple[Demand, int]], capacity: int) -> ShadowPrices:
    """Prices from past requests and how often each came; ``capacity``: units of the usual device."""
    counts: Counter[Demand] = Counter()
    for demand, count in history.items() if isinstance(history, Mapping) else history:
        counts[demand] += count
    frequent = sorted(counts.items(), key=lambda item: (-item[1], _order(item[0])))[:SHAPES_MAX]
    total = sum(count for demand, count in frequent)
    usual = tuple(
        _Usual(demand, count / total, max(1, min(BINS, bins(demand.units_on(capacity), capacity))))
        for demand, count in frequent
        if demand.devices and count > 0
    )
    if not usual:
        return ShadowPrices()
    steps, core, relief = _core_prices(usual)
    gangs = any(one.demand.devices > 1 for one in usual)
    sale = tuple(round(DEVICE * worth) for worth in _sale(usual))
    return ShadowPrices(sale, steps, core, relief, _UNTOUCHED if gangs else 0, usual)


def _order(demand: Demand) -> tuple[int, int, int, int, int, int, tuple[str, ...]]:
    """Some fixed order, so that equal counts do not depend on who came first."""
    return (
        demand.devices, demand.units or 0, demand.divisor or 0, demand.numerator,
        demand.cpu_milli, demand.host_memory_bytes,
        tuple(sorted(demand.models or ())),
    )  # fmt: skip


def _core_prices(usual: Sequence[_Usual]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Steps and prices: with ``c`` cores per GPU, a GPU lacks E[(need - c)+] cores; these are its derivatives."""
    needs: dict[int, float] = {}
    for one in usual:
        if one.demand.cpu_milli:
            need = one.demand.cpu_milli * _MARGIN[0] // _MARGIN[1] // one.demand.devices
            needs[need] = needs.get(need, 0.0) + one.weight * one.demand.devices * one.size / BINS
    steps = tuple(sorted(needs))
    core, relief = [0], [0]
    wanting = lacking = 0.0
    for need in reversed(steps):
        wanting += needs[need]
        lacking += needs[need] * need
        core.append(round(_LACK * wanting / 1000))
        relief.append(round(_LACK * lacking / 1000))
    return steps, tuple(reversed(core)), tuple(reversed(relief))


# -- cutting stock ----------------------------------------------------------------------------------------------------


def _sale(usual: Sequence[_Usual]) -> list[float]:
    """For each number of bins, the dearest set of usual sizes that fits into it; a whole device is 1."""
    weights: dict[int, float] = {BINS: 0.0}
    for one in usual:
        weights[one.size] = weights.get(one.size, 0.0) + one.weight * one.demand.devices
    if len(weights) > SIZES_MAX:
        kept = sorted(sorted(weights, key=lambda size: (size != BINS, -weights[size], size))[:SIZES_MAX])
        for size in [size for size in weights if size not in kept]:
            below = kept[max(0, bisect_right(kept, size) - 1)]
            weights[below] += weights.pop(size)
    sizes = sorted(weights)
    duals = _cutting_stock(sizes, [max(weights[size], 1e-9) for size in sizes])
    return _fill(sizes, duals, 1)[0]


def _fill(sizes: Sequence[int], prices: Sequence[float], unit: int) -> tuple[list[float], list[int]]:
    """Unbounded knapsack: the best value of each number of bins, and the size (by position, or -1) taken last."""
    best, last = [0.0] * (BINS // unit + 1), [-1] * (BINS // unit + 1)
    items = [(size // unit, price, i) for i, (size, price) in enumerate(zip(sizes, prices, strict=True)) if price > 0]
    for n in range(1, len(best)):
        best[n] = best[n - 1]
        for size, price, i in items:
            if size <= n and best[n - size] + price > best[n] + 1e-12:
                best[n], last[n] = best[n - size] + price, i
    return best, last


def _cutting_stock(sizes: Sequence[int], wanted: Sequence[float]) -> list[float]:
    """Dual prices of: as few devices as possible that yield the wanted amounts of each size (column generation)."""
    count = len(sizes)
    unit = gcd(*sizes, BINS)
    #: Inverse of the basis, row by row; it starts with devices cut into one size only.
    inverse = [[float(i == j) / (BINS // sizes[i]) for j in range(count)] for i in range(count)]
    amount = [wanted[i] / (BINS // sizes[i]) for i in range(count)]
    duals = [sum(column) for column in zip(*inverse, strict=True)]
    for _ in range(20 * count):
        best, last = _fill(sizes, duals, unit)
        if best[-1] <= 1 + 1e-9:
            break
        pattern = _pattern(sizes, last, unit)
        direction = [sum(row[i] * n for i, n in pattern.items()) for row in inverse]
        leaving = min(
            (i for i in range(count) if direction[i] > 1e-9), key=lambda i: (amount[i] / direction[i], i), default=-1
        )
        if leaving < 0:  # cannot be: every pattern uses up something
            break
        step = amount[leaving] / direction[leaving]
        pivot = [x / direction[leaving] for x in inverse[leaving]]
        for i in range(count):
            if i != leaving and direction[i]:
                inverse[i] = [x - direction[i] * y for x, y in zip(inverse[i], pivot, strict=True)]
                amount[i] = max(0.0, amount[i] - direction[i] * step)
        inverse[leaving], amount[leaving] = pivot, step
        duals = [sum(column) for column in zip(*inverse, strict=True)]
    top = max(1.0, _fill(sizes, duals, unit)[0][-1])
    return [max(0.0, dual) / top for dual in duals]


def _pattern(sizes: Sequence[int], last: Sequence[int], unit: int) -> dict[int, int]:
    pattern: dict[int, int] = {}
    n = len(last) - 1
    while n > 0:
        i = last[n]
        if i < 0:
            n -= 1
        else:
            pattern[i] = pattern.get(i, 0) + 1
            n -= sizes[i] // unit
    return pattern
