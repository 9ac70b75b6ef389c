"""Kinds of demands that only a part of a pool can serve, and when other demands leave that part alone.

A *kind* is what some frequent demands need: devices of certain classes, or several devices of one host and so many of
its processors. It is *scarce* while the free capacity that could serve it is at most :data:`MARGIN` times what it
usually takes of all free capacity, and one more demand. Other demands then use that capacity only where nothing else
serves.

Opportunity costs alone do not achieve that. A device of the last host with eight free ones costs no more than another,
because requests for one device will fill the other seven; but until then no request for eight fits any more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from .capacity import FreeCapacity, IndexedHost, Several
from .demand import Demand
from .device_classes import DeviceClass, units_by_class
from .shadow_prices import DEVICE_VALUE, ShadowPrices

#: How many times its usual part of the free capacity a kind is left. Once is too little, because arrivals vary. Three
#: times is too much: a kind that takes a third of a pool would be left all of it, and nothing could be packed well.
MARGIN = 2
#: Number of kinds at most: those that take most.
KINDS_MAX = 16

_SHARE_UNIT = 1 << 20  #: parts of a pool are in this unit


class Kind(NamedTuple):
    """What some frequent demands need."""

    devices: int  #: of one host
    cpu_milli: int  #: of that host where several devices are needed; for one device, the cost of processors suffices
    classes: frozenset[int]  #: device classes that can serve

    def covers(self, need: Kind) -> bool:
        """Return whether every device and host that serves a need serves this kind, too."""
        return self.devices <= need.devices and self.cpu_milli <= need.cpu_milli and self.classes >= need.classes


class Scarcity:
    """The kinds for certain shadow prices and device classes, and how much of a pool could serve each now.

    Sets of kinds are integers: bit ``i`` stands for ``kinds[i]``.
    """

    def __init__(self, prices: ShadowPrices, classes: Sequence[DeviceClass]) -> None:
        self._classes = classes
        needs = [(self._need_of(demand), value) for demand, value in prices.demand_values()]
        needs = [(need, value) for need, value in needs if need.classes]
        values: dict[Kind, float] = {}
        for need, value in needs:
            if need.devices > 1 or len(need.classes) < len(classes):
                values[need] = values.get(need, 0.0) + value
        #: In a fixed order.
        self.kinds = sorted(values, key=lambda kind: (-values[kind], *kind[:2], sorted(kind.classes)))[:KINDS_MAX]
        total = sum(value for _, value in needs) or 1.0
        #: By kind, its part of all free capacity, with the margin.
        self._shares = [
            round(MARGIN * _SHARE_UNIT * sum(value for need, value in needs if kind.covers(need)) / total)
            for kind in self.kinds
        ]
        self._one_demand = [kind.devices * DEVICE_VALUE * _SHARE_UNIT for kind in self.kinds]
        #: The kinds of one device. Every host serves them as far as its buckets say so.
        self.single = sum(1 << i for i, kind in enumerate(self.kinds) if kind.devices == 1)
        #: By device class, the kinds of one device that it serves.
        self._single_of = [
            [i for i, kind in enumerate(self.kinds) if kind.devices == 1 and one.number in kind.classes]
            for one in classes
        ]
        self._used_by: dict[tuple[int, int, int], int] = {}  #: results of :meth:`used_by`
        #: The processors that kinds of several devices need, ascending.
        self._cpu_levels = sorted({kind.cpu_milli for kind in self.kinds if kind.devices > 1})
        self._several_of: dict[tuple[int, int, int], Several] = {}  #: results of :meth:`_several`
        #: By kind, the packing value of the free capacity that could serve it; the last entry is that of the pool.
        self._usable = [0] * (len(self.kinds) + 1)
        self._scarce: int | None = None

    def _need_of(self, demand: Demand) -> Kind:
        cpu_milli = demand.cpu_milli if demand.devices > 1 else 0
        return Kind(demand.devices, cpu_milli, frozenset(units_by_class(self._classes, demand)))

    def others(self, demand: Demand) -> int:
        """Return the kinds that a demand is not of."""
        need = self._need_of(demand)
        return sum(1 << i for i, kind in enumerate(self.kinds) if not kind.covers(need))

    def used_by(self, devices: int, class_number: int, free_devices: int) -> int:
        """Return the kinds that have less after a placement on devices of a class, on a host that serves them all.

        ``free_devices``: number of free devices of that class on the host, or 0 for a device that is partly used. A
        demand without devices uses processors, which every kind of several devices may need.
        """
        key = devices, class_number, free_devices
        kinds = self._used_by.get(key)
        if kinds is None:
            kinds = self._used_by[key] = sum(
                1 << i for i, kind in enumerate(self.kinds) if _uses(kind, devices, class_number, free_devices)
            )
        return kinds

    def count(self, host: IndexedHost, free: FreeCapacity) -> None:
        """Count what is free of a host now instead of what was, and note it and the kinds that the host serves."""
        total, before = self._usable, host.free
        total[-1] += free.value - before.value
        if self.single:
            for number, value in before.values:
                for i in self._single_of[number]:
                    total[i] -= value
            for number, value in free.values:
                for i in self._single_of[number]:
                    total[i] += value
        level = bisect_right(self._cpu_levels, host.free_cpu_milli)
        several = [self._several(number, count, level) for number, count in free.devices if count > 1]
        if several != host.several:
            for kinds, sign in ((host.several, -1), (several, 1)):
                for _, values in kinds:
                    for i, value in values:
                        total[i] += sign * value
            host.several = several
            host.serves = self.single
            for bits, _ in several:
                host.serves |= bits
        host.free = free
        self._scarce = None

    def _several(self, number: int, count: int, level: int) -> Several:
        """Return what so many free devices of a class are for kinds of several devices, on a host of that level."""
        key = number, count, level
        found = self._several_of.get(key)
        if found is None:
            values = [
                (i, count // kind.devices * kind.devices * DEVICE_VALUE)
                for i, kind in enumerate(self.kinds)
                if 1 < kind.devices <= count and number in kind.classes and kind.cpu_milli in self._cpu_levels[:level]
            ]
            found = self._several_of[key] = sum(1 << i for i, _ in values), values
        return found

    def scarce_to(self, demand: Demand) -> int:
        """Return the scarce kinds that a demand is not of."""
        scarce = self.scarce()
        return scarce and scarce & self.others(demand)

    def scarce(self) -> int:
        """Return the kinds that are scarce now."""
        scarce = self._scarce
        if scarce is None:
            free, scarce, bit = self._usable[-1], 0, 1
            for share, one_demand, value in zip(self._shares, self._one_demand, self._usable, strict=False):
                if value and share * free + one_demand >= value * _SHARE_UNIT:
                    scarce |= bit
                bit += bit
            self._scarce = scarce
        return scarce


def _uses(kind: Kind, devices: int, class_number: int, free_devices: int) -> bool:
    if not devices:
        return kind.devices > 1
    if class_number not in kind.classes:
        return False
    left = max(0, free_devices - devices)
    return kind.devices == 1 or free_devices // kind.devices > left // kind.devices
