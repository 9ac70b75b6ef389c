"""The sampler: readings belong to the right lease, are never wrong, and a driver that hangs delays no other task."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fastgpu_jupyter.core.model.entities import Enforcement, Holder, LogicalGPU, Mechanism
from fastgpu_jupyter.pool.devices.driver import DeviceUsage, ProcessUsage, Sample, SampledLease, combine_usage
from fastgpu_jupyter.pool.devices.nvidia.counter_calls import UNSUPPORTED_S
from fastgpu_jupyter.pool.devices.nvidia.counters import PROCESSES_S, UTILIZATION_HOLDS_S, Counters
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.monitors import sampler as sampler_module
from fastgpu_jupyter.pool.monitors.process_owners import DeviceAssignments, OwnershipResolver
from fastgpu_jupyter.pool.monitors.sampler import Reading, Sampler
from fastgpu_jupyter.units import GIB

UNKNOWN = DeviceUsage(None, None)
NONE = DeviceAssignments({}, {})
ALL_ONES = 2**64 - 1


def gpu(*device_ids: str, whole: bool = False, generation: int = 1) -> LogicalGPU:
    return LogicalGPU(
        device_ids[0],
        GIB,
        whole=whole,
        mechanism=Mechanism.EXCLUSIVE if whole else Mechanism.SHARED,
        enforcement=Enforcement.NONE,
        rate_micro_per_hour=1,
        generation=generation,
        more_device_ids=device_ids[1:],
    )


class PlayedCounters:
    """A driver that says what a test wants."""

    def __init__(self) -> None:
        self.now = Sample()
        self.hangs: threading.Event | None = None
        self.raises: Exception | None = None

    def sample(self, subjects: Sequence[SampledLease]) -> Sample:
        if self.hangs:
            self.hangs.wait(30)
        if self.raises:
            raise self.raises
        return Sample(dict(self.now.devices), dict(self.now.leases), dict(self.now.processes))


def sampling() -> tuple[PlayedCounters, Sampler]:
    driver = PlayedCounters()
    return driver, Sampler(driver, OwnershipResolver("boot"))  # type: ignore[arg-type]


def me() -> Holder:
    return holder_of(os.getpid(), "boot")


def sharing() -> DeviceAssignments:
    """Two leases share a device: one is this process's, the other's holder does not exist here."""
    return DeviceAssignments({"a": me(), "idle": replace(me(), pid=1)}, {"gpu": ("idle", "a")})


# -- whose it is ------------------------------------------------------------------------------------------------------


def test_lease_on_a_shared_device_uses_what_its_processes_use() -> None:
    driver, sampler = sampling()
    mine, parent, gone = os.getpid(), os.getppid(), 2**22 - 1
    driver.now.devices = {"gpu": DeviceUsage(90, 30 * GIB, 1, 1)}
    driver.now.processes = {"gpu": [ProcessUsage(mine, 3 * GIB, 40), ProcessUsage(parent, 5 * GIB, 50)]}
    subjects = [SampledLease("a", mine, gpu("gpu")), SampledLease("idle", 1, gpu("gpu"))]
    sample, owned = sampler.read(subjects, sharing())
    assert sample.leases == {"a": DeviceUsage(40, 3 * GIB), "idle": DeviceUsage(0, 0)}  # no energy
    assert owned["gpu"].lease_of == {mine: "a"}
    assert [(one.holder.pid, one.memory_bytes) for one in owned["gpu"].foreign] == [(parent, 5 * GIB)]
    # One number that is missing makes the sum unknown, not smaller.
    driver.now.processes = {"gpu": [ProcessUsage(mine, None, 40)]}
    assert sampler.read(subjects, sharing()).sample.leases["a"] == DeviceUsage(40, None)
    driver.now.processes = {"gpu": [ProcessUsage(mine, GIB, None)]}
    assert sampler.read(subjects, sharing()).sample.leases["a"] == DeviceUsage(None, GIB)
    # A process that cannot be seen may be anybody's.
    driver.now.processes = {"gpu": [ProcessUsage(mine, GIB, 40), ProcessUsage(gone, GIB, 1)]}
    assert sampler.read(subjects, sharing()).sample.leases == {"a": UNKNOWN, "idle": UNKNOWN}
    driver.now.processes = {}
    assert sampler.read(subjects, sharing()).sample.leases == {"a": UNKNOWN, "idle": UNKNOWN}


def test_lease_of_whole_devices_has_their_usage_and_energy() -> None:
    driver, sampler = sampling()
    holders = {"a": me()}
    assignments = DeviceAssignments(holders, {})

    def energy(one: int | None, two: int | None, generation: int = 1) -> int | None:
        driver.now.devices = {"x": DeviceUsage(10, GIB, 100, one), "y": DeviceUsage(30, GIB, 200, two)}
        subject = SampledLease("a", 1, gpu("x", "y", whole=True, generation=generation))
        usage = sampler.read([subject], assignments).sample.leases["a"]
        assert usage[:3] == (20, 2 * GIB, 300)
        return usage.energy_millijoule

    assert energy(1000, 7000) == 0
    assert energy(1100, 7010) == 110
    assert energy(None, 7020) is None
    assert energy(1200, 7030) == 230  # what passed meanwhile is counted
    assert energy(5, 7040) == 240  # a driver that was reloaded begins at zero
    # It was parked meanwhile: what others took on its devices is not its own.
    assert energy(9000, 9000, generation=2) == 240
    assert energy(9001, 9000, generation=2) == 241
    holders.clear()
    assert energy(9002, 9000, generation=2) == 0  # forgotten with the lease


def test_usage_of_several_devices_is_unknown_if_one_is() -> None:
    assert combine_usage([DeviceUsage(10, 5, None, 3), DeviceUsage(20, 6, 7, 4)]) == DeviceUsage(15, 11, None, 7)
    assert combine_usage([DeviceUsage(None, 5), DeviceUsage(20, 6)]) == DeviceUsage(None, 11)
    assert combine_usage([]) == UNKNOWN


# -- a driver that hangs ----------------------------------------------------------------------------------------------


def silent_since_s(sampler: Sampler) -> float | None:
    """Return since when the driver is silent, as it is now; a type checker does not know that samples change it."""
    return sampler.silent_since_s


@pytest.mark.slow
def test_sampler_with_a_driver_that_hangs_recovers_when_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "ANSWER_S", 0.05)
    driver, sampler = sampling()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        assert await sampler.sample([], NONE) == Reading(Sample(), {})
        assert silent_since_s(sampler) is None
        driver.hangs, began_s = threading.Event(), loop.time()
        assert await sampler.sample([], NONE) is None
        since_s = silent_since_s(sampler)
        assert since_s is not None
        assert began_s <= since_s <= loop.time()
        assert await sampler.sample([], NONE) is None
        assert silent_since_s(sampler) == since_s  # the same silence, not a new one
        driver.now.devices = {"gpu": DeviceUsage(1, 2)}
        driver.hangs.set()
        monkeypatch.setattr(sampler_module, "ANSWER_S", 20)
        assert await sampler.sample([], NONE) == Reading(driver.now, {})
        assert silent_since_s(sampler) is None
        driver.raises = RuntimeError("bad bytes")
        with pytest.raises(RuntimeError, match="bad bytes"):  # a bug is not a silence, and nothing is known of now
            await sampler.sample([], NONE)
        assert silent_since_s(sampler) is not None
        driver.raises = None
        assert await sampler.sample([], NONE) == Reading(driver.now, {})

    asyncio.run(story())
    sampler.close()


# -- NVIDIA's counters ------------------------------------------------------------------------------------------------


class Nvml:
    """Plays the bindings: each function is an attribute that a test sets; one that raises refuses."""

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            super().__init__(value)
            self.value = value

    class NVMLError_FunctionNotFound(NVMLError):  # noqa: N801 - the name is NVML's
        pass

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=80 * GIB, used=3 * GIB),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=37),
            "nvmlDeviceGetPowerUsage": 250_000,
            "nvmlDeviceGetTotalEnergyConsumption": 10**9,
            "nvmlDeviceGetTemperature": 55,
            "nvmlDeviceGetComputeRunningProcesses": [],
        }

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.asked.append(name)
            answer = self.answers.get(name, self.NVMLError(3))
            if isinstance(answer, Exception):
                raise answer
            return answer(*args) if callable(answer) else answer

        if not name.startswith("nvml"):
            raise AttributeError(name)
        return call


class Played:
    def __init__(self) -> None:
        self.nvml, self.now_s = Nvml(), 1000.0
        self.counters = Counters(self.nvml, lambda: self.now_s)

    def device(self) -> DeviceUsage:
        return self.counters.device("gpu", "handle")

    def processes(self) -> list[ProcessUsage] | None:
        return self.counters.processes("gpu", "handle", utilization=True)


def pcie(sent: int, received: int, failed: int = 0) -> list[Any]:
    fields = [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(ullVal=number)) for number in (sent, received)]
    fields[1].nvmlReturn = failed
    return fields


def test_sampler_reads_what_a_device_supports() -> None:
    played = Played()
    assert played.device() == DeviceUsage(37, 3 * GIB, 250_000, 10**9, 55)
    played.nvml.answers["nvmlDeviceGetFieldValues"] = pcie(0, 0)
    played.now_s += UNSUPPORTED_S  # until then it is not asked for what it does not have
    assert played.device()[5:] == (None, None)  # a rate needs two readings
    played.now_s += 2
    played.nvml.answers["nvmlDeviceGetFieldValues"] = pcie(5000, 2000)
    assert played.device()[5:] == (2500, 1000)
    played.now_s += 1
    played.nvml.answers["nvmlDeviceGetFieldValues"] = pcie(10, 3000)  # it has begun again
    assert played.device()[5:] == (None, None)
    played.nvml.answers["nvmlDeviceGetFieldValues"] = pcie(20, 4000, failed=3)
    assert played.device()[5:] == (None, None)


@pytest.mark.parametrize(
    ("name", "garbage", "field"),
    [
        ("nvmlDeviceGetUtilizationRates", SimpleNamespace(gpu=101), 0),
        ("nvmlDeviceGetUtilizationRates", SimpleNamespace(gpu=2**32 - 1), 0),
        ("nvmlDeviceGetMemoryInfo", SimpleNamespace(total=80 * GIB, used=81 * GIB), 1),
        ("nvmlDeviceGetMemoryInfo", SimpleNamespace(total=80 * GIB, used=-1), 1),
        ("nvmlDeviceGetPowerUsage", 2**32 - 1, 2),
        ("nvmlDeviceGetTotalEnergyConsumption", ALL_ONES, 3),
        ("nvmlDeviceGetTemperature", 2**32 - 1, 4),
        ("nvmlDeviceGetTemperature", -1, 4),
        ("nvmlDeviceGetUtilizationRates", Nvml.NVMLError(15), 0),
        ("nvmlDeviceGetMemoryInfo", Nvml.NVMLError(999), 1),
    ],
)
def test_sampler_drops_impossible_readings(name: str, garbage: Any, field: int) -> None:
    played = Played()
    well = played.device()
    played.nvml.answers[name] = garbage
    assert played.device() == well._replace(**{well._fields[field]: None})


def test_sampler_does_not_repeat_unsupported_queries() -> None:
    played = Played()
    for name, error in (("nvmlDeviceGetPowerUsage", 13), ("nvmlDeviceGetTemperature", 15)):
        played.nvml.answers[name] = Nvml.NVMLError(error)
    for _ in range(5):
        played.device()
    # A function that is missing will be missing; a device that was lost for a moment may come back.
    assert played.nvml.asked.count("nvmlDeviceGetPowerUsage") == 1
    assert played.nvml.asked.count("nvmlDeviceGetTemperature") == 5
    played.now_s += UNSUPPORTED_S
    played.device()
    assert played.nvml.asked.count("nvmlDeviceGetPowerUsage") == 2


def process(pid: int, used: Any) -> Any:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def measured(pid: int, at_us: int, percent: int) -> Any:
    return SimpleNamespace(pid=pid, timeStamp=at_us, smUtil=percent)


def test_sampler_lists_processes_seldom_and_measures_each_time() -> None:
    played = Played()
    answers = played.nvml.answers
    answers["nvmlDeviceGetComputeRunningProcesses"] = [process(7, GIB), process(8, None), process(7, GIB)]
    answers["nvmlDeviceGetProcessUtilization"] = Nvml.NVMLError(
        6
    )  # no process computes: the driver reports it in this way
    played.device()
    assert played.processes() == [ProcessUsage(7, 2 * GIB, 0), ProcessUsage(8, None, 0)]
    answers["nvmlDeviceGetComputeRunningProcesses"] = []
    answers["nvmlDeviceGetProcessUtilization"] = [measured(7, 50, 30), measured(7, 90, 60), measured(9, 90, 5)]
    assert played.processes() == [ProcessUsage(7, 2 * GIB, 60), ProcessUsage(8, None, 0)]
    played.now_s += PROCESSES_S
    assert played.processes() == []
    assert played.nvml.asked.count("nvmlDeviceGetComputeRunningProcesses") == 2


def test_process_measurement_counts_once_and_is_kept_for_a_while() -> None:
    played = Played()
    answers, since = played.nvml.answers, list[int]()
    answers["nvmlDeviceGetComputeRunningProcesses"] = [process(7, GIB)]
    newest: list[Any] = [measured(7, 100, 80)]

    def measure(_: Any, since_us: int) -> Any:
        since.append(since_us)
        if not newest:
            raise Nvml.NVMLError(6)
        return newest

    def percent() -> int | None:
        found = played.processes()
        assert found
        return found[0].utilization_percent

    answers["nvmlDeviceGetProcessUtilization"] = measure
    assert percent() == 80
    newest.clear()
    played.now_s += UTILIZATION_HOLDS_S
    assert percent() == 80  # the driver measures no oftener
    played.now_s += 0.1
    assert percent() == 0
    newest.append(measured(7, 100, 80))  # an old one, given again
    assert percent() == 0
    newest.append(measured(7, 200, 101))
    assert percent() is None
    assert since == [0, 100, 100, 100, 100]
    answers["nvmlDeviceGetProcessUtilization"] = Nvml.NVMLError(3)
    assert percent() is None


def test_processes_that_cannot_be_listed_are_unknown() -> None:
    played = Played()
    played.nvml.answers["nvmlDeviceGetComputeRunningProcesses"] = Nvml.NVMLError(15)
    assert played.processes() is None


def test_process_usage_is_limited_to_the_device() -> None:
    played = Played()
    played.nvml.answers["nvmlDeviceGetComputeRunningProcesses"] = [process(7, ALL_ONES), process(8, 81 * GIB)]
    played.device()
    assert [one.memory_bytes for one in played.processes() or ()] == [None, None]


# -- MIG devices ------------------------------------------------------------------------------------------------------


class Gpm:
    """What the bindings have for it beside functions."""

    NVML_GPM_METRICS_GET_VERSION = 1

    def __init__(self, nvml: Nvml) -> None:
        self.percent, self.freed = 42.4, 0
        self.buffers = iter(range(1, 100))
        nvml.answers |= {
            "nvmlDeviceGetHandleByUUID": "mig",
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": "parent",
            "nvmlDeviceGetGpuInstanceId": 3,
            "nvmlGpmQueryDeviceSupport": SimpleNamespace(isSupportedDevice=1),
            "nvmlGpmSampleAlloc": lambda: next(self.buffers),
            "nvmlGpmSampleFree": self._free,
            "nvmlGpmMigSampleGet": lambda parent, instance, _: self._check(parent, instance),
            "nvmlGpmMetricsGet": self._metrics,
        }
        nvml.NVML_GPM_METRICS_GET_VERSION = 1  # type: ignore[attr-defined]
        nvml.c_nvmlGpmMetricsGet_t = lambda: SimpleNamespace(metrics=[SimpleNamespace()])  # type: ignore[attr-defined]

    def _free(self, _: int) -> None:
        self.freed += 1

    def _check(self, parent: str, instance: int) -> None:
        assert (parent, instance) == ("parent", 3)

    def _metrics(self, asked: Any) -> Any:
        assert (asked.version, asked.numMetrics, asked.metrics[0].metricId) == (1, 1, 1)
        assert asked.sample1 != asked.sample2
        asked.metrics[0].nvmlReturn, asked.metrics[0].value = 0, self.percent
        return asked


def test_mig_device_has_memory_and_utilization_between_samples() -> None:
    played = Played()
    gpm, counters = Gpm(played.nvml), played.counters
    for _ in range(2):  # a second sample would be too close to the first
        assert counters.partitions({"MIG-1"}) == {"MIG-1": DeviceUsage(None, 3 * GIB)}
    played.now_s += 1
    for _ in range(2):
        assert counters.partitions({"MIG-1"}) == {"MIG-1": DeviceUsage(42, 3 * GIB)}
    for garbage in (float("nan"), 250.0, -1.0):
        gpm.percent = garbage
        played.now_s += 1
        assert counters.partitions({"MIG-1"}) == {"MIG-1": DeviceUsage(None, 3 * GIB)}
    assert counters.partitions(()) == {}
    assert gpm.freed == 2
    assert played.nvml.asked.count("nvmlDeviceGetHandleByUUID") == 1


def test_mig_device_of_an_older_gpu_has_no_utilization() -> None:
    played = Played()
    Gpm(played.nvml)
    played.nvml.answers["nvmlGpmQueryDeviceSupport"] = SimpleNamespace(isSupportedDevice=0)
    for _ in range(3):
        assert played.counters.partitions({"MIG-1"}) == {"MIG-1": DeviceUsage(None, 3 * GIB)}
    assert played.nvml.asked.count("nvmlGpmQueryDeviceSupport") == 1


def test_destroyed_mig_device_is_unknown_and_searched_for_seldom() -> None:
    played = Played()
    gpm, answers = Gpm(played.nvml), played.nvml.answers
    played.counters.partitions({"MIG-1"})
    well = answers["nvmlDeviceGetMemoryInfo"]
    answers["nvmlDeviceGetMemoryInfo"] = answers["nvmlDeviceGetHandleByUUID"] = Nvml.NVMLError(2)
    for _ in range(3):
        assert played.counters.partitions({"MIG-1"}) == {"MIG-1": UNKNOWN}
    assert gpm.freed == 2
    answers["nvmlDeviceGetMemoryInfo"], answers["nvmlDeviceGetHandleByUUID"] = well, "mig"
    assert played.counters.partitions({"MIG-1"}) == {"MIG-1": UNKNOWN}
    played.now_s += PROCESSES_S
    assert played.counters.partitions({"MIG-1"}) == {"MIG-1": DeviceUsage(None, 3 * GIB)}
