"""Parking ahead: idle leases are parked so that a parked one resumes at once, and only as far as that takes."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import ParkReason, Policy, Retention
from tests.core.world import World, spec

AHEAD_MS = 600_000


def world_of(*hosts: int, ahead_ms: int | None = AHEAD_MS) -> World:
    """Return a world with so many devices on each host."""
    numbered = [(f"h{number}", index) for number, devices in enumerate(hosts) for index in range(devices)]
    world = World(*(spec(f"{host}.{index}", index=index, parkable=True, host_id=host) for host, index in numbered))
    world.do(c.SetPolicy(Policy(ahead_ms=ahead_ms)))
    return world


def idle(world: World, name: str, profile: str = "full") -> None:
    """Make a lease of a tenant of its own active, without a running cell."""
    world.active(name, profile, tenant=name)
    world.do(c.ReportActivity(name, busy=False))


def park(world: World, name: str) -> None:
    world.do(c.ParkLease(name))
    world.parked(name)


def one_parked_of_two(ahead_ms: int | None = AHEAD_MS) -> World:
    """Return a world with one device, the idle lease ``b`` on it and the parked lease ``a``."""
    world = world_of(1, ahead_ms=ahead_ms)
    idle(world, "a")
    park(world, "a")
    idle(world, "b")
    return world


def test_idle_lease_is_parked_ahead_once_it_has_been_idle_for_the_time() -> None:
    world = one_parked_of_two()
    world.pass_time(AHEAD_MS - 1)
    assert world.states() == {"a": "parked", "b": "active"}
    world.pass_time(1)
    assert world.states() == {"a": "parked", "b": "parking"}
    assert world.state.leases["b"].park_reason is ParkReason.AHEAD
    world.parked("b")
    world.do(c.ReportActivity("a", busy=True))
    assert world.states() == {"a": "resuming", "b": "parked"}


@pytest.mark.parametrize("ahead_ms", [None, 2 * AHEAD_MS])
def test_lease_is_not_parked_ahead_where_the_policy_says_never_or_later(ahead_ms: int | None) -> None:
    world = one_parked_of_two(ahead_ms)
    world.pass_time(AHEAD_MS)
    assert world.states()["b"] == "active"


def test_lease_is_not_parked_ahead_while_no_lease_is_parked() -> None:
    world = world_of(1)
    idle(world, "a")
    world.pass_time(AHEAD_MS)
    assert world.states() == {"a": "active"}


def test_lease_is_not_parked_ahead_while_the_parked_one_fits() -> None:
    world = world_of(2)
    idle(world, "a")
    park(world, "a")
    idle(world, "b")
    world.pass_time(AHEAD_MS)
    assert world.states() == {"a": "parked", "b": "active"}


def test_lease_that_computes_is_pinned_or_is_unknown_is_not_parked_ahead() -> None:
    world = world_of(3)
    idle(world, "first", "3xany")
    park(world, "first")
    for name in ("computes", "pinned", "unknown"):
        world.active(name, tenant=name)
    world.do(c.ReportActivity("computes", busy=True))
    world.do(c.ReportActivity("pinned", busy=False))
    world.do(c.SetRetention("pinned", Retention.HOLD))
    world.pass_time(AHEAD_MS)
    assert set(world.states().values()) == {"parked", "active"}


def test_least_recently_used_lease_is_parked_ahead_and_no_more_than_needed() -> None:
    world = world_of(2)
    idle(world, "first")
    park(world, "first")
    for name in ("older", "newer"):
        idle(world, name)
        world.now_ms += 1000
    world.pass_time(AHEAD_MS)
    assert world.states() == {"first": "parked", "older": "parking", "newer": "active"}
    world.parked("older")
    world.pass_time(AHEAD_MS)
    assert world.states()["newer"] == "active"


def test_room_for_leases_of_each_size_is_kept_side_by_side() -> None:
    """Otherwise a small lease resumes where a large one could have, and the room for it is gone."""
    world = world_of(2, 1)
    for name, profile in (("large", "2xany"), ("small", "full")):
        idle(world, name, profile)
    for name in ("small", "large"):
        park(world, name)
    idle(world, "one")
    world.do(c.ReportActivity("one", busy=True))
    world.do(c.ReportActivity("one", busy=False))
    assert world.state.leases["one"].logical_gpu is not None
    world.pass_time(AHEAD_MS)
    assert world.states() == {"large": "parked", "small": "parked", "one": "parking"}, "two and one are free then"


def test_lease_of_another_kind_of_device_makes_no_room() -> None:
    world = World(spec("a", parkable=True), spec("b", parkable=True, index=1, model="L4"))
    world.do(c.SetPolicy(Policy(ahead_ms=AHEAD_MS)))
    idle(world, "first", "l4")
    park(world, "first")
    idle(world, "second", "l4")
    idle(world, "third")
    world.do(c.ReportActivity("second", busy=True))
    world.pass_time(AHEAD_MS)
    assert world.states() == {"first": "parked", "second": "active", "third": "active"}
