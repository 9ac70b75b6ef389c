"""What a request costs does not grow with the queue."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.pool.http.limits import ServiceLimits
from fastgpu_jupyter.wire.client import PoolClient, new_token
from tests.pool.http.deep_queue import NO_LIMITS, fill_queue
from tests.pool.served import ServedPool

WAITING = 2_000
#: More rounds than the least where a time is too long in all of them.
ROUNDS = range(20, 241)


def grown(pools: list[ServedPool], kinds: list[dict[str, Callable[[int], object]]]) -> dict[str, list[float]]:
    """Return the calls that cost the second pool more than twice as much as the first, with both times in ms.

    A cost is the processor time of the pool's thread for one call, the least of some rounds, each after another call of
    the same kind. Other processes take the caches away, and only the least time is that of the work itself.
    """
    least: dict[str, list[float]] = {name: [math.inf for _ in pools] for name in kinds[0]}
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS[-1]):
        for name, times in least.items():
            for index, (pool, of_pool) in enumerate(zip(pools, kinds, strict=True)):
                of_pool[name](2 * number)
                began = pool.call(time.thread_time)
                of_pool[name](2 * number + 1)
                times[index] = min(times[index], 1000 * (pool.call(time.thread_time) - began))
        found = {name: times for name, times in least.items() if times[1] > 2 * times[0]}
        if number >= ROUNDS[0] and not found:
            break
    return found


def calls(client: PoolClient, active: str, token: str) -> dict[str, Callable[[int], object]]:
    """Return calls of each kind, whose answers have a bounded size."""
    waiting: list[str] = []
    return {
        "request": lambda _: waiting.append(client.request("full", token=token)["id"]),
        "read": lambda number: client.lease(waiting[number]),
        "pin": lambda number: client.pin(waiting[number], pinned=True),
        "pin and read": lambda number: (client.pin(waiting[number], pinned=False), client.lease(waiting[number])),
        "activity": lambda number: client.activity(active, token, busy=number % 2 == 0),
        "release": lambda number: client.release(waiting[number]),
        "devices": lambda _: client.devices(),
        "pool": lambda _: client.pool(),
    }


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Keep the collector from searching the whole state, which a pool manager does seldom."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[list[ServedPool]]:
    """Two pools, each with a device of its own."""
    folders = [tmp_path / "empty", tmp_path / "full"]
    for folder in folders:
        folder.mkdir()
    both = [ServedPool(folder, limits=ServiceLimits(**NO_LIMITS)) for folder in folders]
    yield both
    for pool in both:
        pool.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("no_garbage_collection")
def test_request_costs_at_most_twice_as_much_with_2000_waiting(pools: list[ServedPool]) -> None:
    token = new_token()
    kinds = []
    for pool in pools:
        active = pool.client.request("full", token=token)["id"]
        pool.client.pin(active, pinned=True)  # or it would yield when it is idle
        kinds.append(calls(pool.client, active, token))
    fill_queue(pools[1], WAITING)
    assert len(pools[1].client.queue()) == WAITING
    assert grown(pools, kinds) == {}
