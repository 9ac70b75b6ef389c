"""The device drivers that there are. A new one is a folder beside this module and one line here."""

from __future__ import annotations

import os
from contextlib import suppress

from ..host.device_filter import Number
from .catalog import Catalog
from .nvidia.registration import NVIDIA
from .registration import DriverRegistration

DRIVERS: tuple[DriverRegistration, ...] = (NVIDIA,)

#: With these variables a program sees no device of any kind.
HIDDEN_ENV: dict[str, str] = {name: value for driver in DRIVERS for name, value in driver.hidden_env.items()}
#: Variables of the pool manager's environment that restrict which devices it serves.
RESTRICTING_VARIABLES = tuple(name for driver in DRIVERS for name in driver.restricting_variables)
#: Programs that manage devices and need no lease.
PROGRAMS = tuple(name for driver in DRIVERS for name in driver.programs)
#: The models of all vendors.
CATALOG = Catalog({name: model for driver in DRIVERS for name, model in driver.catalog.models.items()})


class AllDeviceFiles:
    """The device files of every kind of GPU."""

    def majors(self) -> set[int]:
        """Return the major numbers of all files by which a program can use a GPU."""
        return {major for driver in DRIVERS for major in driver.device_files.majors()}

    def number_of(self, path: str) -> Number | None:
        """Return the number of a device file, which may not exist yet; ``None`` where it cannot be known yet."""
        with suppress(OSError):
            device = os.stat(path).st_rdev  # noqa: PTH116 (a text)
            return Number(os.major(device), os.minor(device)) if device else None
        numbers = (driver.device_files.number_of(path) for driver in DRIVERS)
        return next((number for number in numbers if number is not None), None)
