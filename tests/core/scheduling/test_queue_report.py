"""What is reported of the queue, followed change by change, against what is computed from the whole state."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Health, LeaseRequest, Policy, Priority, Retention
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.scheduling import rank
from fastgpu_jupyter.core.scheduling.queue_report import Estimator, QueueReport
from fastgpu_jupyter.errors import CallerError, Message
from tests.core.scheduling.naive_positions import positions
from tests.core.world import World, holder, spec

SIZES = ("full", "half", "quarter", "eighth", "2xany")
TENANTS = ("ann", "bob", "eve", "kim")
SEEDS_OF_A_SHORT_RUN = range(3)


#: Commands that may change the queue: the state of the leases that they may name, and the command from a name.
ABOUT_LEASES: tuple[tuple[LeaseState, Callable[[str, random.Random], c.Command]], ...] = (
    (LeaseState.WAITING, lambda name, _: c.ReleaseLease(name)),
    (LeaseState.ACTIVE, lambda name, _: c.ReleaseLease(name)),
    (LeaseState.ACTIVE, lambda name, _: c.ParkLease(name)),
    (LeaseState.PARKED, lambda name, _: c.ResumeLease(name)),
    (LeaseState.WAITING, lambda name, draw: c.TransferLease(name, draw.choice(TENANTS))),
    (LeaseState.WAITING, lambda name, draw: c.ResizeLease(name, draw.choice(SIZES))),
    (LeaseState.WAITING, lambda name, draw: c.SetRetention(name, draw.choice(list(Retention)))),
)
OTHERS: tuple[Callable[[random.Random], c.Command], ...] = (
    lambda draw: c.SetTenant(draw.choice(TENANTS), draw.choice([1, 100, 300]), draw.choice([None, 500]), 0, None),
    lambda draw: c.SetTenant(draw.choice(TENANTS), 100, None, draw.choice([0, 1000]), draw.choice(["lab", None])),
    lambda draw: c.DrainDevice(draw.choice("abc"), draw.random() < 0.3),
    lambda draw: c.SetHealth(draw.choice("abc"), draw.choice([Health.HEALTHY, Health.HEALTHY, Health.SUSPECT])),
    lambda draw: c.SetPolicy(Policy(quantum_ms=draw.choice([None, None, 60_000]))),
    lambda _: c.Tick(),
)


def commands(world: World, draw: random.Random, number: int) -> Iterator[c.Command]:
    """Yield random commands that may change the queue, and what comes of what was begun."""
    if draw.random() < 0.5:
        priority = draw.choice([Priority.LOW, Priority.NORMAL, Priority.NORMAL, Priority.HIGH])
        request = LeaseRequest(draw.choice(SIZES), None, None, None, priority=priority)
        yield c.RequestLease(f"lease-{number}", draw.choice(TENANTS), request, holder(number), "0" * 64)
    if draw.random() < 0.5:
        state, command = draw.choice(ABOUT_LEASES)
        names = [lease.id for lease in world.state.leases.values() if lease.state is state]
        yield from [command(draw.choice(names), draw)] if names else []
    if draw.random() < 0.4:
        yield draw.choice(OTHERS)(draw)
    for name in list(world.state.leases):
        yield from completions(world, name, draw)


def completions(world: World, name: str, draw: random.Random) -> Iterator[c.Command]:
    """Yield what comes of what was begun for a lease."""
    lease = world.state.leases[name]
    if lease.logical_gpu is None or draw.random() < 0.3:
        return
    generation = lease.logical_gpu.generation
    if lease.state is LeaseState.PREPARING:
        yield (
            c.PrepareSucceeded(name, generation)
            if draw.random() < 0.8
            else c.PrepareFailed(name, generation, Message.of_text("no"))
        )
    elif lease.state is LeaseState.PARKING:
        yield c.ParkSucceeded(name, generation, 7)
    elif lease.state is LeaseState.RESUMING:
        yield c.ResumeSucceeded(name, generation)
    elif lease.state is LeaseState.DRAINING:
        yield c.DrainSucceeded(name, generation)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("FASTGPU_QUEUE_SEEDS", len(SEEDS_OF_A_SHORT_RUN)))))
def test_queue_report_followed_by_events_equals_that_of_the_whole_state(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank, "AGING_GRANTS", 6)  # so that requests become overdue
    monkeypatch.setattr(rank, "AGING_GRANTS_EACH", 1)
    draw = random.Random(seed)
    world = World(*(spec(name, index=index, parkable=True) for index, name in enumerate("abc")))
    report = QueueReport(world.state)
    overdue = 0
    for step in range(200):
        world.now_ms += draw.choice([0, 1, 1000, 100_000])
        before = len(world.history)
        for command in commands(world, draw, step):
            try:
                world.do(command)
            except CallerError:
                continue  # refused
        for _, events in world.history[before:]:
            report.update(events)
        expected = {lease.id: (position, reason) for lease, position, reason in positions(world.state)}
        assert {name: report.find(name) for name in expected} == expected
        assert list(report.entries().items()) == list(expected.items())
        assert [report.estimator.of(n) for n in (1, 7)] == [Estimator(world.state).of(n) for n in (1, 7)]
        aging = rank.aging_grants(world.state)
        overdue += any(rank.is_overdue(world.state, world.state.leases[name], aging) for name in world.state.queue)
    assert overdue > 20 or seed not in SEEDS_OF_A_SHORT_RUN  # in a few others hardly anything is granted


def test_queue_report_has_no_entry_of_a_lease_that_does_not_wait() -> None:
    world = World(spec("gpu"))
    world.ask("a")
    report = QueueReport(world.state)
    assert report.find("a") is None
    assert report.find("unknown") is None
