"""Statements: every second once, and lines that sum to the total."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fastgpu_jupyter.core.accounting import calendar, ledger, meter
from fastgpu_jupyter.core.accounting.segment import Segment
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant, Lease, LeaseRequest, Plan, Policy
from fastgpu_jupyter.core.model.events import Event
from fastgpu_jupyter.core.model.lifecycle import HOLDING_CAPACITY, LeaseState
from fastgpu_jupyter.units import MS_PER_HOUR
from tests.core.world import World, holder, spec

WALL = 10**12  # the world's wall clock at time 0


def now(world: World) -> Instant:
    return world.at


def of(line: ledger.StatementLine) -> Segment:
    assert isinstance(line.item.of, Segment)
    return line.item.of


def end(world: World, name: str) -> None:
    world.do(c.ReleaseLease(name))
    world.drained(name)


def test_a_statement_has_a_line_for_each_time_a_lease_was_active() -> None:
    world = World(spec("gpu"))
    world.active("a", "half", tenant="ann")
    world.ask("never-granted-is-free", tenant="eve")
    world.do(c.ReleaseLease("never-granted-is-free"))
    world.now_ms += MS_PER_HOUR
    end(world, "a")
    world.active("b", tenant="bob")
    world.now_ms += MS_PER_HOUR // 2
    ann, bob = ledger.statements(world.history, world.state.month, world.at)
    assert (ann.tenant, ann.total_micro, ann.active_ms) == ("ann", 1_800_000, MS_PER_HOUR)
    assert (bob.tenant, bob.total_micro, bob.active_ms) == ("bob", 1_800_000, MS_PER_HOUR // 2)
    assert [(of(line).notebook, of(line).size) for line in ann.lines] == [("a.ipynb", "half")]


def test_a_statement_has_the_name_that_the_user_had_in_its_month() -> None:
    world = World(spec("gpu"))
    world.active("a", "half", tenant="uid:7", tenant_name="ann")
    world.now_ms += MS_PER_HOUR
    end(world, "a")
    september = world.state.month
    world.pass_time(31 * 86_400_000)
    world.active("b", tenant="uid:7", tenant_name="bob")
    world.now_ms += MS_PER_HOUR
    for month, name in ((september, "ann"), (world.state.month, "bob")):
        (statement,) = ledger.statements(world.history, month, world.at)
        assert (statement.tenant, statement.name) == ("uid:7", name)
    assert world.state.tenants["uid:7"].name == "bob"


def test_time_of_a_lease_is_busy_idle_or_unknown_and_each_is_counted_once() -> None:
    world = World(spec("gpu"))
    world.active("a", tenant="ann")
    steps: list[tuple[int, c.Command | None]] = [
        (1, c.ReportActivity("a", busy=True)),
        (2, c.ReportActivity("a", busy=False)),
        (4, c.BindHolder("a", holder(77))),  # a restarted kernel has not said yet what it does
        (8, c.ReportActivity("a", busy=False)),
        (16, None),
    ]
    for hours, command in steps:
        world.now_ms += hours * MS_PER_HOUR
        if command is not None:
            world.do(command)
    (ann,) = ledger.statements(world.history, world.state.month, world.at)
    hours_of = [(of(line).busy_ms / MS_PER_HOUR, of(line).idle_ms / MS_PER_HOUR) for line in ann.lines]
    assert hours_of == [(2, 4 + 16)]
    rate = of(ann.lines[0]).rate_micro_per_hour
    assert (ann.busy_micro, ann.idle_micro, ann.total_micro) == (2 * rate, 20 * rate, 31 * rate)


def test_parked_time_is_neither_billed_nor_idle() -> None:
    world = World(spec("gpu", parkable=True))
    world.do(c.SetPolicy(Policy(parked_bytes_max=100 * 2**30)))
    world.active("a", tenant="ann")
    world.do(c.ReportActivity("a", busy=False))
    world.now_ms += MS_PER_HOUR
    world.do(c.ParkLease("a"))
    world.now_ms += MS_PER_HOUR
    (ann,) = ledger.statements(world.history, world.state.month, world.at)
    assert (ann.idle_micro, ann.active_ms) == (ann.total_micro, MS_PER_HOUR)


def test_the_statement_agrees_with_the_meter() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "eighth")
    world.now_ms += 1_234_567
    (statement,) = ledger.statements(world.history, world.state.month, world.at)
    assert statement.total_micro == meter.cost_micro(lease, world.now_ms)


def test_line_of_a_lease_that_ended_is_final_whatever_others_cost() -> None:
    """The amounts are parts of a running sum in whole micro-units: a lease that began earlier must not change them."""
    world = World(*(spec(f"gpu{number}", index=number) for number in range(3)))
    world.active("goes on", "eighth")
    final: dict[str, int] = {}
    for number in range(40):
        world.active(f"lease-{number}", "eighth")
        world.now_ms += 1001 + number
        world.do(c.ReleaseLease(f"lease-{number}"))
        world.drained(f"lease-{number}")
        (statement,) = ledger.statements(world.history, world.state.month, world.at)
        amounts = {of(line).lease_id: line.amount_micro for line in statement.lines}
        assert {name: amounts[name] for name in final} == final
        assert sum(line.amount_micro for line in statement.lines) == statement.total_micro
        assert next(iter(amounts)) == "goes on"  # shown first, because it began first
        final = {name: amount for name, amount in amounts.items() if name != "goes on"}
    assert len(final) == 40


@pytest.mark.slow
def test_a_bill_is_exact_over_many_random_events() -> None:
    """Every device-millisecond is in exactly one state, and they add up to wall time times devices."""
    drawn = random.Random(42)
    devices = 5
    world = World(*(spec(f"gpu{number}", index=number, parkable=True) for number in range(devices)))
    world.do(c.ReserveCapacity("reserved", "ann", 1500, None, Plan.MONTH, 20))
    began_ms = world.now_ms
    spent = dict.fromkeys((*(state.value for state in HOLDING_CAPACITY), "free"), 0)
    live: dict[str, Lease] = {}
    records: list[tuple[Instant, list[Event]]] = world.history
    number = events = 0
    while events < 100_000:
        number += 1
        step_ms = drawn.randrange(100_000)
        holding = [lease.state.value for lease in live.values() if lease.state in HOLDING_CAPACITY]
        for name in holding:
            spent[name] += step_ms
        spent["free"] += (devices - len(holding)) * step_ms
        world.now_ms += step_ms
        command = _anything(drawn, world, live, number)
        records.append((now(world), world.pool.execute(command, now(world))))
        events += len(records[-1][1])
        live = {name: lease for name, lease in live.items() if lease.state is not LeaseState.ENDED}
        if isinstance(command, c.RequestLease):
            live[command.lease_id] = world.state.leases[command.lease_id]
        if number % 5000 == 0:
            assert list(violations(world.state)) == []
    found = list(ledger.segments(records, now(world)))
    assert sum(spent.values()) == devices * (world.now_ms - began_ms)
    assert all(spent.values())
    assert any(segment.covered_milli and segment.rate_micro_per_hour for segment in found)
    assert sum(segment.duration_ms for segment in found) == spent["active"]
    billed_ms = 0
    assert world.state.month == calendar.after(calendar.month_at(WALL), 1)
    for month in (calendar.month_at(WALL), world.state.month):
        for statement in ledger.statements(records, month, now(world)):
            billed_ms += statement.active_ms
            exact = sum(line.item.rate_micro_per_hour * line.item.duration_ms for line in statement.lines)
            assert statement.total_micro == sum(line.amount_micro for line in statement.lines) == exact // MS_PER_HOUR
    assert billed_ms == spent["active"]


_DONE: dict[LeaseState, Callable[[str, int], c.Command]] = {
    LeaseState.PREPARING: c.PrepareSucceeded,
    LeaseState.DRAINING: c.DrainSucceeded,
    LeaseState.RESUMING: c.ResumeSucceeded,
    LeaseState.PARKING: lambda lease_id, generation: c.ParkSucceeded(lease_id, generation, 0),
}


def _anything(drawn: random.Random, world: World, live: dict[str, Lease], number: int) -> c.Command:
    if number % 50 == 0:
        return c.Tick()
    if not live or (len(live) < 8 and drawn.random() < 0.3):
        request = LeaseRequest("full", None, None, None)
        return c.RequestLease(f"lease-{number}", drawn.choice(["ann", "bob"]), request, holder(number), "0" * 64)
    lease = drawn.choice(list(live.values()))
    if lease.logical_gpu and lease.state is not LeaseState.ACTIVE:
        return _DONE[lease.state](lease.id, lease.logical_gpu.generation)
    if lease.state is LeaseState.PARKED:
        return c.ResumeLease(lease.id)
    return c.ParkLease(lease.id) if lease.state is LeaseState.ACTIVE and number % 3 else c.ReleaseLease(lease.id)
