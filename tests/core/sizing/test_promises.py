"""What an option of a size promises is what choosing it does then, in random states of small pools."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    Health,
    Isolation,
    Lease,
    LeaseRequest,
    Policy,
    Priority,
    Retention,
)
from fastgpu_jupyter.core.model.events import Event
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.size import SizeEffect, SizeUnit
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport, explain
from fastgpu_jupyter.core.sizing.options import SizeChoice, SizeReport
from fastgpu_jupyter.errors import CallerError, NeedsRestart
from fastgpu_jupyter.units import GIB
from tests.core.world import World, holder, mig_spec, spec

#: Random states to check; many more in ``make test-long PART=hangs``.
SEEDS = int(os.environ.get("FASTGPU_SIZE_SEEDS", "24"))
STEPS = 30
TENANTS = ("ann", "bob", "eve")
SPECS = (
    spec("a", parkable=True),
    spec("b", index=1, parkable=True),
    spec("c", 24 * GIB, index=2, model="L4"),
    spec("d", index=3, whole_only=True, parkable=True),
    mig_spec("m", index=4),
    spec("x", index=5, parkable=True, host_id="other"),
)
SIZES = ("full", "half", "quarter", "eighth", "2xany", "a100:1/3", "l4", "9GiB", "70GiB", "1g.10gb", "any>=40GiB:1/2")


def random_world(draw: random.Random) -> World:
    """Return a world after random commands, in which no grant is due."""
    world = World(*draw.sample(SPECS, draw.randint(1, len(SPECS))))
    world.do(c.SetPolicy(Policy(idle_ms=draw.choice([None, 0, 5000]), quantum_ms=draw.choice([None, None, 60_000]))))
    if draw.random() < 0.4:
        world.do(c.SetTenant("ann", 100, draw.choice([300, 1000, 2500]), draw.choice([0, 300])))
    if draw.random() < 0.2:
        world.do(c.SetBudget("bob", 1000, BudgetPolicy.STOP))
    for number in range(STEPS):
        try:
            world.do(random_command(world, draw, f"lease-{number}"))
        except CallerError:
            continue
    world.do(c.Tick())
    return world


def random_command(world: World, draw: random.Random, name: str) -> c.Command:
    leases = list(world.state.leases.values())
    if not leases or draw.random() < 0.35:
        request = LeaseRequest(
            draw.choice(SIZES), None, draw.choice(["kernel", None]), None,
            priority=draw.choice([Priority.NORMAL, Priority.NORMAL, Priority.LOW, Priority.HIGH]),
            retention=draw.choice([Retention.YIELD, Retention.YIELD, Retention.HOLD]),
            isolation=draw.choice([Isolation.NONE, Isolation.NONE, Isolation.HARDWARE]),
        )  # fmt: skip
        return c.RequestLease(name, draw.choice(TENANTS), request, holder(len(leases) + 1), "")
    lease = draw.choice(leases)
    gpu = lease.logical_gpu
    if gpu is not None and draw.random() < 0.8:
        done: dict[LeaseState, c.Command] = {
            LeaseState.PREPARING: c.PrepareSucceeded(lease.id, gpu.generation),
            LeaseState.PARKING: c.ParkSucceeded(lease.id, gpu.generation, GIB),
            LeaseState.RESUMING: c.ResumeSucceeded(lease.id, gpu.generation),
            LeaseState.DRAINING: c.DrainSucceeded(lease.id, gpu.generation),
        }
        if lease.state in done:
            return done[lease.state]
    device = draw.choice(list(world.state.devices))
    world.now_ms += draw.choice([0, 0, 1000, 10_000])
    commands: list[c.Command] = [
        *2 * [c.ReportActivity(lease.id, busy=False)], c.ReportActivity(lease.id, busy=True),
        c.ParkLease(lease.id), c.ResumeLease(lease.id), c.ReleaseLease(lease.id),
        c.ResizeLease(lease.id, draw.choice(SIZES)), c.DrainDevice(device, drained=draw.random() < 0.3),
        c.SetHealth(device, draw.choice([Health.SUSPECT, Health.HEALTHY, Health.HEALTHY]), None), c.Tick(),
    ]  # fmt: skip
    return draw.choice(commands)


class Chosen:
    """A copy of the pool in which a size was chosen."""

    def __init__(self, world: World, lease_id: str, *commands: c.Command) -> None:
        self.pool: Pool = copy.deepcopy(world.pool)
        self.events: list[Event] = []
        self.refusal: CallerError | None = None
        try:
            for command in commands:
                self.events += self.pool.execute(command, world.at)
        except CallerError as refusal:
            self.refusal = refusal
        self.lease: Lease | None = self.pool.state.leases.get(lease_id)

    def effect(self) -> SizeEffect:
        """Return what choosing the size did."""
        if self.refusal is not None:
            return SizeEffect.NEEDS_RESTART if isinstance(self.refusal, NeedsRestart) else SizeEffect.UNAVAILABLE
        assert self.lease is not None
        parks = any(isinstance(event, e.LeaseParking) for event in self.events)
        if self.lease.state is LeaseState.WAITING or self.lease.resize_deferred is not None:
            return SizeEffect.AFTER_PARKING if parks else SizeEffect.QUEUED
        return SizeEffect.NOW


def check(choice: SizeChoice, chosen: Chosen) -> None:
    effect, lease = chosen.effect(), chosen.lease
    freed = any(device.releasing_bytes for device in chosen.pool.state.devices.values())
    if choice.effect is SizeEffect.AFTER_PARKING and effect is SizeEffect.QUEUED and freed:
        effect = SizeEffect.AFTER_PARKING  # what is being freed already is enough
    assert choice.effect is effect, (choice, chosen.events, chosen.refusal)
    if chosen.refusal is not None:
        assert choice.reason == chosen.refusal.message
        return
    assert lease is not None
    if effect is SizeEffect.NOW and lease.logical_gpu is not None:
        gpu = lease.logical_gpu
        spec_ = chosen.pool.state.devices[gpu.device_id].spec
        assert (choice.memory_bytes, choice.model) == (gpu.memory_bytes, spec_.model)
        assert choice.rate_micro_per_hour == gpu.rate_micro_per_hour
        assert choice.capability is not None
        assert choice.capability.mechanism is gpu.mechanism
    others_granted = any(isinstance(event, e.LeaseGranted | e.LeaseResuming) for event in chosen.events)
    if lease.state is LeaseState.WAITING and effect is SizeEffect.QUEUED and not others_granted:
        entry = QueueReport(chosen.pool.state).find(lease.id)
        assert entry is not None
        assert (choice.position, choice.reason) == (entry.position, explain(*entry))


def choices_and_outcomes(world: World, draw: random.Random) -> Iterator[tuple[SizeChoice, Chosen]]:
    report = SizeReport(world.state, QueueReport(world.state), world.pool)
    unit, tenant = draw.choice(list(SizeUnit)), draw.choice(TENANTS)
    like = LeaseRequest("full", None, "kernel", None, priority=draw.choice([Priority.NORMAL, Priority.HIGH]))
    if draw.random() < 0.3:
        like = replace(like, isolation=Isolation.HARDWARE)
    for choice in report.for_request(tenant, like, unit, world.at).choices:
        request = replace(like, profile=str(choice.size))
        yield choice, Chosen(world, "new", c.RequestLease("new", tenant, request, holder(1), ""))
    leases = [lease for lease in world.state.leases.values() if lease.state is not LeaseState.ENDED]
    for lease in draw.sample(leases, min(3, len(leases))):
        used_bytes = draw.choice([None, GIB, 15 * GIB])
        resume = [c.ResumeLease(lease.id)] if lease.state is LeaseState.PARKED else []
        for choice in report.for_lease(lease, unit, used_bytes, world.at).choices:
            command = c.ResizeLease(lease.id, str(choice.size), used_bytes)
            yield choice, Chosen(world, lease.id, command, *resume)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_option_promises_what_choosing_it_does(seed: int) -> None:
    draw = random.Random(seed)
    world = random_world(draw)
    for choice, chosen in choices_and_outcomes(world, draw):
        check(choice, chosen)
