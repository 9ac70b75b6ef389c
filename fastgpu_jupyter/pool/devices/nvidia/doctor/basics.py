"""Findings on which everything else depends: the driver, its GPUs, and the permission to use them."""

from __future__ import annotations

from collections.abc import Iterator

from ...diagnosis import DoctorFinding, FindingState, HostFacts, count
from .facts import NvidiaFacts

DRIVER_PAGE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"
RESTART = "restart the machine"


def _driver(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    nvml = facts.nvml
    if nvml.driver is not None and nvml.error is None:
        yield DoctorFinding("driver", FindingState.OK, f"{nvml.driver}, serves CUDA {_cuda_text(nvml.cuda)}")
        if facts.module is not None and facts.module != nvml.driver:
            said = f"the kernel still runs {facts.module}, the library is of {nvml.driver}"
            yield DoctorFinding("driver", FindingState.BROKEN, said, RESTART)
    elif nvml.hangs:
        yield DoctorFinding("driver", FindingState.BROKEN, f"it hangs: {nvml.error}", RESTART)
    elif nvml.library and facts.module is None:
        said = f"its library is there, but the kernel has not loaded it ({nvml.error})"
        yield DoctorFinding("driver", FindingState.BROKEN, said, "sudo modprobe nvidia")
    elif nvml.library:
        remedy = RESTART if "mismatch" in (nvml.error or "").lower() else "nvidia-smi"
        yield DoctorFinding("driver", FindingState.BROKEN, f"it does not answer: {nvml.error}", remedy)
    elif facts.module is not None:
        said = f"the kernel runs {facts.module}, but its library is not here ({nvml.error})"
        yield DoctorFinding("driver", FindingState.BROKEN, said, library_remedy(host))
    elif facts.pci_gpus:
        said = f"{count(facts.pci_gpus, 'NVIDIA GPU')} on the bus, and no driver"
        yield DoctorFinding("driver", FindingState.BROKEN, said, f"install one: {DRIVER_PAGE}")
    else:
        said = "none, and no NVIDIA GPU is seen"
        yield DoctorFinding("driver", FindingState.OFF, said, "jupyter fastgpu pool --simulate 2xA100-80GB")


def library_remedy(host: HostFacts) -> str:
    """Return how the driver's libraries come here: a container gets them from the host."""
    if host.pid_namespace:
        return "start this container with NVIDIA's container toolkit (docker run --gpus all)"
    return f"install the driver's libraries: {DRIVER_PAGE}"


def _gpus(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    nvml = facts.nvml
    if nvml.error is not None:
        return
    if not nvml.gpus:
        remedy = "nvidia-smi" if facts.pci_gpus else None
        yield DoctorFinding("GPUs", FindingState.BROKEN, "the driver answers, but shows no GPU", remedy)
    for gpu in nvml.gpus:
        if gpu.error is None:
            yield DoctorFinding(f"GPU {gpu.index}", FindingState.OK, f"{gpu.name}, {gpu.uuid}")
        else:
            reset = f"sudo nvidia-smi --gpu-reset -i {gpu.index}"
            yield DoctorFinding(f"GPU {gpu.index}", FindingState.BROKEN, f"it does not answer: {gpu.error}", reset)
    lost = (facts.pci_gpus or 0) - len(nvml.gpus)
    if nvml.gpus and lost > 0:
        said = f"{count(lost, 'GPU')} on the bus that the driver does not show"
        yield DoctorFinding("GPUs", FindingState.BROKEN, said, "sudo dmesg | grep -i xid")


def _permissions(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    closed = [node.path for node in facts.nodes if not node.usable]
    if facts.nvml.error is not None and not closed:
        return
    if closed:
        said = f"this user may not use {', '.join(closed)}"
        yield DoctorFinding("permissions", FindingState.BROKEN, said, "sudo usermod -aG video $USER, and log in again")
    elif not any(node.path.endswith("nvidia-uvm") for node in facts.nodes):
        said = "/dev/nvidia-uvm is missing: CUDA makes it when it starts, where it may"
        yield DoctorFinding("permissions", FindingState.OFF, said, "sudo nvidia-modprobe -u")
    else:
        yield DoctorFinding("permissions", FindingState.OK, f"this user may use all {len(facts.nodes)} device files")


def _cuda_text(version: int | None) -> str:
    return "of an unknown version" if version is None else f"{version // 1000}.{version % 1000 // 10}"


BASICS = (_driver, _gpus, _permissions)
