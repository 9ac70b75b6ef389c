"""The diagnosis of NVIDIA's driver: the facts that NVML, files and CUDA give, and the findings that follow."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from fastgpu_jupyter.cli.doctor import RenderedFinding, rendered
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.devices.diagnosis import DoctorVerdict, FindingState, HostFacts
from fastgpu_jupyter.pool.devices.nvidia.doctor import gather as gathering
from fastgpu_jupyter.pool.devices.nvidia.doctor import nvml_facts
from fastgpu_jupyter.pool.devices.nvidia.doctor.facts import DeviceNode, GpuFacts, NvidiaFacts, NvmlFacts
from fastgpu_jupyter.pool.devices.nvidia.doctor.gather import gather_facts
from fastgpu_jupyter.pool.devices.nvidia.doctor.parking import why_not_parkable
from fastgpu_jupyter.pool.doctor.gather import MachineFacts, gather
from fastgpu_jupyter.pool.doctor.rules import examine, verdict
from fastgpu_jupyter.units import GIB

GPU = GpuFacts(0, "NVIDIA H100", "GPU-1", mig=(0, 0), persistent=True, memory_limits=True, events=True, gpm=True)
NVML = NvmlFacts(driver="615.20", version="13.615", cuda=13040, gpus=(GPU,))
#: Everything is there.
WELL = MachineFacts(
    HostFacts("Linux", "6.14", root=True, cgroup=2, dmem=True, pid_namespace=False, memory_bytes=2**38),
    {
        "nvidia": NvidiaFacts(
            pci_gpus=1,
            module="615.20",
            nvml=NVML,
            nodes=(
                DeviceNode("/dev/nvidia0", usable=True),
                DeviceNode("/dev/nvidiactl", usable=True),
                DeviceNode("/dev/nvidia-uvm", usable=True),
            ),
            mps="/usr/bin/nvidia-cuda-mps-control",
            cuda_bindings="13.5.0",
        )
    },
)
#: No GPU, no driver.
BARE = MachineFacts(
    HostFacts("Linux", "6.1", root=False),
    {"nvidia": NvidiaFacts(pci_gpus=0, module=None, nvml=NvmlFacts(library=False, error="not found"))},
)


def changed(machine: MachineFacts, **changes: Any) -> MachineFacts:
    """The machine with other facts, about the host or about NVIDIA's driver."""
    host = {name: value for name, value in changes.items() if hasattr(machine.host, name)}
    facts = {name: value for name, value in changes.items() if name not in host}
    return MachineFacts(replace(machine.host, **host), {"nvidia": replace(machine.drivers["nvidia"], **facts)})


def with_nvml(**changes: Any) -> MachineFacts:
    return changed(WELL, nvml=replace(NVML, **changes))


def with_gpu(**changes: Any) -> MachineFacts:
    return with_nvml(gpus=(replace(GPU, **changes),))


def examined(machine: MachineFacts) -> list[RenderedFinding]:
    return [rendered(finding) for finding in examine(machine)]


def found(machine: MachineFacts, what: str) -> RenderedFinding:
    """The worst that is said of it."""
    findings = [finding for finding in examined(machine) if finding.subject == what]
    assert findings, [finding.subject for finding in examined(machine)]
    return max(findings, key=lambda finding: list(FindingState).index(FindingState(finding.state)))


def test_examine_of_a_complete_machine_finds_nothing_to_do() -> None:
    findings = examined(changed(WELL, nvml=replace(NVML, gpus=(replace(GPU, mig=None),))))
    assert {finding.subject for finding in findings if finding.state != FindingState.OK} == {"MIG"}
    assert {finding.subject for finding in findings} >= {
        "system", "driver", "GPU 0", "permissions", "exclusive", "memory limits", "MIG", "MPS", "parking", "health",
        "processes", "persistence",
    }  # fmt: skip
    assert verdict(WELL) is DoctorVerdict.SERVES


