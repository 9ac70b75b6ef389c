"""Kinds of GPU: declared ones, NVIDIA's through a fake of NVML, and none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fastgpu_jupyter.core.model.entities import Enforcement, Health, LogicalGPU, Mechanism
from fastgpu_jupyter.errors import HostFault, InvalidRequest
from fastgpu_jupyter.pool.devices.catalog import OTHER_RATE_MICRO_PER_HOUR
from fastgpu_jupyter.pool.devices.driver import DeviceUsage, ListedProcesses, NotNow, SampledLease
from fastgpu_jupyter.pool.devices.nvidia import cuda_checkpoint as checkpoint
from fastgpu_jupyter.pool.devices.nvidia import driver as nvml
from fastgpu_jupyter.pool.devices.nvidia import memory_limits, parkability, processes, session
from fastgpu_jupyter.pool.devices.nvidia import parking as lease_memory
from fastgpu_jupyter.pool.devices.registration import DriverOptions
from fastgpu_jupyter.pool.devices.registry import CATALOG, HIDDEN_ENV
from fastgpu_jupyter.pool.devices.selection import NoDevices, select_driver
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.monitors.process_owners import DeviceAssignments, OwnershipResolver
from fastgpu_jupyter.pool.monitors.sampler import Sampler
from fastgpu_jupyter.units import GIB, MIB
from tests.pool.devices.nvidia.cuda_driver import FakeCuda, PlayedProcesses
from tests.refusals import refused
from tests.waiting import wait_until

GPU = LogicalGPU(
    "SIM-0-A100-80GB",
    80 * GIB,
    whole=True,
    mechanism=Mechanism.SIMULATED,
    enforcement=Enforcement.NONE,
    rate_micro_per_hour=1,
    generation=1,
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("2xA100-80GB", ["A100-80GB", "A100-80GB"]),
        ("a100-80gb, 2 x T4-16GB", ["A100-80GB", "T4-16GB", "T4-16GB"]),
        ("H100-80GB + L4-24GB", ["H100-80GB", "L4-24GB"]),
        ("1xH200-141GB L4-24GB", ["H200-141GB", "L4-24GB"]),
    ],
)
def test_parse_simulated_reads_counts_and_models(text: str, names: list[str]) -> None:
    assert CATALOG.parse_simulated(text) == names


@pytest.mark.parametrize("text", ["2xB52", "x", "0xT4-16GB", "9999xT4-16GB", "two T4-16GB", " , "])
def test_parse_simulated_of_an_unknown_term_shows_an_example(text: str) -> None:
    with refused(InvalidRequest, match="2xA100-80GB"):
        CATALOG.parse_simulated(text)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB"),
        ("NVIDIA H100 80GB HBM3", "H100-80GB"),
        ("NVIDIA H100 NVL", "H100-94GB"),
        ("NVIDIA H200", "H200-141GB"),
        ("Tesla T4", "T4-16GB"),
        ("NVIDIA A10", "A10-24GB"),
        ("NVIDIA L40S", "L40S-48GB"),
        ("NVIDIA GeForce RTX 4090", "RTX4090-24GB"),
        ("NVIDIA B200", "B200-180GB"),
        ("NVIDIA GB200", "GB200-186GB"),
        ("NVIDIA GH200 480GB", "GH200-96GB"),
        ("NVIDIA H20", "H20-96GB"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTXPRO6000-96GB"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000Ada-48GB"),
        ("NVIDIA L40", "L40-48GB"),
        ("NVIDIA A10G", "A10G-24GB"),
        ("NVIDIA L4", "L4-24GB"),
        ("NVIDIA GB10", "GB10-128GB"),
    ],
)
def test_rate_of_a_known_device_is_its_models_price(name: str, model: str) -> None:
    assert CATALOG.rate_of(name, {}) == CATALOG.models[model].rate_micro_per_hour
    assert CATALOG.rate_of(name, {model: 1.25}) == 1_250_000
    assert CATALOG.rate_of(name, {name: 0.5, model: 1.25}) == 500_000


def test_rate_of_an_unknown_device_is_the_default() -> None:
    assert CATALOG.rate_of("Voodoo 2", {}) == OTHER_RATE_MICRO_PER_HOUR


def test_simulated_driver_labels_its_devices_and_hides_real_ones() -> None:
    driver = SimulatedDriver("2xA100-80GB", {})
    specs, message = driver.inventory()
    assert [(spec.id, spec.simulated) for spec in specs] == [("SIM-0-A100-80GB", True), ("SIM-1-A100-80GB", True)]
    assert message is None
    assert driver.env(GPU) == {**HIDDEN_ENV, "FASTGPU_SIMULATED": "1"}
    assert HIDDEN_ENV["CUDA_VISIBLE_DEVICES"] == ""
    assert driver.health("SIM-0-A100-80GB") == (Health.HEALTHY, None)


@pytest.mark.slow
def test_simulated_driver_samples_the_process_tree_of_a_lease() -> None:
    driver = SimulatedDriver("1xA100-80GB", {})
    code = "import subprocess, sys; block = bytearray(60_000_000); subprocess.run([sys.executable, '-c', 'while 1: 1'])"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as running:
        try:
            subject = SampledLease("a", running.pid, GPU)
            usage = DeviceUsage(0, 0)

            def seen() -> bool:
                nonlocal usage
                time.sleep(0.2)  # what is sampled is the mean over the time since the sample before
                usage = driver.sample([subject]).leases["a"]
                return (usage[0] or 0) > 30 and (usage[1] or 0) > 60_000_000

            # The work is done by a child: a reading that saw only the process itself would stay near 0 %.
            wait_until(seen, lambda: f"the child's work is seen; the last sample is {usage}")
        finally:
            os.killpg(running.pid, 9)
    assert driver.sample([subject]).leases["a"] == DeviceUsage(0, 0)


class FakeNvml:
    """A fake of ``pynvml``: one GPU, and errors where a test asks for them."""

    NVML_ERROR_UNINITIALIZED, NVML_ERROR_DRIVER_NOT_LOADED = 1, 9

    class NVMLError(Exception):
        pass

    class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801 - the name is NVML's
        pass

    class NVMLError_GpuIsLost(NVMLError):  # noqa: N801
        pass

    class NVMLError_NotSupported(NVMLError):  # noqa: N801
        pass

    class NVMLError_FunctionNotFound(NVMLError):  # noqa: N801
        pass

    class NVMLLibraryMismatchError(Exception):
        pass

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.mig = 0
        self.pids: list[int] = []
        self.driver = "550.54.15"
        self.uuids = ["GPU-1234"]
        self.usage_bytes = 0
        self.unsupported: set[str] = set()

    def _call(self, name: str, value: Any) -> Any:
        if name in self.unsupported:
            raise self.NVMLError_NotSupported(f"{name} is not supported")
        if name in self.broken:
            raise self.NVMLError(f"{name} failed")
        return value

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": len(self.uuids),
            "nvmlDeviceGetHandleByIndex": lambda index: self.uuids[index],
            "nvmlDeviceGetHandleByUUID": "handle",
            "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetUUID": lambda handle: handle,
            "nvmlDeviceGetMigMode": [self.mig, self.mig],
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=80 * GIB, used=3 * GIB, free=77 * GIB),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=37),
            "nvmlDeviceGetMinorNumber": 3,
            "nvmlSystemGetDriverVersion": self.driver,
            "nvmlDeviceGetComputeRunningProcesses": [
                SimpleNamespace(pid=pid, usedGpuMemory=self.usage_bytes or pid * GIB) for pid in self.pids
            ],
        }
        if name not in answers:
            raise AttributeError(name)
        answer = answers[name]
        return lambda *args: self._call(name, answer(*args) if callable(answer) else answer)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    for module in (nvml, session, memory_limits, parkability, processes):
        monkeypatch.setattr(module, "pynvml", fake)
    return fake


def test_nvidia_driver_leases_a_gpu_whole_and_by_uuid(fake: FakeNvml) -> None:
    driver = select_driver("", DriverOptions())
    (gpu,), message = driver.inventory()
    assert (gpu.id, gpu.model, gpu.memory_bytes, gpu.mechanisms) == (
        "GPU-1234", "H100 80GB HBM3", 80 * GIB, (Mechanism.EXCLUSIVE, Mechanism.SHARED),
    )  # fmt: skip
    assert message is None
    granted = replace(GPU, device_id="GPU-1234", mechanism=Mechanism.EXCLUSIVE)
    assert driver.env(granted) == {"CUDA_VISIBLE_DEVICES": "GPU-1234", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert list(driver.device_nodes(granted)) == ["/dev/nvidia3", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    reading = Sampler(driver, OwnershipResolver("boot")).read(
        [SampledLease("a", 1, granted)], DeviceAssignments({}, {})
    )
    assert reading.sample.leases == {"a": DeviceUsage(37, 3 * GIB)}
    fake.pids = [7, 8]
    listed = driver.processes("GPU-1234")
    assert isinstance(listed, ListedProcesses)
    assert listed.processes == ((7, 7 * GIB), (8, 8 * GIB))
    driver.prepare(granted)


def test_env_of_a_part_has_the_limit_for_frameworks(fake: FakeNvml) -> None:
    driver = select_driver("", DriverOptions())
    driver.inventory()
    part = replace(
        GPU, device_id="GPU-1234", whole=False, memory_bytes=40 * GIB, mechanism=Mechanism.SHARED,
        enforcement=Enforcement.COOPERATIVE,
    )  # fmt: skip
    env = driver.env(part)
    assert env["FASTGPU_MEMORY_BYTES"] == str(40 * GIB)
    assert env["FASTGPU_CAP_BYTES"] == env["CUPY_GPU_MEMORY_LIMIT"] == str(40 * GIB - 512 * MIB)
    assert env["FASTGPU_CAP_FRACTION"] == env["XLA_PYTHON_CLIENT_MEM_FRACTION"] == f"{39.5 / 80:.4f}"
    by_driver = driver.env(replace(part, enforcement=Enforcement.DRIVER))
    assert "XLA_CLIENT_MEM_FRACTION" not in env, "with both names JAX uses the CPU"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in by_driver, "what it sees as all of the memory is its part already"
    small = driver.env(replace(part, memory_bytes=GIB))
    assert small["FASTGPU_CAP_BYTES"] == str(GIB * 7 // 8)


def test_inventory_without_sharing_offers_whole_gpus_only(fake: FakeNvml) -> None:
    driver = select_driver("", DriverOptions(share=False))
    assert driver.inventory()[0][0].mechanisms == (Mechanism.EXCLUSIVE,)


def test_sample_of_unsupported_counters_is_unknown_not_zero(fake: FakeNvml) -> None:
    driver = select_driver("", DriverOptions())
    driver.inventory()
    fake.broken = {"nvmlDeviceGetUtilizationRates"}
    assert driver.sample([]).devices == {"GPU-1234": DeviceUsage(None, 3 * GIB)}
    fake.broken = {"nvmlDeviceGetMemoryInfo"}
    assert driver.sample([]).devices == {"GPU-1234": DeviceUsage(37, None)}
    assert driver.health("GPU-1234")[0] is Health.FAULTY


def test_processes_of_a_gpu_that_does_not_answer_raises(fake: FakeNvml) -> None:
    driver = select_driver("", DriverOptions())
    driver.inventory()
    fake.broken = {"nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMemoryInfo"}
    with pytest.raises(HostFault, match="could not list the processes"):
        driver.processes("GPU-1234")
    with pytest.raises(HostFault, match="does not answer"):
        driver.prepare(replace(GPU, device_id="GPU-1234", mechanism=Mechanism.EXCLUSIVE))


def test_inventory_of_a_gpu_without_mig_is_complete(fake: FakeNvml) -> None:
    fake.unsupported = {"nvmlDeviceGetMigMode"}
    assert len(select_driver("", DriverOptions()).inventory()[0]) == 1


def test_inventory_leaves_out_a_gpu_with_an_unknown_mig_mode(fake: FakeNvml) -> None:
    fake.broken = {"nvmlDeviceGetMigMode"}
    specs, message = select_driver("", DriverOptions()).inventory()
    assert specs == []
    assert "GPU 0 is not leased" in str(message)


def test_select_driver_with_broken_gpus_simulates_nothing(fake: FakeNvml) -> None:
    fake.broken = {"nvmlInit"}
    driver = select_driver("", DriverOptions())
    with pytest.raises(HostFault, match=r"does not answer.*nvidia-smi"):
        driver.inventory()
    fake.broken = set()
    assert len(driver.inventory()[0]) == 1, "it is asked again"


def test_select_driver_without_a_driver_has_no_devices_and_says_why(
    fake: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise fake.NVMLError_LibraryNotFound

    monkeypatch.setattr(fake, "nvmlInit", refuse, raising=False)
    driver = select_driver("", DriverOptions())
    assert isinstance(driver, NoDevices)
    specs, message = driver.inventory()
    assert specs == []
    assert "no NVIDIA driver" in str(message)
    assert "--simulate" in str(message)
    with pytest.raises(HostFault, match="no NVIDIA driver"):
        driver.prepare(GPU)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Replace CUDA in this process by a fake."""
    fake = FakeCuda(os.getpid())
    monkeypatch.setattr(parkability, "CheckpointProcesses", lambda: _Played(fake))
    monkeypatch.setattr(lease_memory, "_uses_cuda", lambda _: True)
    return fake


