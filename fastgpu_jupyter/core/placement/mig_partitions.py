"""Devices in MIG mode: which profile serves a size, and where the next partition goes.

This applies :mod:`.mig_geometry` to devices as the state has them. Such a device has a table of profiles, and perhaps
*existing* partitions, which an administrator has made: they are leased as they are and never changed. A size is served
by the smallest sufficient profile that the device could have if no lease held any of it. Sufficient is

* for an amount of memory, a profile with at least so much;
* for a part of a device, a profile with at least that part of its memory slots. Slots are compared, because the driver
  reserves some memory of each, and half a device must not need all of its slots;
* for a named profile, that profile;
* for a whole device, the profile with all slots. A program sees one partition at a time and no whole device beside it,
  so a lease cannot have more than that, nor several devices.

Partitions never overlap, and one is refused only where no start of its profile is free.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from ..model.entities import Device, DeviceSpec, ExistingPartition, Partition, PartitionProfile
from ..model.size import Size
from .mig_geometry import MigGeometry, ProfileShape

#: More partitions than a device can have.
_UNLIMITED = 1 << 30


def is_partitioned(spec: DeviceSpec) -> bool:
    """Return whether leases get partitions of the device, and never the device itself."""
    return bool(spec.profiles)


@lru_cache(maxsize=256)
def geometry_of(profiles: tuple[PartitionProfile, ...]) -> MigGeometry:
    """Return the geometry of a device with those profiles."""
    return MigGeometry({one.name: ProfileShape(one.length, one.starts, one.at_most) for one in profiles})


@lru_cache(maxsize=256)
def slot_count(profiles: tuple[PartitionProfile, ...]) -> int:
    """Return the number of memory slots of a device with those profiles."""
    return max(start + one.length for one in profiles for start in one.starts)


def profile_for(spec: DeviceSpec, size: Size) -> PartitionProfile | None:
    """Return the smallest profile that serves a size, whatever leases hold; ``None`` where none does."""
    return _profile_for(spec.profiles, spec.existing_partitions, size) if spec.profiles else None


@lru_cache(maxsize=4096)
def _profile_for(
    profiles: tuple[PartitionProfile, ...], existing_partitions: tuple[ExistingPartition, ...], size: Size
) -> PartitionProfile | None:
    if size.devices > 1:
        return None
    present = frozenset((one.profile, one.start) for one in existing_partitions)
    usable = {one.profile for one in existing_partitions if one.usable}
    possible = [
        one
        for one in profiles
        if _serves(one, size, slot_count(profiles))
        and (one.name in usable or _choose_start(profiles, one.name, present) is not None)
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
    # Profiles may differ in a media engine only; the one that a device may have more of is smaller.
    at_most = _UNLIMITED if profile.at_most is None else profile.at_most
    return profile.milli, profile.memory_bytes, profile.length, -at_most, profile.name


def find_partition(device: Device, size: Size) -> Partition | None:
    """Return the partition that would serve a size now: an existing one, or one that can be created."""
    profile = profile_for(device.spec, size)
    return None if profile is None else place_partition(device, profile)


def place_partition(device: Device, profile: PartitionProfile) -> Partition | None:
    """Return an existing partition of a profile or one that can be created; ``None`` where there is no room."""
    spec = device.spec
    if device.whole_lease_id is not None:
        return None
    held = {(part.profile, part.start) for part in device.partitions.values()}
    shapes, taken = geometry_of(spec.profiles).shapes, 0
    for name, start in held:
        taken |= shapes[name].mask(start) if name in shapes else 0
    # An existing partition may be where a lease has just lost its own: it is not leased until that lease has ended.
    for one in sorted(spec.existing_partitions):
        if one.usable and one.profile == profile.name and not taken & shapes[profile.name].mask(one.start):
            return Partition(profile.name, one.start, profile.milli, preexisting=True)
    present = held | {(one.profile, one.start) for one in spec.existing_partitions}
    new_start = _choose_start(spec.profiles, profile.name, frozenset(present))
    return None if new_start is None else Partition(profile.name, new_start, profile.milli)


@lru_cache(maxsize=16384)
def _choose_start(profiles: tuple[PartitionProfile, ...], name: str, present: frozenset[tuple[str, int]]) -> int | None:
    """Return where to create a partition beside what is present.

    What is present may overlap, while the hardware already shows another partition where a lease has lost its own.
    """
    shapes, taken = geometry_of(profiles).shapes, 0
    for profile, start in present:
        taken |= shapes[profile].mask(start) if profile in shapes else 0
    return geometry_of(profiles).choose_beside(name, taken, sum(profile == name for profile, _ in present))


def profiles_with_room(device: Device) -> frozenset[str]:
    """Return the names of the profiles that a device has room for now."""
    return frozenset(one.name for one in device.spec.profiles if place_partition(device, one) is not None)


def missing_slots(device: Device, profile: PartitionProfile, leaving: Collection[str]) -> int:
    """Return the slots that leases must give back before a profile has room, beside what leases ``leaving`` give
    back.
    """
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
