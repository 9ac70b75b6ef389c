"""The setting ``FastGPUPool.devices``: which devices a pool serves, by index or id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as its driver lists it."""

    index: int
    id: str


def names_in(setting: str) -> tuple[str, ...]:
    """Return the names in the setting, which commas separate; none where it restricts nothing."""
    return tuple(name for name in map(str.strip, setting.split(",")) if name)


def find_device(name: str, devices: Iterable[Listed]) -> Listed | None:
    """Return the device with that index, or whose id is or begins with ``name``; ``None`` where not exactly one has."""
    if name.isascii() and name.isdigit():
        found = [device for device in devices if device.index == int(name)]
    else:
        found = [device for device in devices if device.id and device.id.startswith(name)]
    return found[0] if len(found) == 1 else None


def chosen_indices(names: Sequence[str], devices: Sequence[Listed]) -> tuple[set[int], str | None]:
    """Return the indices of the devices with those names, all without a name, and a sentence about wrong names."""
    if not names:
        return {device.index for device in devices}, None
    found = {name: find_device(name, devices) for name in names}
    wrong = ", ".join(repr(name) for name, device in found.items() if device is None)
    note = f"FastGPUPool.devices names {wrong}, which is not exactly one device of this machine." if wrong else None
    return {device.index for device in found.values() if device is not None}, note
