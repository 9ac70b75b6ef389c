"""Host memory is reserved for leases that are being parked, by what they use."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Policy
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.effects.host_memory import HostMemoryReservations
from fastgpu_jupyter.units import GIB
from tests.core.world import World, spec
from tests.refusals import refused


@pytest.fixture
def world() -> World:
    """Three active leases, and 10 GiB of host memory for those that are parked."""
    world = World(*(spec(name, index=index, parkable=True) for index, name in enumerate("xyz")))
    world.do(c.SetPolicy(Policy(parked_bytes_max=10 * GIB)))
    for name in "abc":
        world.active(name)
    return world


def test_reserve_counts_leases_that_are_being_parked_and_those_that_are(world: World) -> None:
    reservations = HostMemoryReservations(lambda: world.state)
    for name in "ab":
        world.do(c.ParkLease(name))
    reservations.reserve("a", 6 * GIB)
    reservations.reserve("a", 6 * GIB)  # as after a restart
    with refused(HostFault, match="takes about 5 GiB of host memory, and 4 GiB are left"):
        reservations.reserve("b", 5 * GIB)
    reservations.reserve("b", 4 * GIB)
    world.parked("a", 3 * GIB)
    world.do(c.ParkLease("c"))
    reservations.reserve("c", 3 * GIB)
    with refused(HostFault, match="4 GiB are left"):
        reservations.reserve("b", 5 * GIB)


def test_reserve_is_undone_with_the_parking(world: World) -> None:
    reservations = HostMemoryReservations(lambda: world.state)
    world.do(c.ParkLease("a"))
    reservations.reserve("a", 10 * GIB)
    world.do(c.ReleaseLease("a"))
    world.do(c.ParkLease("b"))
    reservations.reserve("b", 10 * GIB)


def test_reserve_without_a_limit_takes_any_amount(world: World) -> None:
    world.do(c.SetPolicy(Policy(parked_bytes_max=None)))
    world.do(c.ParkLease("a"))
    HostMemoryReservations(lambda: world.state).reserve("a", 1000 * GIB)
