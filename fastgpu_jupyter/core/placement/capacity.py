"""Hosts and devices with integer capacity, and how much of it is free.

Every change is checked: capacity is neither allocated twice nor released twice. Nothing here chooses a placement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .demand import Demand, Exclusion, Placement

#: More processors (thousandths of a core) than a host may have.
CPU_MILLI_LIMIT = 1 << 40


@dataclass(slots=True)
class IndexedDevice:
    """A device, its capacity and what of it is free."""

    id: str
    host: IndexedHost
    model: str
    capacity: int
    free: int
    order: int = 0  #: of several devices that are equally good on a host, the smallest is chosen
    grantable: bool = True
    device_class: int = 0  #: number of its class, see :mod:`.device_classes`


class FreeCapacity(NamedTuple):
    """What is free on the grantable devices of a host; pairs begin with the number of a device class."""

    value: int  #: packing value of it all
    values: tuple[tuple[int, int], ...]  #: by class
    devices: tuple[tuple[int, int], ...]  #: by class, the number of devices that are entirely free
    parts: tuple[tuple[int, int], ...]  #: free bins of the devices that are partly used, without repetition


NOTHING_FREE = FreeCapacity(0, (), (), ())
#: Kinds of :mod:`.scarcity`, as a set of bits, and the packing value of what could serve each, by its number.
Several = tuple[int, list[tuple[int, int]]]


@dataclass(slots=True)
class IndexedHost:
    """A host, its processors and memory, what of them is free, and its devices."""

    id: str
    cpu_milli: int
    memory_bytes: int
    free_cpu_milli: int
    free_memory_bytes: int
    devices: dict[str, IndexedDevice] = field(default_factory=dict)
    rank: int = 0  #: position among all hosts in order of id
    free: FreeCapacity = NOTHING_FREE  #: as of the last look of an index at this host
    several: list[Several] = field(default_factory=list)  #: of it, what serves kinds of several devices
    serves: int = 0  #: the kinds of :mod:`.scarcity` that it serves
    sort_key: int = 0  #: position of this host within its buckets
    #: Buckets that list this host, each with what it is listed by there; see :mod:`.bucket_costs`.
    buckets: list[tuple[int, int]] = field(default_factory=list)

    def has_room(self, demand: Demand, exclusion: Exclusion) -> bool:
        """Return whether the host has the processors and the memory of a demand beside what is excluded."""
        if demand.cpu_milli and demand.cpu_milli + exclusion.cpu_milli > self.free_cpu_milli:
            return False
        wanted_bytes = demand.host_memory_bytes
        return not wanted_bytes or wanted_bytes + exclusion.memory_bytes <= self.free_memory_bytes


class Capacity:
    """The hosts and devices of a pool, and what of them is free."""

    def __init__(self) -> None:
        self._hosts: dict[str, IndexedHost] = {}
        self._devices: dict[str, IndexedDevice] = {}
        #: Hosts of which free capacity has changed since an index looked at them.
        self._changed_hosts: dict[str, IndexedHost] = {}
        #: Whether hosts or devices were added or removed since an index was built.
        self._inventory_changed = False

    # -- hosts and devices --------------------------------------------------------------------------------------------

    def add_host(self, host_id: str, cpu_milli: int = 0, memory_bytes: int = 0) -> None:
        """Add a host without devices. Raise :class:`ValueError` where the id is known already."""
        if host_id in self._hosts:
            raise ValueError(f"host {host_id} is there already")
        if not 0 <= cpu_milli < CPU_MILLI_LIMIT or memory_bytes < 0:
            raise ValueError(f"host {host_id} has an impossible size")
        self._hosts[host_id] = IndexedHost(host_id, cpu_milli, memory_bytes, cpu_milli, memory_bytes)
        self._inventory_changed = True

    def add_device(self, device_id: str, host_id: str, model: str, units: int, order: int = 0) -> None:
        """Add a free device to a host. Raise :class:`ValueError` where the id is known already."""
        if device_id in self._devices or units < 1:
            raise ValueError(f"device {device_id} is there already, or has no capacity")
        host = self._hosts[host_id]
        device = IndexedDevice(device_id, host, model, units, units, order)
        host.devices[device_id] = self._devices[device_id] = device
        self._inventory_changed = True

    def remove_device(self, device_id: str) -> None:
        """Remove a device. Raise :class:`ValueError` while any of it is allocated: make it ungrantable first."""
        device = self._devices[device_id]
        if device.free != device.capacity:
            raise ValueError(f"device {device_id} is in use")
        del device.host.devices[device_id], self._devices[device_id]
        self._inventory_changed = True

    def remove_host(self, host_id: str) -> None:
        """Remove a host that has no devices any more. Raise :class:`ValueError` where it has."""
        if self._hosts[host_id].devices:
            raise ValueError(f"host {host_id} still has devices")
        del self._hosts[host_id]
        self._inventory_changed = True

    def host(self, host_id: str) -> IndexedHost:
        """Return one host, which the caller must not change."""
        return self._hosts[host_id]

    def host_of(self, device_id: str) -> IndexedHost | None:
        """Return the host of a device, which the caller must not change; ``None`` where the device is unknown."""
        device = self._devices.get(device_id)
        return None if device is None else device.host

    def hosts(self) -> Iterator[IndexedHost]:
        """Return all hosts in order of id; the caller must not change them."""
        return iter(sorted(self._hosts.values(), key=lambda host: host.id))

    def free_units(self, device_id: str) -> int:
        """Return the units of a device that are not allocated."""
        return self._devices[device_id].free

    def free_devices(self) -> int:
        """Return the number of grantable devices that are entirely free."""
        return sum(device.grantable and device.free == device.capacity for device in self._devices.values())

    # -- what is free -------------------------------------------------------------------------------------------------

    def set_grantable(self, device_id: str, grantable: bool) -> None:
        """Set whether demands may be placed on a device; what is allocated stays allocated."""
        device = self._devices[device_id]
        if device.grantable != grantable:
            device.grantable = grantable
            self._changed_hosts[device.host.id] = device.host

    def update(self, device_id: str, free: int, grantable: bool, cpu_milli: int, memory_bytes: int) -> bool:
        """Set what is free of a device and of its host; return whether anything is freer than before."""
        device = self._devices[device_id]
        host = device.host
        freer = free > device.free or cpu_milli > host.free_cpu_milli or memory_bytes > host.free_memory_bytes
        host.free_cpu_milli, host.free_memory_bytes = cpu_milli, memory_bytes
        device.free, device.grantable = free, grantable
        self._changed_hosts[host.id] = host
        return freer

    def allocate(self, placement: Placement, demand: Demand) -> None:
        """Allocate a placement. Raise :class:`ValueError`, and change nothing, where it is not free."""
        self._change(placement, -placement.units, -demand.cpu_milli, -demand.host_memory_bytes)

    def release(self, placement: Placement, demand: Demand) -> None:
        """Undo :meth:`allocate`. Raise :class:`ValueError`, and change nothing, where it was not allocated."""
        self._change(placement, placement.units, demand.cpu_milli, demand.host_memory_bytes)

    def _change(self, placement: Placement, units: int, cpu_milli: int, memory_bytes: int) -> None:
        """Add to what is free if every sum stays between nothing and the capacity."""
        host = self._hosts[placement.host_id]
        free_cpu, free_memory = host.free_cpu_milli + cpu_milli, host.free_memory_bytes + memory_bytes
        possible = 0 <= free_cpu <= host.cpu_milli and 0 <= free_memory <= host.memory_bytes
        for device_id in placement.device_ids:
            device = host.devices[device_id]
            possible = possible and 0 <= device.free + units <= device.capacity
        if not possible:
            raise ValueError(f"not {'taken' if units > 0 else 'free'} on host {host.id}: {placement}")
        host.free_cpu_milli, host.free_memory_bytes = free_cpu, free_memory
        for device_id in placement.device_ids:
            host.devices[device_id].free += units
        self._changed_hosts[host.id] = host


def of_one_model(devices: list[IndexedDevice], count: int) -> list[IndexedDevice]:
    """Return the first ``count`` devices that are of one model; an empty list where there are not so many."""
    if count == 1:
        return devices[:1]
    by_model: dict[str, list[IndexedDevice]] = {}
    for device in devices:
        chosen = by_model.setdefault(device.model, [])
        chosen.append(device)
        if len(chosen) == count:
            return chosen
    return []
