"""Findings about the mechanisms by which GPUs are shared, and about monitoring."""

from __future__ import annotations

from collections.abc import Iterator

from .....errors import Message
from ...diagnosis import DoctorFinding, FindingState, HostFacts, command
from .basics import DRIVER_PAGE, RESTART, gpu_subject, library_remedy
from .facts import NvidiaFacts

#: The driver's release from which on it enforces memory limits of control groups.
LIMITS_FROM = 615
_MIG_OFF = "jupyter fastgpu mig DEVICE off"


def _exclusive(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what, whole = Message.of("doctor.exclusive"), [gpu for gpu in facts.working() if not gpu.divided]
    if whole:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.whole_gpus", count=len(whole)))
    else:
        said, remedy = Message.of("doctor.all_divided"), Message.of("doctor.shows_first", command=_MIG_OFF)
        yield DoctorFinding(what, FindingState.OFF, said, remedy)


def _driver_limits(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what = Message.of("doctor.memory_limits")
    if not facts.since(LIMITS_FROM) or not any(gpu.memory_limits for gpu in facts.working()):
        said = Message.of("doctor.limits_from", release=str(LIMITS_FROM), driver=facts.driver_name)
        remedy = Message.of("doctor.install_release", release=str(LIMITS_FROM), page=DRIVER_PAGE)
        yield DoctorFinding(what, FindingState.OFF, said, remedy)
    elif host.cgroup != 2:
        said, remedy = Message.of("doctor.limits_need_cgroups"), Message.of("doctor.use_cgroups", restart=RESTART)
        yield DoctorFinding(what, FindingState.OFF, said, remedy)
    elif not host.root:
        remedy = command("sudo jupyter fastgpu pool --system")
        yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.limits_need_root"), remedy)
    elif host.dmem:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.limits_by_dmem"))
    else:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.limits_by_driver"))


def _overwriting(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what = Message.of("doctor.overwriting")
    if facts.libcuda:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.overwritable"))
    else:
        yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.not_overwritable"), library_remedy(host))


def _mig(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what, capable = Message.of("doctor.mig"), [gpu for gpu in facts.working() if gpu.mig is not None]
    if not capable:
        yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.no_mig"))
        return
    for gpu in capable:
        now, then = gpu.mig or (0, 0)
        name = gpu_subject(gpu)
        if now != then:
            mode = Message.of("mig_mode.on") if then else Message.of("mig_mode.off")
            said = Message.of("doctor.mig_after_reset", gpu=name, mode=mode)
            yield DoctorFinding(what, FindingState.OFF, said, command(f"sudo nvidia-smi --gpu-reset -i {gpu.index}"))
        elif not now:
            remedy = Message.of("doctor.shows_first", command=f"jupyter fastgpu mig {gpu.uuid or gpu.index} on")
            yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.mig_off", gpu=name), remedy)
        elif gpu.gpm:
            yield DoctorFinding(what, FindingState.OK, Message.of("doctor.mig_measured", gpu=name))
        else:
            yield DoctorFinding(what, FindingState.OK, Message.of("doctor.mig_not_measured", gpu=name))


def _mps(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what = Message.of("doctor.mps")
    if not facts.mps:
        said, remedy = Message.of("doctor.no_mps"), Message.of("doctor.install_mps")
        yield DoctorFinding(what, FindingState.OFF, said, remedy)
        return
    able = 0
    for gpu in facts.working():
        name = gpu_subject(gpu)
        if gpu.divided:
            yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.mps_divided", gpu=name))
        elif gpu.mps is not None:
            why, remedy_command = gpu.mps
            said = Message.of("doctor.of_gpu", gpu=name, reason=why)
            yield DoctorFinding(what, FindingState.OFF, said, command(remedy_command) if remedy_command else None)
        else:
            able += 1
    if able and host.root:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.mps_for_all", program=facts.mps, count=able))
    elif able:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.mps_for_user", program=facts.mps, count=able))


def _processes(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    mute = [str(gpu.index) for gpu in facts.working() if gpu.lists_processes is False and not gpu.divided]
    if mute and not host.pid_namespace:
        said = Message.of("doctor.processes_unlisted", gpus=", ".join(mute))
        yield DoctorFinding(Message.of("doctor.processes"), FindingState.OFF, said)


def _persistence(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what = Message.of("doctor.persistence")
    off = [str(gpu.index) for gpu in facts.working() if gpu.persistent is False]
    if off:
        said = Message.of("doctor.persistence_off", gpus=", ".join(off))
        yield DoctorFinding(what, FindingState.OFF, said, command("sudo systemctl enable --now nvidia-persistenced"))
    else:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.awake"))


def _health(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    what = Message.of("doctor.health")
    deaf = [str(gpu.index) for gpu in facts.working() if not gpu.events]
    if deaf:
        yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.health_checked", gpus=", ".join(deaf)))
    else:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.health_reported"))


MECHANISMS = (_exclusive, _driver_limits, _overwriting, _mig, _mps)
MONITORING = (_health, _processes, _persistence)
