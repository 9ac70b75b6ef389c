"""Kinds of demands that only a part of a pool can serve, and when other demands leave that part alone.

A *kind* is what some frequent demands need: devices of certain classes, or several devices of one host and so many of
its processors. It is *scarce* while the free capacity that could serve it is at most :data:`MARGIN` times what it
usually takes of all free capacity, and one more demand. Other demands then use that capacity only where nothing else
serves.

Opportunity costs alone do not achieve that. A device of the last host with eight free ones costs no more than another,
because requests for one device will fill the other seven; but until then no request for eight fits any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .capacity import IndexedHost
from .demand import Demand
from .device_classes import DeviceClass, units_by_class
from .shadow_prices import DEVICE_VALUE, ShadowPrices

#: How many times its usual part of the free capacity a kind is left. Once is too little, because arrivals vary. Three
#: times is too much: a kind that takes a third of a pool would be left all of it, and nothing could be packed well.
MARGIN = 2
#: Number of kinds at most: those that take most.
KINDS_MAX = 16
#: Cost of a placement on what a scarce kind could use. Every other cost is less, so that it decides first.
SCARCE_COST = 1 << 48

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
        self._single = sum(1 << i for i, kind in enumerate(self.kinds) if kind.devices == 1)
        #: By device class, the kinds of one device that it serves.
        self._single_of = [
            [i for i, kind in enumerate(self.kinds) if kind.devices == 1 and one.number in kind.classes]
            for one in classes
        ]
        #: Results of :meth:`_several`.
        self._several_of: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
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

    def used_by(self, demand: Demand, class_number: int, free_devices: int) -> int:
        """Return the kinds that have less after a placement on devices of a class, on a host that serves them all.

        ``free_devices``: number of free devices of that class on the host, or 0 for a device that is partly used. A
        demand without devices uses processors, which every kind of several devices may need.
        """
        kinds = 0
        for i, kind in enumerate(self.kinds):
            if not demand.devices:
                used = kind.devices > 1
            elif class_number not in kind.classes:
                used = False
            else:
                after = max(0, free_devices - demand.devices)
                used = kind.devices == 1 or free_devices // kind.devices > after // kind.devices
            kinds |= used << i
        return kinds

    def count(self, host: IndexedHost) -> None:
        """Count what is free of a host instead of what was counted before, and note which kinds it serves."""
        value, values, devices, _ = host.free
        usable, serves = [(-1, value)], self._single
        for number, value in values.items():
            if single := self._single_of[number]:
                usable += [(i, value) for i in single]
        for number, count in devices.items():
            if count < 2:
                continue
            several = self._several_of.get((number, count))
            for i, cpu_milli, value in self._several(number, count) if several is None else several:
                if host.free_cpu_milli >= cpu_milli:
                    usable.append((i, value))
                    serves |= 1 << i
        for i, value in host.usable:
            self._usable[i] -= value
        for i, value in usable:
            self._usable[i] += value
        host.usable, host.serves, self._scarce = usable, serves, None

    def _several(self, number: int, count: int) -> list[tuple[int, int, int]]:
        """Return the kinds that so many free devices of a class serve, with processors and packing value of each."""
        found = self._several_of[number, count] = [
            (i, kind.cpu_milli, count // kind.devices * kind.devices * DEVICE_VALUE)
            for i, kind in enumerate(self.kinds)
            if 1 < kind.devices <= count and number in kind.classes
        ]
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
