"""The facts about a machine on which the doctor's rules work. ``None`` means that it could not be found out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU, as NVML shows it; ``error`` is set where it shows nothing."""

    index: int
    name: str = ""
    uuid: str = ""
    error: str | None = None
    mig: tuple[int, int] | None = None  #: mode now, and after the next reset; ``None``: not capable of it
    persistent: bool | None = None
    memory_limits: bool | None = None  #: whether its driver keeps limits of control groups
    events: bool | None = None  #: whether it tells of errors by number
    gpm: bool | None = None  #: whether it measures the use of a MIG instance
    mps: tuple[str, str | None] | None = None  #: what it lacks for MPS, and the command that mends that


@dataclass(frozen=True, slots=True)
class NvmlFacts:
    """What NVIDIA's management library says."""

    library: bool = True
    error: str | None = None  #: why nothing can be had of it
    hangs: bool = False
    driver: str | None = None  #: version, like ``580.65.06``
    version: str | None = None
    cuda: int | None = None  #: the newest version that the driver serves, like 13000
    gpus: tuple[GpuFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device file."""

    path: str
    usable: bool  #: by this process


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Everything that the rules look at."""

    system: str  #: like ``Linux``
    kernel: str
    root: bool
    pci_gpus: int | None  #: NVIDIA GPUs on the bus, whether a driver knows them or not
    module: str | None  #: version of the kernel's part of the driver, where it is loaded
    nvml: NvmlFacts
    nodes: tuple[DeviceNode, ...] = ()
    cgroup: int | None = None  #: 1 or 2; ``None``: none is mounted
    dmem: bool = False  #: whether the kernel accounts device memory by control group
    mps: str | None = None  #: where MPS's control program is
    cuda_bindings: str | None = None  #: version of NVIDIA's Python package that parking needs
    cuda_error: str | None = None  #: why that package cannot use the driver
    pid_namespace: bool | None = None  #: whether this process sees only some of the machine's processes
    host_memory_bytes: int = 0
    libcuda: bool = True  #: whether CUDA's own library can be loaded
    closes: str | None = None  #: why device files cannot be closed to kernels; ``None``: they can

    @property
    def release(self) -> int | None:
        """The driver's release, like 580."""
        number = (self.nvml.driver or "").partition(".")[0]
        return int(number) if number.isdigit() else None
