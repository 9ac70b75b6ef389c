"""Preemption and parking: which lease is parked for which request, which never is, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fastgpu_jupyter.core.accounting import fairshare
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    HostSpec,
    Isolation,
    LeaseRequest,
    ParkReason,
    PendingReason,
    Policy,
    Priority,
    Retention,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.placement import device_share, parkability
from fastgpu_jupyter.core.scheduling import preemption
from fastgpu_jupyter.core.scheduling.queue_report import positions
from fastgpu_jupyter.errors import Conflict, InvalidRequest, Message, NoSuchDevice
from fastgpu_jupyter.units import GIB
from tests.core.world import World, holder, spec, text
from tests.refusals import refused

IDLE_MS = 5000
S = LeaseState


def one(**more: object) -> World:
    return World(spec("gpu", parkable=True, **more))  # type: ignore[arg-type]


def idle(world: World, name: str, **more: object) -> None:
    """Make a lease active and idle: its kernel reported long enough ago that no cell runs."""
    world.active(name, **more)  # type: ignore[arg-type]
    world.do(c.ReportActivity(name, busy=False))
    world.now_ms += IDLE_MS


def busy(world: World, name: str, **more: object) -> None:
    world.active(name, **more)  # type: ignore[arg-type]
    world.do(c.ReportActivity(name, busy=True))
    world.now_ms += IDLE_MS


def test_idle_lease_is_parked_for_a_waiting_request_and_resumes_for_its_next_cell() -> None:
    world = one()
    idle(world, "a")
    b = world.ask("b", tenant="bob")
    a = world.state.leases["a"]
    assert (a.state, a.park_reason, b.state) == (S.PARKING, ParkReason.IDLE, S.WAITING)
    world.parked("a", 5 * GIB)
    assert (a.state, a.parked_bytes, world.state.parked_bytes, b.state) == (S.PARKED, 5 * GIB, 5 * GIB, S.PREPARING)
    world.prepared("b")
    world.do(c.ReportActivity("a", busy=True))
    assert a.state is S.WAITING
    world.do(c.ReleaseLease("b"))
    world.drained("b")
    assert world.state_of("a") is S.RESUMING
    world.resumed("a")
    assert (a.state, a.parked_bytes, world.state.parked_bytes, a.image) == (S.ACTIVE, 0, 0, None)


def test_idle_lease_is_not_parked_without_waiting_requests() -> None:
    world = one()
    idle(world, "a")
    world.do(c.Tick())
    assert world.states() == {"a": "active"}


def test_idle_lease_is_parked_only_after_the_idle_time() -> None:
    world = one()
    world.active("a")
    world.do(c.ReportActivity("a", busy=False))
    world.ask("b", tenant="bob")
    world.now_ms += IDLE_MS - 1
    world.do(c.Tick())
    assert world.states()["a"] == "active"
    world.now_ms += 1
    world.do(c.Tick())
    assert world.states()["a"] == "parking"


def test_report_of_a_kernel_at_its_start_counts_from_when_its_gpu_was_ready() -> None:
    world = one()
    world.active("a")
    world.now_ms += IDLE_MS
    world.ask("b", tenant="bob")
    world.do(c.Tick())
    assert world.states()["a"] == "active", "what its process does is unknown"
    world.do(c.ReportActivity("a", busy=False))
    assert world.states()["a"] == "parking"


def test_lease_without_a_cell_yields_at_once_to_a_request_of_its_own_tenant() -> None:
    world = one()
    world.active("a")
    world.do(c.ReportActivity("a", busy=False))
    world.ask("b")  # what its process does is unknown, so it may need the device
    assert world.states() == {"a": "parking", "b": "waiting"}


def test_lease_without_a_cell_keeps_its_device_while_another_kernel_of_its_tenant_starts() -> None:
    world = one()
    world.active("a")
    world.do(c.ReportActivity("a", busy=False))
    world.do(c.RequestLease("b", "ann", LeaseRequest("full", None, "kernel", "b.ipynb"), holder(9), "0" * 64))
    assert world.states() == {"a": "active", "b": "waiting"}
    world.do(c.ReportActivity("b", busy=False))
    assert world.states() == {"a": "active", "b": "waiting"}
    world.do(c.ReportActivity("b", busy=True))
    assert world.states() == {"a": "parking", "b": "waiting"}


def own(world: World, *, tenant: str = "ann") -> None:
    """Make ``a`` active and without a cell, and let the idle ``b`` wait: neither needs a device."""
    world.ask("b", tenant=tenant)
    world.do(c.ReportActivity("b", busy=False))
    world.do(c.ReportActivity("a", busy=False))


def test_lease_without_a_cell_keeps_its_device_while_no_request_needs_it_now() -> None:
    world = one()
    world.active("a")
    own(world)
    world.do(c.Tick())
    assert world.states() == {"a": "active", "b": "waiting"}
    world.do(c.ReportActivity("b", busy=True))
    assert world.states() == {"a": "parking", "b": "waiting"}


def test_lease_without_a_cell_yields_to_other_tenants_only_when_idle() -> None:
    world = one()
    world.active("a")
    own(world, tenant="bob")
    world.do(c.ReportActivity("b", busy=True))
    assert world.states()["a"] == "active"
    world.pass_time(IDLE_MS)
    assert world.states()["a"] == "parking"


def test_waiting_cell_gets_its_device_through_idle_requests_before_it() -> None:
    world = one()
    world.active("a")
    own(world)
    world.ask("c")
    world.do(c.ReportActivity("c", busy=True))
    assert world.states() == {"a": "parking", "b": "waiting", "c": "waiting"}
    world.parked("a")
    world.prepared("b")  # it came first, and is parked again without a tick
    assert world.states() == {"a": "parked", "b": "parking", "c": "waiting"}
    world.parked("b")
    world.prepared("c")
    assert world.states() == {"a": "parked", "b": "parked", "c": "active"}


def test_lease_whose_user_resumes_it_needs_its_device_at_once() -> None:
    world = one()
    world.active("a")
    world.do(c.ReportActivity("a", busy=False))
    world.do(c.ParkLease("a"))
    world.parked("a")
    world.active("b")
    world.do(c.ReportActivity("b", busy=False))
    world.do(c.ResumeLease("a"))
    assert world.states() == {"a": "waiting", "b": "parking"}


def test_preemption_of_idle_leases_takes_the_least_recently_active() -> None:
    world = World(*(spec(name, index=i, parkable=True) for i, name in enumerate("xyz")))
    for name in "abc":
        idle(world, name)
    world.do(c.ReportActivity("a", busy=True))
    world.do(c.ReportActivity("a", busy=False))
    world.now_ms += IDLE_MS
    world.ask("d", tenant="dan")
    assert world.states() == {"a": "active", "b": "parking", "c": "active", "d": "waiting"}


@pytest.mark.parametrize(
    "forbid",
    [
        lambda world: world.do(c.SetRetention("a", Retention.HOLD)),
        lambda world: world.do(c.ReportActivity("a", busy=True)),
        lambda world: world.do(c.BindHolder("a", holder(77))),  # another process, which has not reported anything yet
        lambda world: world.do(c.SetPolicy(Policy(idle_ms=None))),
        lambda world: world.do(c.SetPolicy(Policy(parked_bytes_max=0))),
    ],
    ids=["held", "busy", "unknown", "never", "no host memory"],
)
def test_lease_that_may_not_be_parked_is_not(forbid: object) -> None:
    world = one()
    idle(world, "a")
    forbid(world)  # type: ignore[operator]
    world.ask("b", tenant="bob")
    world.now_ms += IDLE_MS
    world.do(c.Tick())
    assert world.states() == {"a": "active", "b": "waiting"}


@pytest.mark.parametrize(
    ("device", "more"), [(False, {}), (True, {"parkable": False}), (True, {"retention": Retention.HOLD})]
)
def test_system_priority_preempts_nothing_that_cannot_be_parked(device: bool, more: dict[str, object]) -> None:
    world = World(spec("gpu", parkable=device))
    idle(world, "a", **more)
    world.ask("b", tenant="bob", priority=Priority.SYSTEM)
    assert world.states() == {"a": "active", "b": "waiting"}


def test_lease_on_a_device_that_cannot_park_is_left_alone() -> None:
    world = World(spec("x"), spec("y", index=1, parkable=True))
    idle(world, "a")  # on x, which comes first
    idle(world, "b")
    world.do(c.SetRetention("b", Retention.HOLD))
    world.ask("c", tenant="bob", priority=Priority.HIGH)
    assert world.states() == {"a": "active", "b": "active", "c": "waiting"}
    with refused(Conflict, match="cannot be moved to the host"):
        world.do(c.ParkLease("a"))


def test_failed_parking_changes_nothing_and_is_tried_again_after_growing_pauses() -> None:
    world = one()
    idle(world, "a")
    world.ask("b", tenant="bob")
    pauses_ms = []
    for _ in range(7):
        assert world.states() == {"a": "parking", "b": "waiting"}
        world.do(c.ParkFailed("a", 1, Message.of_text("The driver says no.")))
        failed_ms = world.now_ms
        assert "The driver says no. The pool tries again after" in text(
            parkability.obstacle(world.state, world.state.leases["a"])
        )
        while world.states()["a"] == "active":
            world.pass_time(10_000)
            assert world.now_ms - failed_ms < 3_600_000, "it is tried again"
        pauses_ms.append(world.now_ms - failed_ms)
    assert pauses_ms == [60_000 * minutes for minutes in (1, 2, 4, 8, 16, 30, 30)]
    world.parked("a")
    assert parkability.obstacle(world.state, world.state.leases["a"]) is not None  # it is not active
    assert (world.state.leases["a"].park_failure, world.state.leases["a"].park_failures) == (None, 0)


@pytest.mark.parametrize("again", [lambda _: None, lambda world: world.do(c.BindHolder("a", holder(77)))])
def test_user_parks_a_lease_at_once_whose_parking_failed(again: Callable[[World], object]) -> None:
    world = one()
    idle(world, "a")
    world.do(c.ParkLease("a"))
    world.do(c.ParkFailed("a", 1, Message.of_text("The driver says no.")))
    again(world)
    world.do(c.ParkLease("a"))
    assert world.states() == {"a": "parking"}


def test_failed_parking_of_another_process_is_forgotten() -> None:
    world = one()
    idle(world, "a")
    world.do(c.ParkLease("a"))
    world.do(c.ParkFailed("a", 1, Message.of_text("The driver says no.")))
    world.do(c.BindHolder("a", holder(77)))
    assert parkability.obstacle(world.state, world.state.leases["a"]) is None


def test_higher_priority_preempts_a_busy_lease_which_waits_to_resume() -> None:
    world = one()
    busy(world, "a", priority=Priority.LOW)
    world.ask("b", tenant="bob")
    world.parked("a")
    assert world.states() == {"a": "waiting", "b": "preparing"}
    assert world.state.leases["a"].park_reason is ParkReason.PRIORITY
    world.prepared("b")
    world.do(c.ReleaseLease("b"))
    world.drained("b")
    assert world.states()["a"] == "resuming"


def test_equal_priority_preempts_no_busy_lease() -> None:
    world = one()
    busy(world, "a")
    world.ask("b", tenant="bob")
    world.now_ms += 3_600_000
    world.do(c.Tick())
    assert world.states() == {"a": "active", "b": "waiting"}


def test_tenant_below_its_guarantee_preempts_a_tenant_above_its_own() -> None:
    world = World(spec("x", parkable=True), spec("y", index=1, parkable=True))
    world.do(c.SetTenant("ann", 100, None, 1000))
    world.do(c.SetTenant("bob", 100, None, 1000))
    busy(world, "a1", tenant="ann")
    busy(world, "a2", tenant="ann")
    world.ask("b1", tenant="bob")
    assert world.states() == {"a1": "parking", "a2": "active", "b1": "waiting"}
    assert world.state.leases["a1"].park_reason is ParkReason.GUARANTEE
    world.parked("a1")
    world.prepared("b1")
    world.do(c.ReportActivity("b1", busy=True))
    # Now both have what they are guaranteed, and neither preempts the other.
    world.ask("b2", tenant="bob")
    world.now_ms += 3_600_000
    world.do(c.Tick())
    assert [name for name, state in world.states().items() if state == "active"] == ["a2", "b1"]


def test_busy_leases_take_turns_where_a_quantum_is_set() -> None:
    world = one()
    world.do(c.SetPolicy(Policy(quantum_ms=60_000)))
    busy(world, "a", tenant="ann")
    world.ask("b", tenant="bob")
    assert world.states()["a"] == "active"
    world.now_ms += 60_000
    world.do(c.Tick())
    assert (world.states()["a"], world.state.leases["a"].park_reason) == ("parking", ParkReason.FAIRNESS)
    world.parked("a")
    world.prepared("b")
    world.do(c.ReportActivity("b", busy=True))
    assert world.states() == {"a": "waiting", "b": "active"}
    world.now_ms += 70_000
    world.do(c.Tick())
    assert world.states() == {"a": "waiting", "b": "parking"}


def test_cell_that_begins_plans_no_preemption(monkeypatch: pytest.MonkeyPatch) -> None:
    world = one()
    world.do(c.SetPolicy(Policy(quantum_ms=60_000)))
    world.active("a")
    world.ask("b", tenant="bob")
    world.now_ms += 60_000
    with monkeypatch.context() as patch:
        patch.delattr(preemption, "plan_preemptions")
        world.do(c.ReportActivity("a", busy=True))
        with pytest.raises(AttributeError):
            world.do(c.Tick())
    world.do(c.Tick())
    assert world.states() == {"a": "parking", "b": "waiting"}


def examined(tenants: int, wanted: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many keys and devices a tick examines where as many tenants compute as wait and have had more."""
    world = World(*(spec(f"gpu-{i:03}", index=i, parkable=True) for i in range(tenants)))
    world.do(c.SetPolicy(Policy(quantum_ms=60_000)))
    for i in range(tenants):
        world.do(c.SetTenant(f"light-{i}", 400, None))
        world.active(f"a{i}", tenant=f"light-{i}")
    for i in range(tenants):
        world.ask(f"b{i}", wanted, tenant=f"heavy-{i}")
    world.now_ms += 60_000  # a turn of a tenant of four times the weight is a quarter of what one more would have had
    count = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def counting(*args: object) -> object:
            nonlocal count
            count += 1
            return function(*args)

        return counting

    with monkeypatch.context() as patch:
        patch.setattr(fairshare, "fair_share_key", counted(fairshare.fair_share_key))
        patch.setattr(device_share, "milli", counted(device_share.milli))
        world.do(c.Tick())
    assert S.PARKING not in {lease.state for lease in world.state.leases.values()}
    return count