@pytest.mark.parametrize(
    ("machine", "state", "says", "remedy", "outcome"),
    [
        (BARE, FindingState.OFF, "no NVIDIA GPU is seen", "--simulate", DoctorVerdict.NO_DRIVER),
        (
            changed(BARE, pci_gpus=None),
            FindingState.OFF,
            "no NVIDIA GPU is seen",
            "--simulate",
            DoctorVerdict.NO_DRIVER,
        ),
        (
            changed(BARE, pci_gpus=2),
            FindingState.BROKEN,
            "2 NVIDIA GPUs on the bus, and no driver",
            "install",
            DoctorVerdict.BROKEN,
        ),
        (
            changed(BARE, module="580.1"),
            FindingState.BROKEN,
            "its library is not here",
            "libraries",
            DoctorVerdict.BROKEN,
        ),
        (
            changed(BARE, module="580.1", pid_namespace=True),
            FindingState.BROKEN,
            "its library is not here",
            "--gpus all",
            DoctorVerdict.BROKEN,
        ),
        (
            changed(BARE, nvml=NvmlFacts(error="Driver Not Loaded")),
            FindingState.BROKEN,
            "has not loaded it (Driver Not Loaded)",
            "modprobe",
            DoctorVerdict.BROKEN,
        ),
        (
            changed(WELL, nvml=NvmlFacts(error="Driver/library version mismatch")),
            FindingState.BROKEN,
            "does not answer: Driver/library version mismatch",
            "restart the machine",
            DoctorVerdict.BROKEN,
        ),
        (
            changed(WELL, nvml=NvmlFacts(error="Unknown Error")),
            FindingState.BROKEN,
            "does not answer",
            "nvidia-smi",
            DoctorVerdict.BROKEN,
        ),
        (
            changed(WELL, nvml=NvmlFacts(error="no answer within 15 seconds", hangs=True)),
            FindingState.BROKEN,
            "it hangs",
            "restart the machine",
            DoctorVerdict.BROKEN,
        ),
        (
            changed(WELL, module="580.1"),
            FindingState.BROKEN,
            "still runs 580.1",
            "restart the machine",
            DoctorVerdict.SERVES,
        ),
    ],
)
def test_driver_finding_names_the_cause_and_the_remedy(
    machine: MachineFacts, state: FindingState, says: str, remedy: str, outcome: DoctorVerdict
) -> None:
    finding = found(machine, "driver")
    assert finding.state == state
    assert says in finding.detail
    assert remedy in str(finding.remedy)
    assert verdict(machine) is outcome


def test_examine_of_a_silent_driver_leaves_out_mechanisms() -> None:
    assert "parking" not in {
        finding.subject for finding in examined(changed(WELL, nvml=NvmlFacts(error="Unknown Error")))
    }


@pytest.mark.parametrize(
    ("machine", "what", "state", "says", "remedy"),
    [
        (with_nvml(gpus=()), "GPUs", FindingState.BROKEN, "shows no GPU", "nvidia-smi"),
        (
            with_nvml(gpus=(GPU, GpuFacts(1, error="GPU is lost"))),
            "GPU 1",
            FindingState.BROKEN,
            "GPU is lost",
            "--gpu-reset -i 1",
        ),
        (changed(WELL, pci_gpus=3), "GPUs", FindingState.BROKEN, "2 GPUs on the bus that the driver", "dmesg"),
        (
            changed(WELL, nodes=(DeviceNode("/dev/nvidia0", usable=False),)),
            "permissions",
            FindingState.BROKEN,
            "may not use /dev/nvidia0",
            "usermod",
        ),
        (
            changed(WELL, nodes=(DeviceNode("/dev/nvidia0", usable=True),)),
            "permissions",
            FindingState.OFF,
            "nvidia-uvm",
            "modprobe -u",
        ),
        (with_gpu(mig=(1, 1)), "exclusive", FindingState.OFF, "divided by MIG", "mig DEVICE off"),
        (with_gpu(mig=(1, 1)), "parking", FindingState.OFF, "cannot be parked", None),
        (with_gpu(mig=(1, 1), gpm=False), "MIG", FindingState.OK, "not measured", None),
        (with_gpu(mig=(0, 1)), "MIG", FindingState.OFF, "after its next reset", "--gpu-reset"),
        (WELL, "MIG", FindingState.OFF, "switched off", "fastgpu mig"),
        (with_gpu(mig=None), "MIG", FindingState.OFF, "no GPU here can be divided", None),
        (with_nvml(driver="580.65"), "memory limits", FindingState.OFF, "from R615 on, this is 580.65", "install R615"),
        (with_gpu(memory_limits=False), "memory limits", FindingState.OFF, "from R615 on", "install R615"),
        (changed(WELL, cgroup=1), "memory limits", FindingState.OFF, "version 2", "unified_cgroup"),
        (changed(WELL, root=False), "memory limits", FindingState.OFF, "root", "--system"),
        (changed(WELL, mps=None), "MPS", FindingState.OFF, "not found", "nvidia-cuda-mps"),
        (WELL, "MPS", FindingState.OK, "1 GPU can serve every user by it where Sharing.mps is on", None),
        (changed(WELL, root=False), "MPS", FindingState.OK, "this user only", None),
        (with_gpu(mig=(1, 1)), "MPS", FindingState.OFF, "leased by its instances", None),
        (with_gpu(mps=("it is older than Volta", None)), "MPS", FindingState.OFF, "GPU 0: it is older", None),
        (with_gpu(mps=("its mode", "sudo nvidia-smi -c DEFAULT")), "MPS", FindingState.OFF, "its mode", "-c DEFAULT"),
        (with_nvml(driver="550.1"), "parking", FindingState.OFF, "R570 or newer, this is 550.1", "install R580"),
        (with_nvml(driver=None), "parking", FindingState.OFF, "this is unknown", "install R580"),
        (changed(WELL, cuda_bindings=None), "parking", FindingState.OFF, "cuda-bindings", "fastgpu-jupyter[park]"),
        (changed(WELL, cuda_error="CUDA says X"), "parking", FindingState.BROKEN, "CUDA says X", "--upgrade"),
        (with_nvml(driver="575.1"), "parking", FindingState.OK, "come back to the same GPU", None),
        (with_nvml(driver="575.1", gpus=(GPU, GPU)), "parking", FindingState.OFF, "several GPUs of a model", "R580"),
        (with_nvml(driver="580.1", gpus=(GPU, GPU)), "parking", FindingState.OK, "or another of its model", None),
        (
            changed(with_gpu(memory_bytes=80 * GIB), memory_bytes=128 * GIB),
            "parking",
            FindingState.OK,
            "a GPU has 80 GiB, and all parked leases together may take 64 GiB of host memory unless Parking.",
            None,
        ),
        (with_gpu(events=False), "health", FindingState.OFF, "only checked regularly", None),
        (
            changed(WELL, pid_namespace=True),
            "processes",
            FindingState.BROKEN,
            "its container's processes",
            "--pid=host",
        ),
        (with_gpu(persistent=False), "persistence", FindingState.OFF, "off on GPU 0", "persistenced"),
        (changed(WELL, system="Darwin"), "system", FindingState.BROKEN, "runs on Linux", None),
    ],
)
def test_findings_name_what_is_missing_and_the_remedy(
    machine: MachineFacts, what: str, state: FindingState, says: str, remedy: str | None
) -> None:
    finding = found(machine, what)
    assert finding.state == state
    assert says in finding.detail
    assert (remedy is None and finding.remedy is None) or str(remedy) in str(finding.remedy)


