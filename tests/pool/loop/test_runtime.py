"""The loop with a played driver: nothing is answered before it is on disk, and faults of the host are survived."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.lease import preparation
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    DeviceSpec,
    EndReason,
    Health,
    Instant,
    Lease,
    LeaseRequest,
    LogicalGPU,
    ScrubOutcome,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import Pool as Rules
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import HostFault, InternalError, NoSuchDevice, NotFound, StoreFault
from fastgpu_jupyter.pool.composition import PoolServices, ServiceOptions
from fastgpu_jupyter.pool.devices.driver import (
    NOT_PARTITIONABLE,
    DeviceProcess,
    LimitResult,
    PartitionMode,
    Sample,
    SampledLease,
    ScrubCommand,
)
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.pool.effects.scrubber import OVERWRITE, Scrubber
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import degraded_mode
from fastgpu_jupyter.pool.loop.recovery import recover, replay
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from tests.core.world import mig_spec, spec, text
from tests.refusals import refused
from tests.waiting import async_wait_until


class PlayedDriver:
    """Devices whose preparation and processes a test decides."""

    def __init__(self, *specs: DeviceSpec) -> None:
        self.specs = list(specs)
        self.refuse: str | None = None
        self.prepared = 0
        self.pids: list[int] = []
        self.blind = False
        self.parked: list[tuple[str, int]] = []
        self.released: list[int] = []

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        self.held = list(held)

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        return list(self.specs), None

    def health(self, device_id: str) -> tuple[Health, str | None]:
        return Health.HEALTHY, None

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        self.prepared += 1
        if self.refuse:
            raise HostFault(self.refuse)
        return ""

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        return LimitResult(logical_gpu.enforcement)

    def release(self, logical_gpu: LogicalGPU) -> None:
        self.released.append(logical_gpu.generation)

    def lost(self, logical_gpu: LogicalGPU) -> str | None:
        return None

    def park(self, logical_gpu: LogicalGPU, pid: int) -> int:
        if self.refuse:
            raise HostFault(self.refuse)
        self.parked.append((logical_gpu.device_id, pid))
        return 7

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str]) -> None:
        if self.refuse:
            raise HostFault(self.refuse)
        self.parked.remove((logical_gpu.device_id, pid))

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        return {"CUDA_VISIBLE_DEVICES": logical_gpu.device_id}

    def hidden_env(self) -> Mapping[str, str]:
        return {"CUDA_VISIBLE_DEVICES": ""}

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        return ()

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        return [ScrubCommand(device_id, ("scrub",), {}) for device_id in logical_gpu.device_ids]

    def processes(self, device_id: str) -> Sequence[DeviceProcess]:
        if self.blind:
            raise HostFault("cannot see")
        return [DeviceProcess(pid, None) for pid in self.pids]

    def sample(self, subjects: Sequence[SampledLease]) -> Sample:
        return Sample()

    def partition_mode(self, device_id: str) -> PartitionMode:
        """It has no such mode."""
        return NOT_PARTITIONABLE

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Refused."""
        raise HostFault("This device cannot be divided.")

    def close(self) -> None:
        pass


