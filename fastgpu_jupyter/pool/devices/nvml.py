"""NVIDIA GPUs through NVML. The only module that imports ``pynvml``.

Devices are named by UUID everywhere: NVML's index is neither CUDA's nor stable over reboots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pynvml

from ...core.model import DeviceSpec, Health, LogicalGPU, Mechanism
from ...errors import HostFault
from . import catalog
from .driver import Sample, Subject, Usage, together


class NoDriver(HostFault):
    """There is no NVIDIA driver on this machine at all."""


class NvmlDriver:
    """All NVIDIA GPUs of the host, leased whole.

    Raises :class:`NoDriver` where there is no driver, :class:`HostFault` where there is one that does not answer.
    """

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._rates = rates
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError_LibraryNotFound as error:
            raise NoDriver("There is no NVIDIA driver on this machine (libnvidia-ml.so.1 was not found).") from error
        except pynvml.NVMLError as error:
            raise HostFault(
                f"The NVIDIA driver does not answer ({error}). Check it with `nvidia-smi`; "
                "FastGPU does not simulate GPUs on a machine whose GPUs are broken."
            ) from error
        self._handles: dict[str, Any] = {}

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """Every GPU that NVML counts and that is not divided by MIG."""
        specs, divided = [], 0
        try:
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                if _in_mig_mode(handle):
                    divided += 1
                    continue
                name = pynvml.nvmlDeviceGetName(handle)
                uuid = pynvml.nvmlDeviceGetUUID(handle)
                self._handles[uuid] = handle
                specs.append(
                    DeviceSpec(
                        id=uuid,
                        index=index,
                        model=name.removeprefix("NVIDIA "),
                        memory_bytes=pynvml.nvmlDeviceGetMemoryInfo(handle).total,
                        simulated=False,
                        mechanisms=(Mechanism.EXCLUSIVE,),
                        rate_micro_per_hour=catalog.rate_of(name, self._rates),
                    )
                )
        except pynvml.NVMLError as error:
            raise HostFault(f"The NVIDIA driver could not list its GPUs ({error}). Check with `nvidia-smi`.") from error
        return specs, _explain_none(divided) if not specs else None

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Faulty where the GPU no longer answers."""
        try:
            pynvml.nvmlDeviceGetMemoryInfo(self._handle(device_id))
        except pynvml.NVMLError as error:
            return Health.FAULTY, f"The GPU does not answer ({error})."
        return Health.HEALTHY, None

    def prepare(self, logical_gpu: LogicalGPU) -> None:
        """A whole GPU needs nothing made, but must still be there."""
        for device_id in logical_gpu.device_ids:
            health, reason = self.health(device_id)
            if health is not Health.HEALTHY:
                raise HostFault(reason or "The GPU does not answer.")

    def park(self, logical_gpu: LogicalGPU, pid: int) -> int:
        """Refused: no device of this driver is declared parkable."""
        raise HostFault("Memory of NVIDIA GPUs cannot be parked by this version.")

    def resume(self, logical_gpu: LogicalGPU, pid: int) -> None:
        """Refused likewise."""
        raise HostFault("Memory of NVIDIA GPUs cannot be parked by this version.")

    def environment(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """CUDA sees exactly these devices."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(logical_gpu.device_ids), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def processes(self, device_id: str) -> Sequence[int]:
        """Processes with a CUDA context on the GPU. Raises :class:`HostFault` where that cannot be known."""
        try:
            return [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle(device_id))]
        except pynvml.NVMLError as error:
            raise HostFault(f"The GPU's processes cannot be listed ({error}).") from error

    def sample(self, subjects: Sequence[Subject]) -> Sample:
        """The counters of each device; a whole device's are its lease's."""
        sample = Sample({uuid: _usage(handle) for uuid, handle in self._handles.items()})
        for subject in subjects:
            parts = [sample.devices.get(device_id, Usage(None, None)) for device_id in subject.logical_gpu.device_ids]
            sample.leases[subject.lease_id] = together(parts)
        return sample

    def close(self) -> None:
        """End the NVML session."""
        pynvml.nvmlShutdown()

    def _handle(self, device_id: str) -> Any:
        if device_id not in self._handles:
            self._handles[device_id] = pynvml.nvmlDeviceGetHandleByUUID(device_id)
        return self._handles[device_id]


def _in_mig_mode(handle: Any) -> bool:
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except pynvml.NVMLError:
        return False  # a GPU without MIG says so by refusing


def _explain_none(divided: int) -> str:
    if divided:
        return (
            f"All {divided} GPUs of this machine are divided by MIG, which this version does not lease yet. "
            "Lease whole GPUs by switching MIG mode off as an administrator (`nvidia-smi -mig 0`)."
        )
    return "The NVIDIA driver answers, but this machine has no GPU. Check with `nvidia-smi`."


def _usage(handle: Any) -> Usage:
    try:
        memory_used_bytes = pynvml.nvmlDeviceGetMemoryInfo(handle).used
    except pynvml.NVMLError:
        return Usage(None, None)
    try:
        return Usage(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu, memory_used_bytes)
    except pynvml.NVMLError:
        return Usage(None, memory_used_bytes)
