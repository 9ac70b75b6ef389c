"""Rings: what is put is what is read, whatever was left out, however long it goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgpu_jupyter.core.model.entities import Instant
from fastgpu_jupyter.pool.devices.driver import DeviceUsage, Sample
from fastgpu_jupyter.pool.monitors import history
from fastgpu_jupyter.pool.monitors.history import MEMORY, UTILIZATION, History, Ring, Series

MIB = 2**20
AHEAD = 1_700_000_000_000  #: of the wall clock, before the pool's
UNKNOWN = DeviceUsage(None, None)


def wall(ms: int) -> Instant:
    return Instant(ms, ms + AHEAD)


@pytest.mark.slow
@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 12), st.none() | st.integers(0, 100)), min_size=1, max_size=60),
    st.integers(0, 120),
)
def test_ring_has_the_last_steps_and_gaps(start: int, puts: list[tuple[int, int | None]], since: int) -> None:
    ring, plain, step = Ring((UTILIZATION,), 8), dict[int, int | None](), start
    for ahead, value in puts:
        step += ahead
        ring.put(step, (value,))
        plain[step] = value
    first, read = ring.since(since)
    assert len(ring) <= 8
    assert first >= min(since, step + 1)
    assert read["utilization_percent"] == [plain.get(one) for one in range(first, step + 1)]
    # Nothing is forgotten early.
    assert all(one >= first for one, value in plain.items() if value is not None and one >= max(since, step - 7))


def test_ring_stores_a_value_that_does_not_fit_as_a_gap() -> None:
    ring = Ring((UTILIZATION, MEMORY), 4)
    ring.put(7, (100, 3 * MIB + 5))
    ring.put(8, (255, 2**50))
    ring.put(7, (1, 1))
    assert ring.since(0) == (7, {"utilization_percent": [100, None], "memory_used_bytes": [3 * MIB, None]})


def test_minute_has_the_mean_and_the_memory_maximum_of_known_readings() -> None:
    series = Series()
    first, second_half = DeviceUsage(10, MIB, 100, None, 40), DeviceUsage(20, 3 * MIB, None, None, 51)
    for second, usage in ((0, first), (30, second_half), (59, UNKNOWN), (180, DeviceUsage(7, 0))):
        series.add(1000 * second, usage)
    seen = series.view("1m", None, wall(180_000))
    assert seen["resolution_ms"] == 60_000
    assert seen["started_at"] == AHEAD
    assert seen["utilization_percent"] == [15, None, None, 7]  # the minute that is not over is there already
    assert seen["memory_used_bytes"] == [2 * MIB, None, None, 0]
    assert seen["memory_used_bytes_max"] == [3 * MIB, None, None, 0]
    assert seen["power_milliwatt"] == [100, None, None, None]
    assert seen["temperature_celsius"] == [46, None, None, None]
    series.add(181_000, DeviceUsage(9, 0))
    assert series.view("1m", None, wall(181_000))["utilization_percent"] == [15, None, None, 8]


def test_history_since_a_wall_clock_time_begins_there() -> None:
    series = Series()
    for second in range(10, 20):
        series.add(1000 * second + 500, DeviceUsage(second, None))
    at = wall(19_900)
    for since, first in (
        (AHEAD, 10),
        (AHEAD + 15_000, 15),
        (AHEAD + 15_001, 16),
        (AHEAD + 60_000, 20),
        (10**30, 20),
        (-(10**30), 10),
        (0, 10),
    ):
        seen = series.view("1s", since, at)
        assert seen["started_at"] == AHEAD + 1000 * first
        assert seen["utilization_percent"] == list(range(first, 20))
    # The wall clock was set: what is past moves with it, and nothing is lost or doubled.
    assert series.view("1s", None, Instant(19_900, 5_019_900))["started_at"] == 5_010_000


@pytest.mark.slow
def test_history_has_an_hour_of_seconds_and_a_week_of_minutes() -> None:
    series = Series()
    for ms in range(0, 9 * 24 * 3_600_000, 20_000):
        series.add(ms, DeviceUsage(1, 1))
    at = wall(9 * 24 * 3_600_000)
    assert len(series.view("1s", None, at)["utilization_percent"]) == 3600
    minutes = series.view("1m", None, at)["utilization_percent"]
    assert minutes == [1] * 10_080


def test_history_drops_forgotten_leases_and_has_a_limit() -> None:
    kept = History()
    history_max = history.SERIES_MAX
    kept.add(0, Sample({"gpu": DeviceUsage(1, 1)}, {f"lease-{n}": DeviceUsage(2, 2) for n in range(history_max + 10)}))
    assert len(kept) == history_max
    assert kept.lease(f"lease-{history_max + 5}", "1s", None, wall(0))["utilization_percent"] == []
    kept.keep({"lease-3"}, {"gpu"})
    assert len(kept) == 2
    assert kept.lease("lease-3", "1s", None, wall(0))["utilization_percent"] == [2]
    assert kept.device("gpu", "1s", None, wall(0))["utilization_percent"] == [1]
    assert kept.lease("lease-4", "1s", None, wall(0))["utilization_percent"] == []
