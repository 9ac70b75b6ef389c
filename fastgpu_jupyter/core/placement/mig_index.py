"""The divided devices of one state, beside the index of the others: :class:`.placer.Placer` asks both.

They are few, and what fits on one is no amount of memory, so each is looked at. What is known of one until it changes
is of which profiles there is room for one more.

For :mod:`.needs`, each profile of each kind of device is a kind of its own, numbered downwards from -1, of which a host
has one or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..model.entities import Device, PartitionProfile, Requirements, State
from ..model.lifecycle import RELEASING_CAPACITY
from . import eligibility, mig_partitions
from .capacity_index import CapacityIndex, HostHeadroom
from .demand import Demand, Exclusion, Placement

_NOTHING = Exclusion(frozenset())


class MigIndex:
    """Which of them serve a want, now or soonest; ``fleet`` has the books of their hosts."""

    def __init__(self, state: State, fleet: CapacityIndex, devices: Iterable[Device]) -> None:
        self._state = state
        self._fleet = fleet
        kinds: dict[
            tuple[eligibility.DeviceSignature, bool], int
        ] = {}  # what is said of a device, and whether anything of its host
        self._kinds: dict[str, int] = {}
        self._hosts: dict[str, list[str]] = {}
        self._room: dict[str, frozenset[str]] = {}
        self._numbers: dict[tuple[int, str], int] = {}
        self._serves: dict[Requirements, dict[int, PartitionProfile]] = {}
        for device in sorted(devices, key=lambda one: (one.spec.host_id, one.spec.index, one.spec.id)):
            spec = device.spec
            kind = kinds.setdefault((eligibility.signature_of(spec), spec.host_id in state.hosts), len(kinds))
            self._kinds[spec.id] = kind
            self._hosts.setdefault(spec.host_id, []).append(spec.id)
            self._room[spec.id] = frozenset()
            for profile in spec.profiles:
                self._numbers.setdefault((kind, profile.name), -1 - len(self._numbers))

    def __contains__(self, device_id: str) -> bool:
        return device_id in self._kinds

    def follow(self, device_id: str) -> bool:
        """Look again at a device; whether there is room on it for more than there was."""
        device, before = self._state.devices[device_id], self._room[device_id]
        self._room[device_id] = mig_partitions.profiles_with_room(device) if device.grantable else frozenset()
        return not self._room[device_id] <= before

    def place(
        self,
        requirements: Requirements,
        demand: Demand,
        without: Mapping[str, Exclusion] | None = None,
        host_id: str | None = None,
    ) -> Placement | None:
        """Where a partition for the want is or can be made; of one host only where it is named.

        The fullest device that has room is taken, so that others stay empty for what is larger.
        """
        profiles = self._profiles(requirements)
        devices = self._candidates(demand, without, host_id) if profiles else ()

        def fullest(device: Device, profile: PartitionProfile) -> int | None:
            has_room = profile.name in self._room[device.spec.id]
            return -sum(part.milli for part in device.partitions.values()) if has_room else None

        return self._least(devices, profiles, fullest)

    def nearest(self, requirements: Requirements, demand: Demand, without: Mapping[str, Exclusion]) -> Placement | None:
        """The device on which least must be given back before the want can be served."""
        profiles = self._profiles(requirements)
        devices = self._candidates(demand, without, None, full=True) if profiles else ()
        return self._least(devices, profiles, self._lacking_slots)

    def lacking_milli(self, requirements: Requirements, device_id: str) -> int:
        """Thousandths of a device that must be given back before it serves the want, which it can."""
        device = self._state.devices[device_id]
        lacking = self._lacking_slots(device, self._profiles(requirements)[self._kinds[device_id]]) or 0
        return 1000 * lacking // mig_partitions.slot_count(device.spec.profiles)

    def _least(
        self,
        devices: Iterable[Device],
        profiles: Mapping[int, PartitionProfile],
        cost: Callable[[Device, PartitionProfile], int | None],
    ) -> Placement | None:
        """The device with the least cost, the first of equals; one without a cost is none."""
        best: tuple[int, int] | None = None
        found: Placement | None = None
        for number, device in enumerate(devices):
            profile = profiles.get(self._kinds[device.spec.id])
            least = None if profile is None else cost(device, profile)
            if profile is not None and least is not None and (best is None or (least, number) < best):
                best = least, number
                found = Placement(device.spec.host_id, (device.spec.id,), profile.memory_bytes)
        return found

    def _lacking_slots(self, device: Device, profile: PartitionProfile) -> int | None:
        """Slots that must be given back, beside those that are, before one of that profile has room there."""
        if not device.grantable:
            return None
        leaving = {
            lease_id for lease_id in device.partitions if self._state.leases[lease_id].state in RELEASING_CAPACITY
        }
        return mig_partitions.missing_slots(device, profile, leaving)

    def headroom(self, host_id: str, offer: HostHeadroom, kept: Exclusion | None) -> HostHeadroom:
        """What a host has to offer, with what its divided devices have."""
        but = kept or _NOTHING
        for device_id in self._hosts.get(host_id, ()):
            if device_id not in but.device_ids:
                for name in self._room[device_id]:
                    number = self._numbers[self._kinds[device_id], name]
                    offer.most[number] = offer.whole[number] = 1
        return offer

    def host_filter(self, requirements: Requirements) -> dict[int, int]:
        """The kinds that will do."""
        return {self._numbers[kind, profile.name]: 1 for kind, profile in self._profiles(requirements).items()}

    def _profiles(self, requirements: Requirements) -> dict[int, PartitionProfile]:
        """By the kinds of devices that will do, the profile that serves the want there."""
        if requirements not in self._serves:
            found: dict[int, PartitionProfile] = {}
            for device_id, kind in self._kinds.items():
                device = self._state.devices[device_id]
                profile = mig_partitions.profile_for(device.spec, requirements.size)
                if (
                    kind not in found
                    and profile is not None
                    and eligibility.could_serve(self._state, device, requirements)
                ):
                    found[kind] = profile
            self._serves[requirements] = found
        return self._serves[requirements]

    def _candidates(
        self, demand: Demand, without: Mapping[str, Exclusion] | None, host_id: str | None, *, full: bool = False
    ) -> Iterator[Device]:
        """Devices that are not kept, on hosts with the processors and the memory; ``full``: if they were all free."""
        for name in self._hosts if host_id is None else [host_id] if host_id in self._hosts else ():
            host, kept = self._fleet.host(name), (without or {}).get(name, _NOTHING)
            cpu_milli, memory_bytes = host.free_cpu_milli, host.free_memory_bytes
            if full:
                cpu_milli, memory_bytes = host.cpu_milli, host.memory_bytes
            if (
                max(0, cpu_milli - kept.cpu_milli) >= demand.cpu_milli
                and max(0, memory_bytes - kept.memory_bytes) >= demand.host_memory_bytes
            ):
                for device_id in self._hosts[name]:
                    if device_id not in kept.device_ids:
                        yield self._state.devices[device_id]
