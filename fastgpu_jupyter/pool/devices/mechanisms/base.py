"""What one mechanism needs, and what it asks of the driver whose devices it divides.

A mechanism is one short module with one class, a :class:`LeaseMechanism`: :mod:`.exclusive`, :mod:`.mig`, :mod:`.mps`
and :mod:`.shared`. It knows no library of a vendor; the driver is its :class:`DeviceControl` or its
:class:`PartitionControl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ....core.model.entities import LogicalGPU, MechanismCapability
from ....errors import HostFault
from ..driver import LimitResult


class DeviceControl(Protocol):
    """The devices, as far as a mechanism needs them."""

    def require(self, device_id: str) -> None:
        """Raise :class:`~fastgpu_jupyter.errors.HostFault` unless the device answers."""

    def memory_bytes(self, device_id: str) -> int:
        """All memory of a device; from memory, without asking it."""

    def supports_memory_limits(self, device_id: str) -> bool:
        """Whether the device's driver keeps memory limits of control groups, and lets this process set them."""

    def set_memory_limit(self, device_id: str, cgroup: str, memory_bytes: int | None) -> None:
        """Let processes of a control group have so much of the device, or as much as there is. Raises HostFault."""

    def mps_obstacle(self, device_id: str) -> str | None:
        """What the device lacks to serve several processes at the same time by MPS; ``None`` where it can."""


class PartitionInstance(NamedTuple):
    """A partition that is there, whoever made it."""

    profile: str
    start: int
    devices: tuple[str, ...]  #: the names by which programs see it, or parts of it
    complete: bool  #: whether there is one, for all of it


class PlacementOccupied(HostFault):
    """Something is where a partition was to be made."""


class PartitionControl(Protocol):
    """The devices that are divided, as far as a mechanism needs them. Every call raises HostFault where it fails."""

    def require_partitioned(self, device_id: str) -> list[PartitionInstance]:
        """The partitions that are there. Raises unless the device answers and is divided."""

    def instances(self, device_id: str) -> list[PartitionInstance]:
        """The partitions that are there."""

    def create(self, device_id: str, profile: str, start: int) -> None:
        """Make a partition that no program sees yet. Raises :class:`PlacementOccupied`."""

    def complete(self, device_id: str, profile: str, start: int) -> str:
        """Let programs see it; the name by which they do."""

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        """Unmake it; nothing where it is not there. Raises while something runs there."""


class LeaseMechanism(Protocol):
    """One mechanism: how a logical GPU is made of its devices, kept within its limits, and unmade."""

    def capability(self, device_id: str) -> MechanismCapability | None:
        """What it promises on a device; ``None`` where it cannot serve there."""

    def prepare(self, gpu: LogicalGPU) -> str:
        """See :meth:`.driver.Driver.prepare`."""

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """See :meth:`.driver.Driver.limit`."""

    def release(self, gpu: LogicalGPU) -> None:
        """See :meth:`.driver.Driver.release`."""

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """What it adds to the environment, beside what names the device."""
