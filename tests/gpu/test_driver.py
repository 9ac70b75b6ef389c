"""What NVML of this GPU says and costs: calls, energy, processes, errors by number, MIG's tables, limits of memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import pynvml
import pytest

from fastgpu_jupyter.pool.devices.nvidia.health import NvmlHealthWatcher
from tests.gpu.conftest import Note, Work
from tests.gpu.cuda import ILLEGAL_ADDRESS, MIB, CudaError

CALLS = 300
#: About a second on any GPU of the last ten years.
CLOCKS = 2 * 10**9


@pytest.fixture
def handle(gpu: str) -> Any:
    return pynvml.nvmlDeviceGetHandleByUUID(gpu)


@pytest.mark.parametrize(
    "name", ["MemoryInfo", "UtilizationRates", "ComputeRunningProcesses", "TotalEnergyConsumption", "Temperature"]
)
def test_sampler_calls_take_little_time(handle: Any, note: Note, name: str) -> None:
    call: Callable[..., Any] = getattr(pynvml, f"nvmlDeviceGet{name}")
    more = (pynvml.NVML_TEMPERATURE_GPU,) if name == "Temperature" else ()
    took_us = []
    for _ in range(CALLS):
        began_ns = time.perf_counter_ns()
        call(handle, *more)
        took_us.append((time.perf_counter_ns() - began_ns) / 1000)
    took_us.sort()
    note(f"nvmlDeviceGet{name}: p50, p99", f"{took_us[CALLS // 2]:.1f} us, {took_us[CALLS * 99 // 100]:.1f} us")
    assert took_us[CALLS // 2] < 100_000


def test_energy_grows_with_reported_power(handle: Any, work: Work, note: Note) -> None:
    worker = work()
    began_mj, began_s, powers_mw = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), time.monotonic(), []
    for _ in range(3):
        worker.send("run", "spin", CLOCKS)
        powers_mw.append(pynvml.nvmlDeviceGetPowerUsage(handle))
        worker.answer()
        powers_mw.append(pynvml.nvmlDeviceGetPowerUsage(handle))
    used_mj, lasted_s = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - began_mj, time.monotonic() - began_s
    note("energy, and time", f"{used_mj / 1000:.1f} J, {lasted_s:.2f} s")
    assert 0.3 * min(powers_mw) * lasted_s <= used_mj <= 3 * max(powers_mw) * lasted_s


def test_memory_is_reported_by_process(handle: Any, work: Work) -> None:
    one, other = work(), work()
    one("take", 512 * MIB)
    other("take", 1024 * MIB)
    used = {one.pid: one.usedGpuMemory for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    if one.pid not in used:
        pytest.skip("these processes have other numbers in the driver's eyes: this is a container")
    assert used[one.pid] >= 512 * MIB
    assert 256 * MIB <= used[other.pid] - used[one.pid] <= 768 * MIB


def test_fault_of_a_program_is_reported_by_its_xid(gpu: str, work: Work, note: Note) -> None:
    watch = NvmlHealthWatcher([gpu])
    try:
        worker = work()
        with pytest.raises(CudaError) as fault:
            worker("run", "store")
        assert fault.value.number == ILLEGAL_ADDRESS
        deadline_s = time.monotonic() + 20
        sighting = None
        while sighting is None or sighting.fault is None:
            assert time.monotonic() < deadline_s, "no error was told by number"
            sighting = watch.next_event()
        note("a program that writes where nothing is", sighting.fault.code)
        assert sighting.device_id == gpu
        assert sighting.fault.code in {"Xid 13", "Xid 31"}
        assert watch.check(gpu).health.value == "healthy"
    finally:
        watch.close()


def test_mig_profiles_are_read_without_a_change(handle: Any, note: Note) -> None:
    try:
        before = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError_NotSupported:
        pytest.skip("this GPU has no MIG")
    found = 0
    for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            profile = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, number, version=2)
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument):
            continue
        places = _places(handle, profile.id)
        found += 1
        what = f"MIG {_text(profile.name)} (profile {profile.id})"
        size = f"{profile.memorySizeMB} MiB, {profile.multiprocessorCount} SMs, at most {profile.instanceCount}"
        note(what, f"{size}; start:length {places}")
    assert found > 0
    assert pynvml.nvmlDeviceGetMigMode(handle) == before


def _places(handle: Any, profile_id: int) -> str:
    count = ctypes.c_uint()
    try:
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, None, ctypes.byref(count))
        places = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, places, ctypes.byref(count))
    except pynvml.NVMLError as error:
        return f"not told ({error})"
    return ", ".join(f"{place.start}:{place.size}" for place in places[: count.value])


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def test_memory_limits_are_supported_from_r615_on(handle: Any, note: Note) -> None:
    release = int(pynvml.nvmlSystemGetDriverVersion().partition(".")[0])
    known = hasattr(ctypes.CDLL("libnvidia-ml.so.1"), "nvmlDeviceSetMemoryLimits_v1")
    note("nvmlDeviceSetMemoryLimits_v1", "known" if known else "FunctionNotFound")
    assert known == (release >= 615)
    if not known:  # nothing can be set by it
        limits = pynvml.c_nvmlSetMemoryLimits_v1_t(nameSpace=b"/sys/fs/cgroup", softLimit=0, hardLimit=MIB)
        with pytest.raises(pynvml.NVMLError_FunctionNotFound):
            pynvml.nvmlDeviceSetMemoryLimits_v1(handle, limits)
