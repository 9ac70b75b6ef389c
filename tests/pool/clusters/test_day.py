"""Short days of a pool of an engine on a simulated clock, with what the benchmark of a whole day checks."""

from __future__ import annotations

import os
import random
from unittest import mock

import pytest

from tests.benchmarks.cluster_day import Day, missed
from tests.sim.simulated_loop import SimulatedThread

#: Days in which the pool manager is killed.
DAYS = int(os.environ.get("FASTGPU_CLUSTER_DAYS", "2"))

pytestmark = pytest.mark.slow


def test_day_with_an_engine_ends_with_equal_bills_and_without_jobs_or_leases_that_are_left() -> None:
    day = Day(nodes=2, notebooks=60, hours=1.0, seed=5)
    day.live(lambda _: None)
    figures = day.figures()
    assert missed(figures) == [], figures
    assert figures["leases"] == 60
    assert figures["waiting_max"] > 1  # the cluster was full for a while
    assert set(figures["ends"]) >= {"released", "allocation_lost"}


@pytest.mark.parametrize("seed", sorted({*range(DAYS), 22}))  # in that one no id of any job was known for a while
def test_pool_manager_that_is_killed_at_any_call_of_the_engine_submits_once_and_loses_nothing(seed: int) -> None:
    chance = random.Random(seed)
    day = Day(nodes=1, notebooks=25, hours=0.5, seed=seed, kill_odds=0.2)
    delays = staticmethod(lambda _: chance.choice((0.0, 0.01, 3.0)))  # calls are on their way for a while
    with mock.patch.object(SimulatedThread, "delay_s", delays):
        day.live(lambda _: None)
    figures = day.figures()
    # What is left over is found, however often the pool manager is killed; only the engine's calls are more.
    assert set(missed(figures)) <= {"status_gap_s_min", "noticed_s_max"}, figures
    assert figures["leases"] == 25
    assert day.kills > 5
