"""Money and time are exact."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.core.accounting import meter
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.units import MS_PER_HOUR
from tests.core.world import World, spec


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20), st.integers(0, 10**9))
def test_cutting_an_interval_anywhere_never_changes_the_sum(parts: list[int], rate: int) -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    assert lease.logical_gpu is not None
    object.__setattr__(lease.logical_gpu, "rate_micro_per_hour", rate)
    now_ms = world.now_ms
    meter.close_segment(world.state, lease, now_ms)
    meter.open_segment(world.state, lease, now_ms)
    for part in parts:
        now_ms += part
        meter.close_segment(world.state, lease, now_ms)
        meter.open_segment(world.state, lease, now_ms)
    assert meter.active_ms(lease, now_ms) == sum(parts)
    assert meter.cost_micro(lease, now_ms) == rate * sum(parts) // MS_PER_HOUR


def test_only_the_time_in_which_the_gpu_was_yours_is_billed() -> None:
    world = World(spec("gpu"))
    world.active("a")
    waiting = world.ask("b")
    world.now_ms += 10_000
    world.do(c.ReleaseLease("a"))
    world.now_ms += 5_000  # draining is the pool's own time
    world.drained("a")
    assert waiting.logical_gpu is not None
    world.do(c.PrepareSucceeded("b", waiting.logical_gpu.generation))
    world.now_ms += 2_000
    assert meter.cost_micro(world.state.leases["a"], world.now_ms) == 10_000
    assert meter.cost_micro(waiting, world.now_ms) == 2_000


def test_a_part_costs_its_part() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "quarter")
    assert meter.cost_micro(lease, world.now_ms + MS_PER_HOUR) == 3_600_000 // 4


def test_a_clock_that_went_back_bills_nothing() -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    assert meter.cost_micro(lease, world.now_ms - 10_000) == 0
