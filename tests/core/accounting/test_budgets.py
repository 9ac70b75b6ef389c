"""Budgets: warnings once, and at the limit what was agreed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastgpu_jupyter.core.accounting import budgets, calendar, meter
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import BudgetPolicy, Mechanism, ParkReason, PendingReason, Plan, Policy
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import Conflict, InvalidRequest
from fastgpu_jupyter.units import MS_PER_HOUR
from tests.core.world import World, spec, text
from tests.refusals import refused

HOUR_MICRO = 3_600_000  # what a device costs in an hour
MINUTE_MS = 60_000


def warned(world: World) -> list[int]:
    events = [event for _, events in world.history for event in events]
    return [
        event.percent for event in events if isinstance(event, e.BudgetThresholdPassed | e.LeaseBudgetThresholdPassed)
    ]


def budget(world: World, policy: BudgetPolicy, micro: int | None = HOUR_MICRO) -> None:
    world.do(c.SetBudget("ann", micro, policy))


@pytest.mark.parametrize(
    ("amount", "limit", "percent"),
    [(0, None, 0), (10**9, None, 0), (49, 100, 0), (50, 100, 50), (79, 100, 50), (80, 100, 80), (99, 100, 80),
     (100, 100, 100), (10**9, 100, 100), (0, 0, 100)],
)  # fmt: skip
def test_thresholds(amount: int, limit: int | None, percent: int) -> None:
    assert budgets.threshold(amount, limit) == percent


def test_budget_threshold_is_reported_once_a_month() -> None:
    world = World(spec("gpu"))
    budget(world, BudgetPolicy.WARN)
    lease = world.active("a")
    for _ in range(90):
        world.pass_time(MINUTE_MS)
    assert warned(world) == [50, 80, 100]
    assert lease.state is LeaseState.ACTIVE
    world.pass_time(31 * 24 * MS_PER_HOUR)  # the month turns
    world.pass_time(5000)
    assert warned(world) == [50, 80, 100, 100]
    assert world.state.tenants["ann"].budget_percent == 100


def test_with_warn_all_goes_on() -> None:
    world = World(spec("gpu-0"), spec("gpu-1", index=1))
    budget(world, BudgetPolicy.WARN, 1)
    world.active("a")
    world.pass_time(MS_PER_HOUR)
    assert world.ask("b").state is LeaseState.PREPARING
    assert (
        text(budgets.message(world.state, world.state.leases["a"]))
        == "ann has spent 100 % of this month's budget. Leases go on."
    )


def test_with_stop_nothing_more_is_granted_until_the_month_turns_or_the_budget_does() -> None:
    world = World(spec("gpu-0"), spec("gpu-1", index=1), spec("gpu-2", index=2))
    budget(world, BudgetPolicy.STOP)
    lease = world.active("a")
    world.now_ms += MS_PER_HOUR  # exactly: a grant looks at the sum, not at what the last tick saw
    waits = world.ask("b")
    assert lease.state is LeaseState.ACTIVE
    assert {one.id: reason for one, _, reason in queue_report.positions(world.state)} == {"b": PendingReason.BUDGET}
    assert world.ask("c", tenant="bob").state is LeaseState.PREPARING
    budget(world, BudgetPolicy.STOP, 2 * HOUR_MICRO)
    assert waits.state is LeaseState.PREPARING
    world.pass_time(MS_PER_HOUR)
    world.do(c.ReleaseLease("a"))
    world.drained("a")
    again = world.ask("d")
    assert again.state is LeaseState.WAITING
    world.now_ms += 31 * 24 * MS_PER_HOUR
    world.do(c.Tick())
    assert world.state_of(again.id) is LeaseState.PREPARING


def test_budget_with_policy_park_parks_leases_and_reports_those_that_cannot() -> None:
    world = World(spec("gpu-0", parkable=True), spec("gpu-1", index=1))
    budget(world, BudgetPolicy.PARK)
    can, cannot = world.active("can"), world.active("cannot")
    world.do(c.ReportActivity("can", busy=True))
    world.pass_time(MS_PER_HOUR)
    assert (can.state, can.park_reason) == (LeaseState.PARKING, ParkReason.BUDGET)
    assert cannot.state is LeaseState.ACTIVE
    assert "this lease goes on: The memory of this device cannot be moved" in text(budgets.message(world.state, cannot))
    world.parked("can")
    assert can.state is LeaseState.WAITING  # its cell runs: it is back as soon as it may be
    assert {one.id: reason for one, _, reason in queue_report.positions(world.state)} == {"can": PendingReason.BUDGET}
    budget(world, BudgetPolicy.PARK, None)
    world.resumed("can")
    assert world.state_of("can") is LeaseState.ACTIVE


def test_a_simulated_device_takes_no_host_memory_when_a_budget_is_spent() -> None:
    world = World(replace(spec("gpu", parkable=True), simulated=True, mechanisms=(Mechanism.SIMULATED,)))
    world.do(c.SetPolicy(Policy(parked_bytes_max=1)))  # a laptop has less than the device pretends to have
    budget(world, BudgetPolicy.PARK)
    lease = world.active("a")
    world.pass_time(MS_PER_HOUR)
    assert lease.state is LeaseState.PARKING


def test_what_a_reservation_pays_is_not_parked_for_the_money_that_it_costs() -> None:
    world = World(spec("gpu", parkable=True))
    world.do(c.ReserveCapacity("r", "ann", 1000, None, Plan.MONTH, 20))
    budget(world, BudgetPolicy.PARK, 1000)
    lease = world.active("a")
    world.pass_time(MS_PER_HOUR)
    assert warned(world) == [100]
    assert lease.state is LeaseState.ACTIVE
    world.do(c.CancelReservation("r"))
    world.pass_time(5000)
    assert world.state_of(lease.id) is LeaseState.PARKING


def test_budget_without_a_policy_keeps_the_one_that_was_set() -> None:
    world = World(spec("gpu"))
    world.do(c.SetBudget("ann", HOUR_MICRO))
    policies = [world.state.tenants["ann"].budget_policy]
    budget(world, BudgetPolicy.STOP)
    world.do(c.SetBudget("ann", 2 * HOUR_MICRO))
    policies.append(world.state.tenants["ann"].budget_policy)
    assert policies == [BudgetPolicy.WARN, BudgetPolicy.STOP]


def test_a_raised_budget_tells_nothing_twice_and_a_lowered_one_what_it_means() -> None:
    world = World(spec("gpu"))
    budget(world, BudgetPolicy.WARN)
    world.active("a")
    world.pass_time(50 * MINUTE_MS)
    assert warned(world) == [80]
    budget(world, BudgetPolicy.WARN, HOUR_MICRO * 5 // 4)
    world.pass_time(5000)
    assert warned(world) == [80]
    budget(world, BudgetPolicy.WARN, HOUR_MICRO // 2)
    world.pass_time(5000)
    assert warned(world) == [80, 100]
    assert budgets.set_budget(world.state, c.SetBudget("ann", HOUR_MICRO // 2), world.at) == []


def test_a_lease_with_a_budget_is_parked_at_it_and_comes_back_with_a_higher_one() -> None:
    world = World(spec("gpu", parkable=True))
    lease = world.active("a", budget_micro=HOUR_MICRO)
    world.do(c.ReportActivity("a", busy=True))
    world.pass_time(30 * MINUTE_MS)
    assert "50 %" in text(budgets.message(world.state, lease))
    world.pass_time(30 * MINUTE_MS)
    world.parked("a")
    assert lease.state is LeaseState.PARKED  # although its cell runs: it would hold up others of its tenant
    assert "budget is spent" in text(budgets.message(world.state, lease))
    with refused(Conflict, match="budget is spent"):
        world.do(c.ResumeLease("a"))
    world.do(c.ReportActivity("a", busy=False))
    world.do(c.ReportActivity("a", busy=True))
    assert lease.state is LeaseState.PARKED
    with refused(InvalidRequest, match="more than the lease has cost"):
        world.do(c.SetLeaseBudget("a", HOUR_MICRO))
    world.do(c.SetLeaseBudget("a", 2 * HOUR_MICRO))
    world.resumed("a")
    assert meter.cost_micro(lease, world.now_ms) == HOUR_MICRO
    assert warned(world) == [50, 100]


def test_a_lease_that_cannot_be_parked_goes_on_and_says_so() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", budget_micro=1)
    world.pass_time(MS_PER_HOUR)
    assert lease.state is LeaseState.ACTIVE
    assert warned(world) == [100]
    assert "it goes on: The memory of this device" in text(budgets.message(world.state, lease))


def test_nothing_is_parked_where_parked_leases_may_take_no_more_host_memory() -> None:
    world = World(spec("gpu-0", parkable=True), spec("gpu-1", index=1, parkable=True))
    world.do(c.SetPolicy(Policy(parked_bytes_max=1000)))
    budget(world, BudgetPolicy.PARK, 1)
    world.now_ms += 1
    first, second = world.ask("a"), world.ask("b")
    world.prepared("a")
    world.do(c.ParkLease("a"))
    world.parked("a", 1000)
    world.prepared("b")
    world.pass_time(1000)
    assert [first.state, second.state] == [LeaseState.PARKED, LeaseState.ACTIVE]


@pytest.mark.parametrize("micro", [-1, -(10**9)])
def test_a_budget_is_not_negative(micro: int) -> None:
    world = World(spec("gpu"))
    with pytest.raises(InvalidRequest):
        budget(world, BudgetPolicy.WARN, micro)


def test_a_lease_without_money_is_refused() -> None:
    with refused(InvalidRequest, match="budget of 0"):
        World(spec("gpu")).ask("a", budget_micro=0)


def test_spending_is_read_without_an_event_past_the_end_of_a_month() -> None:
    world = World(spec("gpu"))
    world.active("a")
    ends_ms = world.state.month.ends_wall_ms - world.wall_offset_ms
    world.now_ms = ends_ms + 1000
    assert meter.spent_micro(world.state, "ann", world.at) == 1000
    assert calendar.text(world.state.month) == "2001-09"
