"""Leases that an engine serves: from the request to the end of its job, and while no process holds them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastgpu_jupyter.core.accounting import calendar, ledger, meter
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import effects as fx
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    ClusterAllocation,
    ClusterDevice,
    ClusterRequest,
    DeviceSpec,
    EndReason,
    Enforcement,
    Lease,
    Mechanism,
    Plan,
    Retention,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.size import SizeUnit
from fastgpu_jupyter.core.model.use import MeasuredUse
from fastgpu_jupyter.core.placement import parkability
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
from fastgpu_jupyter.core.sizing.advice import advise
from fastgpu_jupyter.core.sizing.options import SizeReport
from fastgpu_jupyter.errors import Conflict, InvalidRequest, Message
from fastgpu_jupyter.units import GIB, MS_PER_HOUR
from tests.core.world import World, holder, spec, text

_LOST = Message.of_text("CANCELLED")


def _active(world: World, name: str = "far", keep_ms: int = 0) -> Lease:
    lease = world.on_cluster(name, keep_ms=keep_ms)
    world.do(c.ClusterJobSubmitted(name, world.job(name), "17"))
    world.granted(name)
    return lease


def test_request_for_an_engine_waits_outside_of_the_queue_and_asks_for_no_local_device() -> None:
    world = World()  # without any device
    lease = world.on_cluster("far", "2xh100")
    assert lease.state is LeaseState.WAITING
    assert (list(world.state.cluster_waiting), list(world.state.queue)) == (["far"], [])
    assert lease.cluster_job is not None
    assert lease.cluster_job.name == "fgpu-01234567-far-1"
    assert (world.state.contended_since_ms, world.state.recent_requests) == (None, [])
    assert list(fx.outstanding(world.state)) == [
        fx.WatchHolder("far", lease.holder),
        fx.SubmitJob("far", lease.cluster_job.name),
    ]


def test_allocation_makes_the_lease_active_at_once_and_takes_nothing_of_the_pool() -> None:
    world = World(spec("gpu"))
    lease = _active(world)
    gpu = lease.logical_gpu
    assert lease.state is LeaseState.ACTIVE
    assert gpu is not None
    assert (gpu.mechanism, gpu.device_ids, gpu.local_device_ids) == (Mechanism.CLUSTER, ("n1:gpu0",), ())
    assert (gpu.memory_bytes, gpu.whole, gpu.host_id) == (80 * GIB, True, "n1")
    assert world.state.tenants["ann"].held_milli == 0
    assert world.state.devices["gpu"].lease_ids == {}
    world.active("near")  # the whole device is free for it
    assert world.state.devices["gpu"].whole_lease_id == "near"


def test_bill_begins_with_the_allocation_and_ends_with_the_job_to_the_millisecond() -> None:
    world = World()
    lease = world.on_cluster("far")
    world.now_ms += 600_000  # the wait in the engine's queue costs nothing
    world.granted("far")
    world.pass_time(90_000)
    world.do(c.ClusterJobSubmitted("far", world.job("far"), "17"))  # the engine's answer came late
    world.now_ms += 1
    world.do(c.ClusterJobEnded("far", world.job("far"), _LOST))
    world.pass_time(90_000)
    assert (lease.state, lease.end_reason) == (LeaseState.ENDED, EndReason.ALLOCATION_LOST)
    assert meter.active_ms(lease, world.now_ms) == 90_001
    assert lease.cost_numerator == 90_001 * 3_600_000
    (segment,) = ledger.segments(world.history, world.at)
    assert (segment.duration_ms, segment.numerator) == (90_001, lease.cost_numerator)


@pytest.mark.parametrize(
    ("ended_at_ms", "billed_ms"),
    [(-40_000, 50_000), (0, 90_000), (None, 90_000), (3_600_000, 90_000), (-90_001, 0), (-(10**12), 0)],
)
@pytest.mark.parametrize("released", [False, True])
def test_bill_ends_when_the_job_did_whatever_the_clock_of_the_engine_says(
    ended_at_ms: int | None, billed_ms: int, released: bool
) -> None:
    """``ended_at_ms`` is how much later, by the engine's clock, than when the lease was over here."""
    world = World()
    world.do(c.SetBudget("ann", 10**9))
    lease = _active(world)
    world.pass_time(90_000)
    ended_ms = None if ended_at_ms is None else world.at.wall_ms + ended_at_ms
    world.do(c.RecordUse("far", MeasuredUse(known_ms=90_000)))
    if released:  # meanwhile, and it is not billed while the engine is silent
        world.do(c.ReleaseLease("far"))
        world.pass_time(600_000)
    world.do(c.ClusterJobEnded("far", world.job("far"), _LOST, ended_ms))
    world.pass_time(5_000)
    assert lease.state is LeaseState.ENDED
    assert meter.active_ms(lease, world.now_ms) == billed_ms
    assert lease.cost_numerator == billed_ms * 3_600_000
    assert sum(one.numerator for one in ledger.segments(world.history, world.at)) == lease.cost_numerator
    assert meter.spent_micro(world.state, "ann", world.at) == billed_ms
    (day,) = world.state.notebooks["ann"]["far.ipynb"].days.values()
    assert (day.active_ms, day.cost_numerator) == (billed_ms, billed_ms * 3_600_000)