def test_verdict_with_one_answering_gpu_is_serves() -> None:
    assert verdict(with_nvml(gpus=(GpuFacts(0, error="GPU is lost"), GPU))) is DoctorVerdict.SERVES
    assert verdict(with_nvml(gpus=(GpuFacts(0, error="GPU is lost"),))) is DoctorVerdict.BROKEN


def test_why_not_parkable_of_a_complete_machine_is_none() -> None:
    assert why_not_parkable(WELL.host, WELL.drivers["nvidia"]) is None


def test_gather_reads_the_files_of_the_machine(tmp_path: Path) -> None:
    files = {
        "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
        "sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",  # its sound
        "sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n",
        "sys/bus/pci/devices/0000:02:00.0/class": "0x030000\n",
        "sys/module/nvidia/version": "580.65.06\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory dmem\n",
        "sys/fs/cgroup/dmem.capacity": "",
        "dev/nvidia0": "",
        "dev/nvidia-modeset": "",
        "dev/nvidiactl": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    host, facts = gather(tmp_path).host, gather_facts(tmp_path)
    assert (facts.pci_gpus, facts.module, host.cgroup, host.dmem) == (1, "580.65.06", 2, True)
    assert [Path(node.path).name for node in facts.nodes] == ["nvidia0", "nvidiactl"]
    assert all(node.usable for node in facts.nodes)
    empty = gather_facts(tmp_path / "nothing")
    assert (empty.pci_gpus, empty.module, empty.nodes) == (None, None, ())
    nothing = gather(tmp_path / "nothing").host
    assert (nothing.cgroup, nothing.pid_namespace) == (None, None)


def test_gather_does_not_wait_for_a_driver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(gathering, "ANSWER_S", 0.02)
    monkeypatch.setattr(nvml_facts, "read", stuck.wait)
    nvml = gather_facts(Path("/")).nvml
    stuck.set()
    assert (nvml.hangs, nvml.gpus) == (True, ())


def raising(number: int) -> Any:
    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(number)

    return refuse


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The answers of an NVML with one GPU, which a test changes."""
    answers: dict[str, Any] = {
        "Init": lambda: None,
        "Shutdown": lambda: None,
        "SystemGetDriverVersion": lambda: "580.65.06",
        "SystemGetNVMLVersion": lambda: "13.580",
        "SystemGetCudaDriverVersion_v2": lambda: 13000,
        "DeviceGetCount": lambda: 1,
        "DeviceGetHandleByIndex": lambda index: index,
        "DeviceGetName": lambda _: "NVIDIA H200",
        "DeviceGetUUID": lambda _: "GPU-1",
        "DeviceGetMemoryInfo": lambda _: SimpleNamespace(total=141 * GIB),
        "DeviceGetMigMode": lambda _: [0, 1],
        "DeviceGetPersistenceMode": lambda _: 1,
        "DeviceGetSupportedEventTypes": lambda _: pynvml.nvmlEventTypeXidCriticalError,
        "DeviceGetMemoryLimits_v1": raising(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND),
        "DeviceGetCudaComputeCapability": lambda _: [9, 0],
        "DeviceGetComputeMode": lambda _: 0,
        "DeviceGetComputeRunningProcesses": lambda _: [],
        "DeviceGetMPSComputeRunningProcesses": lambda _: [],
        "GpmQueryDeviceSupport": lambda _: SimpleNamespace(isSupportedDevice=1),
    }
    for name in list(answers):
        monkeypatch.setattr(pynvml, f"nvml{name}", lambda *args, name=name: answers[name](*args), raising=False)
    return answers


def test_read_returns_what_nvml_reports(fake_nvml: dict[str, Any]) -> None:
    gpu = GpuFacts(
        0,
        "NVIDIA H200",
        "GPU-1",
        None,
        (0, 1),
        persistent=True,
        memory_limits=False,
        events=True,
        gpm=True,
        memory_bytes=141 * GIB,
        lists_processes=True,
    )
    assert nvml_facts.read() == NvmlFacts(driver="580.65.06", version="13.580", cuda=13000, gpus=(gpu,))


@pytest.mark.parametrize(
    ("error", "hangs", "says"),
    [
        (pynvml.NVMLLibraryMismatchError("versions differ"), False, "versions differ"),
        (HostFault("late"), True, "no answer"),
    ],
)
def test_gather_tells_bindings_that_fail_from_a_driver_that_hangs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, hangs: bool, says: str
) -> None:
    def fail() -> NvmlFacts:
        raise error

    monkeypatch.setattr(nvml_facts, "read", fail)
    nvml = gather_facts(tmp_path).nvml
    assert nvml.hangs is hangs
    assert says in str(nvml.error)


def test_read_of_an_old_driver_leaves_values_unknown(fake_nvml: dict[str, Any]) -> None:
    fake_nvml.update(
        dict.fromkeys(
            (
                "DeviceGetMigMode",
                "GpmQueryDeviceSupport",
                "DeviceGetSupportedEventTypes",
                "DeviceGetMPSComputeRunningProcesses",
            ),
            raising(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND),
        )
    )
    [gpu] = nvml_facts.read().gpus
    assert gpu.mps is not None
    assert "R510 or newer" in render(gpu.mps[0])
    assert (gpu.error, gpu.mig, gpu.gpm, gpu.events) == (None, None, False, None)
    # A library that knows limits and has none for this group knows limits.
    fake_nvml["DeviceGetMemoryLimits_v1"] = raising(pynvml.NVML_ERROR_NOT_FOUND)
    assert nvml_facts.read().gpus[0].memory_limits


@pytest.mark.parametrize(
    ("name", "number", "library", "says"),
    [
        ("Init", pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, False, "not found"),
        ("Init", pynvml.NVML_ERROR_DRIVER_NOT_LOADED, True, "Driver Not Loaded"),
        ("DeviceGetCount", pynvml.NVML_ERROR_UNKNOWN, True, "Unknown"),
    ],
)
def test_read_of_a_silent_driver_has_its_error(
    fake_nvml: dict[str, Any], name: str, number: int, library: bool, says: str
) -> None:
    fake_nvml[name] = raising(number)
    nvml = nvml_facts.read()
    assert nvml.library is library
    assert says.lower() in str(nvml.error).lower()


def test_read_with_a_lost_gpu_has_the_others(fake_nvml: dict[str, Any]) -> None:
    def name(index: int) -> str:
        if index == 0:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return "NVIDIA H200"

    fake_nvml["DeviceGetCount"] = lambda: 2
    fake_nvml["DeviceGetName"] = name
    assert [gpu.error is None for gpu in nvml_facts.read().gpus] == [False, True]


def test_overwriting_needs_libcuda() -> None:
    assert found(WELL, "overwriting").state == FindingState.OK
    finding = found(changed(WELL, libcuda=False), "overwriting")
    assert (finding.state, "libcuda.so.1" in finding.detail, finding.remedy is None) == (FindingState.OFF, True, False)


def test_gather_finds_unified_control_groups_beside_version_1(tmp_path: Path) -> None:
    mounted = tmp_path / "sys/fs/cgroup"
    (mounted / "unified").mkdir(parents=True)
    assert gather(tmp_path).host.cgroup == 1
    (mounted / "unified/cgroup.controllers").touch()
    assert gather(tmp_path).host.cgroup == 2
