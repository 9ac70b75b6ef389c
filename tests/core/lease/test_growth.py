"""Growth of an active lease for which idle leases on its device are parked first."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.lease import resize
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import Retention
from fastgpu_jupyter.errors import Conflict, Message
from fastgpu_jupyter.units import GIB
from tests.core.world import World, spec, text
from tests.refusals import refused


def shared(*, idle: bool = True, tenant: str = "ann") -> World:
    """A device whose halves two leases have; the other one is idle where ``idle``."""
    world = World(spec("gpu", parkable=True))
    world.active("a", "half")
    world.active("other", "half", tenant=tenant)
    world.do(c.ReportActivity("a", busy=True))
    world.do(c.ReportActivity("other", busy=not idle))
    return world


def size_of(world: World, name: str) -> str:
    return world.state.leases[name].request.name


def test_growth_parks_an_idle_lease_of_the_same_tenant_and_then_happens() -> None:
    world = shared()
    events = world.do(c.ResizeLease("a", "full"))
    assert [type(event) for event in events] == [e.LeaseResizeDeferred, e.LeaseParking]
    assert (size_of(world, "a"), world.state_of("other")) == ("half", "parking")
    assert text(resize.message(world.state.leases["a"])).startswith("It gets the size full")
    world.parked("other", 1 * GIB)
    gpu = world.state.leases["a"].logical_gpu
    assert gpu is not None
    assert (size_of(world, "a"), gpu.memory_bytes, world.state.deferred) == ("full", 80 * GIB, {})
    assert resize.message(world.state.leases["a"]) is not None, "the libraries have not followed yet"


def test_growth_comes_before_waiting_requests() -> None:
    world = shared()
    world.ask("waits", "half", tenant="bob")
    world.do(c.ResizeLease("a", "full"))
    world.parked("other")
    assert (size_of(world, "a"), world.state_of("waits")) == ("full", "waiting")


def test_growth_parks_a_lease_of_another_tenant_only_after_its_idle_time() -> None:
    world = shared(tenant="bob")
    with refused(Conflict, match="There is no room for 'full' on this device: 40 GiB could be had"):
        world.do(c.ResizeLease("a", "full"))
    world.pass_time(world.state.policy.idle_ms or 0)
    world.do(c.ResizeLease("a", "full"))
    assert world.state_of("other") == "parking"


@pytest.mark.parametrize(
    "command",
    [c.ReportActivity("other", busy=True), c.SetRetention("other", Retention.HOLD)],
)
def test_growth_parks_no_lease_that_does_not_yield(command: c.Command) -> None:
    world = shared()
    world.do(command)
    with refused(Conflict, match="no room"):
        world.do(c.ResizeLease("a", "full"))
    assert (world.state_of("other"), world.state.deferred) == ("active", {})


def test_growth_parks_no_more_than_it_needs() -> None:
    world = World(spec("gpu", parkable=True))
    for name in ("a", "old", "new"):
        world.active(name, "quarter")
        world.do(c.ReportActivity(name, busy=True))
    world.do(c.ReportActivity("old", busy=False))
    world.now_ms += 100
    world.do(c.ReportActivity("new", busy=False))
    world.do(c.ResizeLease("a", "50GiB"))
    assert world.states() == {"a": "active", "old": "parking", "new": "active"}


def test_growth_waits_for_memory_that_is_being_freed() -> None:
    world = shared(idle=False)
    world.do(c.ReleaseLease("other"))
    world.do(c.ResizeLease("a", "full"))
    assert size_of(world, "a") == "half"
    world.drained("other")
    assert size_of(world, "a") == "full"


def test_growth_whose_parking_fails_is_dropped_with_the_reason() -> None:
    world = shared()
    world.do(c.ResizeLease("a", "full"))
    gpu = world.state.leases["other"].logical_gpu
    assert gpu is not None
    world.do(c.ParkFailed("other", gpu.generation, Message.of_text("a process did not stop")))
    assert (size_of(world, "a"), world.state_of("other"), world.state.deferred) == ("half", "active", {})
    assert "no room for 'full'" in text(resize.message(world.state.leases["a"]))
    world.do(c.ResizeLease("a", "quarter"))
    assert world.state.leases["a"].resize_failure is None


def test_growth_is_withdrawn_by_the_size_that_the_lease_has() -> None:
    world = shared()
    world.do(c.ResizeLease("a", "full"))
    world.do(c.ResizeLease("a", "half"))
    world.parked("other")
    assert (size_of(world, "a"), world.state.deferred) == ("half", {})


def test_growth_is_replaced_by_another_size() -> None:
    world = shared()
    world.do(c.ResizeLease("a", "full"))
    assert world.do(c.ResizeLease("a", "full")) == [], "the same again changes nothing"
    world.do(c.ResizeLease("a", "quarter"))
    assert (size_of(world, "a"), world.state.deferred) == ("quarter", {})
    world.do(c.ResizeLease("a", "70GiB"))
    assert world.state.deferred == {"a": None}
    world.parked("other")
    assert size_of(world, "a") == "70GiB"


@pytest.mark.parametrize("command", [c.ReleaseLease("a"), c.ParkLease("a")])
def test_growth_ends_with_the_activity_of_its_lease(command: c.Command) -> None:
    world = shared()
    world.do(c.ResizeLease("a", "full"))
    world.do(command)
    world.parked("other")
    assert world.state.deferred == {}
    assert size_of(world, "a") == "half"


def test_growth_on_a_device_out_of_service_is_refused_and_less_is_not() -> None:
    world = World(spec("gpu"))
    world.active("a", "half")
    world.do(c.DrainDevice("gpu", drained=True))
    with refused(Conflict, match="out of service"):
        world.do(c.ResizeLease("a", "full"))
    world.do(c.ResizeLease("a", "quarter"))
    assert size_of(world, "a") == "quarter"


def test_second_of_two_clients_learns_that_the_size_was_changed_meanwhile() -> None:
    world = World(spec("gpu"))
    world.active("a", "half")
    world.do(c.ResizeLease("a", "quarter", seen="half"))
    with refused(Conflict, match="The size of this lease is quarter by now"):
        world.do(c.ResizeLease("a", "full", seen="half"))
    assert size_of(world, "a") == "quarter"
    world.do(c.ResizeLease("a", "full", seen="any:1/4"))
    assert size_of(world, "a") == "full"
