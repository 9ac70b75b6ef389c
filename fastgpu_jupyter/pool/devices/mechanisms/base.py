"""What one mechanism offers, and what it needs of the driver whose devices it leases.

A mechanism is one short module with one class, a :class:`LeaseMechanism`: :mod:`.exclusive`, :mod:`.mig` and
:mod:`.shared`; one that only one vendor has is in that vendor's folder. It knows no library of a vendor; the driver is
its :class:`DeviceControl` or its :class:`PartitionControl`.
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
        """Return all memory of a device; from memory, without a call to it."""

    def supports_memory_limits(self, device_id: str) -> bool:
        """Return whether the driver enforces memory limits of control groups there, and lets this process set them."""

    def set_memory_limit(self, device_id: str, cgroup: str, memory_bytes: int | None) -> None:
        """Limit the memory of a control group's processes on the device; ``None`` removes the limit.

        Raises HostFault.
        """


class PartitionInstance(NamedTuple):
    """A partition that exists, whether the pool created it or not."""

    profile: str
    start: int
    devices: tuple[str, ...]  #: the names by which programs see it, or parts of it
    complete: bool  #: whether there is exactly one name, for all of it


class PlacementOccupied(HostFault):
    """The driver has no room for a partition at its place."""


class PartitionControl(Protocol):
    """The partitioned devices, as far as a mechanism needs them. Every call raises HostFault where it fails."""

    def require_partitioned(self, device_id: str) -> list[PartitionInstance]:
        """Return the partitions that exist. Raises unless the device answers and is partitioned."""

    def instances(self, device_id: str) -> list[PartitionInstance]:
        """Return the partitions that exist."""

    def create(self, device_id: str, profile: str, start: int) -> None:
        """Create a partition that no program sees yet. Raises :class:`PlacementOccupied`."""

    def complete(self, device_id: str, profile: str, start: int) -> str:
        """Make a partition visible to programs, and return the name by which they see it."""

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        """Destroy a partition, where it exists. Raises while a process uses it."""


class LeaseMechanism(Protocol):
    """One mechanism: how a logical GPU is prepared, limited and released."""

    def capability(self, device_id: str) -> MechanismCapability | None:
        """Return what the mechanism offers on a device; ``None`` where it cannot serve there."""

    def prepare(self, gpu: LogicalGPU) -> str:
        """Make the logical GPU usable, as :meth:`.driver.Driver.prepare` describes."""

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """Limit a process to the logical GPU, as :meth:`.driver.Driver.limit` describes."""

    def release(self, gpu: LogicalGPU) -> None:
        """Undo what was prepared and limited, as :meth:`.driver.Driver.release` describes."""

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """Return the variables that the mechanism adds to those that name the device."""