def test_job_that_ended_in_a_month_that_is_over_is_billed_to_its_end() -> None:
    world = World()
    lease = _active(world)
    month = world.state.month
    world.wall_offset_ms += month.ends_wall_ms - world.at.wall_ms - 60_000
    world.do(c.ReportActivity("far", busy=True))
    begun_ms = world.now_ms
    world.pass_time(60_000)  # the month ends
    world.pass_time(600_000)
    world.do(c.ClusterJobEnded("far", world.job("far"), _LOST, world.at.wall_ms - 630_000))
    assert meter.active_ms(lease, world.now_ms) == begun_ms - 1000 + 60_000
    (before,) = ledger.statements(world.history, month, world.at)
    assert before.total_micro == meter.cost_micro(lease, world.now_ms)
    assert ledger.statements(world.history, calendar.after(month, 1), world.at) == []
    assert meter.spent_micro(world.state, "ann", world.at) == 0


@pytest.mark.parametrize(("ended_ms", "billed_ms"), [(0, 90_000), (-30_000, 60_000), (7_205_000, 95_000)])
def test_time_in_which_the_machine_was_down_does_not_move_the_end_of_a_job(ended_ms: int, billed_ms: int) -> None:
    """``ended_ms`` is when it did after the machine had gone down, by the wall clock; it came up after two hours."""
    world = World()
    lease = _active(world, keep_ms=3_600_000)
    world.pass_time(90_000)
    world.wall_offset_ms += 7_200_000  # its clock that bills stood still, the wall clock did not
    world.do(c.StartPool("boot-2", 5))
    world.pass_time(10_000)
    world.do(c.ClusterJobEnded("far", world.job("far"), _LOST, world.at.wall_ms - 7_210_000 + ended_ms))
    assert meter.active_ms(lease, world.now_ms) == billed_ms


def test_statement_says_what_ran_until_the_job_ended() -> None:
    world = World()
    _active(world)
    for busy, for_ms in ((False, 10_000), (True, 50_000), (False, 5_000), (None, 1_000)):
        if busy is not None:
            world.do(c.ReportActivity("far", busy=busy))
        world.now_ms += for_ms
    world.do(c.ClusterJobEnded("far", world.job("far"), _LOST, world.at.wall_ms - 36_000))  # 30 s of the cell had run
    (segment,) = ledger.segments(world.history, world.at)
    assert (segment.duration_ms, segment.idle_ms, segment.busy_ms) == (30_000, 10_000, 20_000)


def test_released_lease_drains_until_the_engine_says_that_the_job_is_over() -> None:
    world = World()
    lease = _active(world)
    events = world.do(c.ReleaseLease("far"))
    assert lease.state is LeaseState.DRAINING
    assert list(fx.effects(world.state, events)) == [fx.CancelJob("far", world.job("far"), "17")]
    assert fx.CancelJob("far", world.job("far"), "17") in list(fx.outstanding(world.state))
    world.pass_time(3_600_000)  # time alone ends nothing
    assert world.state_of("far") is LeaseState.DRAINING
    world.do(c.ClusterJobEnded("far", world.job("far"), _LOST))
    assert (world.state_of("far"), lease.end_reason) == (LeaseState.ENDED, EndReason.RELEASED)


def test_cancelled_request_ends_at_once_and_its_job_is_cancelled_even_if_the_engine_has_not_answered() -> None:
    world = World()
    lease = world.on_cluster("far")
    events = world.do(c.ReleaseLease("far"))
    assert (lease.state, lease.end_reason) == (LeaseState.ENDED, EndReason.CANCELLED)
    assert fx.CancelJob("far", "fgpu-01234567-far-1", None) in list(fx.effects(world.state, events))
    assert world.do(c.ClusterJobSubmitted("far", world.job("far"), "17")) == []  # who submitted it cancels it
    world.granted("far")
    assert world.state_of("far") is LeaseState.ENDED


