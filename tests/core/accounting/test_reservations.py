"""Reserved capacity: held for its tenant, borrowed by leases that can be parked, paid for its whole time."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.accounting import calendar, ledger, meter
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import BudgetPolicy, PendingReason, Plan, Policy, Retention
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import Conflict, InvalidRequest, NoSuchDevice, NotFound
from fastgpu_jupyter.units import GIB, MS_PER_HOUR
from tests.core.world import World, spec
from tests.refusals import refused

DAY_MS = 86_400_000


def reserve(world: World, tenant: str = "ann", milli: int = 1000, model: str | None = None, **more: object) -> None:
    plan, start = more.get("plan", Plan.MONTH), more.get("start")
    name = str(more.get("name", f"of-{tenant}"))
    world.do(c.ReserveCapacity(name, tenant, milli, model, plan, 20, start))  # type: ignore[arg-type]


def reasons(world: World) -> dict[str, PendingReason]:
    return {lease.id: reason for lease, _, reason in queue_report.positions(world.state)}


# -- money ------------------------------------------------------------------------------------------------------------


def test_the_price_is_that_of_the_term_at_its_discount_whether_it_is_used_or_not() -> None:
    world = World(spec("gpu"))
    began = world.at
    reserve(world)
    one = world.state.reservations["of-ann"]
    assert one.rate_micro_per_hour == 3_600_000 * 80 // 100
    assert one.end_wall_ms == calendar.months_later(began.wall_ms, 1)
    world.pass_time(60 * DAY_MS)
    assert world.state.reservations["of-ann"].ended
    total = 0
    for more in range(3):
        month = calendar.after(calendar.month_at(began.wall_ms), more)
        for statement in ledger.statements(world.history, month, world.at):
            total += statement.total_micro
            (line,) = statement.lines
            assert (statement.active_ms, line.amount_micro) == (0, statement.total_micro)
    assert total == one.rate_micro_per_hour * 30 * 24  # September has 30 days: the same day of October


def test_what_is_used_within_it_costs_nothing_more() -> None:
    world = World(spec("gpu-0"), spec("gpu-1", index=1))
    reserve(world, milli=1500)
    first, second = world.active("first"), world.active("second")
    world.pass_time(MS_PER_HOUR)
    assert meter.cost_micro(first, world.now_ms) == 0
    assert meter.cost_micro(second, world.now_ms) == 1_800_000  # half of it is covered
    world.do(c.ReleaseLease("first"))  # from here the second is within the reservation
    world.pass_time(MS_PER_HOUR)
    assert meter.cost_micro(second, world.now_ms) == 1_800_000
    world.do(c.CancelReservation("of-ann"))
    world.pass_time(MS_PER_HOUR)
    assert meter.cost_micro(second, world.now_ms) == 1_800_000 + 3_600_000
    (statement,) = ledger.statements(world.history, world.state.month, world.at)
    reserved = 2 * 3_600_000 * 15 // 10 * 80 // 100
    assert statement.total_micro == meter.spent_micro(world.state, "ann", world.at) == 5_400_000 + reserved


def test_a_reservation_covers_devices_of_its_kind_only() -> None:
    world = World(spec("gpu-0"), spec("gpu-1", index=1, model="L4"))
    reserve(world, model="l4")
    lease = world.active("a", "a100")
    world.pass_time(MS_PER_HOUR)
    assert meter.cost_micro(lease, world.now_ms) == 3_600_000


def test_one_that_begins_later_is_not_paid_for_before_it_holds() -> None:
    world = World(spec("gpu"))
    reserve(world, start=world.at.wall_ms + DAY_MS)
    lease = world.active("a")
    world.pass_time(DAY_MS - 1)
    assert world.state.tenants["ann"].reserved_milli == 0
    world.pass_time(5001)
    assert world.state.tenants["ann"].reserved_milli == 1000
    cost_micro = meter.cost_micro(lease, world.now_ms)
    world.pass_time(1000)
    assert meter.cost_micro(lease, world.now_ms) == cost_micro
    charged = meter.charge(world.state.reservations["of-ann"], 0, world.at.wall_ms)
    assert charged == 1000 * 3_600_000 * 80 // 100


# -- who may make one -------------------------------------------------------------------------------------------------


def test_no_more_is_reserved_than_there_is() -> None:
    world = World(spec("gpu-0"), spec("gpu-1", index=1, model="L4"))
    reserve(world, "ann", 1000, "a100")
    for tenant, milli, model in (("bob", 1, "a100"), ("bob", 1001, None), ("bob", 1000, "h100")):
        with refused(NoSuchDevice, match="Nothing was reserved"):
            reserve(world, tenant, milli, model)
    reserve(world, "bob", 1000)
    later = world.at.wall_ms + 40 * DAY_MS  # the others are over by then
    reserve(world, "eve", 2000, start=later)


@pytest.mark.parametrize(
    ("milli", "model", "discount", "start"),
    [(0, None, 20, None), (1000, "half", 20, None), (1000, "2xa100", 20, None), (1000, "?", 20, None),
     (1000, None, 101, None), (1000, None, 20, 0), (1000, None, 20, 10**15)],
)  # fmt: skip
def test_what_is_no_reservation_is_refused(milli: int, model: str | None, discount: int, start: int | None) -> None:
    world = World(spec("gpu"))
    with pytest.raises(InvalidRequest):
        world.do(c.ReserveCapacity("r", "ann", milli, model, Plan.YEAR, discount, start))
    assert world.state.reservations == {}


def test_one_is_cancelled_once_and_one_that_is_not_there_never() -> None:
    world = World(spec("gpu"))
    reserve(world)
    assert world.do(c.CancelReservation("of-ann"))
    assert world.do(c.CancelReservation("of-ann")) == []
    with pytest.raises(NotFound):
        world.do(c.CancelReservation("another"))


# -- who gets it ------------------------------------------------------------------------------------------------------


def test_what_is_not_used_is_borrowed_to_who_can_be_parked_and_had_back_at_once() -> None:
    world = World(spec("gpu", parkable=True))
    world.do(c.SetPolicy(Policy(idle_ms=None)))
    reserve(world)
    borrowed = world.active("borrowed", tenant="bob")
    world.do(c.ReportActivity("borrowed", busy=True))  # it computes, and leaves all the same
    mine = world.ask("mine")
    assert borrowed.state is LeaseState.PARKING
    world.parked("borrowed")
    assert mine.state is LeaseState.PREPARING


def test_what_is_not_used_is_not_given_to_who_would_keep_it() -> None:
    world = World(spec("gpu-0", parkable=True), spec("gpu-1", index=1, parkable=True))
    reserve(world)
    world.active("one", tenant="bob", retention=Retention.HOLD)
    waits = world.ask("two", tenant="bob", retention=Retention.HOLD)
    assert waits.state is LeaseState.WAITING
    assert reasons(world) == {"two": PendingReason.RESERVED}
    assert world.ask("mine").state is LeaseState.PREPARING  # passes a request that cannot be served
    world.do(c.CancelReservation("of-ann"))
    world.do(c.ReleaseLease("mine"))
    world.drained("mine")
    assert world.state_of(waits.id) is LeaseState.PREPARING


def test_one_that_would_keep_it_does_not_hold_up_its_tenant() -> None:
    world = World(spec("gpu", parkable=True))
    reserve(world)
    world.ask("keeps", tenant="bob", retention=Retention.HOLD)
    assert world.ask("borrowed", tenant="bob").state is LeaseState.PREPARING
    assert reasons(world) == {"keeps": PendingReason.RESERVED}


def test_reserved_capacity_parks_no_lease_for_a_tenant_without_right_to_it() -> None:
    world = World(spec("gpu", parkable=True))
    reserve(world)
    borrowed = world.active("borrowed", tenant="bob")
    world.ask("keeps", tenant="eve", retention=Retention.HOLD)
    world.pass_time(60_000)  # the one that is there is idle
    assert borrowed.state is LeaseState.ACTIVE


def test_reserved_devices_that_cannot_park_are_not_borrowed() -> None:
    world = World(spec("gpu"))
    reserve(world)
    assert world.ask("a", tenant="bob").state is LeaseState.WAITING
    assert world.ask("b", tenant="ann").state is LeaseState.PREPARING


def test_what_is_borrowed_cannot_be_pinned() -> None:
    world = World(spec("gpu", parkable=True))
    reserve(world)
    lease = world.active("borrowed", "half", tenant="bob")
    with refused(Conflict, match="reserved"):
        world.do(c.SetRetention("borrowed", Retention.HOLD))
    assert lease.request.retention is Retention.YIELD
    world.do(c.CancelReservation("of-ann"))
    world.do(c.SetRetention("borrowed", Retention.HOLD))
    reserve(world, "ann", 500, name="part")
    with refused(Conflict, match="reserved"):
        world.do(c.ResizeLease("borrowed", "full"))


def test_one_that_waits_may_change_its_mind() -> None:
    world = World(spec("gpu", parkable=True))
    reserve(world)
    lease = world.ask("a", tenant="bob", retention=Retention.HOLD)
    world.do(c.SetRetention("a", Retention.YIELD))
    assert lease.state is LeaseState.PREPARING


def test_each_may_use_its_own_when_there_is_not_enough_for_all_any_more() -> None:
    specs = spec("gpu-0"), spec("gpu-1", index=1)
    world = World(*specs)
    reserve(world, "ann")
    reserve(world, "bob")
    world.do(c.SetDevices(specs[:1]))
    assert world.ask("nobodys", tenant="eve").state is LeaseState.WAITING
    assert world.ask("anns", tenant="ann").state is LeaseState.PREPARING


def test_a_reservation_takes_nothing_from_devices_of_another_kind() -> None:
    world = World(spec("gpu-0", parkable=True), spec("gpu-1", index=1, parkable=True, model="L4"))
    world.do(c.SetPolicy(Policy(idle_ms=None)))
    reserve(world, "ann", model="a100")
    borrowed = [world.active("borrowed", "a100", tenant="bob"), world.active("other", "l4", tenant="bob")]
    world.ask("wants", "l4")
    assert [lease.state for lease in borrowed] == [LeaseState.ACTIVE, LeaseState.ACTIVE]
    world.do(c.ReleaseLease("wants"))
    world.ask("mine", "a100")
    assert [lease.state for lease in borrowed] == [LeaseState.PARKING, LeaseState.ACTIVE]


@pytest.mark.parametrize("reserved", [1, 6])
def test_a_device_that_reservations_leave_is_granted_where_they_forbid_the_ones_that_fit_best(reserved: int) -> None:
    small = [spec(f"small-{index}", 24 * GIB, index=index, model="L4") for index in range(reserved)]
    world = World(*small, spec("large", index=reserved))
    reserve(world, milli=1000 * reserved, model="l4")
    lease = world.ask("other", "any>=20GiB", tenant="bob", retention=Retention.HOLD)
    assert lease.state is LeaseState.PREPARING
    assert list(world.state.devices["large"].lease_ids) == ["other"]


def test_a_lease_that_goes_beyond_what_is_reserved_is_beyond_it() -> None:
    world = World(spec("gpu-0"), spec("gpu-1", index=1))
    reserve(world, "ann", 500)
    reserve(world, "bob", 1500)
    assert world.ask("half", "half").state is LeaseState.PREPARING
    assert world.ask("more", "quarter").state is LeaseState.WAITING
    assert reasons(world) == {"more": PendingReason.RESERVED}


def test_who_cannot_have_it_keeps_no_device_from_others() -> None:
    world = World(spec("gpu-0", parkable=True), spec("gpu-1", index=1, parkable=True))
    world.do(c.SetPolicy(Policy(idle_ms=None)))
    reserve(world, "ann", 2000)
    world.active("one", tenant="bob")
    world.active("two", tenant="bob")
    world.ask("keeps", tenant="eve", retention=Retention.HOLD)
    world.ask("borrowed", tenant="ida")
    world.do(c.ReleaseLease("one"))
    world.drained("one")
    assert world.states()["borrowed"] == "preparing"
    assert reasons(world) == {"keeps": PendingReason.RESERVED}


def test_who_has_no_money_left_keeps_no_device_from_others() -> None:
    world = World(spec("gpu-0"))
    world.do(c.SetBudget("eve", 0, BudgetPolicy.STOP))
    world.active("one", tenant="bob")
    world.ask("poor", tenant="eve")
    world.ask("rich", tenant="ida")
    world.do(c.ReleaseLease("one"))
    world.drained("one")
    assert world.states() == {"one": "ended", "poor": "waiting", "rich": "preparing"}
