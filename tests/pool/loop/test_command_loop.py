"""The command loop with a scripted driver: answers only after the write, and faults of the host."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.lease import parking, preparation
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    Instant,
    LeaseRequest,
    ScrubOutcome,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import Pool as Rules
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import HostFault, InternalError, NoSuchDevice, NotFound, StoreFault
from fastgpu_jupyter.pool.composition import ServiceOptions
from fastgpu_jupyter.pool.devices.driver import NotNow, ScrubCommand
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.pool.effects import presence as presence_module
from fastgpu_jupyter.pool.effects import runner
from fastgpu_jupyter.pool.effects.scrubber import OVERWRITE, Scrubber
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import degraded_mode
from fastgpu_jupyter.pool.loop.recovery import recover, replay
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from tests.core.world import mig_spec, spec, text
from tests.pool.running_pool import Pool, ScriptedDriver, run
from tests.refusals import refused
from tests.waiting import async_wait_until


def _full(entries: Any) -> None:
    raise StoreFault("The journal cannot be written.")


@pytest.fixture(autouse=True)
def _quick_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S", 0.01)
    monkeypatch.setattr(degraded_mode, "PROBE_S", 0.01)


def test_lease_becomes_active_and_ends_after_release(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ReleaseLease("a"))
        lease = await pool.until("a", LeaseState.ENDED)
        assert lease.end_reason is EndReason.RELEASED

    run(tmp_path, story)


def test_queue_positions_match_the_state_also_after_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pool: Pool) -> None:
        def of(state: State) -> dict[str, int]:
            known = {name: entry.position for name, entry in pool.services.store.queue_report.entries().items()}
            assert known == {lease.id: place for lease, place, _ in queue_report.positions(state)}
            return known

        async def positions() -> dict[str, int]:
            return await pool.services.store.read(lambda state, _: of(state))

        for name in "abc":
            await pool.ask(name)
        assert await positions() == {"b": 1, "c": 2}
        released = await pool.services.commands.submit_and_read(
            c.ReleaseLease("b"), None, lambda state, _, lease_id: (lease_id, of(state))
        )
        assert released == ("b", {"c": 1})
        with monkeypatch.context() as broken:
            broken.setattr(pool.journal, "append", _full)
            with pytest.raises(StoreFault):
                await pool.ask("d")
            assert await positions() == {"c": 1}
        await pool.until_mended()
        await pool.ask("e")
        assert await positions() == {"c": 1, "e": 2}

    run(tmp_path, story)


def test_command_that_is_not_allowed_is_refused_before_decision(tmp_path: Path) -> None:
    def never(state: State) -> None:
        raise NotFound("not yours")

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        with refused(NotFound, match="not yours"):
            await pool.services.commands.submit_and_read(c.ReleaseLease("a"), None, lambda *_: None, never)
        assert (await pool.until("a", LeaseState.ACTIVE)).end_reason is None

    run(tmp_path, story)


def test_answered_commands_are_on_disk(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        await asyncio.gather(*(pool.ask(f"lease-{number}") for number in range(20)))
        other = Journal(tmp_path / "journal.db")
        assert {f"lease-{number}" for number in range(20)} <= set(replay(other).leases)
        other.close()

    run(tmp_path, story)


def test_answered_key_gives_the_same_answer_after_a_restart(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        assert await pool.ask("a", key="once") == "a"
        assert await pool.ask("b", key="once") == "a"
        await pool.services.stop()
        await pool.start()
        assert await pool.ask("c", key="once") == "a"
        assert await pool.services.store.read(lambda state, _: list(state.leases)) == ["a"]

    run(tmp_path, story)


def test_refused_command_does_not_use_up_its_key(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        holder = holder_of(os.getpid(), pool.clock.boot_id())
        bad = c.RequestLease("a", "ann", LeaseRequest("no such", None, None, None), holder, "0" * 64)
        with pytest.raises(NoSuchDevice):
            await pool.services.commands.submit(bad, "key")
        assert await pool.ask("a", key="key") == "a"

    run(tmp_path, story)


def test_death_of_the_holder_drains_its_lease_and_grants_the_next(tmp_path: Path) -> None:
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


def test_restart_reaps_dead_holders_and_adopts_live_ones(tmp_path: Path) -> None:
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

    run(tmp_path, story, ScriptedDriver(spec("gpu"), spec("gpu2", index=1)))


def test_lease_drains_until_its_processes_have_no_device_memory(tmp_path: Path) -> None:
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
        pool.driver.pids.remove(worker.pid)
        # A process of another lease on the device does not hold this one.
        await pool.until("a", LeaseState.ENDED)

    run(tmp_path, story)


def test_failing_preparation_is_retried_and_ends_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "PAUSE_MS", 1)

    async def story(pool: Pool) -> None:
        pool.driver.refuse = "the GPU fell off the bus."
        await pool.ask("a")
        lease = await pool.until("a", LeaseState.ENDED)
        assert lease.end_reason is EndReason.PREPARE_FAILED
        assert text(lease.end_detail).startswith("the GPU fell off the bus. It was tried 8 times")
        assert pool.driver.prepared == preparation.TRIES_MAX

    run(tmp_path, story)


def test_failed_preparation_is_undone_before_the_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its user may release the lease meanwhile, and then draining has nothing to undo."""
    monkeypatch.setattr(preparation, "PAUSE_MS", 1)

    async def story(pool: Pool) -> None:
        pool.driver.refuse = "no compute instance"
        await pool.ask("a", profile="half")
        await pool.until("a", LeaseState.ENDED)
        assert pool.driver.prepared == preparation.TRIES_MAX
        assert len(set(pool.driver.released)) == preparation.TRIES_MAX

    run(tmp_path, story, ScriptedDriver(mig_spec("gpu")))


