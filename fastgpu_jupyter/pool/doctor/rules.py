"""What follows from the facts about a machine: what works, what does not and why, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, StrEnum
from typing import NamedTuple

from ...units import GIB
from ..devices.nvidia.cuda_checkpoint import EXTRA, MOVE_FROM, PARK_FROM
from .machine import Gpu, Machine


class State(StrEnum):
    """How a part of the machine is."""

    OK = "ok"
    OFF = "off"  #: not to be had here, and nothing is wrong for that
    BROKEN = "broken"  #: it should work


class Finding(NamedTuple):
    """One line: what, how it is, why, and what to do."""

    what: str
    state: State
    said: str
    mend: str | None = None


class Verdict(Enum):
    """Whether GPUs can be leased; the number is the exit status, as of ``jupyter fastgpu probe``."""

    SERVES = 0
    NO_DRIVER = 3
    BROKEN = 4


#: The driver's releases from which on something works.
LIMITS_FROM = 615

DRIVER_PAGE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"
RESTART = "restart the machine"


def examine(machine: Machine) -> list[Finding]:
    """All findings, what others stand on first."""
    basics = [finding for rule in _BASICS for finding in rule(machine)]
    if not _answers(machine):
        return basics
    return [*basics, *(finding for rule in _MECHANISMS for finding in rule(machine))]


def verdict(machine: Machine) -> Verdict:
    """Whether GPUs can be leased here."""
    if _answers(machine):
        return Verdict.SERVES
    nothing = not machine.nvml.library and not machine.pci_gpus and machine.module is None
    return Verdict.NO_DRIVER if nothing else Verdict.BROKEN


def why_not_parkable(machine: Machine) -> Finding | None:
    """The first need of parking that is not met, or ``None``."""
    return next((finding for rule in _PARKING if (finding := rule(machine)) is not None), None)


def _answers(machine: Machine) -> bool:
    return machine.nvml.error is None and any(gpu.error is None for gpu in machine.nvml.gpus)


# -- what everything stands on ----------------------------------------------------------------------------------------


def _system(machine: Machine) -> Iterator[Finding]:
    name = f"{machine.system} {machine.kernel}"
    if machine.system != "Linux":
        yield Finding("system", State.BROKEN, f"{name}: FastGPU runs on Linux.")
        return
    memory = machine.host_memory_bytes // GIB
    yield Finding("system", State.OK, f"{name}, {memory} GiB of memory, {'root' if machine.root else 'not root'}")


def _driver(machine: Machine) -> Iterator[Finding]:
    nvml = machine.nvml
    if nvml.driver is not None and nvml.error is None:
        yield Finding("driver", State.OK, f"{nvml.driver}, serves CUDA {_cuda_text(nvml.cuda)}")
        if machine.module is not None and machine.module != nvml.driver:
            said = f"the kernel still runs {machine.module}, the library is of {nvml.driver}"
            yield Finding("driver", State.BROKEN, said, RESTART)
    elif nvml.hangs:
        yield Finding("driver", State.BROKEN, f"it hangs: {nvml.error}", RESTART)
    elif nvml.library and machine.module is None:
        said = f"its library is there, but the kernel has not loaded it ({nvml.error})"
        yield Finding("driver", State.BROKEN, said, "sudo modprobe nvidia")
    elif nvml.library:
        mend = RESTART if "mismatch" in (nvml.error or "").lower() else "nvidia-smi"
        yield Finding("driver", State.BROKEN, f"it does not answer: {nvml.error}", mend)
    elif machine.module is not None:
        said = f"the kernel runs {machine.module}, but its library is not here ({nvml.error})"
        yield Finding("driver", State.BROKEN, said, _library_mend(machine))
    elif machine.pci_gpus:
        said = f"{_count(machine.pci_gpus, 'NVIDIA GPU')} on the bus, and no driver"
        yield Finding("driver", State.BROKEN, said, f"install one: {DRIVER_PAGE}")
    else:
        said = "none, and no NVIDIA GPU is seen"
        yield Finding("driver", State.OFF, said, "jupyter fastgpu pool --simulate 2xA100-80GB")


def _library_mend(machine: Machine) -> str:
    if machine.pid_namespace:
        return "start this container with NVIDIA's container toolkit (docker run --gpus all)"
    return f"install the driver's libraries: {DRIVER_PAGE}"


def _gpus(machine: Machine) -> Iterator[Finding]:
    nvml = machine.nvml
    if nvml.error is not None:
        return
    if not nvml.gpus:
        mend = "nvidia-smi" if machine.pci_gpus else None
        yield Finding("GPUs", State.BROKEN, "the driver answers, but shows no GPU", mend)
    for gpu in nvml.gpus:
        if gpu.error is None:
            yield Finding(f"GPU {gpu.index}", State.OK, f"{gpu.name}, {gpu.uuid}")
        else:
            reset = f"sudo nvidia-smi --gpu-reset -i {gpu.index}"
            yield Finding(f"GPU {gpu.index}", State.BROKEN, f"it does not answer: {gpu.error}", reset)
    lost = (machine.pci_gpus or 0) - len(nvml.gpus)
    if nvml.gpus and lost > 0:
        said = f"{_count(lost, 'GPU')} on the bus that the driver does not show"
        yield Finding("GPUs", State.BROKEN, said, "sudo dmesg | grep -i xid")


def _permissions(machine: Machine) -> Iterator[Finding]:
    closed = [node.path for node in machine.nodes if not node.usable]
    if machine.nvml.error is not None and not closed:
        return
    if closed:
        said = f"this user may not use {', '.join(closed)}"
        yield Finding("permissions", State.BROKEN, said, "sudo usermod -aG video $USER, and log in again")
    elif not any(node.path.endswith("nvidia-uvm") for node in machine.nodes):
        said = "/dev/nvidia-uvm is missing: CUDA makes it when it starts, where it may"
        yield Finding("permissions", State.OFF, said, "sudo nvidia-modprobe -u")
    else:
        yield Finding("permissions", State.OK, f"this user may use all {len(machine.nodes)} device files")


# -- mechanisms -------------------------------------------------------------------------------------------------------


def _exclusive(machine: Machine) -> Iterator[Finding]:
    whole = [gpu for gpu in _working(machine) if not _divided(gpu)]
    if whole:
        yield Finding("exclusive", State.OK, f"{_count(len(whole), 'GPU')} can be leased whole")
    else:
        said = "every GPU is divided by MIG, and leased by its instances"
        mend = "jupyter fastgpu mig DEVICE off (shows first what that would disturb)"
        yield Finding("exclusive", State.OFF, said, mend)


def _driver_limits(machine: Machine) -> Iterator[Finding]:
    what = "memory limits"
    if not _since(machine, LIMITS_FROM) or not any(gpu.memory_limits for gpu in _working(machine)):
        said = (
            f"kept by frameworks only: the driver keeps limits from R{LIMITS_FROM} on, this is {_driver_name(machine)}"
        )
        yield Finding(what, State.OFF, said, f"install R{LIMITS_FROM} or newer: {DRIVER_PAGE}")
    elif machine.cgroup != 2:
        said = "kept by frameworks only: the driver needs control groups of version 2"
        mend = "sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1"
        yield Finding(what, State.OFF, said, f"{mend}, and {RESTART}")
    elif not machine.root:
        said = "kept by frameworks only: root must set the driver's limits"
        yield Finding(what, State.OFF, said, "sudo jupyter fastgpu pool --system")
    else:
        by = "the kernel's dmem controller" if machine.dmem else "the driver itself"
        yield Finding(what, State.OK, f"kept by the driver, accounted by {by}")


def _closing(machine: Machine) -> Iterator[Finding]:
    what = "device files"
    if machine.closes is None:
        said = "those of other GPUs can be closed to kernels, where FastGPUPool.close_nodes says so"
        yield Finding(what, State.OK, said)
    elif not machine.root:
        mend = "sudo jupyter fastgpu pool --system --FastGPUPool.close_nodes=True"
        yield Finding(what, State.OFF, f"leases say theirs, and none is closed: {machine.closes}", mend)
    else:
        yield Finding(what, State.OFF, f"leases say theirs, and none can be closed: {machine.closes}")


def _overwriting(machine: Machine) -> Iterator[Finding]:
    what = "overwriting"
    if machine.libcuda:
        said = "GPU memory can be overwritten between leases, where FastGPUPool.scrub says so"
        yield Finding(what, State.OK, said)
    else:
        said = "GPU memory cannot be overwritten between leases: CUDA's library libcuda.so.1 is not here"
        yield Finding(what, State.OFF, said, _library_mend(machine))


def _mig(machine: Machine) -> Iterator[Finding]:
    capable = [gpu for gpu in _working(machine) if gpu.mig is not None]
    if not capable:
        yield Finding("MIG", State.OFF, "no GPU here can be divided")
        return
    for gpu in capable:
        now, then = gpu.mig or (0, 0)
        if now != then:
            mode = "on" if then else "off"
            said = f"GPU {gpu.index}: will be {mode} after its next reset"
            yield Finding("MIG", State.OFF, said, f"sudo nvidia-smi --gpu-reset -i {gpu.index}")
        elif not now:
            mend = f"jupyter fastgpu mig {gpu.uuid or gpu.index} on (shows first what that would disturb)"
            yield Finding("MIG", State.OFF, f"GPU {gpu.index}: switched off", mend)
        else:
            use = "measured" if gpu.gpm else "not measured on this GPU"
            yield Finding("MIG", State.OK, f"GPU {gpu.index}: on; use of an instance is {use}")


def _mps(machine: Machine) -> Iterator[Finding]:
    if not machine.mps:
        said = "nvidia-cuda-mps-control was not found"
        yield Finding("MPS", State.OFF, said, "sudo apt-get install nvidia-cuda-mps (or your system's package)")
        return
    able = 0
    for gpu in _working(machine):
        if _divided(gpu):
            yield Finding("MPS", State.OFF, f"GPU {gpu.index}: what is divided by MIG is leased by its instances")
        elif gpu.mps is not None:
            why, mend = gpu.mps
            yield Finding("MPS", State.OFF, f"GPU {gpu.index}: {why}", mend)
        else:
            able += 1
    if able:
        serves = "every user" if machine.root else "this user only, as root every user"
        said = f"{machine.mps}; {_count(able, 'GPU')} can serve {serves} by it where FastGPUPool.mps is on"
        yield Finding("MPS", State.OK, said)


def _parking(machine: Machine) -> Iterator[Finding]:
    missing = why_not_parkable(machine)
    if missing is not None:
        yield missing
        return
    where = "the same GPU or another of its model" if _since(machine, MOVE_FROM) else "the same GPU"
    yield Finding("parking", State.OK, f"idle leases can be parked, and come back to {where}")


def _needs_driver(machine: Machine) -> Finding | None:
    if _since(machine, PARK_FROM):
        return None
    said = f"needs a driver of R{PARK_FROM} or newer, this is {_driver_name(machine)}"
    return Finding("parking", State.OFF, said, f"install R{MOVE_FROM} or newer: {DRIVER_PAGE}")


def _needs_whole_gpus(machine: Machine) -> Finding | None:
    if not all(_divided(gpu) for gpu in _working(machine)):
        return None
    return Finding("parking", State.OFF, "what is divided by MIG cannot be parked")


def _needs_bindings(machine: Machine) -> Finding | None:
    if machine.cuda_bindings is not None:
        return None
    return Finding("parking", State.OFF, "needs NVIDIA's Python package cuda-bindings", EXTRA)


def _needs_cuda(machine: Machine) -> Finding | None:
    if machine.cuda_error is None:
        return None
    said = f"cuda-bindings {machine.cuda_bindings} cannot use the driver: {machine.cuda_error}"
    return Finding("parking", State.BROKEN, said, f"{EXTRA} --upgrade")


def _needs_its_own_kind(machine: Machine) -> Finding | None:
    """Before R580 memory comes back to the same GPU only, and the pool does not promise which one is free then."""
    names = [gpu.name for gpu in _working(machine)]
    if _since(machine, MOVE_FROM) or len(names) == len(set(names)):
        return None
    said = f"with several GPUs of a model it needs R{MOVE_FROM}, which brings memory back to any of them"
    return Finding("parking", State.OFF, said, f"install R{MOVE_FROM} or newer: {DRIVER_PAGE}")


def _persistence(machine: Machine) -> Iterator[Finding]:
    off = [str(gpu.index) for gpu in _working(machine) if gpu.persistent is False]
    if off:
        said = f"off on GPU {', '.join(off)}: each first use wakes it, which takes seconds"
        yield Finding("persistence", State.OFF, said, "sudo systemctl enable --now nvidia-persistenced")
    else:
        yield Finding("persistence", State.OK, "GPUs stay awake")


def _health(machine: Machine) -> Iterator[Finding]:
    deaf = [str(gpu.index) for gpu in _working(machine) if not gpu.events]
    if deaf:
        said = f"GPU {', '.join(deaf)} does not tell of errors as they happen; it is only looked at"
        yield Finding("health", State.OFF, said)
    else:
        yield Finding("health", State.OK, "errors are told as they happen")


def _whose(machine: Machine) -> Iterator[Finding]:
    if machine.pid_namespace:
        said = "this process sees only its container's processes, the driver numbers those of the machine"
        yield Finding(
            "processes", State.BROKEN, said, "run the pool with the machine's processes (docker run --pid=host)"
        )
    else:
        yield Finding("processes", State.OK, "use of a GPU can be told to its notebook")


def _working(machine: Machine) -> list[Gpu]:
    return [gpu for gpu in machine.nvml.gpus if gpu.error is None]


def _divided(gpu: Gpu) -> bool:
    return gpu.mig is not None and gpu.mig[0] == 1


def _since(machine: Machine, release: int) -> bool:
    return machine.release is not None and machine.release >= release


def _driver_name(machine: Machine) -> str:
    return machine.nvml.driver or "unknown"


def _cuda_text(version: int | None) -> str:
    return "of an unknown version" if version is None else f"{version // 1000}.{version % 1000 // 10}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


_BASICS: tuple[Callable[[Machine], Iterator[Finding]], ...] = (_system, _driver, _gpus, _permissions)
_MECHANISMS: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
    _exclusive, _driver_limits, _closing, _overwriting, _mig, _mps, _parking, _health, _whose, _persistence,
)  # fmt: skip
_PARKING: tuple[Callable[[Machine], Finding | None], ...] = (
    _needs_driver, _needs_whole_gpus, _needs_bindings, _needs_cuda, _needs_its_own_kind,
)  # fmt: skip
