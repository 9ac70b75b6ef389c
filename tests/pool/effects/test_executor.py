"""A driver that hangs: its calls are given up, other tasks continue, and its later answers are used."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.lease import presence
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import effects as fx
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    Enforcement,
    Health,
    Instant,
    LogicalGPU,
    Mechanism,
    MissingReason,
    Partition,
    PendingReason,
    ScrubOutcome,
    ScrubResult,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import HostFault, Message
from fastgpu_jupyter.pool.devices import driver_thread
from fastgpu_jupyter.pool.devices.driver import DeviceProcess, ListedProcesses
from fastgpu_jupyter.pool.devices.driver_thread import DriverThread
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.pool.effects.executor import EffectExecutor
from fastgpu_jupyter.pool.effects.presence import PresenceFinder
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.host.threads import DaemonThreads, call_with_timeout
from fastgpu_jupyter.pool.http.views.context import AccessScope
from fastgpu_jupyter.pool.http.views.device import device_views
from fastgpu_jupyter.pool.http.views.lease import lease_views
from fastgpu_jupyter.pool.loop import command_queue
from fastgpu_jupyter.pool.monitors import inventory, telemetry
from fastgpu_jupyter.units import GIB
from tests.core.world import text
from tests.pool.devices.fake_driver import FakeMachine, fake_spec
from tests.pool.running_pool import Pool
from tests.views import pending_reason_of
from tests.waiting import DEADLINE_S, async_wait_until


@pytest.fixture
def machine() -> Iterator[FakeMachine]:
    machine = FakeMachine([fake_spec("fake-0")])
    yield machine
    machine.answers.set()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_thread, "ANSWER_S", 0.05)
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S", 0.01)
    monkeypatch.setattr(command_queue, "RETRY_S", 0.02)
    monkeypatch.setattr(telemetry, "SAMPLE_INTERVAL_S", 0.02)
    monkeypatch.setattr(inventory, "REFRESH_INTERVAL_S", 0.02)


def test_call_that_hangs_is_given_up_with_all_calls_behind_it(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        heard: list[bool] = []
        driver = machine.driver()
        thread = DriverThread()
        thread.subscribe(lambda: heard.append(thread.unresponsive_message is not None))
        machine.answers.clear()
        asked = [thread.call(driver.health, "fake-0") for _ in range(3)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(result, HostFault) for result in results)
        monkeypatch.setattr(driver_thread, "ANSWER_S", 10 * DEADLINE_S)
        refused = asyncio.ensure_future(thread.call(driver.inventory))
        await asyncio.sleep(0)
        assert refused.done(), "it waits for the driver"
        with pytest.raises(HostFault, match="has not answered"):
            await refused
        assert heard == [True]
        machine.answers.set()
        await async_wait_until(lambda: thread.unresponsive_message is None, "it answers again")
        assert heard == [True, False]
        assert (await thread.call(driver.health, "fake-0"))[0] is Health.HEALTHY
        assert machine.calls == ["health", "health"], "what was given up before it began was never done"
        thread.close()

    asyncio.run(story())


def test_draining_leases_share_process_lists_and_poll_less_often(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_thread, "ANSWER_S", 20)
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S_MAX", 0.04)
    holder = holder_of(os.getpid(), "boot")
    gpu = LogicalGPU(
        "fake-0",
        GIB,
        whole=False,
        mechanism=Mechanism.SHARED,
        enforcement=Enforcement.NONE,
        rate_micro_per_hour=1,
        generation=1,
    )

    async def story() -> None:
        executor = EffectExecutor(machine.driver(), DriverThread())
        machine.processes["fake-0"] = {os.getpid(): 1}
        began_s = time.monotonic()
        drains = [asyncio.ensure_future(executor.execute(fx.Drain(f"lease-{n}", gpu, holder))) for n in range(32)]
        await async_wait_until(lambda: machine.calls.count("processes") >= 10, "they look again and again")
        looks, passed_s = machine.calls.count("processes"), time.monotonic() - began_s
        # Each for itself would have had 32 lists by now.
        assert looks <= 2 + passed_s / (executor_module.DRAIN_POLL_S / 2)
        assert not any(drain.done() for drain in drains)
        machine.processes.clear()
        assert {type(done) for done in await asyncio.gather(*drains)} == {c.DrainSucceeded}
        executor.close()

    asyncio.run(story())


def test_process_list_from_before_is_not_used(machine: FakeMachine) -> None:
    async def story() -> None:
        finder = PresenceFinder(machine.driver(), DriverThread(), lambda _: 0)
        clock = asyncio.get_running_loop().time
        since_s = clock()
        assert await finder.list("fake-0", since_s) == ListedProcesses()
        machine.processes["fake-0"] = {4711: 1}
        assert await finder.list("fake-0", since_s) == ListedProcesses()
        assert await finder.list("fake-0", clock()) == ListedProcesses((DeviceProcess(4711, 1),))

    asyncio.run(story())


def run(tmp_path: Path, machine: FakeMachine, story: object) -> None:
    async def play() -> None:
        pool = Pool(tmp_path, machine.driver())  # type: ignore[arg-type]
        await pool.start()
        try:
            await story(pool)  # type: ignore[operator]
        finally:
            await pool.services.stop()

    asyncio.run(play())


async def device(pool: Pool) -> tuple[Health, Message | None]:
    return await pool.services.store.read(
        lambda state, _: (state.devices["fake-0"].health, state.devices["fake-0"].health_reason)
    )


async def until_missing(pool: Pool, reason: MissingReason | None) -> None:
    async def reached() -> bool:
        missing = await pool.services.store.read(lambda state, _: state.devices["fake-0"].missing)
        return (missing.reason if missing else None) is reason

    await async_wait_until(reached, f"the device is missing because of {reason}")


@pytest.mark.slow
def test_unresponsive_driver_stops_grants_and_delays_no_answer(tmp_path: Path, machine: FakeMachine) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("before")
        await pool.until("before", LeaseState.ACTIVE)
        machine.answers.clear()
        await until_missing(pool, MissingReason.NO_ANSWER)
        await pool.services.commands.submit(c.ReleaseLease("before"))
        assert (await pool.lease("before")).state is LeaseState.DRAINING, "not free before that is seen"
        await pool.ask("meanwhile")
        assert (await pool.lease("meanwhile")).state is LeaseState.WAITING
        access = AccessScope("ann", 1001)
        facts = await pool.services.store.read_in_steps(lambda state, at: views(pool, state, at, access))
        assert facts == (["missing"], {"before": None, "meanwhile": PendingReason.MISSING.value})
        await async_wait_until(
            lambda: pool.services.telemetry.usage.leases == {}, "what was true once is shown no more"
        )
        machine.answers.set()
        await until_missing(pool, None)
        ended = await pool.until("before", LeaseState.ENDED)
        assert (ended.end_reason, ended.scrub) == (EndReason.RELEASED, ScrubOutcome.GONE)
        await pool.until("meanwhile", LeaseState.ACTIVE)

    async def views(pool: Pool, state: State, at: Instant, access: AccessScope) -> tuple[list[str], dict[str, Any]]:
        from fastgpu_jupyter.pool.http.views.context import ViewContext

        services = pool.services
        environment = services.environment
        facts = ViewContext(
            "USD",
            services.telemetry.usage,
            environment.variables_of,
            {},
            services.store.queue_report,
            environment.device_nodes_of,
            {},
            str.upper,
        )
        devices: list[str] = [view["health"]["state"] for view in device_views(state, access, facts)]
        leases = await lease_views(state, at, access, facts)
        return devices, {view["id"]: pending_reason_of(view) for view in leases}

    run(tmp_path, machine, story)


@pytest.mark.slow
def test_grant_during_an_unresponsive_driver_waits_again_with_reason(tmp_path: Path, machine: FakeMachine) -> None:
    async def story(pool: Pool) -> None:
        machine.answers.clear()
        await pool.ask("a")
        lease = await pool.until("a", LeaseState.WAITING)
        assert lease.prepare_attempts
        assert "does not answer" in text(lease.prepare_failure) or "has not answered" in text(lease.prepare_failure)
        machine.answers.set()
        await pool.until("a", LeaseState.ACTIVE)

    run(tmp_path, machine, story)


@pytest.mark.slow
def test_start_with_an_unresponsive_driver_keeps_leases(
    tmp_path: Path, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)

    async def second(pool: Pool) -> None:
        assert pool.services.store.state.devices["fake-0"].missing, "before anything is served"
        assert (await pool.lease("a")).state is LeaseState.ACTIVE
        await until_missing(pool, MissingReason.NO_ANSWER)
        assert (await pool.lease("a")).active_since_ms is None, "it is not billed"
        machine.answers.set()
        await until_missing(pool, None)
        assert (await pool.lease("a")).active_since_ms is not None

    async def third(pool: Pool) -> None:
        assert await device(pool) == (Health.HEALTHY, None)

    run(tmp_path, machine, first)
    machine.answers.clear()
    monkeypatch.setattr(inventory, "START_S", 0.05)
    run(tmp_path, machine, second)
    run(tmp_path, machine, third)


@pytest.mark.slow
def test_inventory_follows_added_and_removed_devices(
    tmp_path: Path, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GONE_AFTER_MS", 100)

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        machine.specs.append(fake_spec("fake-1", 1))
        await pool.ask("b")
        lease = await pool.until("b", LeaseState.ACTIVE)
        assert lease.logical_gpu is not None
        assert lease.logical_gpu.device_id == "fake-1"
        machine.remove("fake-1")
        ended = await pool.until("b", LeaseState.ENDED)
        assert (ended.end_reason, ended.scrub) == (EndReason.DEVICE_LOST, ScrubOutcome.DEVICE_GONE)
        assert (await pool.lease("a")).state is LeaseState.ACTIVE

    run(tmp_path, machine, story)


def test_executor_opens_device_files_before_ready_and_waits_before_limit(machine: FakeMachine) -> None:
    class Played:
        async def open_devices(self, lease_id: str, gpu: LogicalGPU) -> None:
            machine.calls.append(f"open {lease_id} {gpu.driver_handle}")

        async def wait_until_applied(self, lease_id: str) -> None:
            machine.calls.append(f"settled {lease_id}")

    async def story() -> None:
        executor = EffectExecutor(machine.driver(), DriverThread(), device_access=Played())
        gpu = LogicalGPU("fake-0", GIB, False, Mechanism.SHARED, Enforcement.DRIVER, 0, 1, driver_handle="it")  # noqa: FBT003
        kernel = holder_of(os.getpid(), SystemClock().boot_id())
        assert await executor.execute(fx.Prepare("a", gpu)) == c.PrepareSucceeded("a", 1, "it")
        assert machine.calls == ["prepare", "open a it"]
        await executor.execute(fx.SetLimit("a", gpu, kernel))
        assert machine.calls[2:] == ["settled a"], "this process is no kernel, and is not limited"
        executor.close()

    asyncio.run(story())


@pytest.mark.parametrize("partition", [None, Partition("1g.10gb", 0, 142)])
def test_executor_scrubs_a_partition_before_and_a_device_after_the_release(
    machine: FakeMachine, partition: Partition | None
) -> None:
    class RecordingScrubber:
        async def scrub(self, lease_id: str, *_: object, **_options: object) -> ScrubResult:
            machine.calls.append("scrub")
            return ScrubResult(ScrubOutcome.OVERWRITTEN, GIB)

    async def story() -> None:
        executor = EffectExecutor(machine.driver(), DriverThread(), scrubber=RecordingScrubber())  # type: ignore[arg-type]
        gpu = LogicalGPU("fake-0", GIB, False, Mechanism.SHARED, Enforcement.DRIVER, 0, 1, partition=partition)  # noqa: FBT003
        holder = holder_of(os.getpid(), SystemClock().boot_id())
        await executor.execute(fx.Drain("a", gpu, holder))
        order = [call for call in machine.calls if call in {"scrub", "release"}]
        assert order == (["release", "scrub"] if partition is None else ["scrub", "release"])
        executor.close()

    asyncio.run(story())


def test_daemon_threads_keep_the_order_and_pass_errors_on() -> None:
    threads = DaemonThreads(1, "test")
    done: list[int] = []
    futures = [threads.submit(done.append, number) for number in range(50)]
    failed = threads.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(20)
    assert [future.result(20) for future in futures] == [None] * 50
    assert done == list(range(50))
    threads.shutdown()
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(int)


def test_daemon_thread_that_cannot_be_started_is_a_fault_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = DaemonThreads(1, "test")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(HostFault, match="starts no thread"):
            threads.submit(int)
    assert threads.submit(int).result(20) == 0
    threads.shutdown()


def test_call_with_timeout_raises_a_fault_or_the_error_of_the_call() -> None:
    assert call_with_timeout(20, lambda: 7, "never") == 7
    with pytest.raises(HostFault, match="too long"):
        call_with_timeout(0.01, lambda: time.sleep(0.2), "it takes too long")
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(20, lambda: 1 / 0, "never")


@pytest.mark.slow
def test_daemon_thread_that_hangs_does_not_keep_the_process() -> None:
    code = """
        import threading
        from fastgpu_jupyter.pool.host.threads import DaemonThreads
        DaemonThreads(1, "stuck").submit(threading.Event().wait)
        print("over")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout == "over\n"
