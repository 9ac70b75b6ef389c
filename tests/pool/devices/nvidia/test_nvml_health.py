"""What the health watcher makes of NVML's answers: events, readings of a device, and processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from fastgpu_jupyter.core.lease import device_health
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import FaultScope, Health
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.health import HealthEvent, HealthReport
from fastgpu_jupyter.pool.devices.nvidia.health import NO_INSTANCE, HealthReadings, NvmlHealthWatcher, assess
from fastgpu_jupyter.pool.devices.nvidia.xid import KNOWN, RECOVERY_ACTION_CHANGED, fault_of
from tests.core.world import World, spec, text

PROCESS_XIDS = [number for number in KNOWN if fault_of(number).scope is FaultScope.PROCESS]
DEVICE_XIDS = [number for number in KNOWN if fault_of(number).scope is FaultScope.DEVICE]


def message_of(world: World, name: str) -> str:
    return text(device_health.message(world.state, world.state.leases[name]))


@pytest.mark.parametrize("xid", PROCESS_XIDS)
def test_fault_of_a_programs_xid_notifies_only_its_lease(xid: int) -> None:
    world = World(spec("gpu-0", parkable=True))
    world.active("a", "half")
    world.active("b", "half")
    world.do(c.ReportFault("gpu-0", fault_of(xid), ("a",), certain=True))
    assert message_of(world, "a").startswith("Your code ")
    assert f"Xid {xid}." in message_of(world, "a")
    assert "restart the kernel" in message_of(world, "a")
    assert message_of(world, "b") == ""
    assert world.state.devices["gpu-0"].health is Health.HEALTHY
    assert world.states() == {"a": "active", "b": "active"}


@pytest.mark.parametrize("xid", [*DEVICE_XIDS, 9999])
def test_fault_of_a_devices_xid_takes_it_out_of_service(xid: int) -> None:
    world = World(*(spec(f"gpu-{n}", index=n, parkable=False) for n in range(2)))
    world.active("a")
    assert world.state.leases["a"].logical_gpu is not None
    there = world.state.leases["a"].logical_gpu.device_id
    world.do(c.ReportFault(there, fault_of(xid)))
    device = world.state.devices[there]
    assert device.health is not Health.HEALTHY
    assert f"(Xid {xid})" in text(device.health_reason)
    world.active("b")
    assert world.state.leases["b"].logical_gpu.device_id != there  # type: ignore[union-attr]
    world.ask("c")
    assert world.states()["c"] == "waiting"


def test_fault_messages_continue_a_sentence() -> None:
    for number in (*KNOWN, 9999):
        message = fault_of(number).message
        assert not text(message).endswith("."), number
        assert text(message)[0].islower(), number


@pytest.mark.parametrize(
    ("readings", "found"),
    [
        (HealthReadings(), Health.HEALTHY),
        (HealthReadings(recovery_action=0, uncorrected_errors=0), Health.HEALTHY),
        (HealthReadings(recovery_action=1), Health.FAULTY),
        (HealthReadings(recovery_action=4), Health.SUSPECT),
        (HealthReadings(recovery_action=99), Health.SUSPECT),
        (HealthReadings(remap_pending=True), Health.SUSPECT),
        (HealthReadings(remap_pending=True, remap_failed=True), Health.FAULTY),
        (HealthReadings(uncorrected_errors=3), Health.SUSPECT),
        (HealthReadings(silent="Unknown Error"), Health.FAULTY),
    ],
)
def test_assess_of_readings_gives_the_worst_health(readings: HealthReadings, found: Health) -> None:
    condition = assess(readings)
    assert condition.health is found
    assert (condition.reason is None) == (found is Health.HEALTHY)
    assert not condition.lost


def test_assess_of_a_lost_gpu_reports_it_lost() -> None:
    assert assess(HealthReadings(silent="GPU is lost", lost=True)).lost


def error(number: int) -> pynvml.NVMLError:
    return pynvml.NVMLError(number)


class FakeNvmlHealth:
    """The calls of NVML that report health; a number as an answer is that error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, Any] = {
            "EventSetCreate": "set",
            "EventSetFree": None,
            "EventSetWait_v2": pynvml.NVML_ERROR_TIMEOUT,
            "DeviceGetHandleByUUID": "handle",
            "DeviceGetUUID": "GPU-1",
            "DeviceGetSupportedEventTypes": pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeClock,
            "DeviceRegisterEvents": None,
            "DeviceGetMemoryInfo": None,
            "DeviceGetTotalEccErrors": lambda *_: 0,
            "DeviceGetRemappedRows": (0, 0, 0, 0),
            "DeviceGetFieldValues": [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=0))],
            "DeviceGetComputeRunningProcesses": [
                SimpleNamespace(pid=7, gpuInstanceId=1),
                SimpleNamespace(pid=8, gpuInstanceId=2),
            ],
            "DeviceGetMPSComputeRunningProcesses": [SimpleNamespace(pid=9, gpuInstanceId=1)],
        }
        self.asked: dict[str, tuple[Any, ...]] = {}
        for name in self.answers:
            monkeypatch.setattr(pynvml, f"nvml{name}", lambda *args, name=name: self._answer(name, args))

    def _answer(self, name: str, args: tuple[Any, ...]) -> Any:
        self.asked[name] = args
        answer = self.answers[name]
        if isinstance(answer, int):
            if name == "DeviceGetSupportedEventTypes":
                return answer
            raise error(answer)
        return answer(*args) if callable(answer) else answer


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvmlHealth:
    return FakeNvmlHealth(monkeypatch)