class Pool:
    """A running services in a folder, which can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        driver: PlayedDriver,
        release_log: PreallocatedReleaseLog | None = None,
        options: ServiceOptions | None = None,
    ) -> None:
        self.folder, self.driver, self.clock = folder, driver, SystemClock()
        self.release_log, self.options = release_log, options or ServiceOptions()

    async def start(self) -> None:
        self.journal = Journal(self.folder / "journal.db")
        pool, _ = recover(self.journal, DriverAtStartup(self.driver), self.clock, self.release_log)
        self.services = PoolServices(
            pool, self.journal, self.driver, self.clock, self.release_log, options=self.options
        )
        await self.services.start()

    async def ask(self, name: str, pid: int | None = None, key: str | None = None, profile: str = "full") -> str | None:
        holder = holder_of(pid or os.getpid(), self.clock.boot_id())
        request = LeaseRequest(profile, None, None, None)
        return await self.services.commands.submit(c.RequestLease(name, "ann", request, holder, "0" * 64), key)

    async def lease(self, name: str) -> Lease:
        return await self.services.store.read(lambda state, _: state.leases[name])

    async def until_mended(self) -> None:
        faults = self.services.faults
        await async_wait_until(lambda: faults.message is None, lambda: f"mended; it is {faults.message}")

    async def until(self, name: str, *states: LeaseState) -> Lease:
        lease = await self.lease(name)

        async def reached() -> bool:
            nonlocal lease
            lease = await self.lease(name)
            return lease.state in states

        await async_wait_until(reached, lambda: f"{name} is one of {states}; it is {lease.state}")
        return lease


def _full(entries: Any) -> None:
    raise StoreFault("The journal cannot be written.")


def run(
    tmp_path: Path,
    story: Callable[[Pool], Coroutine[Any, Any, None]],
    driver: PlayedDriver | None = None,
    release_log: PreallocatedReleaseLog | None = None,
    options: ServiceOptions | None = None,
) -> None:
    async def play() -> None:
        pool = Pool(tmp_path, driver or PlayedDriver(spec("gpu")), release_log, options)
        await pool.start()
        try:
            await story(pool)
        finally:
            await pool.services.stop()

    asyncio.run(play())


@pytest.fixture(autouse=True)
def _quick_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S", 0.01)
    monkeypatch.setattr(degraded_mode, "PROBE_S", 0.01)


def test_a_lease_becomes_active_and_ends_by_itself(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ReleaseLease("a"))
        lease = await pool.until("a", LeaseState.ENDED)
        assert lease.end_reason is EndReason.RELEASED

    run(tmp_path, story)


def test_tickets_are_those_of_the_state_also_where_a_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pool: Pool) -> None:
        def of(state: State) -> dict[str, int]:
            known = {lease_id: place for lease_id, (place, _) in pool.services.store.queue_positions().items()}
            assert known == {lease.id: place for lease, place, _ in queue_report.positions(state)}
            return known

        async def told() -> dict[str, int]:
            return await pool.services.store.read(lambda state, _: of(state))

        for name in "abc":
            await pool.ask(name)
        assert await told() == {"b": 1, "c": 2}
        released = await pool.services.commands.submit_and_read(
            c.ReleaseLease("b"), None, lambda state, _, lease_id: (lease_id, of(state))
        )
        assert released == ("b", {"c": 1})
        with monkeypatch.context() as broken:
            broken.setattr(pool.journal, "append", _full)
            with pytest.raises(StoreFault):
                await pool.ask("d")
            assert await told() == {"c": 1}
        await pool.until_mended()
        await pool.ask("e")
        assert await told() == {"c": 1, "e": 2}

    run(tmp_path, story)


def test_who_may_not_is_refused_before_anything_is_decided(tmp_path: Path) -> None:
    def never(state: State) -> None:
        raise NotFound("not yours")

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        with refused(NotFound, match="not yours"):
            await pool.services.commands.submit_and_read(c.ReleaseLease("a"), None, lambda *_: None, never)
        assert (await pool.until("a", LeaseState.ACTIVE)).end_reason is None

    run(tmp_path, story)


def test_what_was_answered_is_on_disk(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        await asyncio.gather(*(pool.ask(f"lease-{number}") for number in range(20)))
        other = Journal(tmp_path / "journal.db")
        assert {f"lease-{number}" for number in range(20)} <= set(replay(other).leases)
        other.close()

    run(tmp_path, story)


def test_a_key_that_was_answered_gives_the_same_answer_also_after_a_restart(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        assert await pool.ask("a", key="once") == "a"
        assert await pool.ask("b", key="once") == "a"
        await pool.services.stop()
        await pool.start()
        assert await pool.ask("c", key="once") == "a"
        assert await pool.services.store.read(lambda state, _: list(state.leases)) == ["a"]

    run(tmp_path, story)


def test_a_refused_command_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        holder = holder_of(os.getpid(), pool.clock.boot_id())
        bad = c.RequestLease("a", "ann", LeaseRequest("no such", None, None, None), holder, "0" * 64)
        with pytest.raises(NoSuchDevice):
            await pool.services.commands.submit(bad, "key")
        assert await pool.ask("a", key="key") == "a"

    run(tmp_path, story)


def test_the_death_of_a_holder_drains_its_lease_and_serves_the_next(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        with subprocess.Popen(["sleep", "60"]) as kernel:
            await pool.ask("a", kernel.pid)
            await pool.ask("b")
            await pool.until("a", LeaseState.ACTIVE)
            kernel.kill()
            lease = await pool.until("a", LeaseState.ENDED)
        assert lease.end_reason is EndReason.HOLDER_DIED
        await pool.until("b", LeaseState.ACTIVE)

    run(tmp_path, story)


def test_a_holder_that_died_while_no_pool_ran_is_reaped_and_a_live_one_adopted(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        with subprocess.Popen(["sleep", "60"]) as kernel:
            await pool.ask("dead", kernel.pid)
            await pool.ask("live")
            await pool.until("dead", LeaseState.ACTIVE)
            await pool.until("live", LeaseState.ACTIVE)
            await pool.services.stop()
            kernel.kill()
        await pool.start()
        lease = await pool.until("dead", LeaseState.ENDED)
        assert lease.end_reason is EndReason.HOLDER_DIED
        assert (await pool.lease("live")).state is LeaseState.ACTIVE

    run(tmp_path, story, PlayedDriver(spec("gpu"), spec("gpu2", index=1)))


def test_a_lease_drains_until_none_of_its_processes_has_memory_on_the_device(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        with subprocess.Popen(["sleep", "60"], env={**os.environ, "FASTGPU_LEASE": "a"}) as worker:
            pool.driver.pids = [worker.pid, os.getppid()]
            await pool.services.commands.submit(c.ReleaseLease("a"))
            pool.driver.blind = True
            for _ in range(10):
                await asyncio.sleep(0.01)
                assert (await pool.lease("a")).state is LeaseState.DRAINING
                pool.driver.blind = False
            worker.kill()
        # Somebody else's process on the device does not hold the lease.
        await pool.until("a", LeaseState.ENDED)

    run(tmp_path, story)


def test_a_preparation_that_fails_is_tried_again_and_ends_the_lease_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "PAUSE_MS", 1)

    async def story(pool: Pool) -> None:
        pool.driver.refuse = "the GPU fell off the bus."
        await pool.ask("a")
        lease = await pool.until("a", LeaseState.ENDED)
        assert lease.end_reason is EndReason.PREPARE_FAILED
        assert text(lease.end_detail).startswith("the GPU fell off the bus. It was tried 8 times")
        assert pool.driver.prepared == preparation.TRIES_MAX

    run(tmp_path, story)


def test_what_a_failed_preparation_has_left_is_unmade_before_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its user may give up meanwhile, and then nobody would."""
    monkeypatch.setattr(preparation, "PAUSE_MS", 1)

    async def story(pool: Pool) -> None:
        pool.driver.refuse = "no compute instance"
        await pool.ask("a", profile="half")
        await pool.until("a", LeaseState.ENDED)
        assert pool.driver.prepared == preparation.TRIES_MAX
        assert len(set(pool.driver.released)) == preparation.TRIES_MAX

    run(tmp_path, story, PlayedDriver(mig_spec("gpu")))


