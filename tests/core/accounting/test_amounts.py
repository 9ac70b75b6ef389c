"""What is metered as it goes and what is read from events afterwards is the same money, whatever happens."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.core.accounting import calendar, ledger, meter, reservation_coverage
from fastgpu_jupyter.core.accounting.reservation_coverage import DeviceModel, Usage
from fastgpu_jupyter.core.accounting.segment import Segment
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    Instant,
    Lease,
    LeaseRequest,
    Month,
    Plan,
    Reservation,
    Retention,
)
from fastgpu_jupyter.core.model.events import Ticked
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import CallerError, Message
from fastgpu_jupyter.units import MS_PER_HOUR
from tests.core.world import World, holder, spec

NO = Message.of_text("no")

DAY_MS = 86_400_000
TENANTS = ("ann", "bob", "eve")


class Story:
    """A pool to which anything may happen, with what matters for money likely."""

    def __init__(self, seed: int, *, steady: bool = False) -> None:
        self.drawn = random.Random(seed)
        self.steady = steady
        self.world = World(
            spec("a", index=0, parkable=True),
            spec("b", index=1, parkable=True),
            spec("c", index=2),
            spec("d", index=3, parkable=True, model="L4"),
        )
        self.happened: Counter[str] = Counter()
        self.number = 0

    def step(self) -> None:
        drawn, world = self.drawn, self.world
        world.now_ms += drawn.choice([0, 1, 999, 60_000, 3_600_000, DAY_MS])
        if drawn.random() < 0.01 and not self.steady:
            world.wall_offset_ms += drawn.randrange(-20 * DAY_MS, 20 * DAY_MS)
        self.number += 1
        try:
            events = world.pool.execute(self._anything(), world.at)
        except CallerError:
            return
        world.history.append((world.at, events))
        self.happened.update(type(event).__name__ for event in events)
        self.happened["covered in part"] += any(
            lease.covered_milli and lease.billed_micro_per_hour for lease in world.state.leases.values()
        )

    def _anything(self) -> c.Command:
        drawn, leases = self.drawn, list(self.world.state.leases.values())
        live = [lease for lease in leases if lease.state is not LeaseState.ENDED]
        if not live or (len(live) < 8 and drawn.random() < 0.3):
            return self._request()
        if drawn.random() < 0.3:
            return self._about_money(drawn.choice(live))
        return self._next(drawn.choice(live))

    def _request(self) -> c.Command:
        drawn = self.drawn
        request = LeaseRequest(
            drawn.choice(["full", "half", "quarter", "a100:1/3", "l4", "2xa100"]),
            None,
            None,
            None,
            retention=drawn.choice(list(Retention)),
            budget_micro=drawn.choice([None, None, 10**7]),
        )
        name = f"lease-{self.number}"
        return c.RequestLease(name, drawn.choice(TENANTS), request, holder(self.number), "0" * 64)

    def _about_money(self, lease: Lease) -> c.Command:
        drawn, tenant = self.drawn, self.drawn.choice(TENANTS)
        reservations = list(self.world.state.reservations) or ["none"]
        start = drawn.choice([None, None, self.world.at.wall_ms + drawn.randrange(10 * DAY_MS)])
        commands: list[c.Command] = [
            c.Tick(),
            c.Tick(),
            c.SetBudget(tenant, drawn.choice([None, 10**7, 10**9]), drawn.choice(list(BudgetPolicy))),
            c.SetLeaseBudget(lease.id, drawn.choice([None, 10**7, 10**9])),
            c.CancelReservation(drawn.choice(reservations)),
        ]
        if drawn.random() < 0.3:
            model, milli = drawn.choice([None, "a100", "l4"]), drawn.choice([250, 500, 1000, 1300])
            name = f"reservation-{self.number}"
            return c.ReserveCapacity(name, tenant, milli, model, drawn.choice(list(Plan)), 30, start)
        return drawn.choice(commands)

    def _next(self, lease: Lease) -> c.Command:
        """What usually comes next for the lease, or something else that may."""
        drawn, generation = self.drawn, lease.logical_gpu.generation if lease.logical_gpu else 0
        well = drawn.random() < 0.9
        match lease.state:
            case LeaseState.PREPARING:
                return c.PrepareSucceeded(lease.id, generation) if well else c.PrepareFailed(lease.id, generation, NO)
            case LeaseState.PARKING:
                return c.ParkSucceeded(lease.id, generation, 1) if well else c.ParkFailed(lease.id, generation, NO)
            case LeaseState.RESUMING:
                return c.ResumeSucceeded(lease.id, generation) if well else c.ResumeFailed(lease.id, generation, NO)
            case LeaseState.DRAINING:
                return c.DrainSucceeded(lease.id, generation)
            case LeaseState.PARKED if well:
                return c.ReportActivity(lease.id, busy=True)
        commands: list[c.Command] = [
            c.ReleaseLease(lease.id),
            c.ReportActivity(lease.id, drawn.random() < 0.5),
            c.ParkLease(lease.id),
            c.ResizeLease(lease.id, drawn.choice(["full", "half", "quarter"])),
            c.TransferLease(lease.id, drawn.choice(TENANTS)),
            c.SetRetention(lease.id, drawn.choice(list(Retention))),
        ]
        return drawn.choice(commands)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_what_is_metered_is_what_is_billed_at_any_moment_of_any_history(seed: int) -> None:
    story = Story(seed)
    world, read, seen = story.world, ledger.Ledger(), 0
    by_lease: Counter[str] = Counter()
    by_month: Counter[tuple[str, int]] = Counter()

    def count(found: Iterator[Segment], leases: Counter[str], spent: Counter[tuple[str, int]]) -> None:
        for segment in found:
            leases[segment.lease_id] += segment.numerator
            spent[segment.tenant, segment.month] += segment.numerator

    for step in range(5000):
        story.step()
        for at, events in world.history[seen:]:
            count(read.take(at, events), by_lease, by_month)
        seen = len(world.history)
        if step % 50:
            continue
        assert list(violations(world.state)) == []
        later = Instant(world.now_ms + 12_345, world.at.wall_ms + 12_345)
        leases, spent = by_lease.copy(), by_month.copy()
        count(copy.deepcopy(read).cut(later), leases, spent)
        for lease in world.state.leases.values():
            assert meter.cost_numerator(lease, later.ms) == leases[lease.id]
        month = calendar.month_at(later.wall_ms)
        for name in TENANTS:
            numerator = spent[name, month.number] + _reserved(read, name, month, later)
            assert meter.spent_micro(world.state, name, later) == numerator // MS_PER_HOUR
    month = world.state.month
    for one in ledger.statements(world.history, month, world.at):
        assert one.total_micro == sum(line.amount_micro for line in one.lines)
        assert one.total_micro == meter.spent_micro(world.state, one.tenant, world.at)
    assert len({month for _, month in by_month}) > 3
    for needed in (
        "ReservationBegan",
        "ReservationEnded",
        "LeaseResumed",
        "LeaseResized",
        "BudgetThresholdPassed",
    ):
        assert story.happened[needed] > 3, story.happened


def _reserved(read: ledger.Ledger, tenant: str, month: Month, at: Instant) -> int:
    """What the tenant's reservations cost in a month, millisecond by day."""
    total = 0
    for one in read.reservations.values():
        if one.tenant == tenant and one.began_wall_ms is not None:
            begin = max(one.began_wall_ms, month.begins_wall_ms)
            end = min(one.end_wall_ms, month.ends_wall_ms, at.wall_ms)
            total += max(0, end - begin) * one.rate_micro_per_hour
    return total


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.floats(0, 1), max_size=30))
def test_cutting_time_anywhere_changes_no_statement(seed: int, cuts: list[float]) -> None:
    story = Story(seed, steady=True)  # a wall clock set without an event in between has no known time
    for _ in range(200):
        story.step()
    history = story.world.history
    cut = list(history)
    for part in sorted(cuts):
        number = int(part * (len(cut) - 2))
        (before, _), (after, _) = cut[number], cut[number + 1]
        ms = before.ms + int((after.ms - before.ms) * part)
        cut.insert(number + 1, (Instant(ms, before.wall_ms + ms - before.ms), [Ticked()]))
    for month in {calendar.month_at(at.wall_ms) for at, _ in history}:
        whole = ledger.statements(history, month, story.world.at)
        assert ledger.statements(cut, month, story.world.at) == whole


