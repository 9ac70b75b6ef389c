"""Findings on which everything else depends: the driver, its GPUs, and the permission to use them."""

from __future__ import annotations

from collections.abc import Iterator

from .....errors import Message
from ...diagnosis import DoctorFinding, FindingState, HostFacts, command
from .facts import GpuFacts, NvidiaFacts

DRIVER_PAGE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"
RESTART = Message.of("doctor.restart")


def _driver(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    nvml, what = facts.nvml, Message.of("doctor.driver")
    error = nvml.error or ""
    if nvml.driver is not None and nvml.error is None:
        yield DoctorFinding(what, FindingState.OK, _serving(nvml.driver, nvml.cuda))
        if facts.module is not None and facts.module != nvml.driver:
            said = Message.of("doctor.driver_versions", module=facts.module, library=nvml.driver)
            yield DoctorFinding(what, FindingState.BROKEN, said, RESTART)
    elif nvml.hangs:
        yield DoctorFinding(what, FindingState.BROKEN, Message.of("doctor.driver_hangs", reason=error), RESTART)
    elif nvml.library and facts.module is None:
        said = Message.of("doctor.driver_not_loaded", reason=error)
        yield DoctorFinding(what, FindingState.BROKEN, said, command("sudo modprobe nvidia"))
    elif nvml.library:
        remedy = RESTART if "mismatch" in error.lower() else command("nvidia-smi")
        yield DoctorFinding(what, FindingState.BROKEN, Message.of("doctor.no_answer", reason=error), remedy)
    elif facts.module is not None:
        said = Message.of("doctor.driver_no_library", module=facts.module, reason=error)
        yield DoctorFinding(what, FindingState.BROKEN, said, library_remedy(host))
    elif facts.pci_gpus:
        said = Message.of("doctor.gpus_without_driver", count=facts.pci_gpus)
        yield DoctorFinding(what, FindingState.BROKEN, said, Message.of("doctor.install", page=DRIVER_PAGE))
    else:
        remedy = command("jupyter fastgpu pool --simulate 2xA100-80GB")
        yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.no_gpu"), remedy)


def library_remedy(host: HostFacts) -> Message:
    """Return how the driver's libraries come here: a container gets them from the host."""
    if host.pid_namespace:
        return Message.of("doctor.container_toolkit")
    return Message.of("doctor.install_libraries", page=DRIVER_PAGE)


def gpu_subject(gpu: GpuFacts) -> Message:
    """Return the subject of a finding about one GPU."""
    return Message.of("doctor.gpu", index=str(gpu.index))


def _gpus(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    nvml, what = facts.nvml, Message.of("doctor.gpus")
    if nvml.error is not None:
        return
    if not nvml.gpus:
        remedy = command("nvidia-smi") if facts.pci_gpus else None
        yield DoctorFinding(what, FindingState.BROKEN, Message.of("doctor.no_gpu_shown"), remedy)
    for gpu in nvml.gpus:
        if gpu.error is None:
            yield DoctorFinding(gpu_subject(gpu), FindingState.OK, Message.of_text(f"{gpu.name}, {gpu.uuid}"))
        else:
            reset = command(f"sudo nvidia-smi --gpu-reset -i {gpu.index}")
            said = Message.of("doctor.no_answer", reason=gpu.error)
            yield DoctorFinding(gpu_subject(gpu), FindingState.BROKEN, said, reset)
    lost = (facts.pci_gpus or 0) - len(nvml.gpus)
    if nvml.gpus and lost > 0:
        said = Message.of("doctor.gpus_lost", count=lost)
        yield DoctorFinding(what, FindingState.BROKEN, said, command("sudo dmesg | grep -i xid"))


def _permissions(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what, closed = Message.of("doctor.permissions"), [node.path for node in facts.nodes if not node.usable]
    if facts.nvml.error is not None and not closed:
        return
    if closed:
        said = Message.of("doctor.files_forbidden", files=", ".join(closed))
        yield DoctorFinding(what, FindingState.BROKEN, said, Message.of("doctor.join_group"))
    elif not any(node.path.endswith("nvidia-uvm") for node in facts.nodes):
        said = Message.of("doctor.no_uvm")
        yield DoctorFinding(what, FindingState.OFF, said, command("sudo nvidia-modprobe -u"))
    else:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.files_usable", count=str(len(facts.nodes))))


def _serving(driver: str, cuda: int | None) -> Message:
    if cuda is None:
        return Message.of("doctor.driver_any_cuda", driver=driver)
    return Message.of("doctor.driver_serves", driver=driver, cuda=f"{cuda // 1000}.{cuda % 1000 // 10}")


BASICS = (_driver, _gpus, _permissions)
