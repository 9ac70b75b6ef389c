"""A failed preparation is tried again, and the lease keeps its position."""

from __future__ import annotations

from dataclasses import replace

from fastgpu_jupyter.core.lease.preparation import TRIES_MAX, message, pause_ms
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import EndReason, ExistingPartition, Lease, PendingReason
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.scheduling.queue_report import positions
from fastgpu_jupyter.errors import Message
from tests.core.world import World, mig_spec, spec, text

BAD = "Another process created a MIG instance at this place."


def fails(world: World, lease: Lease, detail: str = BAD) -> list[e.Event]:
    assert lease.logical_gpu is not None
    return world.do(c.PrepareFailed(lease.id, lease.logical_gpu.generation, Message.of_text(detail)))


def test_it_waits_where_it_stood_and_is_granted_what_there_is_by_then() -> None:
    world = World(spec("gpu"))
    first, other = world.ask("first", wait_ms_max=60_000), world.ask("other")
    asked = (first.arrival, first.waiting_since, first.grants_before)
    generation = first.logical_gpu.generation if first.logical_gpu else 0
    events = fails(world, first)
    assert [type(event) for event in events] == [e.LeasePrepareFailed, e.LeaseGranted]
    assert (first.arrival, first.waiting_since, first.grants_before) == asked
    assert first.logical_gpu is not None
    assert first.logical_gpu.generation > generation
    assert (first.prepare_attempts, other.state) == (1, LeaseState.WAITING)
    world.prepared("first")
    assert (first.state, first.prepare_attempts, first.prepare_failure) == (LeaseState.ACTIVE, 0, None)


def test_one_that_does_not_fit_any_more_keeps_its_place_and_says_why() -> None:
    world = World(mig_spec("gpu"), mig_spec("whole", index=1))
    world.do(c.DrainDevice("whole", drained=True))
    first = world.ask("first", "4g.40gb", wait_ms_max=60_000)
    world.ask("second", "full")
    world.ask("third", "full")
    blocked = mig_spec("gpu", existing_partitions=(ExistingPartition("1g.10gb", 2),))  # in the way of the only place
    world.do(c.SetDevices((blocked, mig_spec("whole", index=1))))
    fails(world, first)
    assert list(world.state.queue) == ["first", "second", "third"]
    assert first.granted_at is None
    assert world.state.expiring.keys() == {"first"}
    (_, place, reason), *_ = positions(world.state)
    assert (place, reason) == (1, PendingReason.DRAINED)
    world.do(c.DrainDevice("whole", drained=False))
    assert first.logical_gpu is not None
    assert first.logical_gpu.device_id == "whole"
    assert f"(try 1 of {TRIES_MAX}): {BAD}" in text(message(first))


def test_the_reason_is_typed_while_it_cannot_be_granted_again() -> None:
    world = World(mig_spec("gpu"), mig_spec("other", index=1))
    lease = world.ask("a", "7g.80gb")
    world.active("b", "7g.80gb")
    device = lease.logical_gpu.device_id if lease.logical_gpu else ""
    taken = replace(mig_spec(device), existing_partitions=(ExistingPartition("1g.10gb", 0),))
    rest = [one.spec for one in world.state.devices.values() if one.spec.id != device]
    world.do(c.SetDevices((taken, *rest)))
    fails(world, lease)
    assert [(one.id, reason) for one, _, reason in positions(world.state)] == [("a", PendingReason.NOT_PREPARED)]


def test_it_ends_after_so_many_tries_in_a_row_and_serves_the_next() -> None:
    world = World(spec("gpu"))
    lease = world.ask("a")
    world.ask("b")
    pauses = []
    for _ in range(TRIES_MAX - 1):
        pauses.append(pause_ms(lease))
        fails(world, lease)
        assert lease.state is LeaseState.PREPARING
    assert pauses == [250 << number for number in range(TRIES_MAX - 1)]
    fails(world, lease, "no such GPU.")
    world.drained("a")
    assert lease.end_reason is EndReason.PREPARE_FAILED
    assert text(lease.end_detail).startswith(f"no such GPU. It was tried {TRIES_MAX} times")
    assert world.states() == {"a": "ended", "b": "preparing"}


def test_it_ends_at_once_where_nothing_can_ever_serve_it() -> None:
    world = World(mig_spec("gpu"))
    lease = world.ask("a", "full")
    world.do(c.SetDevices((replace(mig_spec("gpu"), existing_partitions=(ExistingPartition("1g.10gb", 0),)),)))
    assert lease.state is LeaseState.PREPARING
    fails(world, lease)
    world.drained("a")
    assert lease.end_reason is EndReason.PREPARE_FAILED
    assert text(lease.end_detail).startswith(f"{BAD} 'full' could never be granted")


def test_one_that_was_active_before_does_not_expire_when_its_return_fails() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", wait_ms_max=60_000)
    assert lease.expires_ms is None
    assert fails(world, lease) == []  # too late: it is there


def test_a_release_while_it_is_tried_again_wins() -> None:
    world = World(spec("gpu"))
    lease = world.ask("a")
    generation = lease.logical_gpu.generation if lease.logical_gpu else 0
    world.do(c.ReleaseLease("a"))
    assert world.do(c.PrepareFailed("a", generation, Message.of_text(BAD))) == []
    world.drained("a")
    assert lease.end_reason is EndReason.RELEASED
