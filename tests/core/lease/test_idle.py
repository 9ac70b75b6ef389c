"""The idle policy: when its steps are announced, taken and put off, and that unknown is not idle."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.lease import idle
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    IdlePolicy,
    IdleStep,
    IdleTimes,
    Instant,
    Lease,
    LeaseRequest,
    ParkReason,
    Policy,
    Retention,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Conflict, InvalidRequest, Message
from tests.core.world import BOOT, World, holder, spec, text

MINUTE, HOUR = 60_000, 3_600_000
TIMES = IdleTimes(notify_ms=10 * MINUTE, park_ms=20 * MINUTE, release_ms=HOUR, shut_down_ms=2 * HOUR)


def world_of(times: IdleTimes = TIMES, *, parkable: bool = True, **policy: object) -> World:
    world = World(spec("gpu", parkable=parkable))
    world.do(c.SetPolicy(Policy(idle_policy=IdlePolicy(times=times, **policy))))  # type: ignore[arg-type]
    return world


def idle_lease(world: World, name: str = "a", size: str = "full", **more: object) -> Lease:
    """Return an active lease of a kernel without a cell, whose device is idle from now on."""
    request = LeaseRequest(size, None, f"kernel-{name}", "a.ipynb", **more)  # type: ignore[arg-type]
    world.do(c.RequestLease(name, "ann", request, holder(len(world.history)), "0" * 64))
    world.prepared(name)
    world.do(c.ReportActivity(name, busy=False))
    gpu_idle(world, name)
    return world.state.leases[name]


def gpu_idle(world: World, name: str = "a", since_ms: int | None = -1) -> list[e.Event]:
    """Report that the device is idle from now on; ``None``: that it is used or unknown."""
    gpu = world.state.leases[name].logical_gpu
    assert gpu is not None
    return world.do(c.ReportGPUUse(name, gpu.generation, world.now_ms if since_ms == -1 else since_ms))


def wait(world: World, ms: int) -> list[e.Event]:
    """Let time pass in ticks of a minute; return what happened."""
    before = len(world.history)
    for _ in range(ms // MINUTE):
        world.pass_time(MINUTE)
    world.pass_time(ms % MINUTE)
    return [event for _, events in world.history[before:] for event in events if not isinstance(event, e.Ticked)]


def steps(events: list[e.Event]) -> list[str]:
    """Return the steps that were announced (with a question mark) and taken."""
    return [
        event.step.value + ("?" if isinstance(event, e.LeaseIdleWarned) else "")
        for event in events
        if isinstance(event, e.LeaseIdleWarned | e.LeaseIdleStepTaken)
    ]


def test_steps_follow_one_another_each_with_a_warning_before() -> None:
    world = world_of()
    lease = idle_lease(world)
    assert steps(wait(world, 10 * MINUTE - 1)) == []
    assert steps(wait(world, 1)) == ["notify"]
    assert "for 10" in text(idle.message(world.state, lease, world.at))
    assert steps(wait(world, 5 * MINUTE)) == ["park?"]
    assert "parked in 5" in text(idle.message(world.state, lease, world.at))
    assert idle.next_step(world.state, lease) == (IdleStep.PARK, world.now_ms + 5 * MINUTE, 5 * MINUTE)
    assert steps(wait(world, 5 * MINUTE)) == ["park"]
    assert (lease.state, lease.park_reason) == (LeaseState.PARKING, ParkReason.IDLE_POLICY)
    world.parked("a", 1 << 30)
    assert world.state_of("a") is LeaseState.PARKED
    assert steps(wait(world, 40 * MINUTE)) == ["release?", "release"]
    assert (world.state_of("a"), lease.end_reason) == (LeaseState.ENDED, EndReason.IDLE)
    assert "not been used for 1" in text(lease.end_detail)
    shut_down = idle.next_step(world.state, lease)
    assert shut_down is not None
    assert (shut_down.step, shut_down.at_ms) == (IdleStep.SHUT_DOWN, world.now_ms + HOUR)


def test_only_notify_is_on_by_default() -> None:
    world = World(spec("gpu", parkable=True))
    lease = idle_lease(world)
    assert steps(wait(world, 48 * HOUR)) == ["notify"]
    assert world.state_of("a") is LeaseState.ACTIVE
    assert idle.next_step(world.state, lease) is None


def test_lease_whose_cells_or_device_are_unknown_is_not_idle() -> None:
    world = world_of()
    request = LeaseRequest("half", None, "kernel", "a.ipynb")
    for name in ("silent", "unread"):
        world.do(c.RequestLease(name, "ann", request, holder(len(world.history)), "0" * 64))
        world.prepared(name)
    world.do(c.ReportActivity("unread", busy=False))  # and no reading of its device
    assert gpu_idle(world, "silent") == []  # its kernel has not reported
    assert steps(wait(world, 5 * HOUR)) == []
    assert idle.next_step(world.state, world.state.leases["silent"]) is None
    assert idle.next_step(world.state, world.state.leases["unread"]) is None


def test_device_in_use_by_a_background_thread_begins_the_time_again() -> None:
    world = world_of()
    lease = idle_lease(world)
    assert steps(wait(world, 15 * MINUTE)) == ["notify", "park?"]
    assert [type(event) for event in gpu_idle(world, since_ms=None)] == [e.LeaseGPUUsed]
    assert (lease.idle_step, lease.idle_warned) == (None, None)
    assert steps(wait(world, HOUR)) == []
    gpu_idle(world)
    assert steps(wait(world, 10 * MINUTE)) == ["notify"]


def test_cell_that_begins_before_the_step_wins() -> None:
    world = world_of()
    lease = idle_lease(world)
    wait(world, 20 * MINUTE - 1)
    world.now_ms += 1
    world.do(c.ReportActivity("a", busy=True))  # at the instant of the step, in front of the tick
    world.do(c.Tick())
    assert gpu_idle(world) == []  # of a lease with a cell nothing is recorded
    assert steps(wait(world, 5 * HOUR)) == []
    assert (world.state_of("a"), lease.idle_step) == (LeaseState.ACTIVE, None)


def test_cell_that_begins_while_the_policy_parks_gets_the_device_back() -> None:
    world = world_of()
    idle_lease(world)
    wait(world, 20 * MINUTE)
    world.do(c.ReportActivity("a", busy=True))
    world.parked("a", 0)
    world.resumed("a")
    assert world.state_of("a") is LeaseState.ACTIVE


def test_time_counts_from_the_later_of_cell_and_device() -> None:
    world = world_of()
    lease = idle_lease(world)
    for _ in range(5):  # short cells that do not use the device
        wait(world, 9 * MINUTE)
        world.do(c.ReportActivity("a", busy=True))
        world.do(c.ReportActivity("a", busy=False))
        gpu_idle(world, since_ms=2000)
    assert (lease.gpu_idle_since_ms, lease.idle_step) == (2000, None)
    assert steps(wait(world, 10 * MINUTE)) == ["notify"]


def test_pinned_lease_is_notified_and_keeps_its_device() -> None:
    world = world_of()
    lease = idle_lease(world, retention=Retention.HOLD)
    assert steps(wait(world, 5 * HOUR)) == ["notify"]
    world.do(c.SetRetention("a", Retention.YIELD))
    assert steps(wait(world, 5 * MINUTE)) == ["park?"]  # a warning first, though its time is long past
    assert steps(wait(world, 5 * MINUTE)) == ["park"]
    assert lease.state is LeaseState.PARKING


def test_lease_that_cannot_be_parked_is_released_at_its_time() -> None:
    world = world_of(parkable=False)
    lease = idle_lease(world)
    assert steps(wait(world, HOUR)) == ["notify", "release?", "release"]
    assert (world.state_of("a"), lease.end_reason) == (LeaseState.DRAINING, EndReason.IDLE)


def test_failure_to_park_does_not_stop_the_steps_that_follow() -> None:
    world = world_of()
    lease = idle_lease(world)
    wait(world, 20 * MINUTE)
    gpu = lease.logical_gpu
    assert gpu is not None
    world.do(c.ParkFailed("a", gpu.generation, Message.of_text("a process did not stop")))
    assert steps(wait(world, 40 * MINUTE)) == ["release?", "release"]


def test_lease_parked_for_another_request_goes_on_to_be_idle() -> None:
    world = world_of()
    lease = idle_lease(world)
    wait(world, 12 * MINUTE)
    world.do(c.ParkLease("a"))
    world.parked("a", 0)
    assert steps(wait(world, 48 * MINUTE)) == ["release?", "release"]
    assert lease.end_reason is EndReason.IDLE


# -- putting off ------------------------------------------------------------------------------------------------------


def test_snooze_at_the_last_moment_puts_the_step_off_and_announces_it_again() -> None:
    world = world_of()
    lease = idle_lease(world)
    assert steps(wait(world, 20 * MINUTE - 1)) == ["notify", "park?"]
    world.do(c.SnoozeLease("a", 30 * MINUTE))
    assert idle.next_step(world.state, lease) == (IdleStep.PARK, world.now_ms + 30 * MINUTE, 5 * MINUTE)
    assert steps(wait(world, 30 * MINUTE - 1)) == ["park?"]
    assert steps(wait(world, 1)) == ["park"]
    world.parked("a", 0)
    parked_ms = world.now_ms
    assert steps(wait(world, 40 * MINUTE)) == ["release?", "release"]  # as far apart as without the snooze
    assert world.now_ms - parked_ms == 40 * MINUTE


def test_snooze_is_bounded_until_the_lease_is_used() -> None:
    world = world_of(snooze_ms_max=HOUR)
    lease = idle_lease(world)
    wait(world, 15 * MINUTE)
    snoozed_ms = world.now_ms
    world.do(c.SnoozeLease("a", 24 * HOUR))  # as much as there is
    assert lease.idle_snoozed_until_ms == snoozed_ms + HOUR
    with pytest.raises(Conflict, match=r"idle\.snooze_used_up"):
        world.do(c.SnoozeLease("a", 24 * HOUR))
    assert world.do(c.SnoozeLease("a", 30 * MINUTE)) == []  # it is put off for longer already
    assert steps(wait(world, HOUR)) == ["park?", "park"]
    world.do(c.ReportActivity("a", busy=True))
    assert lease.idle_snoozed_ms == 0


def test_snooze_while_a_cell_runs_holds_for_the_idle_time_that_follows() -> None:
    world = world_of()
    lease = idle_lease(world)
    world.do(c.ReportActivity("a", busy=True))
    world.do(c.SnoozeLease("a", 2 * HOUR))
    world.do(c.ReportActivity("a", busy=False))
    gpu_idle(world)
    assert steps(wait(world, 2 * HOUR - 1)) == []
    assert steps(wait(world, 1)) == ["notify"]
    assert steps(wait(world, 10 * MINUTE)) == ["park?", "park"]
    assert lease.state is LeaseState.PARKING


def test_snooze_refuses_less_than_a_minute() -> None:
    world = world_of()
    idle_lease(world)
    with pytest.raises(InvalidRequest):
        world.do(c.SnoozeLease("a", MINUTE - 1))


# -- the shutdown, which is the server's act ---------------------------------------------------------------------------


def test_shutdown_ends_the_lease_only_while_it_is_due() -> None:
    world = world_of(IdleTimes(shut_down_ms=HOUR))
    lease = idle_lease(world)
    with pytest.raises(Conflict):
        world.do(c.EndIdleLease("a"))
    assert steps(wait(world, 2 * HOUR)) == ["shut_down?", "shut_down"]
    assert world.state_of("a") is LeaseState.ACTIVE  # the pool ends no kernel
    due = idle.next_step(world.state, lease)
    assert due is not None
    assert (due.step, due.at_ms <= world.now_ms) == (IdleStep.SHUT_DOWN, True)
    world.do(c.ReportActivity("a", busy=True))
    with pytest.raises(Conflict, match=r"idle\.in_use_again"):
        world.do(c.EndIdleLease("a"))
    world.do(c.ReportActivity("a", busy=False))
    gpu_idle(world)
    wait(world, HOUR)
    world.do(c.EndIdleLease("a"))
    assert lease.end_reason is EndReason.IDLE
    assert "shut down" in text(lease.end_detail)


def test_snooze_withdraws_a_shutdown_that_was_not_carried_out() -> None:
    world = world_of(IdleTimes(shut_down_ms=HOUR))
    idle_lease(world)
    wait(world, HOUR)
    world.do(c.SnoozeLease("a", HOUR))
    with pytest.raises(Conflict):
        world.do(c.EndIdleLease("a"))
    assert steps(wait(world, HOUR)) == ["shut_down?", "shut_down"]


def test_lease_without_a_kernel_is_not_shut_down() -> None:
    world = world_of(IdleTimes(shut_down_ms=HOUR))
    lease = world.active("a")
    world.do(c.ReportActivity("a", busy=False))
    gpu_idle(world)
    assert steps(wait(world, 2 * HOUR)) == []
    assert idle.steps_of(world.state, lease) == {}


# -- restarts, gaps and settings ---------------------------------------------------------------------------------------


def restart(world: World, down_ms: int) -> None:
    world.now_ms += down_ms
    world.do(c.StartPool(BOOT, world.now_ms))


def test_times_go_on_after_a_restart_once_the_device_is_seen_idle_again() -> None:
    world = world_of()
    lease = idle_lease(world)
    began_ms = world.now_ms
    wait(world, 19 * MINUTE)
    restart(world, MINUTE)
    assert steps(wait(world, 3 * MINUTE)) == []  # nothing is known of the device since
    gpu_idle(world, since_ms=world.now_ms - MINUTE)
    assert lease.gpu_idle_since_ms == began_ms
    assert steps(wait(world, 1)) == ["park"]


def test_times_begin_again_after_a_long_time_without_a_pool() -> None:
    world = world_of()
    idle_lease(world)
    wait(world, 19 * MINUTE)
    restart(world, 12 * HOUR)
    gpu_idle(world)
    assert steps(wait(world, 10 * MINUTE - 1)) == []
    assert steps(wait(world, 1)) == ["notify"]


def test_parked_lease_stays_idle_while_no_pool_runs_and_is_warned_first() -> None:
    world = world_of()
    idle_lease(world)
    wait(world, 20 * MINUTE)
    world.parked("a", 0)
    restart(world, 12 * HOUR)
    world.do(c.Tick())
    assert steps(wait(world, 5 * MINUTE)) == ["release"]
    assert steps([event for _, events in world.history for event in events])[-2:] == ["release?", "release"]


def test_step_waits_for_readings_after_a_gap_in_the_pools_own_time() -> None:
    """The process was stopped, with everything in it: its first tick must not act on what it knew before."""
    world = world_of()
    idle_lease(world)
    wait(world, 16 * MINUTE)
    world.now_ms += 6 * HOUR
    assert steps(world.do(c.Tick())) == []
    gpu_idle(world, since_ms=None)  # the monitor notices the gap as well
    assert steps(wait(world, 9 * MINUTE)) == []


def test_size_and_request_have_times_of_their_own() -> None:
    world = world_of(by_size={"half": IdleTimes(park_ms=4 * MINUTE)})
    half = idle_lease(world, "a", "half")
    own = idle_lease(world, "b", "quarter", idle=IdleTimes(park_ms=15 * MINUTE, release_ms=9 * HOUR))
    assert idle.steps_of(world.state, half) == {IdleStep.PARK: 4 * MINUTE}
    assert idle.steps_of(world.state, own) == {
        IdleStep.NOTIFY: 10 * MINUTE,
        IdleStep.PARK: 15 * MINUTE,  # earlier than the pool's
        IdleStep.RELEASE: HOUR,  # no later than the pool's
        IdleStep.SHUT_DOWN: 2 * HOUR,
    }
    assert steps(wait(world, 4 * MINUTE)) == ["park?", "park"]  # a warning takes half of the time at most


def test_request_with_a_time_below_a_minute_is_refused() -> None:
    world = world_of()
    with pytest.raises(InvalidRequest):
        idle_lease(world, idle=IdleTimes(park_ms=1))


def test_late_report_of_an_earlier_grant_changes_nothing() -> None:
    world = world_of()
    lease = idle_lease(world)
    gpu = lease.logical_gpu
    assert gpu is not None
    assert world.do(c.ReportGPUUse("a", gpu.generation - 1, None)) == []
    assert world.do(c.ReportGPUUse("gone", gpu.generation, 1)) == []
    assert lease.gpu_idle_since_ms is not None


def test_message_of_a_lease_in_use_is_empty() -> None:
    world = world_of()
    lease = idle_lease(world)
    world.do(c.ReportActivity("a", busy=True))
    assert idle.message(world.state, lease, Instant(world.now_ms, 0)) is None
