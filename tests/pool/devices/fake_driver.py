"""A driver for GPUs that a test owns: what they are, who is on them, and what goes wrong. No NVML, no C, no clock."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastgpu_jupyter.core.model.entities import (
    DeviceSpec,
    Enforcement,
    Health,
    LogicalGPU,
    Mechanism,
    MechanismCapability,
)
from fastgpu_jupyter.errors import HostFault, Message
from fastgpu_jupyter.pool.devices.driver import (
    NOT_PARTITIONABLE,
    DeviceGone,
    DeviceProcess,
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
from fastgpu_jupyter.units import GIB


def fake_spec(name: str, index: int = 0, share: Enforcement = Enforcement.COOPERATIVE) -> DeviceSpec:
    """A GPU of 80 GiB that is leased whole or shared."""
    return DeviceSpec(
        id=name,
        index=index,
        model="FAKE-80GB",
        memory_bytes=80 * GIB,
        simulated=False,
        mechanisms=(Mechanism.EXCLUSIVE, Mechanism.SHARED),
        rate_micro_per_hour=3_600_000,
        capabilities=(
            MechanismCapability(Mechanism.EXCLUSIVE, Enforcement.HARDWARE),
            MechanismCapability(Mechanism.SHARED, share, resizable=True),
        ),
    )


@dataclass
class FakeMachine:
    """The hardware: shared by every driver over it, as real hardware is by pool managers one after the other."""

    specs: list[DeviceSpec]
    processes: dict[str, dict[int, int]] = field(default_factory=dict)  #: device -> pid -> bytes
    limits: dict[str, int] = field(default_factory=dict)  #: device -> bytes that the driver keeps
    lost: set[str] = field(default_factory=set)
    confused: set[str] = field(default_factory=set)
    divided: set[str] = field(default_factory=set)
    own_groups: set[int] = field(default_factory=set)  #: processes that a limit can be set for
    #: While it is not set, every call hangs.
    answers: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)
    _pids: int = 4_000_000

    def __post_init__(self) -> None:
        self.answers.set()

    def driver(self) -> FakeDriver:
        return FakeDriver(self)

    def occupy(self, device_id: str, memory_bytes: int) -> int:
        self._pids += 1
        self.processes.setdefault(device_id, {})[self._pids] = memory_bytes
        return self._pids

    def leave(self, pid: int) -> None:
        for on_device in self.processes.values():
            on_device.pop(pid, None)

    def lose(self, device_id: str) -> None:
        self.lost.add(device_id)

    def mend(self, device_id: str) -> None:
        self.lost.discard(device_id)

    def remove(self, device_id: str) -> None:
        self.specs = [spec for spec in self.specs if spec.id != device_id]

    def confuse(self, device_id: str) -> None:
        self.confused.add(device_id)

    def divide(self, device_id: str) -> None:
        self.divided.add(device_id)

    def own_group(self) -> int:
        self._pids += 1
        self.own_groups.add(self._pids)
        return self._pids

    def limit_bytes(self, device_id: str) -> int | None:
        return self.limits.get(device_id)


class FakeDriver:
    """A driver over a :class:`FakeMachine`."""

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine
        self._known: dict[str, DeviceSpec] = {}

    def _call(self, name: str) -> FakeMachine:
        self._machine.calls.append(name)
        self._machine.answers.wait()
        return self._machine

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        pass

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        machine = self._call("inventory")
        said = []
        for spec in machine.specs:
            if spec.id in machine.confused | machine.divided:
                said.append(f"{spec.id} is not leased: what it says cannot be true.")
            else:
                self._known[spec.id] = spec
        present = {spec.id for spec in machine.specs} - machine.divided
        self._known = {name: spec for name, spec in self._known.items() if name in present}
        return list(self._known.values()), " ".join(said) or None

    def knows(self, device_id: str) -> bool:
        return device_id in {spec.id for spec in self._call("knows").specs}

    def health(self, device_id: str) -> tuple[Health, str | None]:
        machine = self._call("health")
        if device_id in machine.lost:
            return Health.FAULTY, "The GPU does not answer."
        if device_id in machine.confused:
            return Health.SUSPECT, "What the GPU says cannot be true."
        return Health.HEALTHY, None

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        self._require(self._call("prepare"), logical_gpu.device_ids)
        return logical_gpu.driver_handle

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        machine = self._call("limit")
        if logical_gpu.whole and logical_gpu.driver_handle:
            machine.limits.pop(logical_gpu.device_id, None)
        if logical_gpu.enforcement is not Enforcement.DRIVER:
            return LimitResult(logical_gpu.enforcement)
        if pid not in machine.own_groups:
            return LimitResult(
                Enforcement.COOPERATIVE,
                logical_gpu.driver_handle,
                Message.of_text(f"Process {pid} shares its control group."),
            )
        machine.limits[logical_gpu.device_id] = logical_gpu.memory_bytes
        return LimitResult(Enforcement.DRIVER, "group")

    def release(self, logical_gpu: LogicalGPU) -> None:
        machine = self._call("release")
        if logical_gpu.driver_handle:
            machine.limits.pop(logical_gpu.device_id, None)

    def loss_reason(self, logical_gpu: LogicalGPU) -> str | None:
        return None

    def park(self, logical_gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        raise HostFault("Memory of these GPUs cannot be parked.")

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        raise HostFault("Memory of these GPUs cannot be parked.")

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        shown = {"CUDA_VISIBLE_DEVICES": ",".join(logical_gpu.device_ids)}
        return shown if logical_gpu.whole else {**shown, "FASTGPU_MEMORY_BYTES": str(logical_gpu.memory_bytes)}

    def hidden_env(self) -> Mapping[str, str]:
        return {"CUDA_VISIBLE_DEVICES": ""}

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        return [f"/dev/{device_id}" for device_id in logical_gpu.device_ids]

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        return [ScrubCommand(device_id, ("scrub",), {}) for device_id in logical_gpu.device_ids]

    def processes(self, device_id: str) -> ProcessList:
        machine = self._call("processes")
        if device_id not in {spec.id for spec in machine.specs}:
            raise DeviceGone(f"There is no GPU {device_id} any more.")
        self._require(machine, (device_id,))
        return ListedProcesses(
            tuple(DeviceProcess(pid, used) for pid, used in machine.processes.get(device_id, {}).items())
        )

    def used_bytes(self, logical_gpu: LogicalGPU) -> int | None:
        return None

    def may_have_memory(self, pid: int) -> bool:
        return False

    def sample(self, leases: Sequence[SampledLease]) -> Sample:
        self._call("sample")
        return Sample(leases={subject.lease_id: DeviceUsage(None, None) for subject in leases})

    def partition_mode(self, device_id: str) -> PartitionMode:
        """It has no such mode."""
        return NOT_PARTITIONABLE

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Refused."""
        raise HostFault("This device cannot be divided.")

    def close(self) -> None:
        pass

    def _require(self, machine: FakeMachine, device_ids: Sequence[str]) -> None:
        usable = {spec.id for spec in machine.specs} - machine.lost - machine.divided
        for device_id in device_ids:
            if device_id not in usable:
                raise HostFault(f"The GPU {device_id} does not answer.")
