"""Cells that run without a device while their lease waits for its first grant."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.lease import cpu_meanwhile
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.errors import Conflict, Message, NotFound
from tests.core.world import World, spec, text


def waiting(world: World) -> None:
    world.active("holder", "full", parkable=None)
    world.ask("a")
    world.do(c.SetCpuMeanwhile("a", on=True))


def test_cpu_meanwhile_keeps_the_position_and_ends_with_the_grant() -> None:
    world = World(spec("gpu"))
    waiting(world)
    world.ask("b")
    assert list(world.state.queue) == ["a", "b"]
    assert "on the CPU" in text(cpu_meanwhile.message(world.state.leases["a"]))
    world.do(c.ReleaseLease("holder"))
    world.drained("holder")
    assert world.state_of("a") == "preparing"
    world.prepared("a")
    assert not world.state.leases["a"].cpu_meanwhile


def test_cpu_meanwhile_survives_a_failed_preparation() -> None:
    world = World(spec("gpu"))
    waiting(world)
    world.do(c.ReleaseLease("holder"))
    world.drained("holder")
    gpu = world.state.leases["a"].logical_gpu
    assert gpu is not None
    world.do(c.DrainDevice("gpu", drained=True))
    world.do(c.PrepareFailed("a", gpu.generation, Message.of_text("in use")))
    assert world.state_of("a") == "waiting"
    assert world.state.leases["a"].cpu_meanwhile


def test_cpu_meanwhile_is_set_once_and_unset() -> None:
    world = World(spec("gpu"))
    waiting(world)
    assert world.do(c.SetCpuMeanwhile("a", on=True)) == []
    world.do(c.SetCpuMeanwhile("a", on=False))
    assert not world.state.leases["a"].cpu_meanwhile


def test_cpu_meanwhile_of_a_lease_that_does_not_wait_is_refused() -> None:
    world = World(spec("gpu", parkable=True))
    world.active("a")
    with pytest.raises(Conflict, match="granted"):
        world.do(c.SetCpuMeanwhile("a", on=True))
    assert world.do(c.SetCpuMeanwhile("a", on=False)) == []
    world.do(c.ParkLease("a"))
    world.parked("a")
    world.do(c.DrainDevice("gpu", drained=True))
    world.do(c.ResumeLease("a"))
    with pytest.raises(Conflict, match="parked"):
        world.do(c.SetCpuMeanwhile("a", on=True))
    world.do(c.ReleaseLease("a"))
    with pytest.raises(Conflict, match="over"):
        world.do(c.SetCpuMeanwhile("a", on=False))
    with pytest.raises(NotFound):
        world.do(c.SetCpuMeanwhile("unknown", on=True))
