"""Which driver serves this host. Simulated devices are only ever had by asking for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.model import DeviceSpec, Health, LogicalGPU
from ...errors import HostFault
from .driver import Driver, Sample, Subject
from .nvml import NoDriver, NvmlDriver
from .simulated import SimulatedDriver


class NoDevices:
    """A host without GPUs: serves an empty inventory and the reason for it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """No devices, and why."""
        return [], self._reason

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Whatever it was, it is gone."""
        return Health.FAULTY, self._reason

    def prepare(self, logical_gpu: LogicalGPU) -> None:
        """Always fails."""
        raise HostFault(self._reason)

    def park(self, logical_gpu: LogicalGPU, pid: int) -> int:
        """Always fails."""
        raise HostFault(self._reason)

    def resume(self, logical_gpu: LogicalGPU, pid: int) -> None:
        """Always fails."""
        raise HostFault(self._reason)

    def environment(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """Nothing is visible."""
        return {"CUDA_VISIBLE_DEVICES": ""}

    def processes(self, device_id: str) -> Sequence[int]:
        """None that could be seen."""
        return ()

    def sample(self, subjects: Sequence[Subject]) -> Sample:
        """Nothing to read."""
        return Sample()

    def close(self) -> None:
        """Nothing is held."""


def select_driver(simulate: str, rates: Mapping[str, float]) -> Driver:
    """Simulated devices where ``simulate`` declares them, else NVIDIA's, else none with the reason."""
    if simulate:
        return SimulatedDriver(simulate, rates)
    try:
        return NvmlDriver(rates)
    except NoDriver as error:
        return NoDevices(
            f"{error} Install the driver to lease real GPUs, or try FastGPU on simulated ones: "
            "`jupyter fastgpu pool --simulate 2xA100-80GB`."
        )
    except HostFault as error:
        return NoDevices(str(error))