def test_where_the_disk_fails_nobody_is_told_and_memory_is_what_the_disk_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)

        def fail(entries: Any) -> None:
            raise StoreFault("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(pool.journal, "append", fail)
            with pytest.raises(StoreFault, match="disk full"):
                await pool.ask("b")
            with pytest.raises(StoreFault, match="disk full"):
                await pool.services.commands.submit(c.ReleaseLease("a"))
        assert await pool.services.store.read(lambda state, _: {i: s.state.value for i, s in state.leases.items()}) == {
            "a": "active"
        }
        await pool.until_mended()
        await pool.ask("b")
        await pool.services.commands.submit(c.ReleaseLease("a"))
        await pool.until("b", LeaseState.ACTIVE)

    run(tmp_path, story)


def test_after_a_bug_nothing_new_is_granted_but_releases_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        with monkeypatch.context() as patch:
            patch.setattr(Rules, "execute", _raise_bug)
            with pytest.raises(InternalError, match="nothing new is granted"):
                await pool.ask("b")
        with pytest.raises(StoreFault, match="releases are accepted"):
            await pool.ask("c")
        await pool.services.commands.submit(c.ReleaseLease("a"))
        await pool.until("a", LeaseState.ENDED)

    run(tmp_path, story)


def _raise_bug(pool: object, command: c.Command, at: Instant) -> None:
    raise InternalError("impossible")


def test_a_journal_that_adds_up_to_something_impossible_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal.db")
    monkeypatch.setattr("fastgpu_jupyter.pool.loop.recovery.violations", lambda state: iter(["two have it whole"]))
    with pytest.raises(InternalError, match="two have it whole"):
        recover(journal, DriverAtStartup(PlayedDriver()), SystemClock())
    journal.close()


def parkable() -> PlayedDriver:
    return PlayedDriver(spec("gpu", parkable=True))


def test_a_lease_is_parked_and_comes_back(tmp_path: Path) -> None:
    driver = parkable()

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ParkLease("a"))
        lease = await pool.until("a", LeaseState.PARKED)
        assert (lease.parked_bytes, driver.parked) == (7, [("gpu", os.getpid())])
        await pool.ask("b")
        await pool.until("b", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ReleaseLease("b"))
        await pool.until("b", LeaseState.ENDED)
        await pool.services.commands.submit(c.ResumeLease("a"))
        await pool.until("a", LeaseState.ACTIVE)
        assert driver.parked == []

    run(tmp_path, story, driver)


