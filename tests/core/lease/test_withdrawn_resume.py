"""A lease that waits to resume can stay parked instead; nothing that it parked is lost."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import ParkReason
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Conflict
from tests.core.world import World, spec


@pytest.fixture
def world() -> World:
    """A lease that waits to resume, behind one that has the only device."""
    world = World(spec("gpu", parkable=True))
    world.active("parked")
    world.do(c.ParkLease("parked"))
    world.parked("parked", 5)
    world.active("other")
    world.do(c.ResumeLease("parked"))
    assert world.state.leases["parked"].state is LeaseState.WAITING
    return world


def test_withdrawn_resume_leaves_the_queue_and_keeps_the_memory(world: World) -> None:
    world.do(c.ParkLease("parked"))
    lease = world.state.leases["parked"]
    assert (lease.state, lease.parked_bytes, lease.park_reason) == (LeaseState.PARKED, 5, ParkReason.REQUESTED)
    assert not world.state.queue
    assert not world.state.tenants["ann"].waiting
    world.do(c.ReleaseLease("other"))
    world.drained("other")
    assert lease.state is LeaseState.PARKED


def test_withdrawn_resume_is_requested_again_and_granted(world: World) -> None:
    world.do(c.ParkLease("parked"))
    world.do(c.ResumeLease("parked"))
    world.do(c.ReleaseLease("other"))
    world.drained("other")
    world.resumed("parked")
    assert world.state.leases["parked"].state is LeaseState.ACTIVE


def test_request_that_was_never_granted_cannot_be_parked(world: World) -> None:
    world.ask("new")
    with pytest.raises(Conflict):
        world.do(c.ParkLease("new"))
