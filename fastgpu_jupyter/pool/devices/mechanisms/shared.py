"""Several leases on one device, each with a limit of memory.

Who keeps the limit:

* the driver, where it has limits of memory for control groups (NVIDIA R615 on, cgroup v2) and the kernel's processes
  are in a group that nobody else is in. The limit is set once the kernel's process is known, changed while it runs, and
  cleared on release. The soft limit stays 0: a reservation would outlive its group;
* else the libraries in the kernel, which are told it by environment (here) and by the kernel's gate
  (:mod:`fastgpu_jupyter.kernel.memory_caps`), and the pool, which watches (:mod:`fastgpu_jupyter.pool.watch`).

Computing time is shared by turns, without a limit; a fault of one process leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....core.model.entities import Enforcement, LogicalGPU, Mechanism, MechanismCapability
from ....errors import HostFault
from ....units import MIB
from ...host import cgroup
from ..driver import LimitResult
from .base import DeviceControl

#: What a CUDA context takes beside what libraries count: they are told so much less, but never much less.
CONTEXT_BYTES = 512 * MIB
CONTEXT_PART = 8


class Shared:
    """A part of a device."""

    def __init__(self, hardware: DeviceControl) -> None:
        self._hardware = hardware

    def capability(self, device_id: str) -> MechanismCapability | None:
        """A limit that the driver keeps where it can, else one by agreement; either can change while a kernel runs."""
        driver = self._hardware.supports_memory_limits(device_id)
        return MechanismCapability(
            Mechanism.SHARED, Enforcement.DRIVER if driver else Enforcement.COOPERATIVE, resizable=True
        )

    def prepare(self, gpu: LogicalGPU) -> str:
        """See that the device is there. What was limited stays limited."""
        self._hardware.require(gpu.device_id)
        return gpu.driver_handle

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """Set the limit of the group that the process is in, if it is its own."""
        try:
            group = cgroup.own_group(pid)
            self._hardware.set_memory_limit(gpu.device_id, group, gpu.memory_bytes)
        except HostFault as error:
            detail = f"The driver does not keep the memory limit of this lease: {error}"
            return LimitResult(Enforcement.COOPERATIVE, gpu.driver_handle, detail)
        if gpu.driver_handle and gpu.driver_handle != group:
            lift(self._hardware, gpu)  # the kernel was started anew in another group
        return LimitResult(Enforcement.DRIVER, group)

    def release(self, gpu: LogicalGPU) -> None:
        """Lift the limit."""
        lift(self._hardware, gpu)

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """The limit; and what libraries may take, for the kernel's gate and for those that read it when they start.

        A limit that the driver keeps is one that libraries see by themselves: with a fraction, they would take a part
        of that part.
        """
        told = {"FASTGPU_MEMORY_BYTES": str(gpu.memory_bytes)}
        if gpu.enforcement is Enforcement.DRIVER:
            return told
        cap_bytes = gpu.memory_bytes - min(CONTEXT_BYTES, gpu.memory_bytes // CONTEXT_PART)
        fraction = f"{cap_bytes / self._hardware.memory_bytes(gpu.device_id):.4f}"
        return {
            **told,
            "FASTGPU_CAP_BYTES": str(cap_bytes),
            "FASTGPU_CAP_FRACTION": fraction,
            "CUPY_GPU_MEMORY_LIMIT": str(cap_bytes),
            "XLA_CLIENT_MEM_FRACTION": fraction,
            "XLA_PYTHON_CLIENT_MEM_FRACTION": fraction,
        }


def lift(hardware: DeviceControl, gpu: LogicalGPU) -> None:
    """Lift the limit that was set for a lease, where its group still exists; it goes with the group."""
    if gpu.driver_handle and cgroup.exists(gpu.driver_handle):
        hardware.set_memory_limit(gpu.device_id, gpu.driver_handle, None)