def test_a_month_turns_at_its_millisecond_however_late_that_is_noticed() -> None:
    world = World(spec("gpu"))
    month = calendar.month_at(world.at.wall_ms)
    lease = world.active("a")
    began_ms = world.now_ms
    turns_ms = month.ends_wall_ms - world.wall_offset_ms
    world.now_ms = turns_ms + 7_200_000  # no pool ran for two hours
    assert meter.spent_micro(world.state, "ann", world.at) == 2 * 3_600_000
    world.do(c.Tick())
    after = world.state.month
    assert after == calendar.after(month, 1)
    first, second = (ledger.statements(world.history, one, world.at)[0] for one in (month, after))
    assert second.total_micro == meter.spent_micro(world.state, "ann", world.at) == 2 * 3_600_000
    assert first.total_micro == (turns_ms - began_ms) * 3_600_000 // MS_PER_HOUR
    assert [line.item.start_wall_ms for line in second.lines] == [after.begins_wall_ms]
    assert meter.cost_micro(lease, world.now_ms) == first.total_micro + second.total_micro


def test_statement_exists_for_each_month_without_a_running_pool() -> None:
    world = World(spec("gpu"))
    world.active("a")
    began = world.at
    home = world.state.month
    world.now_ms += 100 * DAY_MS
    world.do(c.Tick())
    between = [calendar.after(home, more) for more in (1, 2)]
    for month in between:
        (statement,) = ledger.statements(world.history, month, world.at)
        assert statement.active_ms == month.ends_wall_ms - month.begins_wall_ms
        assert world.state.tenants["ann"].spent[month.number] == statement.active_ms * 3_600_000
    every = [home, *between, world.state.month]
    assert len(set(every)) == 4
    billed_ms = sum(ledger.statements(world.history, month, world.at)[0].active_ms for month in every)
    assert billed_ms == world.now_ms - began.ms


