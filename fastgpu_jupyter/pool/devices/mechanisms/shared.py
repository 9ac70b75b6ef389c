"""Several leases on one device, each with a memory limit.

The limit is enforced by

* the driver, where it supports memory limits of control groups and the kernel's processes are in a group of their own.
  The limit is set once the kernel's process is known, changed while it runs, and removed on release. The soft limit
  stays 0: a reservation would outlive its group;
* else the frameworks in the kernel, which learn it from variables (here) and from the kernel's gate
  (:mod:`fastgpu_jupyter.kernel.memory_caps`), and the pool, which watches
  (:mod:`fastgpu_jupyter.core.lease.memory_limit`).

Computing time is shared by turns, without a limit; a fault of one process does not affect the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....core.model.entities import Enforcement, LogicalGPU, Mechanism, MechanismCapability
from ....errors import HostFault, Message
from ....units import MIB
from ...host import cgroup
from ..driver import LimitResult
from .base import DeviceControl

#: What a process takes on the device beside what frameworks count: their limit is so much less, by an eighth at most.
CONTEXT_BYTES = 512 * MIB
CONTEXT_PART = 8


class SharedMechanism:
    """Parts of one device by memory limits."""

    def __init__(self, devices: DeviceControl) -> None:
        self._devices = devices

    def capability(self, device_id: str) -> MechanismCapability | None:
        """Return a limit that the driver enforces where it can, else a cooperative one; either can change live."""
        by_driver = self._devices.supports_memory_limits(device_id)
        enforcement = Enforcement.DRIVER if by_driver else Enforcement.COOPERATIVE
        return MechanismCapability(Mechanism.SHARED, enforcement, resizable=True)

    def prepare(self, gpu: LogicalGPU) -> str:
        """Check that the device answers, and return the group that is limited already."""
        self._devices.require(gpu.device_id)
        return gpu.driver_handle

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """Set the limit of the group that the process is in, if no other lease's process is in it."""
        try:
            group = cgroup.own_group(pid)
            self._devices.set_memory_limit(gpu.device_id, group, gpu.memory_bytes)
        except HostFault as error:
            detail = Message.of("limit.not_enforced_by_driver", detail=error.message)
            return LimitResult(Enforcement.COOPERATIVE, gpu.driver_handle, detail)
        if gpu.driver_handle and gpu.driver_handle != group:
            remove_limit(self._devices, gpu)  # the kernel was restarted in another group
        return LimitResult(Enforcement.DRIVER, group)

    def release(self, gpu: LogicalGPU) -> None:
        """Remove the limit of the lease's group."""
        remove_limit(self._devices, gpu)

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """Return the limit, and what frameworks may take: for the kernel's gate and for those that read it at start.

        A limit that the driver enforces is visible to frameworks: with a fraction beside it they would take a part of
        that part.
        """
        limit = {"FASTGPU_MEMORY_BYTES": str(gpu.memory_bytes)}
        if gpu.enforcement is Enforcement.DRIVER:
            return limit
        cap_bytes = gpu.memory_bytes - min(CONTEXT_BYTES, gpu.memory_bytes // CONTEXT_PART)
        fraction = f"{cap_bytes / self._devices.memory_bytes(gpu.device_id):.4f}"
        return {
            **limit,
            "FASTGPU_CAP_BYTES": str(cap_bytes),
            "FASTGPU_CAP_FRACTION": fraction,
            "CUPY_GPU_MEMORY_LIMIT": str(cap_bytes),
            # One name only: with both, JAX goes on with the CPU. Every version reads this one.
            "XLA_PYTHON_CLIENT_MEM_FRACTION": fraction,
        }


def remove_limit(devices: DeviceControl, gpu: LogicalGPU) -> None:
    """Remove the limit that was set for a lease, where its group exists: a limit ends with its group."""
    if gpu.driver_handle and cgroup.exists(gpu.driver_handle):
        devices.set_memory_limit(gpu.device_id, gpu.driver_handle, None)
