"""The rules of the pool, one by one."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.lease import history, request, timer
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import effects as fx
from fastgpu_jupyter.core.model.entities import EndReason, Health, PendingReason, State
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import replay
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import Conflict, FastGPUError, InvalidRequest, Message, NoSuchDevice, NotFound
from fastgpu_jupyter.units import GIB
from tests.core.world import World, holder, spec
from tests.refusals import refused


def test_a_request_is_granted_at_once_where_a_device_is_free() -> None:
    world = World(spec("gpu"))
    lease = world.ask("a")
    assert lease.state is LeaseState.PREPARING
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.device_id == "gpu"


def test_those_who_wait_are_granted_in_order_of_arrival() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.ask("b")
    world.ask("c")
    world.do(c.ReleaseLease("a"))
    assert world.states() == {"a": "draining", "b": "waiting", "c": "waiting"}
    world.drained("a")
    assert world.states() == {"a": "ended", "b": "preparing", "c": "waiting"}


def test_capacity_is_free_only_once_the_lease_has_drained() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.do(c.ReleaseLease("a"))
    assert world.ask("b").state is LeaseState.WAITING


def test_each_waiting_lease_has_its_place_and_one_reason() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.ask("b")
    world.ask("c")
    found = [(lease.id, place, reason) for lease, place, reason in queue_report.positions(world.state)]
    assert found == [("b", 1, PendingReason.CAPACITY), ("c", 2, PendingReason.CAPACITY)]


def test_a_faulty_device_is_not_granted_and_is_the_reason_of_the_wait() -> None:
    world = World(spec("gpu"))
    world.do(c.SetHealth("gpu", Health.FAULTY, Message.of_text("fell off the bus")))
    world.ask("a")
    assert [reason for _, _, reason in queue_report.positions(world.state)] == [PendingReason.HEALTH]
    world.do(c.SetHealth("gpu", Health.HEALTHY))
    assert world.states() == {"a": "preparing"}


def test_parts_of_a_device_go_to_several_leases_up_to_its_memory() -> None:
    world = World(spec("gpu"))
    for name in ("a", "b"):
        world.active(name, "quarter")
    world.active("c", None, 40 * GIB)
    assert world.ask("d", "eighth").state is LeaseState.WAITING


def test_a_whole_device_is_never_shared_either_way() -> None:
    world = World(spec("gpu"))
    world.active("part", "eighth")
    assert world.ask("whole").state is LeaseState.WAITING


def test_best_fit_leaves_the_large_hole() -> None:
    world = World(spec("large", 80 * GIB, index=0), spec("small", 24 * GIB, index=1))
    gpu = world.active("a", None, 20 * GIB).logical_gpu
    assert gpu is not None
    assert gpu.device_id == "small"


@pytest.mark.parametrize(
    ("profile", "memory_bytes", "error", "says"),
    [
        ("enormous", None, NoSuchDevice, "No device of this pool is 'enormous'"),
        (None, 0, InvalidRequest, "0 B is not possible"),
        (None, -5, InvalidRequest, "not possible"),
        (None, None, InvalidRequest, "one of the two"),
        ("full", GIB, InvalidRequest, "one of the two"),
        (None, 81 * GIB, NoSuchDevice, "81 GiB is more than any device of this pool has; the largest has 80 GiB"),
    ],
)
def test_a_bad_request_is_refused_and_nothing_changes(
    profile: str | None, memory_bytes: int | None, error: type[FastGPUError], says: str
) -> None:
    world = World(spec("gpu"))
    with refused(error, match=says):
        world.ask("a", profile, memory_bytes)
    assert world.states() == {}


def test_a_pool_without_devices_says_so_and_what_to_do() -> None:
    with refused(NoSuchDevice, match=r"no GPU.*--simulate 2xA100-80GB"):
        World().ask("a")


def test_devices_that_are_leased_whole_refuse_parts() -> None:
    with refused(NoSuchDevice, match=r"leased whole.*'full'"):
        World(spec("gpu", whole_only=True)).ask("a", "half")


def test_when_the_holder_ends_the_lease_drains_at_once() -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    world.do(c.HolderEnded("a", lease.holder))
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.HOLDER_DIED)


def test_the_end_of_an_earlier_holder_is_nothing() -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    server = lease.holder
    world.do(c.BindHolder("a", holder(77)))
    assert world.do(c.HolderEnded("a", server)) == []
    assert lease.state is LeaseState.ACTIVE


def test_a_waiting_lease_leaves_the_queue_with_its_holder() -> None:
    world = World(spec("gpu"))
    world.active("a")
    waiting = world.ask("b")
    world.do(c.HolderEnded("b", waiting.holder))
    assert world.states() == {"a": "active", "b": "ended"}
    assert waiting.end_reason is EndReason.HOLDER_DIED


def test_release_twice_and_after_death_is_no_error_and_changes_nothing() -> None:
    world = World(spec("gpu"))
    world.active("a")
    assert world.do(c.ReleaseLease("a"))
    assert world.do(c.ReleaseLease("a")) == []
    world.drained("a")
    assert world.do(c.ReleaseLease("a")) == []


def test_a_lease_that_is_over_takes_no_holder() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.do(c.ReleaseLease("a"))
    with refused(Conflict, match="ask for a new one"):
        world.do(c.BindHolder("a", holder(5)))


def test_a_report_about_an_earlier_grant_is_ignored() -> None:
    world = World(spec("gpu"))
    lease = world.ask("a")
    assert lease.logical_gpu is not None
    assert world.do(c.PrepareSucceeded("a", lease.logical_gpu.generation - 1)) == []
    assert world.do(c.DrainSucceeded("a", lease.logical_gpu.generation)) == []


def test_device_that_vanishes_ends_its_leases_and_its_capacity() -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    world.lose("gpu")
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.DEVICE_LOST)
    world.drained("a")
    assert world.state.devices == {}


def test_a_reboot_ends_every_lease_where_the_journal_last_heard_of_it() -> None:
    world = World(spec("gpu"))
    lease = world.active("a")
    world.ask("b")
    world.now_ms = 61_000
    world.do(c.Tick())
    world.do(c.StartPool("boot-2", 5))
    assert world.states() == {"a": "draining", "b": "ended"}
    assert lease.active_ms == 60_000
    assert world.state.clock_epoch_ms == 5 - 61_000


def test_a_restart_in_the_same_boot_keeps_every_lease() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.ask("b")
    world.do(c.StartPool("boot-1", 10**9))
    assert world.states() == {"a": "active", "b": "waiting"}


def test_leases_that_ended_long_ago_are_forgotten() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.do(c.ReleaseLease("a"))
    world.drained("a")
    world.now_ms += history.KEPT_MS
    world.do(c.Tick())
    assert world.states() == {}


@pytest.mark.slow
def test_leases_that_ended_stay_for_an_hour_however_many_there_are() -> None:
    world = World(spec("gpu"))
    world.active("now")
    for number in range(1200):
        world.ask(f"lease-{number}")
        world.do(c.ReleaseLease(f"lease-{number}"))
    world.now_ms += history.KEPT_MS - 1
    world.do(c.Tick())
    assert len(world.state.ended) == 1200
    world.now_ms += 1
    world.do(c.Tick())
    assert len(world.state.ended) == 1200 - timer.FORGOTTEN_PER_TICK


def test_each_request_forgets_some_so_that_no_tick_has_many_to_forget() -> None:
    world = World(spec("gpu"))
    world.active("now")
    for number in range(timer.FORGOTTEN_PER_TICK + 10):
        world.ask(f"lease-{number}")
    for number in range(timer.FORGOTTEN_PER_TICK + 10):
        world.do(c.ReleaseLease(f"lease-{number}"))
    world.now_ms += history.KEPT_MS
    world.ask("waits")
    assert next(iter(world.state.ended)) == f"lease-{request.FORGOTTEN_PER_REQUEST}"
    world.do(c.Tick())
    assert next(iter(world.state.ended)) == f"lease-{request.FORGOTTEN_PER_REQUEST + timer.FORGOTTEN_PER_TICK}"
    assert world.states()["waits"] == "waiting"


def test_unknown_names_are_refused_with_what_to_do() -> None:
    with refused(NotFound, match="jupyter fastgpu status"):
        World().do(c.ReleaseLease("no tenant"))
    with refused(NotFound, match="no device"):
        World().do(c.SetHealth("nothing", Health.FAULTY))


def test_replaying_the_events_gives_the_same_state_for_every_prefix() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.ask("b")
    world.now_ms += 500
    world.do(c.ReleaseLease("a"))
    world.drained("a")
    replayed = State()
    for at, events in world.history:
        replay(replayed, events, at)
    assert replayed == world.state


def test_effects_follow_the_events_and_recovery_finds_what_is_still_owed() -> None:
    world = World(spec("gpu"))
    lease = world.ask("a")
    events = world.history[-1][1]
    assert lease.logical_gpu is not None
    owed = [fx.WatchHolder("a", lease.holder), fx.Prepare("a", lease.logical_gpu)]
    assert list(fx.effects(world.state, events)) == owed
    assert list(fx.outstanding(world.state)) == owed
    world.do(c.PrepareSucceeded("a", lease.logical_gpu.generation))
    world.do(c.ReleaseLease("a"))
    assert list(fx.outstanding(world.state))[1:] == [fx.Drain("a", lease.logical_gpu, lease.holder)]
