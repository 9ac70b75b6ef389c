"""The diagnosis of this machine: its own findings and those of the device drivers."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Message
from ...units import GIB
from ..devices.diagnosis import DoctorFinding, DoctorVerdict, FindingState, HostFacts, command
from ..devices.registry import DRIVERS
from . import cluster, standby
from .gather import MachineFacts, ServerFacts


def examine(machine: MachineFacts) -> list[DoctorFinding]:
    """Return all findings, those first on which others depend."""
    findings = list(_system(machine.host))
    for driver in DRIVERS:
        findings += driver.doctor.findings(machine.host, machine.drivers[driver.name])
    if machine.cluster is not None and machine.cluster.view is not None:
        # The pool uses none of them, so that nothing is to be done about one that is not here.
        findings = [one._replace(remedy=None) if one.state is FindingState.OFF else one for one in findings]
    if verdict(machine) is DoctorVerdict.SERVES:
        findings += [*_device_access(machine.host), *_processes(machine.host)]
    if machine.cluster is not None:
        findings += cluster.findings(machine.cluster)
    findings += map(_kept_kernels, machine.servers)
    return findings if machine.standby is None else [*findings, *standby.findings(machine.standby)]


def verdict(machine: MachineFacts) -> DoctorVerdict:
    """Return whether GPUs can be leased here: one kind that answers, or a cluster that does, is enough."""
    if machine.cluster is not None and machine.cluster.serves:
        return DoctorVerdict.SERVES
    verdicts = [driver.doctor.verdict(machine.drivers[driver.name]) for driver in DRIVERS]
    order = (DoctorVerdict.SERVES, DoctorVerdict.BROKEN)
    return next((one for one in order if one in verdicts), DoctorVerdict.NO_DRIVER)


def _system(host: HostFacts) -> Iterator[DoctorFinding]:
    what, name = Message.of("doctor.system"), f"{host.system} {host.kernel}"
    if host.system != "Linux":
        yield DoctorFinding(what, FindingState.BROKEN, Message.of("doctor.no_linux", system=name))
        return
    memory_bytes = host.memory_bytes // GIB * GIB
    if host.root:
        yield DoctorFinding(
            what, FindingState.OK, Message.of("doctor.system_as_root", system=name, memory_bytes=memory_bytes)
        )
    else:
        yield DoctorFinding(
            what, FindingState.OK, Message.of("doctor.system_not_root", system=name, memory_bytes=memory_bytes)
        )


def _device_access(host: HostFacts) -> Iterator[DoctorFinding]:
    what, refusal = Message.of("doctor.device_files"), host.device_access_refusal
    if refusal is None:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.files_closable"))
    elif not host.root:
        remedy = command("sudo jupyter fastgpu pool --system --Access.restrict_device_files=True")
        yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.files_open", reason=refusal), remedy)
    else:
        yield DoctorFinding(what, FindingState.OFF, Message.of("doctor.files_not_closable", reason=refusal))


def _kept_kernels(server: ServerFacts) -> DoctorFinding:
    what, why = Message.of("kept.doctor", pid=str(server.pid)), server.ends_kernels
    if why is None:
        return DoctorFinding(what, FindingState.OK, Message.of("kept.doctor_ok", root=server.root))
    remedy = None if why.code == "kept.ends_with_container" else Message.of("kept.remedy_service")
    return DoctorFinding(what, FindingState.OFF, why, remedy)


def _processes(host: HostFacts) -> Iterator[DoctorFinding]:
    what = Message.of("doctor.processes")
    if host.pid_namespace:
        yield DoctorFinding(
            what,
            FindingState.BROKEN,
            Message.of("doctor.processes_in_container"),
            Message.of("doctor.run_with_processes"),
        )
    else:
        yield DoctorFinding(what, FindingState.OK, Message.of("doctor.processes_seen"))
