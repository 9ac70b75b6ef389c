"""The sizes to offer: parts and numbers of devices, amounts of memory, or profiles where the hardware divides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ...errors import InvalidRequest
from ...units import GIB
from ..model.entities import Device
from ..model.size import OPTIONS_MAX, PROFILES, Size, SizeUnit, parse_size
from ..placement import mig_partitions
from ..placement.device_share import memory_bytes

#: How many sizes are offered at most, beside the one that a lease has and the one that it asks for.
STEPS_MAX = OPTIONS_MAX - 2
#: Amounts of memory to offer, in GiB; each is at most twice the one before.
_MEMORY_GIB = (1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
#: Numbers of whole devices to offer, beside the largest.
_DEVICES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


def steps(kinds: Iterable[Sequence[Device]], unit: SizeUnit, like: Size) -> list[Size]:
    """Return the sizes to offer, in no order; ``kinds`` has the devices of each kind.

    All are of the models, and of the least device memory, of the size ``like``.
    """
    matching = [of_kind for of_kind in kinds if like.matches(of_kind[0].spec.model, of_kind[0].spec.memory_bytes)]
    kind = Size(models=like.models, device_memory_min=like.device_memory_min)
    found = dict.fromkeys(size for of_kind in matching for size in _steps_of_kind(of_kind, unit, kind))
    return _thinned([size for size in found if _is_readable(size)], matching)


def _steps_of_kind(of_kind: Sequence[Device], unit: SizeUnit, kind: Size) -> Iterator[Size]:
    spec = of_kind[0].spec
    if mig_partitions.is_partitioned(spec):
        yield from (replace(kind, partition=name) for name in _profiles(of_kind[0]))
        return
    if unit is SizeUnit.MEMORY:
        amounts = (gib * GIB for gib in _MEMORY_GIB)
        yield from (replace(kind, memory_bytes=amount) for amount in amounts if amount < spec.memory_bytes)
    else:
        yield from (replace(kind, part=part) for name, part in PROFILES.items() if name != "full")
    yield kind
    together = len(of_kind)  # all are on one host
    counts = dict.fromkeys([*(count for count in _DEVICES if count < together), together])
    yield from (replace(kind, devices=count) for count in counts if count > 1)


def _profiles(device: Device) -> Iterator[str]:
    """Yield the profiles of a divided device, without those that differ from a smaller one in a media engine only."""
    seen: set[tuple[int, int]] = set()
    for profile in sorted(device.spec.profiles, key=lambda one: (one.memory_bytes, one.milli, len(one.name))):
        if (profile.memory_bytes, profile.milli) not in seen:
            seen.add((profile.memory_bytes, profile.milli))
            yield profile.name


def _thinned(sizes: list[Size], kinds: Sequence[Sequence[Device]]) -> list[Size]:
    """Return at most :data:`STEPS_MAX` sizes, among them the smallest and the largest, evenly spread."""
    if len(sizes) <= STEPS_MAX:
        return sizes
    ordered = sorted(sizes, key=lambda size: least_memory(size, kinds))
    last = len(ordered) - 1
    return [ordered[number * last // (STEPS_MAX - 1)] for number in range(STEPS_MAX)]


def least_memory(size: Size, kinds: Iterable[Sequence[Device]]) -> int:
    """Return the memory that a lease of that size has at least, on all its devices together; 0 where none has it."""
    return min(
        (
            memory_bytes(of_kind[0], size) * size.devices
            for of_kind in kinds
            if size.matches(of_kind[0].spec.model, of_kind[0].spec.memory_bytes)
        ),
        default=0,
    )


def _is_readable(size: Size) -> bool:
    """Return whether the text of a size is read as that size, which a model's unusual name can prevent."""
    try:
        return parse_size(str(size)) == size
    except InvalidRequest:
        return False
