"""The facts about NVIDIA's driver and GPUs on which the rules work. ``None`` means that it could not be found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .....errors import Message


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU as NVML shows it; ``error`` is set where NVML shows nothing of it."""

    index: int
    name: str = ""
    uuid: str = ""
    error: str | None = None
    mig: tuple[int, int] | None = None  #: mode now, and after the next reset; ``None``: not capable of it
    persistent: bool | None = None
    memory_limits: bool | None = None  #: whether its driver enforces limits of control groups
    events: bool | None = None  #: whether it reports errors as they happen
    gpm: bool | None = None  #: whether it measures the utilization of a MIG instance
    memory_bytes: int | None = None
    lists_processes: bool | None = None  #: whether it lists the processes on it
    shares_memory: bool = False  #: whether it uses the machine's memory and has none of its own
    mps: tuple[Message, str | None] | None = None  #: what it lacks for MPS, and the command that changes that

    @property
    def divided(self) -> bool:
        """Whether it is in MIG mode."""
        return self.mig is not None and self.mig[0] == 1


@dataclass(frozen=True, slots=True)
class NvmlFacts:
    """The answers of NVIDIA's management library."""

    library: bool = True
    error: str | None = None  #: why it answers nothing
    hangs: bool = False
    driver: str | None = None  #: version, like ``580.65.06``
    version: str | None = None
    cuda: int | None = None  #: the newest version that the driver supports, like 13000
    gpus: tuple[GpuFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device file of the driver."""

    path: str
    usable: bool  #: by this process


@dataclass(frozen=True, slots=True)
class NvidiaFacts:
    """Everything of NVIDIA's that the rules look at."""

    pci_gpus: int | None  #: GPUs on the bus, whether a driver knows them or not
    module: str | None  #: version of the kernel's part of the driver, where it is loaded
    nvml: NvmlFacts
    nodes: tuple[DeviceNode, ...] = ()
    mps: str | None = None  #: path of MPS's control program
    cuda_bindings: str | None = None  #: version of NVIDIA's Python package that parking needs
    cuda_error: str | None = None  #: why that package cannot use the driver
    libcuda: bool = True  #: whether CUDA's own library can be loaded

    @property
    def release(self) -> int | None:
        """The driver's release, like 580."""
        number = (self.nvml.driver or "").partition(".")[0]
        return int(number) if number.isdigit() else None

    @property
    def driver_name(self) -> str:
        """The driver's version, for people."""
        return self.nvml.driver or "unknown"

    def since(self, release: int) -> bool:
        """Return whether the driver is of that release or newer."""
        return self.release is not None and self.release >= release

    def working(self) -> Iterator[GpuFacts]:
        """Yield the GPUs that answer."""
        return (gpu for gpu in self.nvml.gpus if gpu.error is None)

    @property
    def answers(self) -> bool:
        """Whether at least one GPU answers."""
        return self.nvml.error is None and any(self.working())
