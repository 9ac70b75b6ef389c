"""Device classes: devices that no frequent demand tells apart, so that they have the same opportunity costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .capacity import FreeCapacity, IndexedDevice, IndexedHost
from .cutting_stock import BINS
from .demand import Demand
from .shadow_prices import DEVICE_VALUE, ShadowPrices

#: Capacities are compared with the largest one in this many bits.
_WEIGHT_BITS = 12
#: Cost of using the largest device where capacities differ, in proportion less for smaller ones: the smaller device is
#: preferred where costs are nearly equal. It is more than rounding to bins can be wrong by.
_LARGE_DEVICE_COST = DEVICE_VALUE >> 8


@dataclass(slots=True)
class DeviceClass:
    """Devices of one capacity that the same frequent demands refuse."""

    number: int
    capacity: int
    remainder_value: tuple[int, ...]  #: of each number of free bins
    weight: int = 1 << _WEIGHT_BITS  #: capacity in relation to the largest
    size_cost: int = 0  #: cost of any use of such a device, because it is large
    models: set[str] = field(default_factory=set)
    buckets: list[int] = field(default_factory=list)  #: every bucket that has been in use, in that order
    sorted_buckets: list[int] = field(default_factory=list)

    def value_lost(self, before: int, after: int) -> int:
        """Return what a device loses in value when its free bins become ``after`` instead of ``before``."""
        values = self.remainder_value
        return ((values[before] - values[after]) * self.weight >> _WEIGHT_BITS) + self.size_cost


def classify(devices: Iterable[IndexedDevice], prices: ShadowPrices) -> list[DeviceClass]:
    """Set the class of each device and return the classes; they are numbered by the smallest device id of each."""
    devices = sorted(devices, key=lambda device: device.id)
    capacities = {device.capacity for device in devices}
    refusing = {model: prices.demands_refusing(model) for model in {device.model for device in devices}}
    numbers: dict[tuple[int, frozenset[int]], int] = {}
    classes: list[DeviceClass] = []
    for device in devices:
        signature = device.capacity, refusing[device.model]
        if signature not in numbers:
            numbers[signature] = len(classes)
            weight = (device.capacity << _WEIGHT_BITS) // max(capacities)
            size_cost = _LARGE_DEVICE_COST * weight >> _WEIGHT_BITS if len(capacities) > 1 else 0
            values = prices.remainder_value(refusing[device.model])
            classes.append(DeviceClass(len(classes), device.capacity, values, weight, size_cost))
        device.device_class = numbers[signature]
        classes[device.device_class].models.add(device.model)
    return classes


def free_bins(device: IndexedDevice) -> int:
    """Return the free capacity of a device in bins, rounded down."""
    return device.free * BINS // device.capacity


def free_capacity(host: IndexedHost, packing_value: Sequence[int]) -> FreeCapacity:
    """Return what is free on the grantable devices of a host."""
    values: dict[int, int] = {}
    free_devices: dict[int, int] = {}
    parts: list[tuple[int, int]] = []
    for device in host.devices.values():
        free, number = device.free, device.device_class
        if not free or not device.grantable:
            continue
        if free == device.capacity:
            bins = BINS
            free_devices[number] = free_devices.get(number, 0) + 1
        else:
            bins = free * BINS // device.capacity
            if (number, bins) not in parts:
                parts.append((number, bins))
        values[number] = values.get(number, 0) + packing_value[bins]
    return FreeCapacity(sum(values.values()), tuple(values.items()), tuple(free_devices.items()), tuple(parts))


def units_by_class(classes: Iterable[DeviceClass], demand: Demand) -> dict[int, int]:
    """Return the units of a device that a demand takes, by the numbers of the classes that can serve it."""
    units = {}
    for one in classes if demand.devices else ():
        n = demand.units_on(one.capacity)
        if 1 <= n <= one.capacity and any(map(demand.allows, one.models)):
            units[one.number] = n
    return units
