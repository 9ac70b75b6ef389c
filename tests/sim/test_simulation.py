"""Whatever the seed does to the pool manager, nothing that was acknowledged is lost (see :mod:`tests.sim.story`).

``FASTGPU_SIM_SEEDS`` and ``FASTGPU_SIM_STEPS`` make it long (20000 seeds of 2000 steps for a night), and
``FASTGPU_SIM_FIRST`` begins at another seed.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.story import tell

FIRST = int(os.environ.get("FASTGPU_SIM_FIRST", "0"))
SEEDS = int(os.environ.get("FASTGPU_SIM_SEEDS", "200"))
STEPS = int(os.environ.get("FASTGPU_SIM_STEPS", "200"))
PARTS = 10

pytestmark = pytest.mark.slow


@pytest.mark.timeout(max(300, SEEDS * STEPS // 50))
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_acknowledged_is_lost(part: int) -> None:
    answers = crashes = 0
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        story = tell(seed, STEPS)
        answers, crashes = answers + story.answers, crashes + story.crashes
    # A story in which nothing happens proves nothing.
    assert answers > SEEDS * STEPS / PARTS / 20
    assert crashes > SEEDS * STEPS / PARTS / 100


def test_a_seed_tells_the_same_story_every_time() -> None:
    told = [tell(7, 100) for _ in range(2)]
    assert len({(story.answers, story.crashes, story.host.true_ms, len(story.known)) for story in told}) == 1