class _Played(PlayedProcesses):
    """The calls are made in this process, and CUDA is initialized where the fake says so."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def probe(self) -> None:
        """Initialize CUDA."""
        super().__init__(lambda: self.cuda)

    def close(self) -> None:
        """There is no process to end."""


def test_park_and_resume_of_a_lease_move_its_memory(fake: FakeNvml, cuda: FakeCuda) -> None:
    fake.driver, fake.pids = "580.65.06", [os.getpid()]
    fake.usage_bytes = 5 * 2**20
    driver = select_driver("", DriverOptions())
    (gpu,), _ = driver.inventory()
    assert gpu.parkable
    granted = replace(GPU, device_id=gpu.id, mechanism=Mechanism.EXCLUSIVE)
    assert driver.park(granted, os.getpid(), lambda _: None) == 5 * 2**20
    assert cuda.states == {os.getpid(): checkpoint.CudaState.CHECKPOINTED}
    fake.pids = []  # the driver shows it no more
    driver.resume(granted, os.getpid(), (gpu.id,), 5 * 2**20)
    assert cuda.states == {os.getpid(): checkpoint.CudaState.RUNNING}


@pytest.mark.parametrize(
    ("version", "gpus", "parkable"),
    [("550.54.15", 1, False), ("garbage", 1, False), ("570.1", 1, True), ("570.1", 2, False), ("580.1", 2, True)],
)
def test_parkable_is_only_what_can_come_back(
    fake: FakeNvml, cuda: FakeCuda, version: str, gpus: int, parkable: bool
) -> None:
    fake.driver, fake.uuids = version, [f"GPU-{number}" for number in range(gpus)]
    driver = select_driver("", DriverOptions())
    specs, _ = driver.inventory()
    assert {spec.parkable for spec in specs} == {parkable}
    if not parkable:
        with pytest.raises(HostFault):
            driver.park(replace(GPU, device_id=specs[0].id), os.getpid(), lambda _: None)


def test_cuda_that_is_not_ready_at_first_is_tried_again(fake: FakeNvml, cuda: FakeCuda) -> None:
    fake.driver, cuda.refuse["cuInit"] = "580.65.06", "CUDA_ERROR_NO_DEVICE"
    driver = select_driver("", DriverOptions())
    assert isinstance(driver, nvml.NvidiaDriver)
    now_s = 0.0
    driver._parking._clock = lambda: now_s
    (gpu,), message = driver.inventory()
    assert (gpu.parkable, message) == (False, None)
    granted = replace(GPU, device_id=gpu.id)
    with pytest.raises(HostFault, match="CUDA_ERROR_NO_DEVICE"):
        driver.park(granted, os.getpid(), lambda _: None)
    with pytest.raises(NotNow, match="CUDA_ERROR_NO_DEVICE"):  # an earlier pool manager parked it
        driver.resume(granted, os.getpid(), (gpu.id,), 0)
    del cuda.refuse["cuInit"]
    assert not driver.inventory()[0][0].parkable, "it is not tried with each inventory"
    now_s = parkability.RETRY_S
    wait_until(lambda: driver.inventory()[0][0].parkable, "CUDA is initialized")
