"""A fast test whether a request may fit on a host: never wrongly no, rarely wrongly yes."""

from __future__ import annotations

from typing import NamedTuple

from .capacity import IndexedHost
from .cutting_stock import BINS
from .demand import NO_EXCLUSION, Exclusion


class HostHeadroom(NamedTuple):
    """What a host has free, in the terms in which a request needs it."""

    cpu_milli: int
    memory_bytes: int
    largest_free: dict[int, int]  #: by device class, the free units of the device with the most
    free_devices: dict[int, int]  #: by device class, the number of devices that are entirely free
    largest_bins: int  #: free bins of the device with the most


class HostFilter:
    """Precomputed resource requirements of a request class, for fast host filtering.

    It is valid until the device classes change.
    """

    __slots__ = ("cpu_milli", "least_bins", "memory_bytes", "units_by_class", "whole_devices")

    def __init__(
        self, units_by_class: dict[int, int], least_bins: int, whole_devices: int, cpu_milli: int, memory_bytes: int
    ) -> None:
        #: Units that it takes of a device, by the classes that can serve it.
        self.units_by_class = units_by_class
        #: Bins that it takes at least of some device; more than any device has where none can serve it.
        self.least_bins = least_bins
        self.whole_devices = whole_devices  #: number of devices that must be entirely free
        self.cpu_milli = cpu_milli
        self.memory_bytes = memory_bytes

    def also_on(self, units_by_class: dict[int, int]) -> HostFilter:
        """Return a filter that admits further device classes, on which no number of bins can be told."""
        units = self.units_by_class | units_by_class
        return HostFilter(units, 0, self.whole_devices, self.cpu_milli, self.memory_bytes)

    def may_fit(self, headroom: HostHeadroom) -> bool:
        """Return False where the request certainly does not fit on a host with that headroom."""
        if self.cpu_milli > headroom.cpu_milli or self.memory_bytes > headroom.memory_bytes:
            return False
        for device_class, most in headroom.largest_free.items():
            if self.units_by_class.get(
                device_class, most + 1
            ) <= most and self.whole_devices <= headroom.free_devices.get(device_class, 0):
                return True
        return False


#: The filter of a request that no device can serve.
NEVER_FITS = HostFilter({}, BINS + 1, 0, 0, 0)


def headroom_of(host: IndexedHost, exclusion: Exclusion = NO_EXCLUSION) -> HostHeadroom:
    """Return what a host has free beside what is excluded."""
    largest_free: dict[int, int] = {}
    free_devices: dict[int, int] = {}
    largest_bins = 0
    for device in host.devices.values():
        free = device.free
        if free and device.grantable and device.id not in exclusion.device_ids:
            number, capacity = device.device_class, device.capacity
            if free > largest_free.get(number, 0):
                largest_free[number] = free
                largest_bins = max(largest_bins, free * BINS // capacity)
            if free == capacity:
                free_devices[number] = free_devices.get(number, 0) + 1
    cpu_milli = max(0, host.free_cpu_milli - exclusion.cpu_milli)
    memory_bytes = max(0, host.free_memory_bytes - exclusion.memory_bytes)
    return HostHeadroom(cpu_milli, memory_bytes, largest_free, free_devices, largest_bins)