def test_refused_job_ends_the_request_with_the_reason_and_cancels_a_job_that_is_there() -> None:
    world = World()
    reason = Message.of_text("The time limit is longer than the partition allows.")
    for name, submitted in (("refused", False), ("infeasible", True)):
        lease = world.on_cluster(name)
        if submitted:
            world.do(c.ClusterJobSubmitted(name, world.job(name), "18"))
        events = world.do(c.ClusterJobRefused(name, world.job(name), reason))
        assert (lease.end_reason, lease.end_detail) == (EndReason.CLUSTER_REFUSED, reason)
        cancelled = [one for one in fx.effects(world.state, events) if isinstance(one, fx.CancelJob)]
        assert cancelled == ([fx.CancelJob(name, world.job(name), "18")] if submitted else [])


def test_report_about_another_attempt_or_repeated_changes_nothing() -> None:
    world = World()
    lease = _active(world)
    version = lease.version
    other = "fgpu-01234567-far-2"
    allocation = ClusterAllocation("n2", (), 1000, Enforcement.HARDWARE)
    for command in (
        c.ClusterJobSubmitted("far", other, "99"),
        c.ClusterJobRefused("far", other, _LOST),
        c.ClusterGranted("far", other, allocation),
        c.ClusterTimeSet("far", other, 1),
        c.ClusterJobEnded("far", other, _LOST),
        c.ClusterJobSubmitted("far", world.job("far"), "17"),
        c.ClusterGranted("far", world.job("far"), allocation),
        c.ClusterJobRefused("far", world.job("far"), _LOST),
        c.ClusterTimeSet("far", world.job("far"), None),
        c.ClusterJobEnded("unknown", other, _LOST),
    ):
        assert world.do(command) == []
    assert lease.version == version
    with pytest.raises(Conflict) as refused:
        world.do(c.ClusterJobSubmitted("far", world.job("far"), "18"))
    assert refused.value.message.code == "cluster.second_job"


def test_allocation_without_a_device_or_without_money_is_not_granted() -> None:
    world = World()
    lease = world.on_cluster("empty")
    world.do(c.ClusterGranted("empty", world.job("empty"), ClusterAllocation("n1", (), 0, Enforcement.NONE)))
    assert (lease.end_reason, lease.end_detail) == (
        EndReason.CLUSTER_REFUSED,
        Message.of("cluster.no_devices", host="n1"),
    )
    late = world.on_cluster("late")
    _active(world)
    world.do(c.SetBudget("ann", 1_000_000, BudgetPolicy.STOP))
    world.pass_time(MS_PER_HOUR)
    world.granted("late")
    assert (late.state, text(late.end_detail)) == (LeaseState.ENDED, text(Message.of("cluster.budget_spent")))
    with pytest.raises(Conflict) as refused:
        world.on_cluster("more")
    assert refused.value.message.code == "cluster.budget_spent"


def test_unknown_memory_of_an_allocation_is_shown_as_unknown() -> None:
    world = World()
    lease = world.on_cluster("far")
    device = ("n1:gpu0", "h100", None, 1)
    world.do(
        c.ClusterGranted(
            "far",
            world.job("far"),
            ClusterAllocation("n1", (ClusterDevice(*device),), 1000, Enforcement.HARDWARE),
        )
    )
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.memory_bytes == 0


def test_time_limit_of_the_engine_is_recorded() -> None:
    world = World()
    lease = _active(world)
    assert world.do(c.ClusterTimeSet("far", world.job("far"), 5)) == [e.LeaseTimeLimitSet("far", 5)]
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.cluster is not None
    assert lease.logical_gpu.cluster.ends_at_ms == 5


# -- holders ----------------------------------------------------------------------------------------------------------


def test_lease_is_kept_without_its_server_and_ends_when_no_other_takes_it_in_time() -> None:
    world = World()
    lease = _active(world, keep_ms=60_000)
    server = lease.holder
    world.do(c.ReportActivity("far", busy=True))
    world.do(c.HolderEnded("far", server))
    assert world.do(c.HolderEnded("far", server)) == []  # as a pool reports that starts meanwhile
    world.pass_time(59_999)
    assert world.state_of("far") is LeaseState.ACTIVE
    world.do(c.BindHolder("far", holder(900)))
    assert (lease.orphaned_since_ms, lease.busy) == (None, True)
    world.pass_time(60_000)
    assert world.state_of("far") is LeaseState.ACTIVE
    world.do(c.HolderEnded("far", holder(900)))
    world.pass_time(60_000)
    assert (world.state_of("far"), lease.end_reason) == (LeaseState.DRAINING, EndReason.HOLDER_DIED)
    assert world.state.orphaned == {}
    assert meter.active_ms(lease, world.now_ms) == 179_999