@pytest.mark.parametrize("blind", [False, True])
def test_nothing_is_taken_for_parked_that_has_memory_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: bool
) -> None:
    driver = parkable()
    monkeypatch.setattr(executor_module, "leases_of", lambda pid, of: {"a"} & set(of) if pid == 4711 else ())

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        driver.pids, driver.blind = [4711], blind
        await pool.services.commands.submit(c.ParkLease("a"))
        lease = await pool.until("a", LeaseState.ACTIVE, LeaseState.PARKED)
        assert lease.state is LeaseState.ACTIVE
        assert lease.park_failure is not None
        assert ("cannot see" if blind else "Process 4711 of this lease still has memory") in text(lease.park_failure)
        assert driver.parked == []  # what was moved is back

    run(tmp_path, story, driver)


def test_what_a_parked_lease_left_is_overwritten_before_its_device_is_another_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = parkable()
    fails, done = True, []

    async def overwrite(self: Scrubber, command: ScrubCommand) -> tuple[int, int]:
        if fails:
            raise HostFault("It failed.")
        done.append(command.target)
        return 70, 80

    monkeypatch.setattr(Scrubber, "_overwrite_one", overwrite)
    monkeypatch.setattr("fastgpu_jupyter.pool.effects.scrubber.RETRY_S", 0.01)

    async def story(pool: Pool) -> None:
        nonlocal fails
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.ask("b")
        await pool.services.commands.submit(c.ParkLease("a"))
        told = "could not be overwritten yet: It failed."
        await async_wait_until(lambda: told in text(pool.services.scrubber.status_of("a")), "the failure is shown")
        assert (await pool.lease("a")).state is LeaseState.PARKING
        assert (await pool.lease("b")).state is LeaseState.WAITING
        fails = False
        lease = await pool.until("a", LeaseState.PARKED)
        assert (lease.scrub, lease.scrub_bytes, done) == (ScrubOutcome.OVERWRITTEN, 70, ["gpu"])
        assert pool.services.scrubber.status_of("a") is None
        await pool.until("b", LeaseState.ACTIVE)

    run(tmp_path, story, driver, options=ServiceOptions(scrub_mode=OVERWRITE))


def test_parking_goes_on_after_a_restart_of_the_pool_manager(tmp_path: Path) -> None:
    driver = parkable()

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        stuck = threading.Event()
        driver.park = lambda *_: stuck.wait() or 0  # type: ignore[method-assign]
        await pool.services.commands.submit(c.ParkLease("a"))
        await pool.services.stop()
        stuck.set()
        del driver.park
        await pool.start()
        await pool.until("a", LeaseState.PARKED)

    run(tmp_path, story, driver)
