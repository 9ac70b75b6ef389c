"""Simulated devices, for a laptop, a lesson or a test; everything that shows them says *simulated*.

Their usage is measured, not invented: a lease's utilization is the processor use of its kernel's process tree (100 % is
one core), its memory the resident memory of that tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psutil

from ...core.model.entities import DeviceSpec, Enforcement, Health, LogicalGPU, Mechanism
from ...errors import HostFault
from .driver import (
    NOT_PARTITIONABLE,
    DeviceGone,
    DeviceUsage,
    LimitResult,
    ListedProcesses,
    PartitionMode,
    ProcessList,
    ReserveHostMemory,
    Sample,
    SampledLease,
    ScrubCommand,
)
from .registry import CATALOG, HIDDEN_ENV
from .restriction import Listed, chosen_indices


class SimulatedDriver:
    """Driver of the devices that ``text`` declares, such as ``2xA100-80GB``, as far as ``only`` names them."""

    def __init__(self, text: str, rates: Mapping[str, float], only: Sequence[str] = ()) -> None:
        declared = [
            DeviceSpec(
                id=f"SIM-{index}-{name}",
                index=index,
                model=name,
                memory_bytes=CATALOG.models[name].memory_bytes,
                simulated=True,
                mechanisms=(Mechanism.SIMULATED,),
                rate_micro_per_hour=CATALOG.rate_of(name, rates),
                parkable=True,
            )
            for index, name in enumerate(CATALOG.parse_simulated(text))
        ]
        chosen, self._note = chosen_indices(only, [Listed(spec.index, spec.id) for spec in declared])
        self._specs = [spec for spec in declared if spec.index in chosen]
        self._known: dict[int, psutil.Process] = {}  #: psutil measures processor use between two calls on one object

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        """Record nothing: nothing was created for leases."""

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """Return the declared devices."""
        return list(self._specs), self._note

    def knows(self, device_id: str) -> bool:
        """Return whether the device is declared."""
        return any(spec.id == device_id for spec in self._specs)

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Return healthy: a simulated device cannot break."""
        return Health.HEALTHY, None

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        """Prepare nothing, and return an empty handle."""
        return ""

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        """Return that no limit is enforced: what a process has is the host's memory."""
        return LimitResult(Enforcement.NONE)

    def release(self, logical_gpu: LogicalGPU) -> None:
        """Do nothing: nothing was created."""

    def loss_reason(self, logical_gpu: LogicalGPU) -> str | None:
        """Return nothing: nothing was created that could be lost."""
        return None

    def park(self, logical_gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        """Move nothing: what a process has on a simulated device is in the host's memory already."""
        return 0

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        """Move nothing: the memory never left the host."""

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """Return the variables that hide real devices, so that a program cannot use one that it has not leased."""
        return {**HIDDEN_ENV, "FASTGPU_SIMULATED": "1"}

    def hidden_env(self) -> Mapping[str, str]:
        """Return the variables that hide real devices."""
        return HIDDEN_ENV

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        """Return no commands: nothing is left on a simulated device."""
        return ()

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        """Return no paths: there is no such device."""
        return ()

    def processes(self, device_id: str) -> ProcessList:
        """Return no processes: the memory of a simulated device is the process's own and goes with it.

        Raises :class:`DeviceGone` for a device of an earlier pool manager, which may have been a real one.
        """
        if not self.knows(device_id):
            raise DeviceGone(f"There is no simulated device {device_id}.")
        return ListedProcesses()

    def used_bytes(self, logical_gpu: LogicalGPU) -> int | None:
        """Return nothing: there is no partition."""
        return None

    def may_have_memory(self, pid: int) -> bool:
        """Return that no process has memory on a device."""
        return False

    def sample(self, leases: Sequence[SampledLease]) -> Sample:
        """Return processor use and resident memory of each lease's process tree."""
        children = _children() if leases else {}
        seen: dict[int, psutil.Process] = {}
        sample = Sample(devices={spec.id: DeviceUsage(0, 0) for spec in self._specs})
        for subject in leases:
            usage = self._tree_usage(subject.pid, children, seen)
            sample.leases[subject.lease_id] = usage
            device = sample.devices.get(subject.logical_gpu.device_id, DeviceUsage(0, 0))
            sample.devices[subject.logical_gpu.device_id] = _sum(device, usage)
        self._known = seen
        return sample

    def partition_mode(self, device_id: str) -> PartitionMode:
        """Return that there is no such mode."""
        return NOT_PARTITIONABLE

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Refuse: there is no such mode."""
        raise HostFault("This device cannot be divided.")

    def close(self) -> None:
        """Do nothing: no library is open."""

    def _tree_usage(self, pid: int, children: Mapping[int, list[int]], seen: dict[int, psutil.Process]) -> DeviceUsage:
        percent, memory_bytes, pending = 0.0, 0, [pid]
        while pending:
            number = pending.pop()
            pending += children.get(number, [])
            try:
                process = self._known.get(number) or psutil.Process(number)
                percent += process.cpu_percent(None)
                memory_bytes += process.memory_info().rss
                seen[number] = process
            except psutil.Error:
                continue  # it ended while we looked
        return DeviceUsage(min(100, round(percent)), memory_bytes)


def _children() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        tree.setdefault(process.info["ppid"], []).append(process.pid)
    return tree


def _sum(one: DeviceUsage, other: DeviceUsage) -> DeviceUsage:
    return DeviceUsage(
        min(100, (one.utilization_percent or 0) + (other.utilization_percent or 0)),
        (one.memory_used_bytes or 0) + (other.memory_used_bytes or 0),
    )