def test_failed_write_is_not_answered_and_memory_is_reloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_internal_error_stops_grants_and_accepts_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_journal_that_violates_an_invariant_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.db")
    monkeypatch.setattr("fastgpu_jupyter.pool.loop.recovery.violations", lambda state: iter(["two have it whole"]))
    with pytest.raises(InternalError, match="two have it whole"):
        recover(journal, DriverAtStartup(ScriptedDriver()), SystemClock())
    journal.close()


def parkable() -> ScriptedDriver:
    return ScriptedDriver(spec("gpu", parkable=True))


def test_parked_lease_resumes_on_a_device(tmp_path: Path) -> None:
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
def test_parking_that_leaves_memory_on_the_device_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: bool
) -> None:
    driver = parkable()
    monkeypatch.setattr(executor_module, "GONE_S", 0.05)
    monkeypatch.setattr(presence_module, "leases_of", lambda pid, of: {"a"} & set(of) if pid == 4711 else ())

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


def test_parking_waits_until_the_device_lists_no_process_of_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver may list a process for a moment after its memory was moved, or not answer."""
    driver = parkable()
    answers: list[Any] = [[4711], HostFault("cannot see"), [4711]]
    monkeypatch.setattr(presence_module, "leases_of", lambda pid, of: {"a"} & set(of) if pid == 4711 else ())

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        listed = driver.processes

        def processes(device_id: str) -> Any:
            answer = answers.pop(0) if answers and driver.parked else []
            if isinstance(answer, HostFault):
                raise answer
            driver.pids = answer
            return listed(device_id)

        driver.processes = processes  # type: ignore[method-assign]
        await pool.services.commands.submit(c.ParkLease("a"))
        await pool.until("a", LeaseState.PARKED)
        assert answers == []

    run(tmp_path, story, driver)


def test_parking_whose_undoing_fails_reports_the_process_as_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = parkable()
    monkeypatch.setattr(executor_module, "GONE_S", 0.0)
    monkeypatch.setattr(presence_module, "leases_of", lambda pid, of: {"a"} & set(of) if pid == 4711 else ())

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        driver.pids, driver.refuse_resume = [4711], HostFault("It is stuck.")
        await pool.services.commands.submit(c.ParkLease("a"))
        lease = await pool.until("a", LeaseState.ACTIVE)
        assert "still has memory on the device. It is stuck. Restart the kernel." in text(lease.fault)

    run(tmp_path, story, driver)


def test_lease_without_enough_free_memory_waits_in_the_queue_until_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = parkable()
    monkeypatch.setattr(runner, "RESUME_POLL_S", 0.01)
    monkeypatch.setattr(parking, "RESUME_MS", 30)
    monkeypatch.setattr(parking, "RESUME_MS_MAX", 30)

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ParkLease("a"))
        await pool.until("a", LeaseState.PARKED)
        driver.refuse_resume = NotNow("Others have it.")
        await pool.services.commands.submit(c.ResumeLease("a"))

        async def tried_often() -> bool:
            return (await pool.lease("a")).resume_attempts > 3

        await async_wait_until(tried_often, "it was tried several times, and the lease did not end")
        lease = await pool.lease("a")
        assert "Others have it. It keeps its parked memory and its position" in text(parking.resume_message(lease))
        assert lease.parked_bytes == 7
        await pool.ask("b")
        driver.refuse_resume = None
        lease = await pool.until("a", LeaseState.ACTIVE)
        assert (lease.resume_attempts, lease.resume_obstacle) == (0, None)
        assert (await pool.lease("b")).state is LeaseState.WAITING

    run(tmp_path, story, driver)


def test_lease_that_is_released_while_its_resume_is_postponed_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = parkable()
    monkeypatch.setattr(runner, "RESUME_POLL_S", 0.01)

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ParkLease("a"))
        await pool.until("a", LeaseState.PARKED)
        driver.refuse_resume = NotNow("Others have it.")
        await pool.services.commands.submit(c.ResumeLease("a"))
        await pool.until("a", LeaseState.RESUMING)
        await pool.services.commands.submit(c.ReleaseLease("a"))
        await pool.until("a", LeaseState.ENDED)
        driver.refuse_resume = None
        await pool.ask("b")
        await pool.until("b", LeaseState.ACTIVE)
        assert len(driver.parked) == 1, "its memory was not moved to the device of another lease"

    run(tmp_path, story, driver)


def test_memory_of_a_parked_lease_is_scrubbed_before_the_next_grant(
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
        failure = "could not be overwritten yet: It failed."

        async def is_tried_or_parked() -> bool:
            parked = (await pool.lease("a")).state is LeaseState.PARKED
            return parked or failure in text(pool.services.scrubber.status_of("a"))

        await async_wait_until(is_tried_or_parked, "the failure is shown")
        assert (await pool.lease("a")).state is LeaseState.PARKING
        assert (await pool.lease("b")).state is LeaseState.WAITING
        fails = False
        lease = await pool.until("a", LeaseState.PARKED)
        assert (lease.scrub, lease.scrub_bytes, done) == (ScrubOutcome.OVERWRITTEN, 70, ["gpu"])
        assert pool.services.scrubber.status_of("a") is None
        await pool.until("b", LeaseState.ACTIVE)

    run(tmp_path, story, driver, options=ServiceOptions(scrub_mode=OVERWRITE))


def test_parking_continues_after_a_restart(tmp_path: Path) -> None:
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
