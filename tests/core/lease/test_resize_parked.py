"""Another size while a lease is parked, and whether a size holds that libraries in the kernel have to keep."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.lease import memory_limit, resize
from fastgpu_jupyter.core.lease.resize import Outcome
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    Enforcement,
    Lease,
    Mechanism,
    MechanismCapability,
    OverLimit,
    ParkReason,
    Policy,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Conflict, FastGPUError, NeedsRestart, NoSuchDevice
from fastgpu_jupyter.units import GIB
from tests.core.world import World, holder, spec, text
from tests.refusals import refused


def over(world: World, name: str = "a", gib: int = 45, size: str = "half") -> Lease:
    """A lease that used too much, and was parked for it under a cell that runs."""
    lease = world.active(name, size)
    world.do(c.ReportActivity(name, busy=True))
    assert lease.logical_gpu is not None
    for _ in range(2):
        world.do(c.ReportMemory(name, lease.logical_gpu.generation, gib * GIB))
        world.now_ms += 30_000
    assert (lease.state, lease.park_reason) == (LeaseState.PARKING, ParkReason.OVER_LIMIT)
    world.parked(name, gib * GIB)
    assert lease.state is LeaseState.PARKED
    return lease


# -- while it is parked -----------------------------------------------------------------------------------------------


def test_a_larger_size_brings_back_what_was_parked_for_using_too_much() -> None:
    world = World(spec("gpu", parkable=True))
    lease = over(world)
    world.do(c.ResizeLease("a", "full"))
    assert lease.state is LeaseState.RESUMING
    world.resumed("a")
    assert lease.logical_gpu is not None
    assert (lease.request.name, lease.logical_gpu.whole) == ("full", True)
    assert memory_limit.message(world.state, lease) is None


def test_it_waits_with_its_new_size_where_there_is_no_room() -> None:
    world = World(spec("gpu", parkable=True))
    lease = over(world)
    world.active("b", "half")
    world.do(c.ResizeLease("a", "full"))
    assert (lease.state, lease.request.name) == (LeaseState.WAITING, "full")
    world.do(c.ResizeLease("a", "70GiB"))  # and may change its mind
    assert lease.state is LeaseState.WAITING
    world.do(c.ReleaseLease("b"))
    world.drained("b")
    assert world.state_of(lease.id) is LeaseState.RESUMING
    with refused(Conflict, match=r"resuming\. Nothing was changed"):
        world.do(c.ResizeLease("a", "full"))


def test_one_that_its_user_parked_changes_its_size_and_stays() -> None:
    world = World(spec("gpu", parkable=True))
    lease = world.active("a", "half")
    world.do(c.ReportActivity("a", busy=False))
    world.do(c.ParkLease("a"))
    world.parked("a", 10 * GIB)
    world.do(c.ResizeLease("a", "quarter"))
    assert (lease.state, lease.request.name) == (LeaseState.PARKED, "quarter")
    assert world.do(c.ResizeLease("a", "quarter")) == []
    world.do(c.ResumeLease("a"))
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.memory_bytes == 20 * GIB


@pytest.mark.parametrize(
    ("size", "error", "says"),
    [
        ("quarter", Conflict, "Resize to quarter refused. 45 GiB are parked and quarter has 20 GiB"),
        ("44GiB", Conflict, "44GiB has 44 GiB"),
        ("l4", Conflict, "only such a one takes it back"),
        ("2xany", NeedsRestart, "only with a restart"),
        ("90GiB", NoSuchDevice, "more than any device"),
    ],
)
def test_what_cannot_be_is_refused_and_it_stays_parked(size: str, error: type[FastGPUError], says: str) -> None:
    world = World(spec("gpu", parkable=True), spec("l4", 24 * GIB, index=1, parkable=True, model="L4"))
    lease = over(world, size="a100:1/2")
    with refused(error, match=says):
        world.do(c.ResizeLease("a", size))
    assert (lease.state, lease.request.name) == (LeaseState.PARKED, "a100:1/2")


def test_parked_lease_over_its_limit_names_every_way_out() -> None:
    world = World(spec("gpu", parkable=True))
    lease = over(world)
    said = text(memory_limit.message(world.state, lease))
    for part in ("used 45 GiB", "kept in the host's memory", "a running cell stops", "jupyter fastgpu resize a SIZE",
                 "Interrupt the kernel", "parked again unless memory is freed within 30 s", "Restart the kernel",
                 "until you choose"):  # fmt: skip
        assert part in said
    world.do(c.ResumeLease("a"))
    assert "waits to resume" in text(memory_limit.message(world.state, lease))
    world.resumed("a")
    assert memory_limit.message(world.state, lease) is None


def test_where_it_would_be_ended_the_next_time_that_is_said() -> None:
    world = World(spec("gpu", parkable=True))
    world.do(c.SetPolicy(Policy(over_limit=OverLimit.REVOKE)))
    assert "is ended unless memory is freed" in text(memory_limit.message(world.state, over(world)))


# -- whether it holds -------------------------------------------------------------------------------------------------


def reported(world: World, memory_gib: int | None, *stuck: str) -> int:
    memory_bytes = None if memory_gib is None else memory_gib * GIB
    return len(world.do(c.ReportLibraries("a", memory_bytes, stuck)))


def test_a_size_holds_once_the_kernel_has_said_that_its_libraries_follow() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "half")
    assert (resize.outcome(lease), resize.message(lease)) == (Outcome.APPLIED, None)
    world.do(c.ResizeLease("a", "quarter"))
    assert resize.outcome(lease) is Outcome.PENDING
    assert "follow before its next cell" in text(resize.message(lease))
    assert reported(world, 40) == 0, "that is of the size before"
    assert reported(world, 20) == 1
    assert resize.outcome(lease) is Outcome.APPLIED
    assert reported(world, 20) == 0


def test_what_cannot_follow_needs_a_restart_and_has_it() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "half")
    world.do(c.ResizeLease("a", "full"))
    assert reported(world, None, "JAX", "RAPIDS (RMM)") == 1
    assert resize.outcome(lease) is Outcome.NEEDS_RESTART
    assert text(resize.message(lease)) == "JAX and RAPIDS (RMM) keep the earlier size until the kernel is restarted."
    world.do(c.ResizeLease("a", "half"))
    assert resize.outcome(lease) is Outcome.NEEDS_RESTART
    assert reported(world, 40, "JAX") == 1
    assert text(resize.message(lease)) == "JAX keeps the earlier size until the kernel is restarted."
    world.do(c.BindHolder("a", holder(77)))
    assert resize.outcome(lease) is Outcome.APPLIED


def test_resize_to_the_same_amount_reports_nothing() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "half")
    world.do(c.ResizeLease("a", "40GiB"))
    assert resize.outcome(lease) is Outcome.APPLIED


def test_what_the_driver_keeps_holds_at_once() -> None:
    from dataclasses import replace

    capabilities = (MechanismCapability(Mechanism.SHARED, Enforcement.DRIVER, resizable=True),)
    world = World(replace(spec("gpu"), capabilities=capabilities))
    lease = world.active("a", "half")
    world.do(c.ResizeLease("a", "quarter"))
    assert resize.outcome(lease) is Outcome.APPLIED


def test_resize_while_parked_is_unacknowledged_after_resume() -> None:
    world = World(spec("gpu", parkable=True))
    lease = over(world)
    world.do(c.ResizeLease("a", "60GiB"))
    assert resize.outcome(lease) is None
    world.resumed("a")
    assert resize.outcome(lease) is Outcome.PENDING
    assert reported(world, 60) == 1
