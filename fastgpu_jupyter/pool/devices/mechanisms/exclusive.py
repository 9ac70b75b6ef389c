"""Whole devices: nobody else is on them, so there is nothing to make and nothing to limit."""

from __future__ import annotations

from collections.abc import Mapping

from ....core.model.entities import Enforcement, LogicalGPU, Mechanism, MechanismCapability
from ..driver import LimitResult
from .base import DeviceControl
from .shared import lift


class Exclusive:
    """One or several whole devices, which must answer."""

    def __init__(self, hardware: DeviceControl) -> None:
        self._hardware = hardware

    def capability(self, device_id: str) -> MechanismCapability | None:
        """Kept apart by the hardware; another number of devices takes a new process."""
        return MechanismCapability(Mechanism.EXCLUSIVE, Enforcement.HARDWARE)

    def prepare(self, gpu: LogicalGPU) -> str:
        """Only see that they are there."""
        for device_id in gpu.device_ids:
            self._hardware.require(device_id)
        return ""

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """The device itself is the limit; one from when the lease was a part of it is lifted."""
        lift(self._hardware, gpu)
        return LimitResult(Enforcement.HARDWARE)

    def release(self, gpu: LogicalGPU) -> None:
        """Nothing was made, but perhaps when the lease was a part of the device."""
        lift(self._hardware, gpu)

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """No limit."""
        return {}
