"""Keep the unmarked tests quick: one that takes longer than a quarter of a second fails.

What it is: a pytest plugin, loaded by ``-p tests.quick`` (see pyproject.toml). Time is that of the test's own call,
fixtures left out, because those are shared. What it must not do: fail a quick test because the machine was busy. So it
is processor time that counts, and waiting only where it is long and is not for a processor; and beside other tests,
which share the processors' caches with it, a test may take longer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_S = 0.25
#: A test that waits instead of working is refused too, but only where it waits so much longer.
WAITING_FACTOR = 4
BESIDE_OTHERS_FACTOR = 2
#: Linux: nanoseconds on a processor, and nanoseconds of waiting for one.
_SCHEDULE = Path("/proc/thread-self/schedstat")
_EXEMPT = ("slow", "browser", "gpu")


def _worked_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _delayed_s() -> float:
    """Return how long this thread has waited for a processor."""
    return int(_SCHEDULE.read_text().split()[1]) / 1e9 if _SCHEDULE.exists() else 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Time the call, and refuse one that should have been marked."""
    wall_s, worked_s = time.monotonic() - _delayed_s(), _worked_s()
    yield
    wall_s, worked_s = time.monotonic() - _delayed_s() - wall_s, _worked_s() - worked_s
    took_s = max(worked_s, wall_s / WAITING_FACTOR)
    if took_s > LIMIT_S * (BESIDE_OTHERS_FACTOR if "PYTEST_XDIST_WORKER" in os.environ else 1):
        _refuse(item, took_s)


def _refuse(item: pytest.Item, took_s: float) -> None:
    if not any(item.get_closest_marker(name) for name in _EXEMPT):
        pytest.fail(f"took {took_s:.2f} s: mark it slow, or make it quicker than {LIMIT_S} s", pytrace=False)
