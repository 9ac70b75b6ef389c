"""Faults of devices, from the driver to the leases on them: simulated events and checks."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Device, EndReason, Health, LogicalGPU, ScrubOutcome, State
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Conflict, HostFault, NotFound
from fastgpu_jupyter.pool.devices import driver_thread
from fastgpu_jupyter.pool.devices.driver import DeviceGone, DeviceProcess, ListedProcesses, ProcessList, ProcessUnusable
from fastgpu_jupyter.pool.devices.health import HealthEvent, HealthReport
from fastgpu_jupyter.pool.effects import presence as presence_module
from fastgpu_jupyter.pool.effects import runner
from fastgpu_jupyter.pool.monitors import health as health_module
from fastgpu_jupyter.pool.monitors import inventory
from tests.core.faults import BAD_MEMORY, MEMORY_ERRORS, OFF_THE_BUS, WRONG_ADDRESS
from tests.core.world import spec, text
from tests.pool.running_pool import Pool, ScriptedDriver, run
from tests.refusals import refused
from tests.waiting import DEADLINE_S, async_wait_until

WELL = HealthReport(Health.HEALTHY)
RESET_WANTED = HealthReport(Health.FAULTY, "The driver wants this GPU reset.")
DRAIN_WANTED = HealthReport(Health.SUSPECT, "The driver wants this GPU drained and then reset.")


class FakeHealthWatcher:
    """Says what a test puts in, and answers looks with what a test decided."""

    def __init__(self) -> None:
        self.events: queue.Queue[HealthEvent | HostFault] = queue.Queue()
        self.conditions: dict[str, HealthReport] = {}
        self.pids: dict[int | None, list[int]] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.closed = threading.Event()

    def next_event(self) -> HealthEvent | None:
        try:
            event = self.events.get(timeout=0.02)
        except queue.Empty:
            return None
        if isinstance(event, HostFault):
            raise event
        return event

    def check(self, device_id: str) -> HealthReport:
        assert self.answers.wait(20)
        return self.conditions.get(device_id, WELL)

    def processes(self, device_id: str, partition: int | None) -> Sequence[int]:
        if partition not in self.pids:
            raise HostFault("cannot see")
        return self.pids[partition]

    def close(self) -> None:
        self.closed.set()


class FrailDriver(ScriptedDriver):
    """Devices that can fall ill."""

    def __init__(self, devices: int = 1) -> None:
        super().__init__(*(spec(f"gpu-{number}", index=number, parkable=True) for number in range(devices)))
        self.played = FakeHealthWatcher()
        self.refusals = 0

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        assert self.parked == [(origin[0], pid)]
        self.parked.clear()

    def watch(self) -> FakeHealthWatcher:
        if self.refusals:
            self.refusals -= 1
            raise HostFault("not now")
        return self.played


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FrailDriver:
    monkeypatch.setattr(health_module, "CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(health_module, "RETRY_S", 0.01)
    return FrailDriver()


async def until(pool: Pool, true: Callable[[dict[str, Device]], object], name: str = "gpu-0") -> Device:
    """The device once that is true of all of them."""
    devices: dict[str, Device] = {}

    async def reached() -> Device | None:
        nonlocal devices
        devices = await pool.services.store.read(lambda state, _: dict(state.devices))
        return devices[name] if true(devices) else None

    return await async_wait_until(reached, lambda: f"the devices are as they should be; they are {devices}")


async def until_fault(pool: Pool, name: str) -> str:
    async def fault_message() -> str | None:
        return text((await pool.lease(name)).fault) or None

    return await async_wait_until(fault_message, "the lease has a fault")


def test_fault_is_reported_to_leases_on_the_device(tmp_path: Path, driver: FrailDriver) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        driver.played.events.put(HealthEvent("gpu-0", WRONG_ADDRESS))
        assert "outside its memory on the GPU: Xid 31." in await until_fault(pool, "a")
        assert pool.services.metrics.faults == {"Xid 31": 1}

    run(tmp_path, story, driver)
    assert driver.played.closed.is_set()


@pytest.mark.parametrize(
    ("instance", "pids", "begins"),
    [
        (3, {3: [os.getpid()]}, "Your code"),
        (None, {None: [os.getpid()]}, "A process on this GPU (possibly yours)"),
        (3, {}, "A process on this GPU (possibly yours)"),
    ],
)
def test_fault_on_a_partition_names_its_lease_else_suspects(
    tmp_path: Path,
    driver: FrailDriver,
    monkeypatch: pytest.MonkeyPatch,
    instance: int | None,
    pids: dict[int | None, list[int]],
    begins: str,
) -> None:
    monkeypatch.setattr(health_module, "leases_of", lambda pid, holders: {"a"} & holders.keys())
    driver.played.pids = pids

    async def story(pool: Pool) -> None:
        for name in "ab":
            await pool.ask(name, profile="quarter")
            await pool.until(name, LeaseState.ACTIVE)
        driver.played.events.put(HealthEvent("gpu-0", WRONG_ADDRESS, instance))
        assert (await until_fault(pool, "a")).startswith(begins)
        assert ((await pool.lease("b")).fault is not None) == (pids == {})

    run(tmp_path, story, driver)


def test_health_check_stops_and_resumes_grants_on_a_device(tmp_path: Path, driver: FrailDriver) -> None:
    async def story(pool: Pool) -> None:
        driver.played.conditions["gpu-0"] = RESET_WANTED
        device = await until(pool, lambda devices: devices["gpu-0"].health is Health.FAULTY)
        assert "reset" in text(device.health_reason)
        await pool.ask("a")
        assert (await pool.lease("a")).state is LeaseState.WAITING
        driver.played.conditions.clear()  # an administrator has reset it
        await pool.until("a", LeaseState.ACTIVE)

    run(tmp_path, story, driver)


def test_lost_device_ends_its_leases_and_grants_elsewhere(tmp_path: Path) -> None:
    driver = FrailDriver(devices=2)

    async def story(pool: Pool) -> None:
        for name in "abc":
            await pool.ask(name)
        lost = (await pool.until("a", LeaseState.ACTIVE)).logical_gpu
        assert lost is not None
        driver.played.events.put(HealthEvent(lost.device_id, OFF_THE_BUS))
        assert (await pool.until("a", LeaseState.ENDED)).end_reason is EndReason.DEVICE_LOST
        assert (await pool.lease("c")).state is LeaseState.WAITING  # not on the one that is lost
        await pool.services.commands.submit(c.ReleaseLease("b"))
        served = await pool.until("c", LeaseState.ACTIVE)
        assert served.logical_gpu is not None
        assert served.logical_gpu.device_id != lost.device_id

    run(tmp_path, story, driver)


def test_lease_migrates_from_a_suspect_device_with_its_memory(tmp_path: Path) -> None:
    driver = FrailDriver(devices=2)

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        before = (await pool.until("a", LeaseState.ACTIVE)).logical_gpu
        assert before is not None
        driver.played.events.put(HealthEvent(before.device_id, BAD_MEMORY))
        await until(pool, lambda devices: devices[before.device_id].health is Health.SUSPECT)

        async def moved() -> bool:
            gpu = (await pool.lease("a")).logical_gpu
            return gpu is not None and gpu.device_id != before.device_id

        await async_wait_until(moved, "the lease is on another device")
        await pool.until("a", LeaseState.ACTIVE)

    run(tmp_path, story, driver)


def test_health_after_a_fault_lasts_until_the_device_is_restored(tmp_path: Path, driver: FrailDriver) -> None:
    async def story(pool: Pool) -> None:
        driver.played.events.put(HealthEvent("gpu-0", MEMORY_ERRORS))
        await until(pool, lambda devices: devices["gpu-0"].health is Health.FAULTY)
        driver.played.conditions["gpu-0"] = RESET_WANTED
        with refused(Conflict, match="wants this GPU reset"):
            await pool.services.health.restore("gpu-0")
        driver.played.conditions.clear()
        assert (await until(pool, lambda _: True)).health is Health.FAULTY
        await pool.services.health.restore("gpu-0")
        assert (await until(pool, lambda _: True)).health is Health.HEALTHY
        with pytest.raises(NotFound):
            await pool.services.health.restore("nothing")

    run(tmp_path, story, driver)


@pytest.mark.slow
def test_health_check_that_hangs_stops_grants_until_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(driver_thread, "ANSWER_S", 0.1)
    driver = FrailDriver(devices=2)

    async def story(pool: Pool) -> None:
        driver.played.answers.clear()

        await until(pool, lambda devices: all(one.missing for one in devices.values()))
        await pool.ask("a")  # the loop goes on
        assert (await pool.lease("a")).state is LeaseState.WAITING
        with refused(Conflict, match="has not answered"):
            await pool.services.health.restore("gpu-0")
        driver.played.answers.set()
        await until(pool, lambda devices: not any(one.missing for one in devices.values()))
        await pool.until("a", LeaseState.ACTIVE)

    run(tmp_path, story, driver)


def test_driver_that_refuses_to_be_watched_is_tried_again(tmp_path: Path, driver: FrailDriver) -> None:
    driver.refusals = 2
    driver.played.events.put(HostFault("no events now"))

    async def story(pool: Pool) -> None:
        driver.played.events.put(HealthEvent("gpu-0", MEMORY_ERRORS))
        await until(pool, lambda devices: devices["gpu-0"].health is Health.FAULTY)

    run(tmp_path, story, driver)


def test_event_without_fault_triggers_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FrailDriver()

    async def story(pool: Pool) -> None:
        await until(pool, lambda _: True)
        driver.played.conditions["gpu-0"] = DRAIN_WANTED
        driver.played.events.put(HealthEvent("gpu-0", None))
        await until(pool, lambda devices: devices["gpu-0"].health is Health.SUSPECT)
        driver.played.conditions.clear()
        driver.played.events.put(HealthEvent("gpu-0", None))
        await until(pool, lambda devices: devices["gpu-0"].health is Health.HEALTHY)
        assert pool.services.metrics.faults == {}

    run(tmp_path, story, driver)


@pytest.mark.slow
def test_lease_of_two_devices_drains_on_the_remaining_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FrailDriver(devices=2)
    monkeypatch.setattr(presence_module, "leases_of", lambda pid, _: pid == 4711)

    def processes(device_id: str) -> ProcessList:
        asked.append(device_id)
        if device_id == "gpu-0":
            raise DeviceGone("gone")
        return ListedProcesses(tuple(DeviceProcess(pid, None) for pid in driver.pids))

    asked: list[str] = []
    driver.processes = processes  # type: ignore[method-assign]
    monkeypatch.setattr(inventory, "REFRESH_INTERVAL_S", 0.02)

    async def story(pool: Pool) -> None:
        await pool.ask("a", profile="2xa100")
        await pool.until("a", LeaseState.ACTIVE)
        driver.specs = driver.specs[1:]
        await pool.services.commands.submit(c.ReleaseLease("a"))
        await until(pool, lambda devices: "gpu-0" not in devices or devices["gpu-0"].missing, "gpu-1")
        assert (await pool.lease("a")).state is LeaseState.DRAINING, "what is missing may come back"
        await async_wait_until(lambda: asked.count("gpu-0") >= 4, "the processes are asked for again")
        assert (await pool.lease("a")).state is LeaseState.DRAINING, "what is missing may come back"
        driver.pids = [4711]
        asked.clear()
        await pool.services.commands.submit(c.ForgetDevice("gpu-0"))
        await async_wait_until(lambda: asked.count("gpu-1") >= 4, "the processes are asked for again")
        assert (await pool.lease("a")).state is LeaseState.DRAINING
        driver.pids = []
        assert (await pool.until("a", LeaseState.ENDED)).scrub is ScrubOutcome.DEVICE_GONE

    run(tmp_path, story, driver)


@pytest.mark.slow
def test_resume_that_fails_on_a_missing_device_is_tried_again_once_it_is_back(
    tmp_path: Path, driver: FrailDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "REFRESH_INTERVAL_S", 0.02)
    monkeypatch.setattr(runner, "MISSING_POLL_S", 0.02)
    specs, resumed, fails = driver.specs, threading.Event(), threading.Event()

    def resume(*_: object) -> None:
        resumed.set()
        if not driver.specs:
            assert fails.wait(DEADLINE_S)
            raise HostFault("the device does not answer")

    def prepare_and_vanish(gpu: LogicalGPU) -> str:
        driver.specs.clear()
        return prepare(gpu)

    def is_missing(state: State, failed: c.ResumeFailed) -> bool:
        looked.set()
        return resumes_on_missing_device(state, failed)

    prepare, resumes_on_missing_device, looked = driver.prepare, runner._resumes_on_missing_device, threading.Event()
    monkeypatch.setattr(driver, "resume", resume)
    monkeypatch.setattr(runner, "_resumes_on_missing_device", is_missing)

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ParkLease("a"))
        await pool.until("a", LeaseState.PARKED)
        monkeypatch.setattr(driver, "prepare", prepare_and_vanish)
        driver.specs = list(specs)
        await pool.services.commands.submit(c.ResumeLease("a"))
        await async_wait_until(resumed.is_set, "it is being resumed")
        await until(pool, lambda devices: devices["gpu-0"].missing)
        fails.set()
        await async_wait_until(looked.is_set, "the failure is looked at")
        assert (await pool.lease("a")).state is LeaseState.RESUMING
        monkeypatch.setattr(driver, "prepare", prepare)
        driver.specs = list(specs)
        await pool.until("a", LeaseState.ACTIVE)

    run(tmp_path, story, driver)


def test_process_broken_by_parking_needs_a_restart(
    tmp_path: Path, driver: FrailDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_it(*_: object) -> int:
        raise ProcessUnusable("It failed.")

    monkeypatch.setattr(driver, "park", break_it)

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ParkLease("a"))
        assert await until_fault(pool, "a") == "It failed. Restart the kernel."
        assert (await pool.lease("a")).state is LeaseState.ACTIVE

    run(tmp_path, story, driver)
