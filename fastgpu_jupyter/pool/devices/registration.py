"""What a device driver registers: how it is opened, and what holds for its kind of GPU before that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...errors import HostFault
from ..host.device_filter import DeviceFiles
from .catalog import Catalog
from .diagnosis import DriverDoctor
from .driver import Driver


class DriverNotInstalled(HostFault):
    """This machine has no driver of that kind."""


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """The pool's configuration, as far as drivers use it."""

    rates: Mapping[str, float] = field(default_factory=dict)  #: units per hour, by model or device name
    share: bool = True  #: whether several leases may be on one device
    remove_unknown_partitions: bool = False  #: whether partitions are destroyed that the pool did not create
    mps: bool = False  #: whether parts of a device are leased by MPS
    all_users: bool = False  #: whether the pool serves users other than the one that it runs as
    devices: tuple[str, ...] = ()  #: the only ones to serve, by index, id or beginning of an id; empty: all
    socket_path: Path | None = None  #: of the pool; what the driver keeps for its processes goes beside it


class InstallableDriver(Driver, Protocol):
    """A driver whose library may be missing."""

    def open(self) -> None:
        """Open the library, unless it is open.

        Raises :class:`DriverNotInstalled` where there is none, ``HostFault`` where it does not answer.
        """


@dataclass(frozen=True, slots=True)
class DriverRegistration:
    """One kind of GPU."""

    name: str
    create: Callable[[DriverOptions], InstallableDriver]
    hidden_env: Mapping[str, str]  #: with these variables a program sees no device of this kind
    device_files: DeviceFiles
    catalog: Catalog
    doctor: DriverDoctor
    programs: tuple[str, ...] = ()  #: that manage its devices and need no lease, by the name of their file
    restricting_variables: tuple[str, ...] = ()  #: variables of the pool manager that leave some devices to it