def event(kind: int, data: int, instance: int = NO_INSTANCE) -> SimpleNamespace:
    return SimpleNamespace(device="handle", eventType=kind, eventData=data, gpuInstanceId=instance)


def test_next_event_returns_faults_and_reasons_to_check(fake_nvml: FakeNvmlHealth) -> None:
    watch = NvmlHealthWatcher(["GPU-1"])
    assert fake_nvml.asked["DeviceRegisterEvents"] == ("handle", pynvml.nvmlEventTypeXidCriticalError, "set")
    assert watch.next_event() is None
    fake_nvml.answers["EventSetWait_v2"] = event(pynvml.nvmlEventTypeXidCriticalError, 31)
    assert watch.next_event() == HealthEvent("GPU-1", fault_of(31))
    fake_nvml.answers["EventSetWait_v2"] = event(pynvml.nvmlEventTypeXidCriticalError, 31, instance=2)
    assert watch.next_event() == HealthEvent("GPU-1", fault_of(31), 2)
    fake_nvml.answers["EventSetWait_v2"] = event(pynvml.nvmlEventTypeXidCriticalError, RECOVERY_ACTION_CHANGED)
    assert watch.next_event() == HealthEvent("GPU-1", None), "it says only that a check shows something else"
    fake_nvml.answers["EventSetWait_v2"] = event(pynvml.nvmlEventTypeDoubleBitEccError, 1)
    assert watch.next_event() == HealthEvent("GPU-1", None)
    fake_nvml.answers["EventSetWait_v2"] = pynvml.NVML_ERROR_UNKNOWN
    with pytest.raises(HostFault):
        watch.next_event()
    assert list(watch.processes("GPU-1", None)) == [7, 8, 9], "one of them runs by MPS"
    assert list(watch.processes("GPU-1", 2)) == [8]
    fake_nvml.answers["EventSetFree"] = pynvml.NVML_ERROR_UNINITIALIZED
    watch.close()


def test_check_of_a_gpu_without_events_works(fake_nvml: FakeNvmlHealth) -> None:
    fake_nvml.answers["DeviceRegisterEvents"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert NvmlHealthWatcher(["GPU-1"]).check("GPU-1") == HealthReport(Health.HEALTHY)
    fake_nvml.answers["EventSetCreate"] = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    with pytest.raises(HostFault, match="reports no errors"):
        NvmlHealthWatcher(["GPU-1"])


@pytest.mark.parametrize(
    ("name", "answer", "found"),
    [
        ("DeviceGetTotalEccErrors", pynvml.NVML_ERROR_NOT_SUPPORTED, Health.HEALTHY),
        ("DeviceGetTotalEccErrors", lambda *_: 2, Health.SUSPECT),
        ("DeviceGetRemappedRows", pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, Health.HEALTHY),
        ("DeviceGetRemappedRows", (0, 1, 1, 0), Health.SUSPECT),
        ("DeviceGetRemappedRows", (0, 1, 0, 1), Health.FAULTY),
        ("DeviceGetFieldValues", pynvml.NVML_ERROR_INVALID_ARGUMENT, Health.HEALTHY),
        ("DeviceGetFieldValues", [SimpleNamespace(nvmlReturn=3)], Health.HEALTHY),
        ("DeviceGetFieldValues", [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=2))], Health.FAULTY),
        ("DeviceGetMemoryInfo", pynvml.NVML_ERROR_UNKNOWN, Health.FAULTY),
    ],
)
def test_check_of_unsupported_readings_is_healthy(
    fake_nvml: FakeNvmlHealth, name: str, answer: Any, found: Health
) -> None:
    fake_nvml.answers[name] = answer
    condition = NvmlHealthWatcher(["GPU-1"]).check("GPU-1")
    assert (condition.health, condition.lost) == (found, False)


@pytest.mark.parametrize(
    ("number", "lost"),
    [
        (pynvml.NVML_ERROR_GPU_IS_LOST, True),
        (pynvml.NVML_ERROR_NOT_FOUND, False),  # it may come back; the inventory gives it up
    ],
)
def test_check_of_a_gpu_reports_it_lost_only_where_the_driver_says_so(
    fake_nvml: FakeNvmlHealth, number: int, lost: bool
) -> None:
    watch = NvmlHealthWatcher(["GPU-1"])
    fake_nvml.answers["DeviceGetMemoryInfo"] = number
    assert (watch.check("GPU-1").health, watch.check("GPU-1").lost) == (Health.FAULTY, lost)
