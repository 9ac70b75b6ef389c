"""What follows from the facts about a machine: what works, what does not and why, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, StrEnum
from typing import NamedTuple

from ...units import GIB
from ..devices.nvidia.cuda_checkpoint import EXTRA, MOVE_FROM, PARK_FROM
from .machine import GpuFacts, MachineFacts


class FindingState(StrEnum):
    """How a part of the machine is."""

    OK = "ok"
    OFF = "off"  #: not to be had here, and nothing is wrong for that
    BROKEN = "broken"  #: it should work


class DoctorFinding(NamedTuple):
    """One line: what, how it is, why, and what to do."""

    what: str
    state: FindingState
    said: str
    remedy: str | None = None


class DoctorVerdict(Enum):
    """Whether GPUs can be leased; the number is the exit status, as of ``jupyter fastgpu probe``."""

    SERVES = 0
    NO_DRIVER = 3
    BROKEN = 4


#: The driver's releases from which on something works.
LIMITS_FROM = 615

DRIVER_PAGE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"
RESTART = "restart the machine"


def examine(machine: MachineFacts) -> list[DoctorFinding]:
    """All findings, what others stand on first."""
    basics = [finding for rule in _BASICS for finding in rule(machine)]
    if not _answers(machine):
        return basics
    return [*basics, *(finding for rule in _MECHANISMS for finding in rule(machine))]


def verdict(machine: MachineFacts) -> DoctorVerdict:
    """Whether GPUs can be leased here."""
    if _answers(machine):
        return DoctorVerdict.SERVES
    nothing = not machine.nvml.library and not machine.pci_gpus and machine.module is None
    return DoctorVerdict.NO_DRIVER if nothing else DoctorVerdict.BROKEN


def why_not_parkable(machine: MachineFacts) -> DoctorFinding | None:
    """The first need of parking that is not met, or ``None``."""
    return next((finding for rule in _PARKING if (finding := rule(machine)) is not None), None)


def _answers(machine: MachineFacts) -> bool:
    return machine.nvml.error is None and any(gpu.error is None for gpu in machine.nvml.gpus)


# -- what everything stands on ----------------------------------------------------------------------------------------


def _system(machine: MachineFacts) -> Iterator[DoctorFinding]:
    name = f"{machine.system} {machine.kernel}"
    if machine.system != "Linux":
        yield DoctorFinding("system", FindingState.BROKEN, f"{name}: FastGPU runs on Linux.")
        return
    memory = machine.host_memory_bytes // GIB
    yield DoctorFinding(
        "system", FindingState.OK, f"{name}, {memory} GiB of memory, {'root' if machine.root else 'not root'}"
    )


def _driver(machine: MachineFacts) -> Iterator[DoctorFinding]:
    nvml = machine.nvml
    if nvml.driver is not None and nvml.error is None:
        yield DoctorFinding("driver", FindingState.OK, f"{nvml.driver}, serves CUDA {_cuda_text(nvml.cuda)}")
        if machine.module is not None and machine.module != nvml.driver:
            said = f"the kernel still runs {machine.module}, the library is of {nvml.driver}"
            yield DoctorFinding("driver", FindingState.BROKEN, said, RESTART)
    elif nvml.hangs:
        yield DoctorFinding("driver", FindingState.BROKEN, f"it hangs: {nvml.error}", RESTART)
    elif nvml.library and machine.module is None:
        said = f"its library is there, but the kernel has not loaded it ({nvml.error})"
        yield DoctorFinding("driver", FindingState.BROKEN, said, "sudo modprobe nvidia")
    elif nvml.library:
        remedy = RESTART if "mismatch" in (nvml.error or "").lower() else "nvidia-smi"
        yield DoctorFinding("driver", FindingState.BROKEN, f"it does not answer: {nvml.error}", remedy)
    elif machine.module is not None:
        said = f"the kernel runs {machine.module}, but its library is not here ({nvml.error})"
        yield DoctorFinding("driver", FindingState.BROKEN, said, _library_mend(machine))
    elif machine.pci_gpus:
        said = f"{_count(machine.pci_gpus, 'NVIDIA GPU')} on the bus, and no driver"
        yield DoctorFinding("driver", FindingState.BROKEN, said, f"install one: {DRIVER_PAGE}")
    else:
        said = "none, and no NVIDIA GPU is seen"
        yield DoctorFinding("driver", FindingState.OFF, said, "jupyter fastgpu pool --simulate 2xA100-80GB")


def _library_mend(machine: MachineFacts) -> str:
    if machine.pid_namespace:
        return "start this container with NVIDIA's container toolkit (docker run --gpus all)"
    return f"install the driver's libraries: {DRIVER_PAGE}"


def _gpus(machine: MachineFacts) -> Iterator[DoctorFinding]:
    nvml = machine.nvml
    if nvml.error is not None:
        return
    if not nvml.gpus:
        remedy = "nvidia-smi" if machine.pci_gpus else None
        yield DoctorFinding("GPUs", FindingState.BROKEN, "the driver answers, but shows no GPU", remedy)
    for gpu in nvml.gpus:
        if gpu.error is None:
            yield DoctorFinding(f"GPU {gpu.index}", FindingState.OK, f"{gpu.name}, {gpu.uuid}")
        else:
            reset = f"sudo nvidia-smi --gpu-reset -i {gpu.index}"
            yield DoctorFinding(f"GPU {gpu.index}", FindingState.BROKEN, f"it does not answer: {gpu.error}", reset)
    lost = (machine.pci_gpus or 0) - len(nvml.gpus)
    if nvml.gpus and lost > 0:
        said = f"{_count(lost, 'GPU')} on the bus that the driver does not show"
        yield DoctorFinding("GPUs", FindingState.BROKEN, said, "sudo dmesg | grep -i xid")


def _permissions(machine: MachineFacts) -> Iterator[DoctorFinding]:
    closed = [node.path for node in machine.nodes if not node.usable]
    if machine.nvml.error is not None and not closed:
        return
    if closed:
        said = f"this user may not use {', '.join(closed)}"
        yield DoctorFinding("permissions", FindingState.BROKEN, said, "sudo usermod -aG video $USER, and log in again")
    elif not any(node.path.endswith("nvidia-uvm") for node in machine.nodes):
        said = "/dev/nvidia-uvm is missing: CUDA makes it when it starts, where it may"
        yield DoctorFinding("permissions", FindingState.OFF, said, "sudo nvidia-modprobe -u")
    else:
        yield DoctorFinding("permissions", FindingState.OK, f"this user may use all {len(machine.nodes)} device files")


# -- mechanisms -------------------------------------------------------------------------------------------------------


def _exclusive(machine: MachineFacts) -> Iterator[DoctorFinding]:
    whole = [gpu for gpu in _working(machine) if not _divided(gpu)]
    if whole:
        yield DoctorFinding("exclusive", FindingState.OK, f"{_count(len(whole), 'GPU')} can be leased whole")
    else:
        said = "every GPU is divided by MIG, and leased by its instances"
        remedy = "jupyter fastgpu mig DEVICE off (shows first what that would disturb)"
        yield DoctorFinding("exclusive", FindingState.OFF, said, remedy)


def _driver_limits(machine: MachineFacts) -> Iterator[DoctorFinding]:
    what = "memory limits"
    if not _since(machine, LIMITS_FROM) or not any(gpu.memory_limits for gpu in _working(machine)):
        said = (
            f"kept by frameworks only: the driver keeps limits from R{LIMITS_FROM} on, this is {_driver_name(machine)}"
        )
        yield DoctorFinding(what, FindingState.OFF, said, f"install R{LIMITS_FROM} or newer: {DRIVER_PAGE}")
    elif machine.cgroup != 2:
        said = "kept by frameworks only: the driver needs control groups of version 2"
        remedy = "sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1"
        yield DoctorFinding(what, FindingState.OFF, said, f"{remedy}, and {RESTART}")
    elif not machine.root:
        said = "kept by frameworks only: root must set the driver's limits"
        yield DoctorFinding(what, FindingState.OFF, said, "sudo jupyter fastgpu pool --system")
    else:
        by = "the kernel's dmem controller" if machine.dmem else "the driver itself"
        yield DoctorFinding(what, FindingState.OK, f"kept by the driver, accounted by {by}")


def _device_access(machine: MachineFacts) -> Iterator[DoctorFinding]:
    what = "device files"
    if machine.closes is None:
        said = "those of other GPUs can be closed to kernels, where FastGPUPool.close_nodes says so"
        yield DoctorFinding(what, FindingState.OK, said)
    elif not machine.root:
        remedy = "sudo jupyter fastgpu pool --system --FastGPUPool.close_nodes=True"
        yield DoctorFinding(what, FindingState.OFF, f"leases say theirs, and none is closed: {machine.closes}", remedy)
    else:
        yield DoctorFinding(what, FindingState.OFF, f"leases say theirs, and none can be closed: {machine.closes}")


def _overwriting(machine: MachineFacts) -> Iterator[DoctorFinding]:
    what = "overwriting"
    if machine.libcuda:
        said = "GPU memory can be overwritten between leases, where FastGPUPool.scrub says so"
        yield DoctorFinding(what, FindingState.OK, said)
    else:
        said = "GPU memory cannot be overwritten between leases: CUDA's library libcuda.so.1 is not here"
        yield DoctorFinding(what, FindingState.OFF, said, _library_mend(machine))


def _mig(machine: MachineFacts) -> Iterator[DoctorFinding]:
    capable = [gpu for gpu in _working(machine) if gpu.mig is not None]
    if not capable:
        yield DoctorFinding("MIG", FindingState.OFF, "no GPU here can be divided")
        return
    for gpu in capable:
        now, then = gpu.mig or (0, 0)
        if now != then:
            mode = "on" if then else "off"
            said = f"GPU {gpu.index}: will be {mode} after its next reset"
            yield DoctorFinding("MIG", FindingState.OFF, said, f"sudo nvidia-smi --gpu-reset -i {gpu.index}")
        elif not now:
            remedy = f"jupyter fastgpu mig {gpu.uuid or gpu.index} on (shows first what that would disturb)"
            yield DoctorFinding("MIG", FindingState.OFF, f"GPU {gpu.index}: switched off", remedy)
        else:
            use = "measured" if gpu.gpm else "not measured on this GPU"
            yield DoctorFinding("MIG", FindingState.OK, f"GPU {gpu.index}: on; use of an instance is {use}")


def _mps(machine: MachineFacts) -> Iterator[DoctorFinding]:
    if not machine.mps:
        said = "nvidia-cuda-mps-control was not found"
        yield DoctorFinding(
            "MPS", FindingState.OFF, said, "sudo apt-get install nvidia-cuda-mps (or your system's package)"
        )
        return
    able = 0
    for gpu in _working(machine):
        if _divided(gpu):
            yield DoctorFinding(
                "MPS", FindingState.OFF, f"GPU {gpu.index}: what is divided by MIG is leased by its instances"
            )
        elif gpu.mps is not None:
            why, remedy = gpu.mps
            yield DoctorFinding("MPS", FindingState.OFF, f"GPU {gpu.index}: {why}", remedy)
        else:
            able += 1
    if able:
        serves = "every user" if machine.root else "this user only, as root every user"
        said = f"{machine.mps}; {_count(able, 'GPU')} can serve {serves} by it where FastGPUPool.mps is on"
        yield DoctorFinding("MPS", FindingState.OK, said)


def _parking(machine: MachineFacts) -> Iterator[DoctorFinding]:
    missing = why_not_parkable(machine)
    if missing is not None:
        yield missing
        return
    where = "the same GPU or another of its model" if _since(machine, MOVE_FROM) else "the same GPU"
    yield DoctorFinding("parking", FindingState.OK, f"idle leases can be parked, and come back to {where}")


def _needs_driver(machine: MachineFacts) -> DoctorFinding | None:
    if _since(machine, PARK_FROM):
        return None
    said = f"needs a driver of R{PARK_FROM} or newer, this is {_driver_name(machine)}"
    return DoctorFinding("parking", FindingState.OFF, said, f"install R{MOVE_FROM} or newer: {DRIVER_PAGE}")


def _needs_whole_gpus(machine: MachineFacts) -> DoctorFinding | None:
    if not all(_divided(gpu) for gpu in _working(machine)):
        return None
    return DoctorFinding("parking", FindingState.OFF, "what is divided by MIG cannot be parked")


def _needs_bindings(machine: MachineFacts) -> DoctorFinding | None:
    if machine.cuda_bindings is not None:
        return None
    return DoctorFinding("parking", FindingState.OFF, "needs NVIDIA's Python package cuda-bindings", EXTRA)


def _needs_cuda(machine: MachineFacts) -> DoctorFinding | None:
    if machine.cuda_error is None:
        return None
    said = f"cuda-bindings {machine.cuda_bindings} cannot use the driver: {machine.cuda_error}"
    return DoctorFinding("parking", FindingState.BROKEN, said, f"{EXTRA} --upgrade")


def _needs_its_own_kind(machine: MachineFacts) -> DoctorFinding | None:
    """Before R580 memory comes back to the same GPU only, and the pool does not promise which one is free then."""
    names = [gpu.name for gpu in _working(machine)]
    if _since(machine, MOVE_FROM) or len(names) == len(set(names)):
        return None
    said = f"with several GPUs of a model it needs R{MOVE_FROM}, which brings memory back to any of them"
    return DoctorFinding("parking", FindingState.OFF, said, f"install R{MOVE_FROM} or newer: {DRIVER_PAGE}")


def _persistence(machine: MachineFacts) -> Iterator[DoctorFinding]:
    off = [str(gpu.index) for gpu in _working(machine) if gpu.persistent is False]
    if off:
        said = f"off on GPU {', '.join(off)}: each first use wakes it, which takes seconds"
        yield DoctorFinding("persistence", FindingState.OFF, said, "sudo systemctl enable --now nvidia-persistenced")
    else:
        yield DoctorFinding("persistence", FindingState.OK, "GPUs stay awake")


def _health(machine: MachineFacts) -> Iterator[DoctorFinding]:
    deaf = [str(gpu.index) for gpu in _working(machine) if not gpu.events]
    if deaf:
        said = f"GPU {', '.join(deaf)} does not tell of errors as they happen; it is only looked at"
        yield DoctorFinding("health", FindingState.OFF, said)
    else:
        yield DoctorFinding("health", FindingState.OK, "errors are told as they happen")


def _whose(machine: MachineFacts) -> Iterator[DoctorFinding]:
    if machine.pid_namespace:
        said = "this process sees only its container's processes, the driver numbers those of the machine"
        yield DoctorFinding(
            "processes", FindingState.BROKEN, said, "run the pool with the machine's processes (docker run --pid=host)"
        )
    else:
        yield DoctorFinding("processes", FindingState.OK, "use of a GPU can be told to its notebook")


def _working(machine: MachineFacts) -> list[GpuFacts]:
    return [gpu for gpu in machine.nvml.gpus if gpu.error is None]


def _divided(gpu: GpuFacts) -> bool:
    return gpu.mig is not None and gpu.mig[0] == 1


def _since(machine: MachineFacts, release: int) -> bool:
    return machine.release is not None and machine.release >= release


def _driver_name(machine: MachineFacts) -> str:
    return machine.nvml.driver or "unknown"


def _cuda_text(version: int | None) -> str:
    return "of an unknown version" if version is None else f"{version // 1000}.{version % 1000 // 10}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


_BASICS: tuple[Callable[[MachineFacts], Iterator[DoctorFinding]], ...] = (_system, _driver, _gpus, _permissions)
_MECHANISMS: tuple[Callable[[MachineFacts], Iterator[DoctorFinding]], ...] = (
    _exclusive, _driver_limits, _device_access, _overwriting, _mig, _mps, _parking, _health, _whose, _persistence,
)  # fmt: skip
_PARKING: tuple[Callable[[MachineFacts], DoctorFinding | None], ...] = (
    _needs_driver, _needs_whole_gpus, _needs_bindings, _needs_cuda, _needs_its_own_kind,
)  # fmt: skip
