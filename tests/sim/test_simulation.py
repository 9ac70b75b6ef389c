"""Simulations of many seeds, in which nothing that was acknowledged may be lost (see :mod:`tests.sim.simulation`).

``FASTGPU_SIM_SEEDS`` and ``FASTGPU_SIM_STEPS`` set how many (20000 seeds of 2000 steps in a night), and
``FASTGPU_SIM_FIRST`` begins at another seed.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.simulation import simulate

FIRST = int(os.environ.get("FASTGPU_SIM_FIRST", "0"))
SEEDS = int(os.environ.get("FASTGPU_SIM_SEEDS", "120"))
STEPS = int(os.environ.get("FASTGPU_SIM_STEPS", "200"))
PARTS = 10

pytestmark = pytest.mark.slow


@pytest.mark.timeout(max(300, SEEDS * STEPS // 50))
@pytest.mark.parametrize("part", range(PARTS))
def test_simulation_of_many_seeds_keeps_all_guarantees(part: int) -> None:
    answers = crashes = 0
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        one = simulate(seed, STEPS)
        answers, crashes = answers + one.answers, crashes + one.crashes
    # A simulation in which nothing happens proves nothing.
    assert answers > SEEDS * STEPS / PARTS / 20
    assert crashes > SEEDS * STEPS / PARTS / 100


def test_simulation_of_one_seed_repeats_itself() -> None:
    runs = [simulate(7, 100) for _ in range(2)]
    assert len({(one.answers, one.crashes, one.host.true_ms, len(one.observed)) for one in runs}) == 1
