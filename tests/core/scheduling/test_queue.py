"""A request that leaves the middle of the queue and comes back waits once, for its new tenant only."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import commands as c
from tests.core.world import World, spec


@pytest.mark.parametrize("moved", ["first", "second", "third"])
def test_waiting_lease_that_changes_its_tenant_waits_once(moved: str) -> None:
    world = World(spec("gpu"))
    world.active("now")
    for name in ("first", "second", "third"):
        world.ask(name)
    world.do(c.TransferLease(moved, "bob"))
    world.do(c.TransferLease(moved, "eve"))
    world.do(c.TransferLease(moved, "bob"))
    world.now_ms += 60_000
    served = []
    before = "now"
    for _ in range(3):
        world.do(c.ReleaseLease(before))
        world.drained(before)
        (before,) = (name for name, state in world.states().items() if state == "preparing")
        served.append(before)
        gpu = world.state.leases[before].logical_gpu
        assert gpu is not None
        world.do(c.PrepareSucceeded(before, gpu.generation))
    # Bob has used nothing yet, so his request is first; the others keep their order.
    assert served == [moved, *(name for name in ("first", "second", "third") if name != moved)]
    assert not world.state.queue


def test_waiting_lease_that_changes_its_size_and_back_waits_once() -> None:
    world = World(spec("gpu"))
    world.active("now")
    for name in ("first", "second", "third"):
        world.ask(name)
    for profile in ("half", "full", "half", "full"):
        world.do(c.ResizeLease("second", profile))
    world.do(c.ReleaseLease("second"))
    world.do(c.ReleaseLease("now"))
    world.drained("now")
    assert world.states() == {"now": "ended", "first": "preparing", "second": "ended", "third": "waiting"}
