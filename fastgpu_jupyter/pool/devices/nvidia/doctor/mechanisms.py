"""Findings about the mechanisms by which GPUs are shared, and about monitoring."""

from __future__ import annotations

from collections.abc import Iterator

from ...diagnosis import DoctorFinding, FindingState, HostFacts, count
from .basics import DRIVER_PAGE, RESTART, library_remedy
from .facts import NvidiaFacts

#: The driver's release from which on it enforces memory limits of control groups.
LIMITS_FROM = 615


def _exclusive(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    whole = [gpu for gpu in facts.working() if not gpu.divided]
    if whole:
        yield DoctorFinding("exclusive", FindingState.OK, f"{count(len(whole), 'GPU')} can be leased whole")
    else:
        said = "every GPU is divided by MIG, and leased by its instances"
        remedy = "jupyter fastgpu mig DEVICE off (shows first what that would disturb)"
        yield DoctorFinding("exclusive", FindingState.OFF, said, remedy)


def _driver_limits(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what = "memory limits"
    if not facts.since(LIMITS_FROM) or not any(gpu.memory_limits for gpu in facts.working()):
        since = f"the driver enforces limits from R{LIMITS_FROM} on, this is {facts.driver_name}"
        said = f"enforced by frameworks only: {since}"
        yield DoctorFinding(what, FindingState.OFF, said, f"install R{LIMITS_FROM} or newer: {DRIVER_PAGE}")
    elif host.cgroup != 2:
        said = "enforced by frameworks only: the driver needs control groups of version 2"
        remedy = "sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1"
        yield DoctorFinding(what, FindingState.OFF, said, f"{remedy}, and {RESTART}")
    elif not host.root:
        said = "enforced by frameworks only: root must set the driver's limits"
        yield DoctorFinding(what, FindingState.OFF, said, "sudo jupyter fastgpu pool --system")
    else:
        by = "the kernel's dmem controller" if host.dmem else "the driver itself"
        yield DoctorFinding(what, FindingState.OK, f"enforced by the driver, accounted by {by}")


def _overwriting(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what = "overwriting"
    if facts.libcuda:
        said = "GPU memory can be overwritten between leases, where Scrubbing.mode says so"
        yield DoctorFinding(what, FindingState.OK, said)
    else:
        said = "GPU memory cannot be overwritten between leases: CUDA's library libcuda.so.1 is not here"
        yield DoctorFinding(what, FindingState.OFF, said, library_remedy(host))


def _mig(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    capable = [gpu for gpu in facts.working() if gpu.mig is not None]
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


def _mps(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    if not facts.mps:
        said = "nvidia-cuda-mps-control was not found"
        yield DoctorFinding(
            "MPS", FindingState.OFF, said, "sudo apt-get install nvidia-cuda-mps (or your system's package)"
        )
        return
    able = 0
    for gpu in facts.working():
        if gpu.divided:
            yield DoctorFinding(
                "MPS", FindingState.OFF, f"GPU {gpu.index}: what is divided by MIG is leased by its instances"
            )
        elif gpu.mps is not None:
            why, remedy = gpu.mps
            yield DoctorFinding("MPS", FindingState.OFF, f"GPU {gpu.index}: {why}", remedy)
        else:
            able += 1
    if able:
        serves = "every user" if host.root else "this user only, as root every user"
        said = f"{facts.mps}; {count(able, 'GPU')} can serve {serves} by it where Sharing.mps is on"
        yield DoctorFinding("MPS", FindingState.OK, said)


def _processes(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    mute = [str(gpu.index) for gpu in facts.working() if gpu.lists_processes is False and not gpu.divided]
    if mute and not host.pid_namespace:
        said = (
            f"GPU {', '.join(mute)} lists no processes here: use of a part is not measured, what is parked must be "
            "seen by the memory in use, and after a lease a GPU is granted once its memory in use is what it was"
        )
        yield DoctorFinding("processes", FindingState.OFF, said)


def _persistence(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    off = [str(gpu.index) for gpu in facts.working() if gpu.persistent is False]
    if off:
        said = f"off on GPU {', '.join(off)}: each first use wakes it, which takes seconds"
        yield DoctorFinding("persistence", FindingState.OFF, said, "sudo systemctl enable --now nvidia-persistenced")
    else:
        yield DoctorFinding("persistence", FindingState.OK, "GPUs stay awake")


def _health(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    deaf = [str(gpu.index) for gpu in facts.working() if not gpu.events]
    if deaf:
        said = f"GPU {', '.join(deaf)} does not report errors as they happen; it is only checked regularly"
        yield DoctorFinding("health", FindingState.OFF, said)
    else:
        yield DoctorFinding("health", FindingState.OK, "errors are reported as they happen")


MECHANISMS = (_exclusive, _driver_limits, _overwriting, _mig, _mps)
MONITORING = (_health, _processes, _persistence)
