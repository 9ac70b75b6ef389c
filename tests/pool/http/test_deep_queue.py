"""What a request costs does not grow with the queue."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import pytest

from fastgpu_jupyter.wire.client import PoolClient, new_token
from tests.pool.conftest import Serve
from tests.pool.http.deep_queue import NO_LIMITS, fill_queue
from tests.pool.served import ServedPool

WAITING = 2_000
CALLS = 12
ROUNDS = 6


def cpu_ms(pool: ServedPool, kinds: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """Return the processor time that the pool's thread takes for one call of each kind, the least of some rounds."""
    least: dict[str, float] = {}
    for number in range(ROUNDS):
        for name, call in kinds.items():
            began = pool.call(time.thread_time)
            for again in range(CALLS):
                call(number * CALLS + again)
            took = 1000 * (pool.call(time.thread_time) - began) / CALLS
            least[name] = min(least.get(name, took), took)
    return least


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


@pytest.mark.slow
@pytest.mark.usefixtures("no_garbage_collection")
def test_request_costs_at_most_twice_as_much_with_2000_waiting(serve: Serve) -> None:
    pool = serve(**NO_LIMITS)
    token = new_token()
    active = pool.client.request("full", token=token)["id"]
    pool.client.pin(active, pinned=True)  # or it would yield when it is idle
    kinds = calls(pool.client, active, token)
    before = cpu_ms(pool, kinds)
    for view in pool.client.leases():
        if view["state"] == "waiting":
            pool.client.release(view["id"])
    fill_queue(pool, WAITING)
    assert len(pool.client.queue()) == WAITING
    after = cpu_ms(pool, calls(pool.client, active, token))
    grown = {name: round(after[name] / before[name], 2) for name in kinds if after[name] > 2 * before[name]}
    assert grown == {}, (before, after)
