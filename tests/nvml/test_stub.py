"""The stub answers the real ``pynvml`` as a driver would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.nvml.machine import FakeMachine
from tests.nvml.stub import Caller, Refused, Stub
from tests.waiting import wait_until

GIB = 1024**3
(
    UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, TIMEOUT,
    FUNCTION_NOT_FOUND, GPU_IS_LOST, IN_USE, NO_DATA, INSUFFICIENT_RESOURCES,
) = (1, 2, 3, 4, 6, 9, 10, 13, 15, 19, 21, 23)  # fmt: skip
Build = Callable[..., FakeMachine]


class Session(Caller):
    """A caller with the few words that the tests below say often."""

    def refusal(self, code: str) -> int:
        with pytest.raises(Refused) as refused:
            self(code)
        return refused.value.number

    def use(self, machine: FakeMachine) -> None:
        """See another machine, with ``gpu`` for its first GPU."""
        self.see(machine)
        self("gpu = nvmlDeviceGetHandleByIndex(0)")


@pytest.fixture(scope="module")
def caller(nvml_stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    first = FakeMachine(tmp_path_factory.mktemp("machine") / "nvml", "1xL4")
    session = Session(nvml_stub.environment(first))
    yield session
    session.close()
    first.close()


@pytest.fixture
def ask(caller: Session) -> Iterator[Session]:
    yield caller
    caller("exec('while pynvml._nvmlLib_refcount: nvmlShutdown()')")


PROFILES = """
def profiles(gpu):
    found = {}
    for number in range(NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            info = nvmlDeviceGetGpuInstanceProfileInfo(gpu, number)
        except NVMLError_NotSupported:
            continue
        count = c_uint()
        nvmlDeviceGetGpuInstancePossiblePlacements(gpu, info.id, None, byref(count))
        places = (c_nvmlGpuInstancePlacement_t * count.value)()
        nvmlDeviceGetGpuInstancePossiblePlacements(gpu, info.id, places, byref(count))
        found[info.name.removeprefix("MIG ")] = dict(
            id=info.id, starts=[one.start for one in places], size=places[0].size, slices=info.sliceCount,
            most=info.instanceCount, multiprocessors=info.multiprocessorCount, memory_mib=info.memorySizeMB)
    return found

def create(gpu, profile, start, size):
    return nvmlDeviceCreateGpuInstanceWithPlacement(gpu, profile, byref(c_nvmlGpuInstancePlacement_t(start, size)))

def mig_device(instance, number):
    return nvmlComputeInstanceGetInfo(nvmlGpuInstanceCreateComputeInstance(instance, number)).device
"""


@pytest.fixture
def mig(ask: Session, fake_machine: Build) -> tuple[Session, FakeMachine]:
    """An A100 divided by MIG."""
    machine = fake_machine("1xA100-SXM4-80GB MIG")
    ask.use(machine)
    ask(PROFILES)
    return ask, machine


# --- what there is ----------------------------------------------------------------------------------------------------


def test_devices_have_names_uuids_and_indices(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("8xA100-SXM4-80GB")
    ask.use(machine)
    assert ask("nvmlDeviceGetCount()") == 8
    handles = "[nvmlDeviceGetHandleByIndex(index) for index in range(8)]"
    assert ask(f"[nvmlDeviceGetUUID(one) for one in {handles}]") == [gpu.uuid for gpu in machine.gpus]
    assert ask(f"[nvmlDeviceGetIndex(one) for one in {handles}]") == list(range(8))
    assert ask("nvmlDeviceGetName(gpu)") == "NVIDIA A100-SXM4-80GB"
    assert ask(f"nvmlDeviceGetIndex(nvmlDeviceGetHandleByUUID({machine.gpus[5].uuid!r}))") == 5
    bus = ask("nvmlDeviceGetPciInfo(nvmlDeviceGetHandleByIndex(3)).busId")
    assert ask(f"nvmlDeviceGetIndex(nvmlDeviceGetHandleByPciBusId(b{bus!r}))") == 3
    assert ask("nvmlDeviceGetCudaComputeCapability(gpu)") == [8, 0]
    assert ask("nvmlDeviceGetArchitecture(gpu)") == 7
    assert ask("nvmlSystemGetCudaDriverVersion()") == 13040
    assert ask.refusal("nvmlDeviceGetHandleByIndex(8)") == INVALID_ARGUMENT
    assert ask.refusal("nvmlDeviceGetHandleByUUID('GPU-of-another-machine')") == NOT_FOUND


def test_memory_info_adds_processes_and_the_driver(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xL4")
    ask.use(machine)
    before = ask("nvmlDeviceGetMemoryInfo(gpu)")
    machine.gpus[0].add_process(4_000_001, 3 * GIB)
    machine.gpus[0].set(memory_bytes=GIB)
    after = ask("nvmlDeviceGetMemoryInfo(gpu)")
    assert after["used"] - before["used"] == 4 * GIB
    assert after["used"] + after["free"] == after["total"] == before["total"]
    info = ask("nvmlDeviceGetMemoryInfo(gpu, version=nvmlMemory_v2)")
    assert info["used"] == 4 * GIB
    assert info["used"] + info["reserved"] == after["used"]


def test_running_processes_lists_any_number(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("2xL4")
    ask.use(machine)
    processes = "nvmlDeviceGetComputeRunningProcesses(gpu)"
    assert ask(processes) == []
    for number in range(40):
        machine.gpus[0].add_process(4_000_000 + number, number * 1024)
    machine.gpus[1].add_process(4_100_000, GIB)
    machine.gpus[0].add_process(4_200_000, GIB, by_mps=True)
    assert [(one["pid"], one["usedGpuMemory"]) for one in ask(processes)] == [
        (4_000_000 + number, number * 1024) for number in range(40)
    ]
    assert ask(processes)[0]["gpuInstanceId"] == 0xFFFFFFFF
    assert [one["pid"] for one in ask("nvmlDeviceGetMPSComputeRunningProcesses(gpu)")] == [4_200_000]
    machine.gpus[0].remove_process(4_000_000)
    assert len(ask(processes)) == 39


def test_running_processes_leaves_out_an_ended_process(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xL4")
    ask.use(machine)
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        wait_until(Path(f"/proc/{sleeper.pid}/cmdline").read_bytes, "the process has its name")
        machine.gpus[0].add_process(sleeper.pid, GIB)
        assert [one["pid"] for one in ask("nvmlDeviceGetComputeRunningProcesses(gpu)")] == [sleeper.pid]
        assert ask(f"nvmlSystemGetProcessName({sleeper.pid})") == "sleep"
        sleeper.send_signal(signal.SIGKILL)
        # It is a zombie until it is waited for, and has no memory from then on that it is one.
        wait_until(lambda: not ask("nvmlDeviceGetComputeRunningProcesses(gpu)"), "the driver noticed")
    assert ask.refusal(f"nvmlSystemGetProcessName({sleeper.pid})") == NOT_FOUND


def test_process_utilization_is_by_process(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xL4")
    ask.use(machine)
    for function in ("nvmlDeviceGetProcessUtilization", "nvmlDeviceGetProcessesUtilizationInfo"):
        assert ask.refusal(f"{function}(gpu, 0)") == NOT_FOUND
    machine.gpus[0].add_process(4_000_001, GIB, utilization=60, memory_utilization=20)
    machine.gpus[0].add_process(4_000_002, GIB, utilization=70)
    machine.gpus[0].add_process(4_000_003, GIB)
    for function in ("nvmlDeviceGetProcessUtilization", "nvmlDeviceGetProcessesUtilizationInfo"):
        samples = ask(f"{function}(gpu, 0)")
        assert [(one["pid"], one["smUtil"], one["memUtil"]) for one in samples] == [
            (4_000_001, 60, 20), (4_000_002, 70, 0)
        ]  # fmt: skip
        assert abs(samples[0]["timeStamp"] / 1e6 - time.time()) < 20
        assert ask.refusal(f"{function}(gpu, {samples[0]['timeStamp'] + 20_000_000})") == NOT_FOUND
    assert ask("nvmlDeviceGetUtilizationRates(gpu)") == {"gpu": 100, "memory": 20}


def test_total_energy_grows_with_power_and_time(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xL4")
    ask.use(machine)
    machine.gpus[0].set(power_w=1_000_000, temperature_c=71)
    assert ask("nvmlDeviceGetPowerUsage(gpu)") == 1_000_000_000
    assert ask("nvmlDeviceGetTemperature(gpu, NVML_TEMPERATURE_GPU)") == 71
    start, before_mj = time.monotonic(), ask("nvmlDeviceGetTotalEnergyConsumption(gpu)")
    time.sleep(0.02)
    after_mj, end = ask("nvmlDeviceGetTotalEnergyConsumption(gpu)"), time.monotonic()
    assert 0.02 * 1e9 <= after_mj - before_mj <= (end - start) * 1e9
    machine.gpus[0].set(power_w=0)
    assert (
        ask("nvmlDeviceGetTotalEnergyConsumption(gpu)") == ask("nvmlDeviceGetTotalEnergyConsumption(gpu)") >= after_mj
    )
    assert ask("nvmlDeviceGetFieldValues(gpu, [83])[0].value.ullVal") >= after_mj


def test_ecc_errors_remapped_rows_and_recovery_action_are_reported(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xH100-80GB, 1xT4")
    ask.use(machine)
    machine.gpus[0].set(remapped=(1, 2, True, False), ecc_corrected=7, ecc_uncorrected=3, pcie_kb_per_s=(11, 12))
    machine.gpus[0].need(2)
    assert ask("nvmlDeviceGetRemappedRows(gpu)") == [1, 2, 1, 0]
    assert [ask(f"nvmlDeviceGetTotalEccErrors(gpu, {kind}, 0)") for kind in (0, 1)] == [7, 3]
    assert [ask(f"nvmlDeviceGetPcieThroughput(gpu, {way})") for way in (0, 1)] == [11, 12]
    values = ask("nvmlDeviceGetFieldValues(gpu, [230, 199, 184, 12345])")
    assert [one["value"]["uiVal"] for one in values[:3]] == [2, 1, 1]
    assert [one["nvmlReturn"] for one in values] == [0, 0, 0, NOT_SUPPORTED]
    assert ask.refusal("nvmlDeviceGetRemappedRows(nvmlDeviceGetHandleByIndex(1))") == NOT_SUPPORTED


# --- MIG --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "multiprocessors"),
    [
        ("A100-SXM4-80GB", {"1g.10gb": 14, "2g.20gb": 28, "3g.40gb": 42, "4g.40gb": 56, "7g.80gb": 98}),
        ("H100-80GB", {"3g.40gb": 60, "7g.80gb": 132}),
        ("H200-141GB", {"7g.141gb": 132}),
    ],
)
def test_profiles_and_placements_are_those_of_the_models(
    ask: Session, fake_machine: Build, model: str, multiprocessors: dict[str, int]
) -> None:
    ask.use(fake_machine(f"1x{model}"))
    ask(PROFILES)
    found = ask("profiles(gpu)")
    assert {one["id"]: (one["starts"], one["size"]) for one in found.values()} == {
        19: ([0, 1, 2, 3, 4, 5, 6], 1),
        20: ([0, 1, 2, 3, 4, 5, 6], 1),
        15: ([0, 2, 4, 6], 2),
        14: ([0, 2, 4], 2),
        9: ([0, 4], 4),
        5: ([0], 4),
        0: ([0], 8),
    }
    assert {name: found[name]["multiprocessors"] for name in multiprocessors} == multiprocessors
    assert ask("nvmlDeviceGetGpuInstanceProfileInfoById(gpu, 9).sliceCount") == 3
    assert ask.refusal("nvmlDeviceGetGpuInstanceProfileInfo(gpu, NVML_GPU_INSTANCE_PROFILE_COUNT)") == INVALID_ARGUMENT


def test_mig_mode_of_a_model_without_mig_is_not_supported(ask: Session, fake_machine: Build) -> None:
    ask.use(fake_machine("2xL4"))
    assert ask.refusal("nvmlDeviceGetMigMode(gpu)") == NOT_SUPPORTED
    assert ask.refusal("nvmlDeviceSetMigMode(gpu, 1)") == NOT_SUPPORTED
    assert ask.refusal("nvmlDeviceGetGpuInstanceProfileInfo(gpu, 0)") == NOT_SUPPORTED
    assert ask("nvmlDeviceGetMaxMigDeviceCount(gpu)") == 0


def test_gpu_instance_is_created_found_and_destroyed(mig: tuple[Session, FakeMachine]) -> None:
    ask, machine = mig
    ask("instance = create(gpu, 9, 4, 4)")
    info = ask("nvmlGpuInstanceGetInfo(instance)")
    assert (info["profileId"], info["placement"]) == (9, {"start": 4, "size": 4})
    ask("device = mig_device(instance, NVML_COMPUTE_INSTANCE_PROFILE_3_SLICE)")
    uuid = ask("nvmlDeviceGetUUID(device)")
    assert uuid == machine.gpus[0].instances[0].uuid
    assert uuid.startswith("MIG-")
    assert ask("nvmlDeviceGetName(device)") == "NVIDIA A100-SXM4-80GB MIG 3g.40gb"
    assert ask("nvmlDeviceGetGpuInstanceId(device)") == info["id"]
    assert ask("nvmlDeviceGetComputeInstanceId(device)") == 0
    assert ask("nvmlDeviceIsMigDeviceHandle(device)") == 1
    assert ask("nvmlDeviceIsMigDeviceHandle(gpu)") == 0
    assert ask("nvmlDeviceGetUUID(nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0))") == uuid
    assert ask("nvmlDeviceGetUUID(nvmlDeviceGetHandleByUUID(nvmlDeviceGetUUID(device)))") == uuid
    parent = "nvmlDeviceGetUUID(nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device))"
    assert ask(parent) == machine.gpus[0].uuid
    attributes = ask("nvmlDeviceGetAttributes(device)")
    assert (attributes["multiprocessorCount"], attributes["gpuInstanceSliceCount"]) == (42, 3)
    assert ask("nvmlDeviceGetMemoryInfo(device).total") == attributes["memorySizeMB"] * 1024 * 1024
    assert ask.refusal("nvmlGpuInstanceDestroy(instance)") == IN_USE
    machine.gpus[0].add_process(4_000_001, GIB, instance=machine.gpus[0].instances[0])
    ask("part = nvmlGpuInstanceGetComputeInstanceById(instance, 0)")
    assert ask.refusal("nvmlComputeInstanceDestroy(part)") == IN_USE
    machine.gpus[0].remove_process(4_000_001)
    ask("nvmlComputeInstanceDestroy(part)")
    ask("nvmlGpuInstanceDestroy(instance)")
    assert machine.gpus[0].instances == []
    assert ask.refusal(f"nvmlDeviceGetHandleByUUID({uuid!r})") == NOT_FOUND
    assert ask.refusal("nvmlDeviceGetMemoryInfo(device)") == NOT_FOUND
    assert ask.refusal("nvmlGpuInstanceGetInfo(instance)") == NOT_FOUND
    assert ask.refusal("nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0)") == NOT_FOUND


def test_overlapping_placement_is_refused(mig: tuple[Session, FakeMachine]) -> None:
    ask, _ = mig
    ask("create(gpu, 9, 4, 4)")
    for profile, start, size in ((9, 4, 4), (0, 0, 8), (14, 4, 2), (19, 6, 1), (15, 6, 2)):
        assert ask.refusal(f"create(gpu, {profile}, {start}, {size})") == INSUFFICIENT_RESOURCES
    for profile, more in {19: 4, 20: 1, 15: 2, 14: 2, 9: 1, 5: 1, 0: 0}.items():
        assert ask(f"nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, {profile})") == more
    assert ask.refusal("create(gpu, 9, 2, 4)") == INVALID_ARGUMENT
    assert ask.refusal("create(gpu, 9, 0, 3)") == INVALID_ARGUMENT
    assert ask.refusal("create(gpu, 4, 0, 4)") == NOT_SUPPORTED


def test_creation_without_a_placement_takes_the_first_free_one(mig: tuple[Session, FakeMachine]) -> None:
    ask, machine = mig
    for profile in (19, 19, 14):
        ask(f"nvmlDeviceCreateGpuInstance(gpu, {profile})")
    assert [one.start for one in machine.gpus[0].instances] == [0, 1, 2]
    assert ask.refusal("nvmlDeviceCreateGpuInstance(gpu, 5)") == INSUFFICIENT_RESOURCES
    ask("nvmlDeviceCreateGpuInstance(gpu, 20)")
    assert ask.refusal("nvmlDeviceCreateGpuInstance(gpu, 20)") == INSUFFICIENT_RESOURCES  # one media extension a card
    ask("instances, count = (c_nvmlGpuInstance_t * 7)(), c_uint()")
    ask("nvmlDeviceGetGpuInstances(gpu, 19, instances, byref(count))")
    assert ask("[nvmlGpuInstanceGetInfo(one).placement.start for one in instances[:count.value]]") == [0, 1]


def test_compute_instances_share_the_memory_of_their_gpu_instance(mig: tuple[Session, FakeMachine]) -> None:
    ask, machine = mig
    ask("instance = create(gpu, 9, 0, 4)")
    one = ask("nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE, 0)")
    assert (one["name"], one["multiprocessorCount"], one["instanceCount"]) == ("MIG 1c.3g.40gb", 14, 3)
    assert ask.refusal("nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, 3, 0)") == NOT_SUPPORTED
    ask("first, second = mig_device(instance, 0), mig_device(instance, 0)")
    assert ask("nvmlGpuInstanceGetComputeInstanceRemainingCapacity(instance, 0)") == 1
    assert ask.refusal("mig_device(instance, 2)") == INSUFFICIENT_RESOURCES
    machine.gpus[0].add_process(4_000_001, GIB, instance=machine.gpus[0].instances[0])
    assert ask("nvmlDeviceGetMemoryInfo(first).used") == ask("nvmlDeviceGetMemoryInfo(second).used") == GIB
    assert [one["pid"] for one in ask("nvmlDeviceGetComputeRunningProcesses(first)")] == [4_000_001]
    assert ask("nvmlDeviceGetComputeRunningProcesses(second)") == []
    assert len(set(machine.gpus[0].instances[0].uuids)) == 2


def test_uuid_of_a_mig_device_is_constant_and_unique(ask: Session, fake_machine: Build) -> None:
    remade = "exec('''for part in (c,): nvmlComputeInstanceDestroy(part)\nnvmlGpuInstanceDestroy(g)''')"
    for repeat in (False, True):
        machine = fake_machine("1xH200-141GB MIG", uuids_repeat=repeat)
        ask.use(machine)
        ask(PROFILES)
        uuids = []
        for _ in range(2):
            ask("g = create(gpu, 19, 3, 1)")
            ask("c = nvmlGpuInstanceCreateComputeInstance(g, 0)")
            uuids.append(machine.gpus[0].instances[0].uuid)
            ask(remade)
        assert (uuids[0] == uuids[1]) is repeat
        ask("nvmlShutdown()")


def test_instance_of_another_program_appears_and_disappears(mig: tuple[Session, FakeMachine]) -> None:
    ask, machine = mig
    foreign = machine.gpus[0].create_instance("2g.20gb", 4)
    ask(f"device = nvmlDeviceGetHandleByUUID({foreign.uuid!r})")
    assert ask("nvmlDeviceGetName(device)").endswith("MIG 2g.20gb")
    assert ask.refusal("create(gpu, 9, 4, 4)") == INSUFFICIENT_RESOURCES
    machine.gpus[0].add_process(4_000_001, GIB, instance=foreign)
    assert [one["pid"] for one in ask("nvmlDeviceGetComputeRunningProcesses(device)")] == [4_000_001]
    foreign.destroy()
    machine.gpus[0].create_instance("2g.20gb", 4)  # in its place; the handle is still that of the first
    assert ask.refusal("nvmlDeviceGetComputeRunningProcesses(device)") == NOT_FOUND
    assert ask("nvmlDeviceGetComputeRunningProcesses(gpu)") == []


def test_utilization_of_a_divided_gpu_is_not_supported(mig: tuple[Session, FakeMachine]) -> None:
    ask, _ = mig
    ask("create(gpu, 0, 0, 8)")
    ask("device = mig_device(nvmlDeviceGetGpuInstanceById(gpu, 0), NVML_COMPUTE_INSTANCE_PROFILE_7_SLICE)")
    for handle in ("gpu", "device"):
        assert ask.refusal(f"nvmlDeviceGetUtilizationRates({handle})") == NOT_SUPPORTED
        assert ask.refusal(f"nvmlDeviceGetProcessUtilization({handle}, 0)") == NOT_SUPPORTED
    assert ask.refusal("nvmlDeviceGetPowerUsage(device)") == NOT_SUPPORTED
    assert ask.refusal("nvmlGpmSampleGet(device, nvmlGpmSampleAlloc())") == NOT_SUPPORTED


def test_set_mig_mode_is_refused_while_the_gpu_is_in_use(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xA100-SXM4-80GB")
    ask.use(machine)
    ask(PROFILES)
    assert ask.refusal("create(gpu, 19, 0, 1)") == NOT_SUPPORTED
    machine.gpus[0].add_process(4_000_001, GIB)
    assert ask("nvmlDeviceSetMigMode(gpu, 1)") == IN_USE
    assert ask("nvmlDeviceGetMigMode(gpu)") == [0, 1]
    machine.gpus[0].remove_process(4_000_001)
    machine.gpus[0].set(mig_needs_reset=True)
    assert ask("nvmlDeviceSetMigMode(gpu, 1)") == 16
    machine.gpus[0].set(mig_needs_reset=False)
    assert ask("nvmlDeviceSetMigMode(gpu, 1)") == 0
    assert ask("nvmlDeviceGetMigMode(gpu)") == [1, 1]
    ask("create(gpu, 19, 0, 1)")
    assert ask("nvmlDeviceSetMigMode(gpu, 0)") == IN_USE
    machine.gpus[0].switch_mig(on=False)
    assert ask("nvmlDeviceGetMigMode(gpu)") == [0, 0]


def test_mig_calls_without_privilege_are_refused(ask: Session, fake_machine: Build) -> None:
    ask.use(fake_machine("1xA100-SXM4-80GB MIG", privileged=False))
    ask(PROFILES)
    for code in (
        "create(gpu, 19, 0, 1)", "nvmlDeviceSetMigMode(gpu, 0)", "nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, 19)",
        "nvmlDeviceGetComputeRunningProcesses(gpu)", "nvmlDeviceSetComputeMode(gpu, 3)",
    ):  # fmt: skip
        assert ask.refusal(code) == NO_PERMISSION
    assert ask("nvmlDeviceGetGpuInstanceProfileInfo(gpu, 0).id") == 19


# --- GPM --------------------------------------------------------------------------------------------------------------

GPM = """
def measured(apart_s):
    samples = [nvmlGpmSampleAlloc(), nvmlGpmSampleAlloc()]
    nvmlGpmMigSampleGet(gpu, instance_id, samples[0])
    time.sleep(apart_s)
    nvmlGpmMigSampleGet(gpu, instance_id, samples[1])
    asked = c_nvmlGpmMetricsGet_t(NVML_GPM_METRICS_GET_VERSION, 3, *samples)
    for place, metric in enumerate((NVML_GPM_METRIC_SM_UTIL, NVML_GPM_METRIC_DRAM_BW_UTIL, 164)):
        asked.metrics[place].metricId = metric
    try:
        nvmlGpmMetricsGet(asked)
    finally:
        for sample in samples:
            nvmlGpmSampleFree(sample)
    return [(one.nvmlReturn, one.value) for one in asked.metrics[:3]]
"""


def test_gpm_of_a_mig_instance_is_supported_from_hopper_on(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xH100-80GB MIG, 1xA100-SXM4-80GB")
    ask.use(machine)
    ask("import time")
    ask(GPM)
    instance = machine.gpus[0].create_instance("3g.40gb", 4)
    machine.gpus[0].add_process(4_000_001, GIB, utilization=35, memory_utilization=15, instance=instance)
    ask(f"instance_id = {instance.id}")
    assert ask("nvmlGpmQueryDeviceSupport(gpu).isSupportedDevice") == 1
    assert ask("nvmlGpmQueryDeviceSupport(nvmlDeviceGetHandleByIndex(1)).isSupportedDevice") == 0
    assert ask("measured(0.11)") == [[0, 35.0], [0, 15.0], [NOT_SUPPORTED, 0.0]]
    assert ask.refusal("measured(0)") == NO_DATA
    ask(f"instance_id = {instance.id + 1}")
    assert ask.refusal("measured(0)") == NOT_FOUND


# --- memory limits ----------------------------------------------------------------------------------------------------


def test_memory_limit_applies_to_a_cgroup(ask: Session, fake_machine: Build, tmp_path: Path) -> None:
    machine = fake_machine("1xL4")
    ask.use(machine)
    group = tmp_path / "lease"
    (group / "leaf").mkdir(parents=True)
    ask(f"group = {str(group)!r}.encode()")
    ask("def limits(): l = c_nvmlGetMemoryLimits_v1_t(group); nvmlDeviceGetMemoryLimits_v1(gpu, l); return l")
    most = 2**64 - 1
    assert ask("(limits().softLimit, limits().hardLimit, limits().currentUsed)") == [0, most, 0]
    ask("nvmlDeviceSetMemoryLimits_v1(gpu, c_nvmlSetMemoryLimits_v1_t(group, 0, 5 << 30))")
    machine.gpus[0].add_process(4_000_001, GIB, cgroup=group)
    machine.gpus[0].add_process(4_000_002, GIB, cgroup=group / "leaf")
    machine.gpus[0].add_process(4_000_003, GIB, cgroup=tmp_path / "lease-of-another")
    assert ask("(limits().softLimit, limits().hardLimit, limits().currentUsed)") == [0, 5 * GIB, 2 * GIB]
    assert machine.limits() == {(machine.gpus[0].uuid, str(group)): (0, 5 * GIB)}
    ask("nvmlDeviceSetMemoryLimits_v1(gpu, c_nvmlSetMemoryLimits_v1_t(group, 0, NVML_DEVICE_MEMORY_LIMIT_MAX))")
    assert machine.limits() == {}
    nowhere = "c_nvmlSetMemoryLimits_v1_t(group + b'/nowhere', 0, 1 << 30)"
    assert ask.refusal(f"nvmlDeviceSetMemoryLimits_v1(gpu, {nowhere})") == NOT_FOUND


def test_memory_limit_counts_the_cgroup_of_a_real_process(ask: Session, fake_machine: Build, tmp_path: Path) -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if own is None:
        pytest.skip("this process is in no cgroup of version 2")
    machine = fake_machine("1xL4", cgroup_root=tmp_path)
    ask.use(machine)
    group = Path(f"{tmp_path}{own}".rstrip("/"))
    group.mkdir(parents=True, exist_ok=True)
    machine.gpus[0].add_process(os.getpid(), GIB)
    ask(f"limit = c_nvmlGetMemoryLimits_v1_t({str(group)!r}.encode()); nvmlDeviceGetMemoryLimits_v1(gpu, limit)")
    assert ask("limit.currentUsed") == GIB


# --- events -----------------------------------------------------------------------------------------------------------


def test_events_reach_registered_sessions(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xH100-80GB MIG, 1xH100-80GB")
    ask.use(machine)
    machine.gpus[0].xid(13)  # no session listens yet
    ask("events = nvmlEventSetCreate()")
    assert ask("nvmlDeviceGetSupportedEventTypes(gpu)") & 0xC008 == 0xC008
    ask("nvmlDeviceRegisterEvents(gpu, nvmlEventTypeXidCriticalError, events)")
    assert ask.refusal("nvmlEventSetWait_v2(events, 0)") == TIMEOUT
    machine.gpus[1].xid(48)
    machine.gpus[0].need(1)
    machine.gpus[0].xid(79)
    instance = machine.gpus[0].create_instance("1g.10gb", 2)
    machine.gpus[0].xid(31, instance)
    events = [ask("nvmlEventSetWait_v2(events, 0)") for _ in range(2)]
    assert [(one["eventType"], one["eventData"], one["gpuInstanceId"]) for one in events] == [
        (8, 79, 0xFFFFFFFF), (8, 31, instance.id)
    ]  # fmt: skip
    assert ask.refusal("nvmlEventSetWait_v2(events, 0)") == TIMEOUT
    ask.send("nvmlEventSetWait_v2(events, 20000).eventData")
    machine.gpus[0].xid(94)
    assert ask.answer() == 94
    machine.gpus[0].lose()
    assert ask.refusal("nvmlEventSetWait_v2(events, 20000)") == GPU_IS_LOST
    ask("nvmlEventSetFree(events)")
    assert ask.refusal("nvmlEventSetWait_v2(events, 0)") == INVALID_ARGUMENT


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_lost_gpu_answers_errors_and_is_missing_in_later_sessions(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("3xL4")
    ask.use(machine)
    ask("last = nvmlDeviceGetHandleByIndex(2)")
    machine.gpus[0].lose()
    assert ask.refusal("nvmlDeviceGetMemoryInfo(gpu)") == GPU_IS_LOST
    assert ask.refusal("nvmlDeviceGetHandleByIndex(0)") == GPU_IS_LOST
    assert ask("nvmlDeviceGetCount(), nvmlDeviceGetIndex(last)") == [3, 2]
    ask("nvmlShutdown(); nvmlInit()")
    assert ask("nvmlDeviceGetCount(), nvmlDeviceGetIndex(last)") == [2, 1]
    assert ask.refusal(f"nvmlDeviceGetHandleByUUID({machine.gpus[0].uuid!r})") == NOT_FOUND
    machine.gpus[0].find()
    assert ask("nvmlDeviceGetCount()") == 3
    machine.gpus[1].vanish()
    assert ask.refusal(f"nvmlDeviceGetHandleByUUID({machine.gpus[1].uuid!r})") == NOT_FOUND
    assert ask("nvmlDeviceGetCount()") == 2


def test_function_fails_with_the_configured_error(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("2xL4")
    ask.use(machine)
    machine.fail("nvmlDeviceGetMemoryInfo", 999, gpu=machine.gpus[1], times=2)
    memory = "nvmlDeviceGetMemoryInfo(nvmlDeviceGetHandleByIndex({}))"
    assert ask(memory.format(0))
    assert [ask.refusal(memory.format(1)) for _ in range(2)] == [999, 999]
    assert ask(memory.format(1)) == ask(memory.format(0))
    machine.fail("*", 17)
    assert ask.refusal("nvmlDeviceGetCount()") == 17
    machine.lift()
    assert ask("nvmlDeviceGetCount()") == 2


def test_function_returns_the_configured_garbage(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xL4")
    ask.use(machine)
    machine.gpus[0].add_process(4_000_001, GIB)
    for function in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature", "nvmlDeviceGetComputeRunningProcesses_v3"):
        machine.garble(function)
    assert ask("nvmlDeviceGetMemoryInfo(gpu).used") == 2**64 - 1
    assert ask("nvmlDeviceGetTemperature(gpu, 0)") == 2**32 - 1
    (process,) = ask("nvmlDeviceGetComputeRunningProcesses(gpu)")
    assert (process["pid"], process["usedGpuMemory"]) == (2**32 - 1, None)


def test_call_hangs_until_released(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("2xL4")
    ask.use(machine)
    ask("import threading; other = nvmlDeviceGetHandleByIndex(1)")
    machine.hang("nvmlDeviceGetMemoryInfo", gpu=machine.gpus[0])
    machine.forget_calls()
    ask("hanging = threading.Thread(target=nvmlDeviceGetMemoryInfo, args=(gpu,), daemon=True); hanging.start()")
    wait_until(lambda: machine.calls().get("nvmlDeviceGetMemoryInfo"), "the call hangs")
    assert ask("nvmlDeviceGetMemoryInfo(other).total") == machine.gpus[1].model.memory_bytes  # others go on
    assert ask("hanging.is_alive()") == 1
    machine.lift()
    ask("hanging.join(20)")
    assert ask("hanging.is_alive()") == 0
    machine.hang(seconds=0.05)
    start = time.monotonic()
    ask("nvmlDeviceGetCount()")
    assert time.monotonic() - start > 0.04


def test_calls_are_counted_by_function(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xL4")
    ask.use(machine)
    machine.forget_calls()
    ask("[nvmlDeviceGetUtilizationRates(gpu) for _ in range(5)]")
    ask.refusal("nvmlDeviceGetMigMode(gpu)")
    assert machine.calls() == {"nvmlDeviceGetUtilizationRates": 5, "nvmlDeviceGetMigMode": 1}


def test_init_without_a_driver_fails(ask: Session, fake_machine: Build) -> None:
    machine = fake_machine("1xL4")
    machine.no_driver()
    with pytest.raises(Refused) as refused:
        ask.see(machine)
    assert refused.value.number == DRIVER_NOT_LOADED
    assert ask.refusal("nvmlDeviceGetCount()") == UNINITIALIZED
    machine.lift()
    ask.use(machine)
    assert ask("nvmlDeviceGetCount()") == 1


@pytest.mark.slow
def test_old_driver_lacks_newer_functions(nvml_stub: Stub, fake_machine: Build) -> None:
    machine = fake_machine("1xA100-SXM4-80GB", old_driver=True)
    ask = Session(nvml_stub.environment(machine))
    ask.use(machine)
    for code in (
        "nvmlDeviceSetMemoryLimits_v1(gpu, c_nvmlSetMemoryLimits_v1_t(b'/', 0, 1))", "nvmlGpmQueryDeviceSupport(gpu)",
        "nvmlDeviceGetMemoryLimits_v1(gpu, c_nvmlGetMemoryLimits_v1_t(b'/'))", "nvmlGpmSampleAlloc()",
        "nvmlDeviceGetProcessesUtilizationInfo(gpu, 0)", "nvmlDeviceGetGpuInstanceProfileInfoById(gpu, 0)",
    ):  # fmt: skip
        assert ask.refusal(code) == FUNCTION_NOT_FOUND
    assert ask("nvmlDeviceGetFieldValues(gpu, [230])[0].nvmlReturn") == NOT_SUPPORTED
    assert ask("nvmlDeviceGetMemoryInfo(gpu).total") == machine.gpus[0].model.memory_bytes
    assert ask("nvmlSystemGetDriverVersion()").startswith("515.")
    ask.close()


BUSY = """
from pynvml import *
nvmlInit()
gpu = nvmlDeviceGetHandleByIndex(0)
while True:
    nvmlDeviceGetMemoryInfo(gpu)
"""


@pytest.mark.slow
def test_process_killed_in_a_call_leaves_no_lock(nvml_stub: Stub, fake_machine: Build) -> None:
    machine = fake_machine("2xL4")
    environment = os.environ | nvml_stub.environment(machine)
    for _ in range(5):
        machine.forget_calls()
        with subprocess.Popen([sys.executable, "-c", BUSY], env=environment) as busy:
            wait_until(lambda: machine.calls().get("nvmlDeviceGetMemoryInfo", 0) > 1000, "calls are made")
            busy.kill()
    made = machine.calls()
    assert machine.calls() == made  # the lock is free, and no process counts any more
