"""Selection of the driver that serves this host. Simulated devices are used only where the settings ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.model.entities import DeviceSpec, Health, LogicalGPU
from ...errors import HostFault
from ..host.threads import call_with_timeout
from .driver import (
    NOT_PARTITIONABLE,
    DeviceGone,
    Driver,
    LimitResult,
    PartitionMode,
    ProcessList,
    ReserveHostMemory,
    Sample,
    SampledLease,
    ScrubCommand,
)
from .registration import DriverNotInstalled, DriverOptions
from .registry import DRIVERS, HIDDEN_ENV
from .simulated import SimulatedDriver

#: How long a start waits for each of the driver's first two answers, while the process that started the pool manager
#: waits. A driver that needs longer, as it may without persistence mode, is called again while the pool serves.
START_S = 5.0


class NoDevices:
    """The driver of a host without GPUs: an empty inventory and the reason for it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        """Record nothing: no lease holds a device."""

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """Return no devices, and the reason."""
        return [], self._reason

    def knows(self, device_id: str) -> bool:
        """Return false: there is no device."""
        return False

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Return faulty: a device that was there is gone."""
        return Health.FAULTY, self._reason

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        """Refuse: there is no device."""
        raise HostFault(self._reason)

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        """Refuse: there is no device."""
        raise HostFault(self._reason)

    def release(self, logical_gpu: LogicalGPU) -> None:
        """Do nothing: what there was is gone with its device."""

    def loss_reason(self, logical_gpu: LogicalGPU) -> str | None:
        """Return nothing: no logical GPU was prepared that could be lost."""
        return None

    def park(self, logical_gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        """Refuse: there is no device."""
        raise HostFault(self._reason)

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        """Refuse: there is no device."""
        raise HostFault(self._reason)

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """Return the variables with which no device is visible."""
        return HIDDEN_ENV

    def hidden_env(self) -> Mapping[str, str]:
        """Return the variables with which no device is visible, whatever is installed later."""
        return HIDDEN_ENV

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        """Return no commands: there is no device."""
        return ()

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        """Return no paths: there is no device."""
        return ()

    def processes(self, device_id: str) -> ProcessList:
        """Raise :class:`DeviceGone`: a device that was leased is not here."""
        raise DeviceGone(self._reason)

    def used_bytes(self, logical_gpu: LogicalGPU) -> int | None:
        """Return nothing: there is no partition."""
        return None

    def may_have_memory(self, pid: int) -> bool:
        """Return that no process has memory on a device."""
        return False

    def sample(self, leases: Sequence[SampledLease]) -> Sample:
        """Return an empty sample: there is no device."""
        return Sample()

    def partition_mode(self, device_id: str) -> PartitionMode:
        """Return that there is no such mode."""
        return NOT_PARTITIONABLE

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Refuse: there is no device."""
        raise HostFault("This device cannot be divided.")

    def close(self) -> None:
        """Do nothing: no library is open."""


def select_driver(simulate: str, options: DriverOptions) -> Driver:
    """Return simulated devices where ``simulate`` declares them, else the first driver that is installed.

    A driver that does not answer, or not in time, is returned all the same: it is asked again later. Where none is
    installed the result has no devices and says why.
    """
    if simulate:
        return SimulatedDriver(simulate, options.rates, options.devices)
    reasons = []
    for registration in DRIVERS:
        driver = registration.create(options)
        try:
            call_with_timeout(START_S, driver.open, f"The driver of {registration.name} GPUs does not answer.")
        except DriverNotInstalled as error:
            reasons.append(str(error))
            continue
        except HostFault:
            pass  # its inventory reports it, and is requested again and again
        return driver
    return NoDevices(
        f"{' '.join(reasons)} Install the driver to lease real GPUs, or try FastGPU on simulated ones: "
        "`jupyter fastgpu pool --simulate 2xA100-80GB`."
    )


def probe() -> tuple[list[DeviceSpec], str | None]:
    """Return the devices of this machine as a pool would find them now, and what there is to say of them.

    Raises :class:`DriverNotInstalled` where no driver is installed, ``HostFault`` where one does not answer.
    """
    missing: DriverNotInstalled | None = None
    for registration in DRIVERS:
        driver = registration.create(DriverOptions())
        try:
            driver.open()
            return driver.inventory()
        except DriverNotInstalled as error:
            missing = missing or error
        finally:
            driver.close()
    raise missing or DriverNotInstalled("No driver is registered.")
