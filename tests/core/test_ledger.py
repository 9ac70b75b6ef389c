"""Statements: every second once, and lines that sum to the total."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.core import commands as c
from fastgpu_jupyter.core import ledger, meter
from fastgpu_jupyter.core.events import Event
from fastgpu_jupyter.core.invariants import violations
from fastgpu_jupyter.core.ledger import Segment
from fastgpu_jupyter.core.model import Instant, Lease, LeaseRequest, LeaseState
from fastgpu_jupyter.units import MS_PER_HOUR
from tests.core.world import World, holder, spec

WALL = 10**12  # the world's wall clock at time 0


def now(world: World) -> Instant:
    return Instant(world.now_ms, world.now_ms + WALL)


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
    found = ledger.segments(world.history, now(world))
    ann, bob = ledger.statements(found, 0, 2 * WALL)
    assert (ann.tenant, ann.total_micro, ann.active_ms) == ("ann", 1_800_000, MS_PER_HOUR)
    assert (bob.tenant, bob.total_micro, bob.active_ms) == ("bob", 1_800_000, MS_PER_HOUR // 2)
    assert [(line.segment.notebook, line.segment.size) for line in ann.lines] == [("a.ipynb", "half")]


def test_the_statement_agrees_with_the_meter() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "eighth")
    world.now_ms += 1_234_567
    (statement,) = ledger.statements(ledger.segments(world.history, now(world)), 0, 2 * WALL)
    assert statement.total_micro == meter.cost_micro(lease, world.now_ms)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**8), st.integers(0, 10**7)), min_size=1, max_size=12),
    st.lists(st.integers(0, 2 * 10**9), max_size=8),
)
def test_cutting_time_anywhere_never_changes_a_second_or_a_fraction(
    drawn: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    parts = [
        Segment(
            "ann", str(number), None, "full", ("gpu",), rate, Instant(start, start), Instant(start + ms, start + ms)
        )
        for number, (start, ms, rate) in enumerate(drawn)
    ]
    edges = sorted({0, *cuts, 3 * 10**9})
    whole = sum(part.duration_ms * part.rate_micro_per_hour for part in parts)
    pieces = 0
    for begin, finish in pairwise(edges):
        for statement in ledger.statements(parts, begin, finish):
            assert sum(line.amount_micro for line in statement.lines) == statement.total_micro
            pieces += sum(line.segment.duration_ms * line.segment.rate_micro_per_hour for line in statement.lines)
    assert pieces == whole


def test_a_wall_clock_that_was_set_changes_no_bill() -> None:
    segment = Segment("ann", "a", None, "full", ("gpu",), 1000, Instant(0, WALL), Instant(5000, WALL - 10**9))
    parts = [segment.within(WALL - 10**10, WALL + 2000), segment.within(WALL + 2000, WALL + 10**10)]
    assert [part.duration_ms for part in parts if part] == [2000, 3000]


@pytest.mark.slow
def test_a_bill_is_exact_over_many_random_events() -> None:
    """Every device-millisecond is in exactly one state, and they add up to wall time times devices."""
    drawn = random.Random(42)
    devices = 5
    world = World(*(spec(f"gpu{number}", index=number) for number in range(devices)))
    began_ms = world.now_ms
    spent = dict.fromkeys(("active", "preparing", "draining", "free"), 0)
    live: dict[str, Lease] = {}
    records: list[tuple[Instant, list[Event]]] = []
    steps = 100_000
    for number in range(steps):
        step_ms = drawn.randrange(1000)
        holding = [lease.state.value for lease in live.values() if lease.state is not LeaseState.WAITING]
        for name in holding:
            spent[name] += step_ms
        spent["free"] += (devices - len(holding)) * step_ms
        world.now_ms += step_ms
        command = _anything(drawn, world, live, number)
        records.append((now(world), world.pool.execute(command, now(world))))
        live = {name: lease for name, lease in live.items() if lease.state is not LeaseState.ENDED}
        if isinstance(command, c.RequestLease):
            live[command.lease_id] = world.state.leases[command.lease_id]
        if number % 5000 == 0:
            assert list(violations(world.state)) == []
    found = list(ledger.segments(records, now(world)))
    assert sum(len(events) for _, events in records) > steps
    assert sum(spent.values()) == devices * (world.now_ms - began_ms)
    assert sum(segment.duration_ms for segment in found) == spent["active"]
    billed = ledger.statements(found, 0, 2 * WALL)
    assert sum(statement.active_ms for statement in billed) == spent["active"]
    for statement in billed:
        exact = sum(line.segment.duration_ms * line.segment.rate_micro_per_hour for line in statement.lines)
        assert statement.total_micro == sum(line.amount_micro for line in statement.lines) == exact // MS_PER_HOUR


def _anything(drawn: random.Random, world: World, live: dict[str, Lease], number: int) -> c.Command:
    if number % 50 == 0:
        return c.Tick()
    if not live or (len(live) < 8 and drawn.random() < 0.3):
        request = LeaseRequest("full", None, None, None)
        return c.RequestLease(f"lease-{number}", drawn.choice(["ann", "bob"]), request, holder(number), "0" * 64)
    lease = drawn.choice(list(live.values()))
    if lease.state is LeaseState.PREPARING and lease.logical_gpu:
        return c.PrepareSucceeded(lease.id, lease.logical_gpu.generation)
    if lease.state is LeaseState.DRAINING and lease.logical_gpu:
        return c.DrainSucceeded(lease.id, lease.logical_gpu.generation)
    return c.ReleaseLease(lease.id)
