"""Devices that the hardware divides (MIG): which profile serves a size there, and where the next partition goes.

What it is: :mod:`.geometry` for devices as the state has them. A device of this kind has a table of profiles, and
perhaps *standing* partitions, which somebody else made: those are leased as they are and never changed. A size is
served by the smallest profile that has it and that the device could have if no lease held anything:

* an amount of memory by one with at least so much;
* a part of a device by one with at least so much of its memory slots: what the driver keeps of each slot for itself
  must not make half a device need all of it;
* a named profile by that one;
* a whole device by the one that has all slots. A program sees one partition at a time and no whole device beside it, so
  that is all that one lease can have; several devices at once cannot be had.

What it promises: partitions never overlap; one is refused only where no start of its profile is free.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from ..model.entities import Device, DeviceSpec, ExistingPartition, Partition, PartitionProfile
from ..model.size import Size
from .mig_geometry import MigGeometry, ProfileShape

_NEVER_MANY = 1 << 30


def is_partitioned(spec: DeviceSpec) -> bool:
    """Whether leases get partitions of the device, and nobody all of it at once but as one."""
    return bool(spec.profiles)


@lru_cache(maxsize=256)
def geometry_of(profiles: tuple[PartitionProfile, ...]) -> MigGeometry:
    """The geometry of a device."""
    return MigGeometry({one.name: ProfileShape(one.length, one.starts, one.at_most) for one in profiles})


@lru_cache(maxsize=256)
def slot_count(profiles: tuple[PartitionProfile, ...]) -> int:
    """How many slots of memory a device has."""
    return max(start + one.length for one in profiles for start in one.starts)


def profile_for(spec: DeviceSpec, size: Size) -> PartitionProfile | None:
    """The smallest profile that serves the size on that device, whoever is on it; ``None`` where none does."""
    return _profile_for(spec.profiles, spec.existing_partitions, size) if spec.profiles else None


@lru_cache(maxsize=4096)
def _profile_for(
    profiles: tuple[PartitionProfile, ...], existing_partitions: tuple[ExistingPartition, ...], size: Size
) -> PartitionProfile | None:
    if size.devices > 1:
        return None
    beside = frozenset((one.profile, one.start) for one in existing_partitions)
    usable = {one.profile for one in existing_partitions if one.usable}
    possible = [
        one
        for one in profiles
        if _serves(one, size, slot_count(profiles))
        and (one.name in usable or _choose(profiles, one.name, beside) is not None)
    ]
    return min(possible, key=_smallest, default=None)


def _serves(profile: PartitionProfile, size: Size, all_slots: int) -> bool:
    if size.partition is not None:
        return profile.name == size.partition
    if size.memory_bytes is not None:
        return profile.memory_bytes >= size.memory_bytes
    numerator, denominator = size.part or (1, 1)
    return profile.length * denominator >= all_slots * numerator


def _smallest(profile: PartitionProfile) -> tuple[int, int, int, int, str]:
    # Of profiles that differ in a media engine only, the one that there may be more of.
    at_most = _NEVER_MANY if profile.at_most is None else profile.at_most
    return profile.milli, profile.memory_bytes, profile.length, -at_most, profile.name


def find_partition(device: Device, size: Size) -> Partition | None:
    """The partition that would serve the size now: one that stands there already, or where one can be made."""
    profile = profile_for(device.spec, size)
    return None if profile is None else place_partition(device, profile)


def place_partition(device: Device, profile: PartitionProfile) -> Partition | None:
    """Where one of that profile is, or could be made; ``None`` where there is no room for it."""
    spec = device.spec
    if device.whole_lease_id is not None:
        return None
    held = {(part.profile, part.start) for part in device.partitions.values()}
    shapes, taken = geometry_of(spec.profiles).shapes, 0
    for lost, at in held:
        taken |= shapes[lost].mask(at) if lost in shapes else 0
    # What stands where a lease has lost its own is not leased before that lease is known to have.
    for one in sorted(spec.existing_partitions):
        if one.usable and one.profile == profile.name and not taken & shapes[profile.name].mask(one.start):
            return Partition(profile.name, one.start, profile.milli, preexisting=True)
    there = held | {(one.profile, one.start) for one in spec.existing_partitions}
    start = _choose(spec.profiles, profile.name, frozenset(there))
    return None if start is None else Partition(profile.name, start, profile.milli)


@lru_cache(maxsize=16384)
def _choose(profiles: tuple[PartitionProfile, ...], name: str, there: frozenset[tuple[str, int]]) -> int | None:
    """Where to make one. What is there may lie over each other, while the hardware shows what a lease has lost."""
    shapes, taken = geometry_of(profiles).shapes, 0
    for profile, start in there:
        taken |= shapes[profile].mask(start) if profile in shapes else 0
    return geometry_of(profiles).choose_beside(name, taken, sum(profile == name for profile, _ in there))


def profiles_with_room(device: Device) -> frozenset[str]:
    """Names of the profiles of which there is room for one now."""
    return frozenset(one.name for one in device.spec.profiles if place_partition(device, one) is not None)


def missing_slots(device: Device, profile: PartitionProfile, leaving: Collection[str]) -> int:
    """Slots that leases must give back before one of that profile has room, beside what those ``leaving`` give back."""
    shapes, spec = geometry_of(device.spec.profiles).shapes, device.spec
    shape, taken, fixed = shapes[profile.name], 0, 0
    for lease_id, part in device.partitions.items():
        if lease_id not in leaving and part.profile in shapes:
            taken |= shapes[part.profile].mask(part.start)
    for one in spec.existing_partitions:
        fixed |= shapes[one.profile].mask(one.start) if one.profile in shapes else 0
    own = [one.start for one in spec.existing_partitions if one.usable and one.profile == profile.name]
    starts = [*own, *(start for start in shape.starts if not fixed & shape.mask(start))]
    return min(((taken & shape.mask(start)).bit_count() for start in starts), default=slot_count(spec.profiles))
