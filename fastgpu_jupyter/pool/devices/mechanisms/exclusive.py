"""Whole devices: a lease has them alone, so there is nothing to create and nothing to limit."""

from __future__ import annotations

from collections.abc import Mapping

from ....core.model.entities import Enforcement, LogicalGPU, Mechanism, MechanismCapability
from ..driver import LimitResult
from .base import DeviceControl
from .shared import remove_limit


class ExclusiveMechanism:
    """One or several whole devices, which must answer."""

    def __init__(self, devices: DeviceControl) -> None:
        self._devices = devices

    def capability(self, device_id: str) -> MechanismCapability | None:
        """Return that the hardware separates leases; another number of devices needs a new process."""
        return MechanismCapability(Mechanism.EXCLUSIVE, Enforcement.HARDWARE)

    def prepare(self, gpu: LogicalGPU) -> str:
        """Check that every device answers."""
        for device_id in gpu.device_ids:
            self._devices.require(device_id)
        return ""

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """Remove the limit from when the lease was a part of the device; the device itself is the limit."""
        remove_limit(self._devices, gpu)
        return LimitResult(Enforcement.HARDWARE)

    def release(self, gpu: LogicalGPU) -> None:
        """Remove the limit from when the lease was a part of the device, if there was one."""
        remove_limit(self._devices, gpu)

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """Return no variables: there is no limit."""
        return {}
