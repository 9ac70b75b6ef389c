"""A plain scan over all devices of a state: whether a request could be served now, and by which devices.

What fits on a device that the hardware divides is found by trying every start against a list of slots.
"""

from __future__ import annotations

from collections.abc import Collection

from fastgpu_jupyter.core.model.entities import Device, PartitionProfile, Requirements, State
from fastgpu_jupyter.core.placement import device_share, eligibility


def find_devices(state: State, requirements: Requirements, taken: Collection[str] = ()) -> tuple[Device, ...] | None:
    """Return the devices of one host that would have the least memory left, without those in ``taken``."""
    fitting = [
        device
        for device in eligibility.eligible_devices(state, requirements)
        if device.grantable
        and device.spec.id not in taken
        and (
            starts(device, requirements)
            if device.spec.profiles
            else device_share.missing_bytes(device, requirements.size) <= 0
        )
        and _host_has_room(state, device, requirements)
    ]
    fitting.sort(key=lambda device: (device.free_bytes, device.spec.index, device.spec.id))
    by_host: dict[tuple[str, eligibility.DeviceSignature], list[Device]] = {}
    for device in fitting:
        chosen = by_host.setdefault((device.spec.host_id, eligibility.signature_of(device.spec)), [])
        chosen.append(device)
        if len(chosen) == requirements.size.devices:
            return tuple(chosen)
    return None


def _host_has_room(state: State, device: Device, requirements: Requirements) -> bool:
    host = state.hosts.get(device.spec.host_id)
    return host is None or (
        host.held_cpu_milli + requirements.cpu_milli <= host.spec.cpu_milli
        and host.held_memory_bytes + requirements.host_memory_bytes <= host.spec.memory_bytes
    )


def starts(device: Device, requirements: Requirements) -> set[tuple[str, int]]:
    """Return the partitions of a device in MIG mode that could serve now, as profile and start."""
    spec, size = device.spec, requirements.size
    slots = max(start + one.length for one in spec.profiles for start in one.starts)
    length = {one.name: one.length for one in spec.profiles}

    def cells(profile: str, start: int) -> set[int]:
        return set(range(start, start + length[profile]))

    def starts_beside(present: set[tuple[str, int]], mine: set[tuple[str, int]]) -> dict[str, set[int]]:
        """Return, by profile, the starts of an existing partition that no lease holds or of one that can be created."""
        taken = {cell for one in present for cell in cells(*one)}
        found: dict[str, set[int]] = {}
        for one in spec.profiles:
            places = {part.start for part in spec.existing_partitions if part.usable and part.profile == one.name}
            places = {start for start in places if (one.name, start) not in mine}
            count = len([name for name, _ in present if name == one.name])
            if one.at_most is None or count < one.at_most:
                places |= {start for start in one.starts if taken.isdisjoint(cells(one.name, start))}
            found[one.name] = places
        return found

    existing = {(part.profile, part.start) for part in spec.existing_partitions}
    ever = starts_beside(existing, set())

    def serves(profile: PartitionProfile) -> bool:
        if not ever[profile.name] or size.devices > 1:
            return False
        if size.partition:
            return profile.name == size.partition
        if size.memory_bytes is not None:
            return profile.memory_bytes >= size.memory_bytes
        numerator, denominator = size.part or (1, 1)
        return profile.length / slots >= numerator / denominator

    possible = [one for one in spec.profiles if serves(one)]
    if not possible:
        return set()
    least = min(one.milli for one in possible)
    smallest = min(
        (one for one in possible if one.milli == least),
        key=lambda one: (one.memory_bytes, one.length, -(one.at_most or 99), one.name),
    )
    held = {(part.profile, part.start) for part in device.partitions.values()}
    return {(smallest.name, start) for start in starts_beside(existing | held, held)[smallest.name]}
