"""Another size, another tenant: while the kernel goes on."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.accounting import ledger, meter
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import Conflict, FastGPUError, InvalidRequest, NeedsRestart, NoSuchDevice
from fastgpu_jupyter.units import GIB, MS_PER_HOUR
from tests.core.world import World, spec
from tests.refusals import refused


def test_a_smaller_size_gives_room_to_who_waits_and_costs_less_from_then_on() -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    waiting = world.ask("b", "half")
    world.now_ms += MS_PER_HOUR
    world.do(c.ResizeLease("a", "half"))
    assert lease.logical_gpu is not None
    assert (lease.logical_gpu.memory_bytes, lease.logical_gpu.whole) == (40 * GIB, False)
    assert waiting.state is LeaseState.PREPARING
    world.now_ms += MS_PER_HOUR
    assert meter.cost_micro(lease, world.now_ms) == 3_600_000 + 1_800_000
    found = list(ledger.segments(world.history, Instant(world.now_ms, 0)))
    assert [(one.size, one.duration_ms, one.rate_micro_per_hour) for one in found] == [
        ("full", MS_PER_HOUR, 3_600_000),
        ("half", MS_PER_HOUR, 1_800_000),
    ]


def test_a_larger_size_is_had_where_there_is_room() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "quarter")
    world.do(c.ResizeLease("a", "full"))
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.whole
    assert world.ask("b", "eighth").state is LeaseState.WAITING


@pytest.mark.parametrize(
    ("size", "error", "says"),
    [
        ("full", Conflict, "no room for 'full' on this device: 60 GiB could be had"),
        ("70GiB", Conflict, "no room for '70GiB'"),
        ("2xany", NeedsRestart, "changes only with a restart"),
        ("h100", Conflict, "another device than the A100-80GB"),
        ("a100:", InvalidRequest, "at character 6"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(size: str, error: type[FastGPUError], says: str) -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "quarter")
    world.active("b", "quarter")
    before = lease.logical_gpu
    with refused(error, match=says):
        world.do(c.ResizeLease("a", size))
    assert (lease.logical_gpu, lease.request.name) == (before, "quarter")


def test_a_device_that_is_leased_whole_is_not_divided() -> None:
    world = World(spec("gpu", whole_only=True))
    world.active("a")
    with refused(Conflict, match="leased whole"):
        world.do(c.ResizeLease("a", "half"))


def test_a_waiting_lease_asks_for_less_and_keeps_its_age() -> None:
    world = World(spec("gpu"))
    world.active("a", "half")
    first = world.ask("first")
    world.ask("second", "half")
    world.do(c.ResizeLease("first", "half"))
    assert first.state is LeaseState.PREPARING
    assert [lease.id for lease, _, _ in queue_report.positions(world.state)] == ["second"]
    with pytest.raises(NoSuchDevice):
        world.do(c.ResizeLease("second", "9xany"))


def test_resized_request_joins_its_class_at_its_original_position() -> None:
    world = World(spec("gpu"))
    world.active("a")
    for name, size in (("one", "half"), ("two", "quarter"), ("three", "quarter")):
        world.ask(name, size)
    world.do(c.ResizeLease("one", "quarter"))
    world.do(c.ResizeLease("a", "70GiB"))
    assert world.states() == {"a": "active", "one": "waiting", "two": "waiting", "three": "waiting"}
    world.do(c.ResizeLease("a", "60GiB"))
    assert world.states()["one"] == "preparing"
    assert world.states()["two"] == "waiting"


def test_growing_beyond_the_quota_is_refused() -> None:
    world = World(spec("gpu"))
    world.do(c.SetTenant("ann", 100, 500))
    world.active("a", "quarter")
    world.do(c.ResizeLease("a", "half"))
    with refused(Conflict, match=r"more than the 0\.5 GPUs"):
        world.do(c.ResizeLease("a", "full"))


def test_a_transferred_lease_is_billed_to_each_for_its_time() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", tenant="ann")
    world.now_ms += 1000
    world.do(c.TransferLease("a", "bob"))
    world.now_ms += 2000
    assert lease.tenant == "bob"
    made = ledger.statements(world.history, world.state.month, world.at)
    assert [(one.tenant, one.active_ms) for one in made] == [("ann", 1000), ("bob", 2000)]
    world.do(c.ReleaseLease("a"))
    with refused(Conflict, match="is draining cannot be transferred"):
        world.do(c.TransferLease("a", "eve"))


def test_capacity_is_given_back_only_after_use_has_fallen() -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    with refused(
        Conflict,
        match="Resize to half refused. 41 GiB are in use and half has 40 GiB. Nothing was changed: full stays. Free ",
    ):
        world.do(c.ResizeLease("a", "half", used_bytes=41 * GIB))
    assert lease.request.name == "full"
    world.do(c.ResizeLease("a", "half", used_bytes=40 * GIB))
    assert lease.request.name == "half"


def test_a_device_that_is_leased_whole_needs_a_restart() -> None:
    world = World(spec("gpu", whole_only=True))
    world.active("a")
    with refused(NeedsRestart, match="restart the kernel"):
        world.do(c.ResizeLease("a", "half"))
