"""The use recorder: what readings and reports of a kernel make of a notebook's need."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.use import MeasuredUse
from fastgpu_jupyter.pool.devices.driver import DeviceUsage
from fastgpu_jupyter.pool.monitors.use import FrameworkCounters, LeaseUse, UseRecorder
from fastgpu_jupyter.units import GIB
from tests.pool.monitors.world_pool import WorldPool


def readings(use: LeaseUse, first: int, *values: tuple[int | None, int | None], busy: bool | None) -> None:
    """Add readings of (memory in GiB, percent), one each second from ``first`` on."""
    for second, (gib, percent) in enumerate(values, first):
        memory_bytes = None if gib is None else gib * GIB
        use.add(1000 * second, DeviceUsage(percent, memory_bytes), busy=busy)


def test_peak_without_counters_is_the_highest_reading() -> None:
    use = LeaseUse()
    readings(use, 0, (1, 0), (2, 50), (9, 70), (3, None), busy=True)
    use.end_cells(1, None)
    assert use.take() == MeasuredUse(1, 3000, 3000, 0, 9 * GIB, 120_000, 2000)
    assert use.take() == MeasuredUse()


@pytest.mark.parametrize(
    ("counters", "peak_gib"),
    [
        (FrameworkCounters(5 * GIB, 60 * GIB), 5),  # 60 GiB were taken in advance, and 5 needed
        (FrameworkCounters(5 * GIB, 57 * GIB), 8),  # 3 GiB are another library's
        (FrameworkCounters(58 * GIB, 60 * GIB), 58),
    ],
)
def test_peak_of_a_framework_that_allocates_in_advance_is_by_its_own_counters(
    counters: FrameworkCounters, peak_gib: int
) -> None:
    use = LeaseUse()
    readings(use, 0, (0, 0), (60, 50), (60, 50), busy=True)
    use.end_cells(1, counters)
    readings(use, 3, (60, 0), (60, 0), busy=False)
    assert use.pending.peak_bytes == peak_gib * GIB
    readings(use, 5, (60, 50), busy=True)  # of the next cell the counters are not known yet
    assert use.take().peak_bytes == peak_gib * GIB


def test_unknown_readings_and_gaps_are_not_counted_as_known() -> None:
    use = LeaseUse()
    readings(use, 0, (1, 0), (None, 0), busy=True)
    readings(use, 60, (1, 0), (1, 0), busy=True)
    use.add(62_000, None, busy=None)
    assert use.take()[1:4] == (2000, 1000, 2000)


class Pool(WorldPool):
    """A pool with a recorder, in which a cell runs."""

    def __init__(self) -> None:
        super().__init__()
        self.world.active("a", "half")
        self.world.do(c.ReportActivity("a", busy=True))
        self.recorder = UseRecorder(cast(Any, self), cast(Any, self), cast(Any, self))

    @property
    def recorded(self) -> list[MeasuredUse]:
        """Return what was recorded."""
        return [command.use for command in self.submitted if isinstance(command, c.RecordUse)]

    def seconds(self, count: int, step_ms: int = 1000) -> None:
        def pass_time() -> None:
            self.world.now_ms += step_ms

        self.take_readings(self.recorder, count, pass_time, lambda: DeviceUsage(20, 2 * GIB))


def test_recorder_writes_once_an_hour_and_when_a_lease_is_parked() -> None:
    pool = Pool()
    pool.seconds(3601 // 5 + 1, step_ms=5000)
    (one,) = pool.recorded
    assert one.busy_ms == pytest.approx(3_600_000, abs=6000)
    pool.seconds(10)
    pool.recorder.end_cells("a", 3, None)
    assert pool.recorder.pending("a").cells == 3
    pool.world.do(c.ParkLease("a"))
    pool.seconds(5)
    assert [use.cells for use in pool.recorded] == [0, 3]
    assert pool.world.state.notebooks["ann"]["a.ipynb"].days.keys() == {pool.world.at.wall_ms // 86_400_000}
    pool.recorder.end_cells("a", 1, None)  # of a lease that is not active: nothing is kept
    assert pool.recorder.pending("a") == MeasuredUse()


def test_recorder_writes_with_the_day() -> None:
    pool = Pool()
    pool.seconds(10)
    pool.world.wall_offset_ms += 86_400_000
    pool.seconds(1)
    assert len(pool.recorded) == 1


def test_measurements_that_cannot_be_written_are_no_error() -> None:
    pool = Pool()
    pool.seconds(10)
    pool.fails = True
    asyncio.run(pool.recorder.record_all())
    assert pool.recorder.pending("a") == MeasuredUse()
