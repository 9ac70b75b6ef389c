"""Short days of a pool of an engine on a simulated clock, with what the benchmark of a whole day checks."""

from __future__ import annotations

import copy
import os
import random
from unittest import mock

import pytest

from fastgpu_jupyter.core.model.cluster import job_name
from fastgpu_jupyter.core.model.entities import EndReason, Lease
from fastgpu_jupyter.pool.clusters.agent_messages import AgentBeat
from tests.benchmarks.cluster_day import POOL_ID, Day, missed
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


@pytest.mark.parametrize("heard", ["by its agent", "before a restart", "at its start"])
def test_job_that_the_engine_has_forgotten_is_billed_until_something_was_heard_of_it(heard: str) -> None:
    day = Day(nodes=1, notebooks=0, hours=1.0, seed=4, kill_odds=1e-9)
    lease_id, name, beat = f"{0:016x}", job_name(POOL_ID, f"{0:016x}"), AgentBeat("", None, None)
    expected_ms: list[int] = []
    ended: list[Lease] = []

    def hear() -> None:
        if heard == "by its agent":
            day.service.listener.on_beat(name, beat)
        expected_ms.append(day.now().ms if heard == "by its agent" else 0)

    def lose() -> None:
        job_id = day.engine.cluster.ids[name]
        assert day.engine.fail(name)
        day.engine.forget(job_id)
        if heard == "before a restart":
            expected_ms.append(day.pool.state.last.ms)
            day.kill()

    day.loop.call_later(5.0, day.ask, 0)
    day.loop.call_later(60.0, hear)
    day.loop.call_later(90.0, lose)
    day.loop.call_later(200.0, lambda: ended.append(copy.deepcopy(day.pool.state.leases[lease_id])))
    day.live(lambda _: None)
    (lease,) = ended  # it is forgotten some time later
    assert lease.granted_at is not None
    assert lease.ended_at is not None
    assert lease.end_reason is EndReason.ALLOCATION_LOST
    until_ms = max(expected_ms[-1], lease.granted_at.ms)
    assert abs(lease.metered_ms - until_ms) < 2_000 if heard == "at its start" else lease.metered_ms == until_ms
    assert lease.ended_at.ms > until_ms


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