@pytest.mark.parametrize("wanted", ["full", "half", "2xany"])
def test_requests_without_rights_are_not_compared_with_each_lease(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined(24, wanted, monkeypatch) < 2.5 * examined(12, wanted, monkeypatch)


def test_large_request_preempts_enough_leases_and_no_more() -> None:
    world = World(spec("x", parkable=True), spec("y", index=1, parkable=True))
    for name in "abcd":
        idle(world, name, profile="half", tenant=name)
    world.ask("big", "full", tenant="bob")
    assert sorted(world.states().values()) == ["active", "active", "parking", "parking", "waiting"]
    assert len({world.state.leases[n].logical_gpu.device_id for n, s in world.states().items() if s == "parking"}) == 1  # type: ignore[union-attr]
    parking = [name for name, state in world.states().items() if state == "parking"]
    world.parked(parking[0])
    # What is free now is reserved for the large request: one that came later does not get it.
    small = world.ask("small", "half", tenant="eve")
    assert world.states()["big"] == "waiting"
    assert small.state is S.WAITING
    world.parked(parking[1])
    assert world.states()["big"] == "preparing"


def test_several_requests_preempt_at_once() -> None:
    world = World(spec("x", parkable=True), spec("y", index=1, parkable=True))
    idle(world, "a", tenant="ann")
    idle(world, "b", tenant="bob")
    world.ask("c", tenant="cat")
    world.ask("d", tenant="dan")
    assert world.states() == {"a": "parking", "b": "parking", "c": "waiting", "d": "waiting"}


def test_whole_gpu_larger_than_the_host_memory_for_parked_leases_is_parked() -> None:
    world = one()
    world.do(c.SetPolicy(Policy(parked_bytes_max=64 * GIB)))
    idle(world, "a")
    world.ask("b", tenant="bob")
    assert world.states() == {"a": "parking", "b": "waiting"}
    assert world.state.parked_bytes == 0, "what it takes is known when it is parked"
    world.parked("a", 5 * GIB)
    assert world.state.parked_bytes == 5 * GIB


def test_obstacle_of_a_lease_names_the_host_memory_that_its_use_would_take() -> None:
    world = one()
    world.do(c.SetPolicy(Policy(parked_bytes_max=10 * GIB)))
    lease = world.active("a")
    for used_bytes in (None, 9 * GIB):
        assert parkability.obstacle(world.state, lease, used_bytes) is None
    said = text(parkability.obstacle(world.state, lease, 20 * GIB))
    assert said == (
        "Parking it takes about 21 GiB of host memory, and 10 GiB are left of what parked leases may take "
        "(Parking.host_memory)."
    )
    world.do(c.SetPolicy(Policy(parked_bytes_max=0)))
    assert "is used up" in text(parkability.obstacle(world.state, lease))


def test_parked_lease_of_several_devices_makes_room_for_several_requests() -> None:
    world = World(spec("x", parkable=True), spec("y", index=1, parkable=True))
    idle(world, "gang", profile="2xany")
    world.do(c.SetDevices(tuple(world.state.devices[name].spec for name in "xy")))
    busy_at = world.now_ms
    world.do(c.ReportActivity("gang", busy=True))
    world.ask("a", tenant="bob")
    world.ask("b", tenant="eve")
    world.do(c.ReportActivity("gang", busy=False))
    world.now_ms = busy_at + IDLE_MS
    world.do(c.Tick())
    assert world.states() == {"gang": "parking", "a": "waiting", "b": "waiting"}
    world.parked("gang")
    assert world.states() == {"gang": "parked", "a": "preparing", "b": "preparing"}


def test_request_for_several_devices_preempts_on_one_host_or_not_at_all() -> None:
    hosts = (HostSpec("h1", 8000, 10 * GIB), HostSpec("h2", 8000, 10 * GIB))
    devices = [spec(f"{host.id}{i}", index=i, parkable=True, host_id=host.id) for host in hosts for i in (0, 1)]
    world = World()
    world.do(c.SetDevices(tuple(devices), hosts))
    for name in ("a", "b", "d"):
        idle(world, name, tenant=name)
    world.do(c.ReportActivity("b", busy=True))  # a lease on a device of its host that is needed as well
    gang = world.ask("gang", "2xany", tenant="eve")
    device_of = {name: lease.logical_gpu.device_id for name, lease in world.state.leases.items() if lease.logical_gpu}
    host_of_b = device_of["b"][:2]
    parking = [name for name, state in world.states().items() if state == "parking"]
    assert all(device_of[name][:2] != host_of_b for name in parking)
    for name in parking:
        world.parked(name)
    assert gang.logical_gpu is not None
    assert len({device_id[:2] for device_id in gang.logical_gpu.device_ids}) == 1


# -- by the user ------------------------------------------------------------------------------------------------------


def test_user_parks_and_resumes_a_lease() -> None:
    world = one()
    busy(world, "a")
    world.do(c.ParkLease("a"))
    world.do(c.ParkLease("a"))
    world.parked("a")
    assert world.states() == {"a": "parked"}  # although it was busy, because its user requested it
    world.do(c.ResumeLease("a"))
    world.do(c.ResumeLease("a"))
    assert world.states() == {"a": "resuming"}


def test_parking_is_not_billed_and_is_refused_while_waiting() -> None:
    world = one()
    busy(world, "a")
    before = world.state.leases["a"].active_ms
    world.do(c.ParkLease("a"))
    cost = world.state.leases["a"].cost_numerator
    world.now_ms += 10**6
    world.parked("a")
    world.now_ms += 10**6
    world.do(c.ResumeLease("a"))
    world.now_ms += 10**6
    world.resumed("a")
    assert world.state.leases["a"].cost_numerator == cost
    assert world.state.leases["a"].active_ms == before + IDLE_MS
    waiting = world.ask("b")
    with refused(Conflict, match="waiting cannot be parked"):
        world.do(c.ParkLease(waiting.id))


@pytest.mark.parametrize("state", ["parking", "parked", "waiting", "resuming"])
def test_lease_ends_while_parking_parked_waiting_or_resuming(state: str) -> None:
    for over in (c.ReleaseLease("a"), c.HolderEnded("a", holder(1)), c.StartPool("boot-2", 5)):
        world = one()
        idle(world, "a", retention=Retention.YIELD)
        lease = world.state.leases["a"]
        world.do(c.BindHolder("a", holder(1)))
        world.do(c.ParkLease("a"))
        if state != "parking":
            world.parked("a", GIB)
        if state == "waiting":
            world.active("b", tenant="bob")
        if state in ("waiting", "resuming"):
            world.do(c.ResumeLease("a"))
        assert lease.state.value == state
        world.do(over)
        if lease.state is S.DRAINING:
            world.drained("a")
        assert (lease.state, world.state.parked_bytes) == (S.ENDED, 0)
        assert lease.end_reason in (EndReason.RELEASED, EndReason.HOLDER_DIED)


def test_kernel_that_restarts_while_parked_gets_a_device_without_its_image() -> None:
    world = one()
    idle(world, "a")
    world.do(c.ParkLease("a"))
    world.parked("a", GIB)
    world.do(c.BindHolder("a", holder(99)))
    world.do(c.ResumeLease("a"))
    assert world.states() == {"a": "preparing"}
    world.prepared("a")
    assert world.state.parked_bytes == 0


def test_kernel_that_restarts_while_resuming_keeps_the_lease() -> None:
    world = one()
    idle(world, "a")
    world.do(c.ParkLease("a"))
    world.parked("a", GIB)
    world.do(c.ResumeLease("a"))
    world.do(c.BindHolder("a", holder(99)))
    world.do(c.ResumeFailed("a", 2, Message.of_text("That process has ended.")))
    assert world.states() == {"a": "active"}


def test_lease_that_cannot_be_resumed_ends_with_the_reason() -> None:
    world = one()
    idle(world, "a")
    world.do(c.ParkLease("a"))
    world.parked("a", GIB)
    world.do(c.ResumeLease("a"))
    world.do(c.ResumeFailed("a", 2, Message.of_text("The driver says no.")))
    world.drained("a")
    lease = world.state.leases["a"]
    assert (lease.end_reason, text(lease.end_detail)) == (EndReason.RESUME_FAILED, "The driver says no.")


def test_parked_memory_resumes_only_on_a_device_of_its_kind() -> None:
    other = spec("other", index=1, parkable=True, model="H100-80GB")
    world = World(spec("gpu", parkable=True), other)
    idle(world, "a", profile="16GiB")
    lease = world.state.leases["a"]
    assert lease.logical_gpu is not None
    first = lease.logical_gpu.device_id
    world.do(c.ParkLease("a"))
    world.parked("a", GIB)
    world.do(c.DrainDevice(first, drained=True))
    world.do(c.ResumeLease("a"))
    assert world.states() == {"a": "waiting"}
    assert [reason for _, _, reason in positions(world.state)] == [PendingReason.DRAINED]
    world.do(c.DrainDevice(first, drained=False))
    assert world.states() == {"a": "resuming"}


# -- what a request requires ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "more", "why"),
    [
        ("half", {"isolation": Isolation.HARDWARE}, "kept apart"),
        ("half", {"isolation": Isolation.LIMITED}, "kept apart"),
        ("full", {"parkable": True}, "cannot be parked"),
        ("2xany", {"resizable": True}, "does not change"),
        ("full", {"cpu_milli": 9000}, "processors"),
        ("full", {"host_memory_bytes": 11 * GIB}, "memory"),
        ("full", {"rate_micro_per_hour_max": 3_599_999}, "costs more"),
    ],
)
def test_request_that_no_device_serves_is_refused_with_the_reason(profile: str, more: dict[str, Any], why: str) -> None:
    world = World()
    world.do(c.SetDevices((spec("x"), spec("y", index=1)), (HostSpec("", 8000, 10 * GIB),)))
    with refused(NoSuchDevice, match=why):
        world.ask("a", profile, **more)
    assert world.ask("b", "full", isolation=Isolation.HARDWARE, rate_micro_per_hour_max=3_600_000).logical_gpu


