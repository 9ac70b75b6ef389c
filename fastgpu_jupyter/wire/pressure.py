"""Pressure stall information: how much of the time tasks wait for a resource. Linux: accounting/psi."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

#: Where the kernel tells the pressure of the whole system. Control groups have files of the same form.
SYSTEM = Path("/proc/pressure")


class Pressure(NamedTuple):
    """The part of the time in which at least one task waited for a resource, in percent."""

    avg10: float  #: of the last 10 seconds
    avg60: float  #: of the last minute


def read_pressure(path: Path) -> Pressure | None:
    """Return the pressure in a file of the kernel, or ``None`` where it is not known, as without that feature."""
    try:
        lines = path.read_text().splitlines()
        some = next(line for line in lines if line.startswith("some "))
        values = dict(field.split("=", 1) for field in some.split()[1:])
        return Pressure(float(values["avg10"]), float(values["avg60"]))
    except (OSError, ValueError, KeyError, StopIteration):
        return None
