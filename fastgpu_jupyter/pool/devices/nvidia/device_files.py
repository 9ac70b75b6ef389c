"""The device files of NVIDIA's driver and their numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from ...host.device_filter import Number

#: Files that every program on a GPU opens, beside its GPU's own.
SHARED_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm")
#: Names under which the driver has its devices in /proc/devices, as far as programs compute with them.
_GOVERNED = frozenset({"nvidia", "nvidia-frontend", "nvidiactl", "nvidia-uvm", "nvidia-caps"})
#: The driver's major number; that of the others is chosen when the driver is loaded.
_MAJOR = 195
#: How files of the driver are named, whose major number they have, and their minor one, or ``None``: it is in the name.
_NAMES: tuple[tuple[str, str, int | None], ...] = (
    ("nvidiactl", "nvidia", 255),
    ("nvidia-uvm", "nvidia-uvm", 0),
    ("nvidia-cap", "nvidia-caps", None),
    ("nvidia", "nvidia", None),
)


class NvidiaDeviceFiles:
    """The files ``/dev/nvidia*``, by the names that the driver has in ``/proc/devices``."""

    def majors(self) -> Collection[int]:
        """Return the major numbers of the driver's files on this machine."""
        return driver_majors().values()

    def number_of(self, path: str) -> Number | None:
        """Return the number of a file of the driver by its name; ``None`` where the driver cannot have it yet."""
        return number_of(path, driver_majors())


def driver_majors() -> dict[str, int]:
    """Return the major numbers of the driver's devices on this machine, by the driver's names for them."""
    majors = {"nvidia": _MAJOR}
    with suppress(OSError):
        characters, _, _ = Path("/proc/devices").read_text().partition("Block devices:")
        for line in characters.splitlines():
            number, _, name = line.strip().partition(" ")
            if name in _GOVERNED and number.isdigit():
                majors[name] = int(number)
    return majors


def number_of(path: str, majors: Mapping[str, int]) -> Number | None:
    """Return the number that a device file has or will have; ``None`` where it is none of the driver's."""
    name = Path(path).name
    for prefix, driver, minor in _NAMES:
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and driver in majors and (rest.isdigit() if minor is None else not rest):
            return Number(majors[driver], int(rest) if minor is None else minor)
    return None
