"""The ticker: time is recorded regularly, and a lease makes room at the instant at which it is idle for long enough."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import LeaseRequest, Policy
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.loop import ticker
from tests.core.world import spec
from tests.pool.running_pool import Pool, ScriptedDriver, run

IDLE_MS = 50


@pytest.mark.parametrize("idle_first", [True, False], ids=["before the request", "after the request"])
def test_lease_makes_room_when_idle_without_a_regular_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idle_first: bool
) -> None:
    monkeypatch.setattr(ticker, "TICK_S", 3600.0)

    async def story(pool: Pool) -> None:
        commands = pool.services.commands
        await commands.submit(c.SetPolicy(Policy(idle_ms=IDLE_MS)))
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        holder = holder_of(os.getpid(), pool.clock.boot_id())
        request = c.RequestLease("b", "bob", LeaseRequest("full", None, None, None), holder, "0" * 64)
        steps: list[c.Command] = [c.ReportActivity("a", busy=False), request]
        for step in steps if idle_first else reversed(steps):
            await commands.submit(step)
        await pool.until("a", LeaseState.PARKED)
        await pool.until("b", LeaseState.ACTIVE)

    run(tmp_path, story, ScriptedDriver(spec("gpu", parkable=True)))


def test_ticker_without_waiting_requests_submits_regular_ticks_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker, "TICK_S", 3600.0)

    async def story(pool: Pool) -> None:
        await pool.services.commands.submit(c.SetPolicy(Policy(idle_ms=1)))
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.commands.submit(c.ReportActivity("a", busy=False))
        await asyncio.sleep(0.02)
        assert pool.services.ticker._idle_ms is None
        assert pool.services.ticker._ticks == 0

    run(tmp_path, story, ScriptedDriver(spec("gpu", parkable=True)))