def test_request_held_and_parkable_is_refused() -> None:
    with refused(InvalidRequest, match="one of the two"):
        one().ask("a", parkable=True, retention=Retention.HOLD)


def test_processors_and_memory_of_a_host_are_granted_once() -> None:
    world = World()
    world.do(c.SetDevices((spec("x"), spec("y", index=1)), (HostSpec("", 8000, 10 * GIB),)))
    world.active("a", "half", cpu_milli=6000, host_memory_bytes=GIB)
    second = world.ask("b", "half", cpu_milli=3000)
    assert second.state is S.WAITING
    world.do(c.ReleaseLease("a"))
    world.drained("a")
    assert world.state_of("b") is S.PREPARING
    assert world.state.hosts[""].held_cpu_milli == 3000


def test_usage_counts_by_the_dominant_resource() -> None:
    world = World()
    world.do(c.SetDevices((spec("x"), spec("y", index=1)), (HostSpec("", 8000, 10 * GIB),)))
    world.active("a", "eighth", tenant="ann", cpu_milli=6000)
    world.active("b", "quarter", tenant="bob", cpu_milli=100)
    assert world.state.tenants["ann"].share_milli == 1500
    assert world.state.tenants["bob"].share_milli == 250


# -- defragmentation --------------------------------------------------------------------------------------------------


