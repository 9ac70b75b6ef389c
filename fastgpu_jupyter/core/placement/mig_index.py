"""The devices in MIG mode of one state, beside the index of the other devices; :mod:`.placer` uses both.

There are few of them, and what fits on one is not an amount of memory, so each is examined. Known of each device, until
it changes, are the profiles of which it has room for one more.

For :mod:`.host_filter`, each profile of each kind of device is a device class of its own. These classes are numbered
downwards from -1, and a host has room for one or none of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..model.entities import Device, PartitionProfile, Requirements, State
from ..model.lifecycle import RELEASING_CAPACITY
from . import eligibility, mig_partitions
from .capacity_index import CapacityIndex
from .demand import NO_EXCLUSION, Demand, Exclusion, Placement
from .host_filter import HostHeadroom


class MigIndex:
    """The devices in MIG mode, and which of them serve a request now or soonest."""

    def __init__(self, state: State, index: CapacityIndex, devices: Iterable[Device]) -> None:
        """``index`` has the processors and memory of the hosts."""
        self._state = state
        self._index = index
        #: Number of the kind of each device: of those with equal signatures on hosts that are equally well known.
        self._kinds: dict[str, int] = {}
        self._devices_by_host: dict[str, list[str]] = {}
        self._room: dict[str, frozenset[str]] = {}  #: by device, the profiles that it has room for
        self._class_numbers: dict[tuple[int, str], int] = {}  #: by kind and profile
        self._profiles: dict[Requirements, dict[int, PartitionProfile]] = {}  #: see :meth:`_profiles_for`
        kinds: dict[tuple[eligibility.DeviceSignature, bool], int] = {}
        for device in sorted(devices, key=lambda one: (one.spec.host_id, one.spec.index, one.spec.id)):
            spec = device.spec
            kind = kinds.setdefault((eligibility.signature_of(spec), spec.host_id in state.hosts), len(kinds))
            self._kinds[spec.id] = kind
            self._devices_by_host.setdefault(spec.host_id, []).append(spec.id)
            self._room[spec.id] = frozenset()
            for profile in spec.profiles:
                self._class_numbers.setdefault((kind, profile.name), -1 - len(self._class_numbers))

    def __contains__(self, device_id: str) -> bool:
        return device_id in self._kinds

    def update_device(self, device_id: str) -> bool:
        """Take over a device as the state has it; return whether it has room for a profile that it had no room for."""
        device, before = self._state.devices[device_id], self._room[device_id]
        self._room[device_id] = mig_partitions.profiles_with_room(device) if device.grantable else frozenset()
        return not self._room[device_id] <= before

    def place(
        self,
        requirements: Requirements,
        demand: Demand,
        excluded: Mapping[str, Exclusion] | None = None,
        host_id: str | None = None,
    ) -> Placement | None:
        """Return the fullest device with room for a partition, so that others stay empty for larger ones.

        ``host_id``: the only host that is considered; ``None``: all are.
        """
        profiles = self._profiles_for(requirements)
        devices = self._candidates(demand, excluded, host_id) if profiles else ()

        def emptiness(device: Device, profile: PartitionProfile) -> int | None:
            has_room = profile.name in self._room[device.spec.id]
            return -sum(part.milli for part in device.partitions.values()) if has_room else None

        return self._least(devices, profiles, emptiness)

    def nearest_fit(
        self, requirements: Requirements, demand: Demand, excluded: Mapping[str, Exclusion]
    ) -> Placement | None:
        """Return the device on which the fewest slots must be given back before it can serve."""
        profiles = self._profiles_for(requirements)
        devices = self._candidates(demand, excluded, None, if_all_were_free=True) if profiles else ()
        return self._least(devices, profiles, self._missing_slots)

    def missing_milli(self, requirements: Requirements, device_id: str) -> int:
        """Return the thousandths of a device that must be given back before it can serve; it must be able to."""
        device = self._state.devices[device_id]
        missing = self._missing_slots(device, self._profiles_for(requirements)[self._kinds[device_id]]) or 0
        return 1000 * missing // mig_partitions.slot_count(device.spec.profiles)

    def add_headroom(self, host_id: str, headroom: HostHeadroom, exclusion: Exclusion) -> HostHeadroom:
        """Add to a host's headroom what its devices in MIG mode have, and return it."""
        for device_id in self._devices_by_host.get(host_id, ()):
            if device_id not in exclusion.device_ids:
                for name in self._room[device_id]:
                    number = self._class_numbers[self._kinds[device_id], name]
                    headroom.largest_free[number] = headroom.free_devices[number] = 1
        return headroom

    def units_by_class(self, requirements: Requirements) -> dict[int, int]:
        """Return 1, by the device classes that can serve."""
        return {
            self._class_numbers[kind, profile.name]: 1 for kind, profile in self._profiles_for(requirements).items()
        }

    def _profiles_for(self, requirements: Requirements) -> dict[int, PartitionProfile]:
        """Return the profile that serves on each kind of device that can serve."""
        if requirements not in self._profiles:
            found: dict[int, PartitionProfile] = {}
            for device_id, kind in self._kinds.items():
                device = self._state.devices[device_id]
                profile = None if kind in found else mig_partitions.profile_for(device.spec, requirements.size)
                if profile is not None and eligibility.could_serve(self._state, device, requirements):
                    found[kind] = profile
            self._profiles[requirements] = found
        return self._profiles[requirements]

    def _least(
        self,
        devices: Iterable[Device],
        profiles: Mapping[int, PartitionProfile],
        cost: Callable[[Device, PartitionProfile], int | None],
    ) -> Placement | None:
        """Return the device with the least cost, of equal ones the first; ``None`` is the cost of an unsuitable one."""
        best: int | None = None
        found: Placement | None = None
        for device in devices:
            profile = profiles.get(self._kinds[device.spec.id])
            least = None if profile is None else cost(device, profile)
            if profile is not None and least is not None and (best is None or least < best):
                best = least
                found = Placement(device.spec.host_id, (device.spec.id,), profile.memory_bytes)
        return found

    def _missing_slots(self, device: Device, profile: PartitionProfile) -> int | None:
        """Return the slots that must be given back, beside those that are being, before the profile has room."""
        if not device.grantable:
            return None
        leaving = {
            lease_id for lease_id in device.partitions if self._state.leases[lease_id].state in RELEASING_CAPACITY
        }
        return mig_partitions.missing_slots(device, profile, leaving)

    def _candidates(
        self,
        demand: Demand,
        excluded: Mapping[str, Exclusion] | None,
        host_id: str | None,
        *,
        if_all_were_free: bool = False,
    ) -> Iterator[Device]:
        """Yield devices that are not excluded, on hosts that have the processors and the memory."""
        names = self._devices_by_host if host_id is None else [host_id] if host_id in self._devices_by_host else ()
        for name in names:
            host, exclusion = self._index.host(name), (excluded or {}).get(name, NO_EXCLUSION)
            cpu_milli, memory_bytes = host.free_cpu_milli, host.free_memory_bytes
            if if_all_were_free:
                cpu_milli, memory_bytes = host.cpu_milli, host.memory_bytes
            if (
                max(0, cpu_milli - exclusion.cpu_milli) >= demand.cpu_milli
                and max(0, memory_bytes - exclusion.memory_bytes) >= demand.host_memory_bytes
            ):
                for device_id in self._devices_by_host[name]:
                    if device_id not in exclusion.device_ids:
                        yield self._state.devices[device_id]
