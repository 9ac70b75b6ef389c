"""Leases on devices whose driver lists no processes: not parked, not gone, and not given to others on a guess."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import ScrubOutcome
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.pool.devices.driver import UnlistedProcesses
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.units import GIB
from tests.core.world import spec, text
from tests.pool.running_pool import Pool, ScriptedDriver, run
from tests.waiting import async_wait_until

NOT_LISTED = Message.of("processes.not_listed")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> ScriptedDriver:
    """A driver that lists no processes; 60 GiB of its device are in use."""
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S", 0.01)
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S_MAX", 0.02)
    monkeypatch.setattr(executor_module, "UNKNOWN_S", 0.05)
    monkeypatch.setattr(executor_module, "GONE_S", 0.05)
    driver = ScriptedDriver(spec("gpu", parkable=True))
    driver.unlisted = UnlistedProcesses(NOT_LISTED, 60 * GIB)
    return driver


def test_lease_whose_memory_is_not_seen_to_have_left_is_not_parked(tmp_path: Path, driver: ScriptedDriver) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ParkLease("a"))
        await pool.until("a", LeaseState.PARKING, LeaseState.ACTIVE)
        lease = await pool.until("a", LeaseState.ACTIVE)
        assert lease.park_failure is not None
        assert "cannot be seen" in text(lease.park_failure)
        assert driver.parked == [], "what was moved is back"
        driver.unlisted = UnlistedProcesses(NOT_LISTED, GIB)
        await pool.services.commands.submit(c.ParkLease("a"))
        await pool.until("a", LeaseState.PARKED)

    run(tmp_path, story, driver)


@pytest.mark.parametrize(
    ("in_use_bytes", "outcome"),
    [(60 * GIB, ScrubOutcome.UNKNOWN), (GIB, ScrubOutcome.GONE), (None, ScrubOutcome.UNKNOWN)],
)
def test_lease_ends_with_its_processes_and_by_what_is_in_use(
    tmp_path: Path, driver: ScriptedDriver, in_use_bytes: int | None, outcome: ScrubOutcome
) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        with subprocess.Popen(["sleep", "60"], env={**os.environ, "FASTGPU_LEASE": "a"}) as worker:
            driver.using.add(worker.pid)
            await pool.services.commands.submit(c.ReleaseLease("a"))
            listed = driver.listings
            await async_wait_until(lambda: driver.listings > listed + 8, "the pool looks again and again")
            assert (await pool.lease("a")).state is LeaseState.DRAINING, "a process of it is there"
            driver.unlisted = UnlistedProcesses(NOT_LISTED, in_use_bytes)
            worker.kill()
        ended = await pool.until("a", LeaseState.ENDED)
        assert ended.scrub is outcome
        await pool.ask("b")
        granted = (await pool.lease("b")).state is not LeaseState.WAITING
        assert granted is (outcome is ScrubOutcome.GONE)

    run(tmp_path, story, driver)