def two_halves(**policy: object) -> World:
    """Return a world of two devices, each half free, in which a request for a whole one waits."""
    world = World(spec("x", parkable=True), spec("y", index=1, parkable=True))
    world.do(c.SetPolicy(Policy(idle_ms=None, **policy)))  # type: ignore[arg-type]
    for name in "abcd":
        busy(world, name, profile="half", tenant=name)
    device_of = {name: world.state.leases[name].logical_gpu.device_id for name in "abcd"}  # type: ignore[union-attr]
    for device_id in "xy":
        goes = next(name for name in "abcd" if device_of[name] == device_id)
        world.do(c.ReleaseLease(goes))
        world.drained(goes)
    world.now_ms += 60_000
    world.ask("whole", tenant="eve")
    return world


def test_lease_is_migrated_for_a_waiting_request_and_resumes_at_once() -> None:
    world = two_halves(defragments=True)
    (moved,) = [name for name, state in world.states().items() if state == "parking"]
    assert world.state.leases[moved].park_reason is ParkReason.DEFRAGMENTATION
    world.parked(moved)
    assert {moved: world.states()[moved], "whole": world.states()["whole"]} == {moved: "resuming", "whole": "preparing"}
    world.resumed(moved)
    (stays,) = [name for name, state in world.states().items() if state == "active" and name != moved]
    gpus = {name: world.state.leases[name].logical_gpu for name in (moved, stays, "whole")}
    assert gpus[moved].device_id == gpus[stays].device_id != gpus["whole"].device_id  # type: ignore[union-attr]


def test_lease_is_not_migrated_without_the_policy() -> None:
    world = two_halves()
    world.now_ms += 3_600_000
    world.do(c.Tick())
    assert "parking" not in world.states().values()


def test_lease_is_not_migrated_again_before_its_minimum_stay() -> None:
    world = two_halves(defragments=True)
    (moved,) = [name for name, state in world.states().items() if state == "parking"]
    world.do(c.ParkFailed(moved, world.state.leases[moved].logical_gpu.generation, Message.of_text("no")))  # type: ignore[union-attr]
    (other,) = [name for name, state in world.states().items() if state == "parking"]
    assert other != moved
    world.parked(other)
    world.resumed(other)
    world.prepared("whole")
    world.do(c.ReleaseLease("whole"))
    world.drained("whole")
    assert "parking" not in world.states().values()


def test_held_lease_is_not_migrated() -> None:
    world = two_halves()
    for name in "abcd":
        if world.states()[name] == "active":
            world.do(c.SetRetention(name, Retention.HOLD))
    world.do(c.SetPolicy(Policy(idle_ms=None, defragments=True)))
    world.do(c.Tick())
    assert "parking" not in world.states().values()