def test_lease_without_keep_and_a_waiting_one_end_with_their_server() -> None:
    world = World()
    waiting = world.on_cluster("waits", keep_ms=60_000)
    active = _active(world)
    for lease in (waiting, active):
        world.do(c.HolderEnded(lease.id, lease.holder))
    assert (waiting.state, active.state) == (LeaseState.ENDED, LeaseState.DRAINING)


def test_restart_of_this_machine_ends_only_leases_that_are_not_kept() -> None:
    world = World(spec("gpu"))
    kept, waiting = _active(world, "kept", keep_ms=60_000), world.on_cluster("waits", keep_ms=60_000)
    ends, near = world.on_cluster("ends"), world.active("near")
    world.granted("ends")
    world.do(c.StartPool("boot-2", 5))
    states = [lease.state for lease in (kept, waiting, ends, near)]
    assert states == [LeaseState.ACTIVE, LeaseState.ENDED, LeaseState.DRAINING, LeaseState.DRAINING]
    assert kept.orphaned_since_ms == world.now_ms


# -- what does not exist on an engine ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (c.ResizeLease("far", "half"), "cluster.cannot_resize"),
        (c.MigrateLease("far"), "cluster.cannot_migrate"),
        (c.ParkLease("far"), "parking.refused"),
    ],
)
def test_command_that_an_engine_cannot_serve_is_refused_with_the_reason(command: c.Command, code: str) -> None:
    world = World(spec("gpu", parkable=True))
    lease = _active(world)
    with pytest.raises(Conflict) as refused:
        world.do(command)
    assert refused.value.message.code == code
    assert parkability.obstacle(world.state, lease) == Message.of("cluster.cannot_park")


@pytest.mark.parametrize("devices", [(), (spec("gpu"),)])
def test_sizes_and_advice_of_a_lease_are_answered_in_each_state(devices: tuple[DeviceSpec, ...]) -> None:
    world = World(*devices)
    lease = world.on_cluster("far")
    report = SizeReport(world.state, QueueReport(world.state), world.pool)
    for step in ("waits", "is active", "drains"):
        if step == "is active":
            world.granted("far")
        elif step == "drains":
            world.do(c.ReleaseLease("far"))
        choices = report.for_lease(lease, SizeUnit.SHARE, None, world.at).choices
        assert {one.reason.code for one in choices if one.reason} == {"cluster.cannot_resize"}
        assert advise(world.state, lease, None, choices)[0] is None


def test_pin_rename_transfer_and_reservations_work_beside_local_leases() -> None:
    world = World(spec("gpu", parkable=True))
    lease = _active(world)
    world.do(c.ReserveCapacity("r", "ann", 1000, None, Plan.MONTH, 50))
    world.active("near")
    covered = world.state.leases["near"].covered_milli
    assert (lease.covered_milli, lease.billed_micro_per_hour, covered) == (0, 3_600_000, 1000)
    world.do(c.SetRetention("far", Retention.HOLD))
    world.do(c.RenameLease("far", "other.ipynb"))
    world.do(c.TransferLease("far", "bob"))
    waiting = world.on_cluster("waits")
    world.do(c.TransferLease("waits", "bob"))
    assert waiting.tenant == "bob"
    world.pass_time(60_000)
    assert world.state.tenants["bob"].leases == 2
    total = sum(one.numerator for one in ledger.segments(world.history, world.at) if one.lease_id == "far")
    assert total == meter.cost_numerator(lease, world.now_ms)


def test_expiry_of_a_request_applies_to_an_engine_too() -> None:
    world = World()
    lease = world.on_cluster("far", wait_ms_max=1000)
    world.pass_time(1000)
    assert (lease.state, lease.end_reason) == (LeaseState.ENDED, EndReason.EXPIRED)
    assert world.state.expiring == {}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ClusterRequest(partition="gpu\n#SBATCH --uid=0"),
        lambda: ClusterRequest(constraint="a b"),
        lambda: ClusterRequest(account="x" * 257),
        lambda: ClusterRequest(qos="µ"),
        lambda: ClusterRequest(time_limit_ms=0),
    ],
)
def test_request_in_other_than_single_words_is_refused(wrong: Callable[[], ClusterRequest]) -> None:
    with pytest.raises(InvalidRequest):
        World().on_cluster("far", cluster=wrong())