def test_a_month_that_the_clock_was_set_back_to_goes_on_where_it_was() -> None:
    world = World(spec("gpu"))
    world.active("a")
    home = world.state.month
    world.pass_time(1000)
    world.wall_offset_ms += 60 * DAY_MS
    world.pass_time(1000)
    assert world.state.month == calendar.after(home, 2)
    world.wall_offset_ms -= 60 * DAY_MS
    world.pass_time(1000)
    assert world.state.month == home
    world.pass_time(1000)
    (statement,) = ledger.statements(world.history, home, world.at)
    assert meter.spent_micro(world.state, "ann", world.at) == statement.total_micro == 3000
    elsewhere = ledger.statements(world.history, calendar.after(home, 2), world.at)
    assert sum(one.total_micro for one in elsewhere) == 1000


# -- what is covered --------------------------------------------------------------------------------------------------

A100, L4 = DeviceModel("A100-80GB", 80), DeviceModel("L4", 24)


def held(name: str, milli: int, model: str | None = None) -> Reservation:
    return Reservation(name, "ann", milli, model, Plan.MONTH, 0, 0, 10, 0)


def test_leases_are_covered_in_order_and_the_last_in_part() -> None:
    found = reservation_coverage.allocate_reservations(
        [Usage("x", (A100,), 500), Usage("y", (A100,), 1000)], [held("r", 1200)]
    )
    assert found.by_lease == {"x": 500, "y": 700}
    assert found.left == {"r": 0}
    assert reservation_coverage.billed(1000, 1000, 700) == 300


def test_what_is_of_one_kind_is_used_before_what_is_of_any() -> None:
    found = reservation_coverage.allocate_reservations(
        [Usage("x", (A100,), 1000)], [held("any", 1000), held("mine", 1000, "a100")]
    )
    assert found.left == {"mine": 0, "any": 1000}
    assert reservation_coverage.allocate_reservations(
        [Usage("x", (L4,), 1000)], [held("r", 1000, "a100")]
    ).by_lease == {"x": 0}
    assert reservation_coverage.allocate_reservations(
        [Usage("x", (A100, L4), 2000)], [held("r", 2000, "a100")]
    ).by_lease == {"x": 0}


@pytest.mark.slow
@given(
    st.integers(0, 10**12), st.integers(1, 8000), st.integers(0, 8000), st.lists(st.integers(0, 10**10), max_size=10)
)
def test_what_is_billed_is_never_more_than_its_part(rate: int, milli: int, covered: int, parts: list[int]) -> None:
    covered = min(covered, milli)
    billed = reservation_coverage.billed(rate, milli, covered)
    assert 0 <= rate * (milli - covered) - billed * milli < milli
    assert reservation_coverage.billed(rate, milli, 0) == rate
    assert reservation_coverage.billed(rate, milli, milli) == 0


# -- months -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "months_more", "end"),
    [
        ("2026-01-15T10:00", 1, "2026-02-15T10:00"),
        ("2026-01-31T10:00", 1, "2026-03-01T00:00"),  # there is no such day: the month's end
        ("2024-02-29T00:00", 12, "2025-03-01T00:00"),
        ("2026-11-30T23:59", 3, "2027-03-01T00:00"),
        ("2026-12-01T00:00", 12, "2027-12-01T00:00"),
    ],
)
def test_a_term_ends_on_the_same_day(start: str, months_more: int, end: str) -> None:
    from datetime import datetime

    def wall_ms(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000

    assert calendar.months_later(wall_ms(start), months_more) == wall_ms(end)


@given(st.integers(-(10**12), 10**14))
def test_every_millisecond_is_in_its_month(wall_ms: int) -> None:
    month = calendar.month_at(wall_ms)
    assert month.begins_wall_ms <= wall_ms < month.ends_wall_ms
    assert calendar.after(month, 1).begins_wall_ms == month.ends_wall_ms
    assert calendar.after(calendar.after(month, 5), -5) == month
