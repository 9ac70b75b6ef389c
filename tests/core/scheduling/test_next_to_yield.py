"""Which lease the first request of the queue waits for, and when that makes room."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Policy, Retention
from fastgpu_jupyter.core.scheduling import next_to_yield
from fastgpu_jupyter.core.scheduling.next_to_yield import NextToYield, YieldState, find_next_to_yield
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
from fastgpu_jupyter.errors import Message
from tests.core.world import World, spec

IDLE_MS = 5000


def found(world: World, name: str) -> NextToYield | None:
    entry = QueueReport(world.state).find(name)
    assert entry is not None
    return find_next_to_yield(world.state, world.state.leases[name], entry)


@pytest.fixture
def world() -> World:
    """One device; ``a`` has it, and ``b`` of another tenant waits for it."""
    world = World(spec("gpu", parkable=True))
    world.active("a")
    world.do(c.ReportActivity("a", busy=True))
    world.ask("b", tenant="bob")
    return world


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda _: None, YieldState.BUSY),
        (lambda world: world.do(c.BindHolder("a", world.state.leases["b"].holder)), YieldState.STARTING),
        (lambda world: world.do(c.SetRetention("a", Retention.HOLD)), YieldState.PINNED),
        (lambda world: world.do(c.ReportActivity("a", busy=False)), YieldState.IDLE),
        (lambda world: world.do(c.ParkLease("a")), YieldState.BEING_FREED),
        (lambda world: world.do(c.ReleaseLease("a")), YieldState.BEING_FREED),
    ],
)
def test_next_to_yield_says_what_keeps_the_lease(
    world: World, change: Callable[[World], object], state: YieldState
) -> None:
    change(world)
    one = found(world, "b")
    assert one is not None
    assert (one.lease.id, one.state) == ("a", state)


def test_next_to_yield_of_a_lease_that_cannot_be_parked(world: World) -> None:
    world.do(c.SetPolicy(Policy(parked_bytes_max=0)))
    world.do(c.ReportActivity("a", busy=False))
    one = found(world, "b")
    assert one is not None
    assert one.state is YieldState.NOT_PARKABLE


def test_next_to_yield_is_parked_at_the_time_that_it_says(world: World) -> None:
    world.now_ms += 1000
    world.do(c.ReportActivity("a", busy=False))
    idle_since_ms = world.now_ms
    one = found(world, "b")
    assert one is not None
    assert one.at_ms == idle_since_ms + IDLE_MS
    world.now_ms = one.at_ms - 1
    world.do(c.Tick())
    assert world.states()["a"] == "active"
    world.now_ms = one.at_ms
    world.do(c.Tick())
    assert world.states()["a"] == "parking"
    world.do(c.ParkFailed("a", 1, Message.of_text("no")))
    one = found(world, "b")
    assert one is not None
    assert one.at_ms == world.now_ms + 60_000, "the pool does not try again before"


def test_next_to_yield_of_several_is_the_one_that_yields_first() -> None:
    world = World(*(spec(name, index=index, parkable=True) for index, name in enumerate("xyz")))
    for name in "abc":
        world.active(name)
        world.now_ms += 1000
    world.do(c.ReportActivity("a", busy=True))
    for name in "cb":
        world.do(c.ReportActivity(name, busy=True))
        world.do(c.ReportActivity(name, busy=False))
        world.now_ms += 1000
    world.ask("d", tenant="bob")
    world.ask("e", tenant="eve")
    one = found(world, "d")
    assert one is not None
    assert (one.lease.id, one.state) == ("c", YieldState.IDLE)
    assert found(world, "e") is None, "it is not the first request"


def test_next_to_yield_in_a_large_pool_is_no_single_lease(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(next_to_yield, "DEVICES_MAX", 0)
    assert found(world, "b") is None
