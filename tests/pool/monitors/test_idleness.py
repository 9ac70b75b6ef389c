"""The idle monitor: what it reports of readings, and what it does not, after restarts and failures as well."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import IdlePolicy, IdleTimes, Lease, Policy
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.pool.devices.driver import DeviceUsage
from fastgpu_jupyter.pool.monitors.idleness import IdleMonitor
from tests.core.world import BOOT
from tests.pool.monitors.world_pool import WorldPool


class Pool(WorldPool):
    """A pool with an idle monitor, in which no cell runs."""

    def __init__(self) -> None:
        super().__init__()
        times = IdleTimes(park_ms=900_000, release_ms=3_600_000)
        self.world.do(c.SetPolicy(Policy(idle_policy=IdlePolicy(times))))
        self.world.active("a")
        self.world.do(c.ReportActivity("a", busy=False))
        self.start()

    def start(self) -> None:
        """Begin with an empty monitor, as a pool manager that starts does."""
        self.monitor = IdleMonitor(cast(Any, self), cast(Any, self), cast(Any, self))

    @property
    def reports(self) -> list[int | None]:
        """Return since when the device was reported to be idle, by report."""
        return [command.idle_since_ms for command in self.submitted if isinstance(command, c.ReportGPUUse)]

    @property
    def lease(self) -> Lease:
        return self.world.state.leases["a"]

    def seconds(self, count: int, percent: int | None = 0, *, answers: bool = True) -> list[int | None]:
        """Take a reading in each of some seconds; return what was reported meanwhile."""
        before = len(self.reports)

        def read() -> DeviceUsage | None:
            sampled = answers and self.lease.state is LeaseState.ACTIVE
            return DeviceUsage(percent, 0) if sampled else None

        self.take_readings(self.monitor, count, lambda: self.world.pass_time(1000), read)
        return self.reports[before:]


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_monitor_reports_changes_only(pool: Pool) -> None:
    began_ms = pool.world.now_ms + 1000
    assert pool.seconds(60) == []
    assert pool.seconds(600) == [began_ms]
    assert pool.seconds(300, 80) == [None]
    assert pool.seconds(60) == []
    assert pool.seconds(600) == [pool.world.now_ms - 659_000]


@pytest.mark.parametrize(("percent", "answers"), [(None, True), (0, False), (5, True)])
def test_unknown_reading_silent_driver_and_threshold_count_as_use(
    pool: Pool, percent: int | None, answers: bool
) -> None:
    assert pool.seconds(300, percent, answers=answers) == []
    pool.seconds(70)
    assert pool.lease.gpu_idle_since_ms is not None
    assert pool.seconds(1, percent, answers=answers) == [None]
    assert pool.lease.gpu_idle_since_ms is None


def test_nothing_is_reported_while_a_cell_runs_or_where_that_is_unknown(pool: Pool) -> None:
    pool.world.do(c.ReportActivity("a", busy=True))
    assert pool.seconds(300) == []
    pool.world.do(c.BindHolder("a", pool.lease.holder.__class__(BOOT, 77, 1, 1, 1000)))
    assert pool.seconds(300) == []
    pool.world.do(c.ReportActivity("a", busy=False))
    assert len(pool.seconds(1)) == 1  # the readings before count: the device was idle then as well


def test_report_that_fails_is_made_again(pool: Pool) -> None:
    pool.fails = True
    assert pool.seconds(100) == []
    pool.fails = False
    (since_ms,) = pool.seconds(1)
    assert since_ms == pool.world.now_ms - 100_000


def test_restart_goes_on_where_the_device_is_still_idle(pool: Pool) -> None:
    pool.seconds(120)
    since_ms = pool.lease.gpu_idle_since_ms
    pool.world.now_ms += 20_000
    pool.world.do(c.StartPool(BOOT, pool.world.now_ms))
    pool.start()
    assert pool.seconds(60) == []
    assert not pool.lease.gpu_idle_confirmed
    assert len(pool.seconds(1)) == 1
    assert (pool.lease.gpu_idle_since_ms, pool.lease.gpu_idle_confirmed) == (since_ms, True)
    assert pool.seconds(60) == []


def test_restart_with_a_device_in_use_ends_the_idle_time(pool: Pool) -> None:
    pool.seconds(120)
    pool.world.do(c.StartPool(BOOT, pool.world.now_ms))
    pool.start()
    assert pool.seconds(1, 50) == [None]
    assert pool.lease.gpu_idle_since_ms is None


def test_gap_in_the_readings_ends_the_idle_time(pool: Pool) -> None:
    pool.seconds(120)
    pool.world.now_ms += 30_000
    assert pool.seconds(1) == [None]
    assert len(pool.seconds(60)) == 1


def test_failure_to_park_keeps_the_idle_time(pool: Pool) -> None:
    pool.seconds(620)
    since_ms = pool.lease.gpu_idle_since_ms
    pool.seconds(300)
    assert pool.lease.state is LeaseState.PARKING
    pool.seconds(30)
    gpu = pool.lease.logical_gpu
    assert gpu is not None
    pool.world.do(c.ParkFailed("a", gpu.generation, Message.of_text("a process did not stop")))
    pool.seconds(10)
    assert (pool.lease.state, pool.lease.gpu_idle_since_ms) == (LeaseState.ACTIVE, since_ms)
    assert not any(isinstance(event, e.LeaseGPUUsed) for _, events in pool.world.history for event in events)
