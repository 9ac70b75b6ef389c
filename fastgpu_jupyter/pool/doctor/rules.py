"""The diagnosis of this machine: its own findings and those of the device drivers."""

from __future__ import annotations

from collections.abc import Iterator

from ...units import GIB
from ..devices.diagnosis import DoctorFinding, DoctorVerdict, FindingState, HostFacts
from ..devices.registry import DRIVERS
from .gather import MachineFacts


def examine(machine: MachineFacts) -> list[DoctorFinding]:
    """Return all findings, those first on which others depend."""
    findings = list(_system(machine.host))
    for driver in DRIVERS:
        findings += driver.doctor.findings(machine.host, machine.drivers[driver.name])
    if verdict(machine) is DoctorVerdict.SERVES:
        findings += [*_device_access(machine.host), *_processes(machine.host)]
    return findings


def verdict(machine: MachineFacts) -> DoctorVerdict:
    """Return whether GPUs can be leased here: one kind that answers is enough."""
    verdicts = [driver.doctor.verdict(machine.drivers[driver.name]) for driver in DRIVERS]
    order = (DoctorVerdict.SERVES, DoctorVerdict.BROKEN)
    return next((one for one in order if one in verdicts), DoctorVerdict.NO_DRIVER)


def _system(host: HostFacts) -> Iterator[DoctorFinding]:
    name = f"{host.system} {host.kernel}"
    if host.system != "Linux":
        yield DoctorFinding("system", FindingState.BROKEN, f"{name}: FastGPU runs on Linux.")
        return
    memory = host.memory_bytes // GIB
    yield DoctorFinding(
        "system", FindingState.OK, f"{name}, {memory} GiB of memory, {'root' if host.root else 'not root'}"
    )


def _device_access(host: HostFacts) -> Iterator[DoctorFinding]:
    what, refusal = "device files", host.device_access_refusal
    if refusal is None:
        said = "those of other GPUs can be closed to kernels, where Access.restrict_device_files says so"
        yield DoctorFinding(what, FindingState.OK, said)
    elif not host.root:
        remedy = "sudo jupyter fastgpu pool --system --Access.restrict_device_files=True"
        yield DoctorFinding(what, FindingState.OFF, f"leases say theirs, and none is closed: {refusal}", remedy)
    else:
        yield DoctorFinding(what, FindingState.OFF, f"leases say theirs, and none can be closed: {refusal}")


def _processes(host: HostFacts) -> Iterator[DoctorFinding]:
    if host.pid_namespace:
        said = (
            "this process sees only its container's processes, the driver numbers those of the machine: whether the "
            "memory of a lease is free is judged by what is in use, and parts of a GPU are neither measured nor parked"
        )
        yield DoctorFinding(
            "processes", FindingState.BROKEN, said, "run the pool with the machine's processes (docker run --pid=host)"
        )
    else:
        yield DoctorFinding("processes", FindingState.OK, "use of a GPU can be told to its notebook")
