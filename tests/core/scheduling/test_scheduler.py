"""The order of the queue: priority, fair share, age and backfill reservations."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fastgpu_jupyter.core.accounting.fairshare import HALF_LIFE_MS, fair_share_key
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    AGING_GRANTS,
    EndReason,
    HostSpec,
    LeaseRequest,
    PendingReason,
    Policy,
    Priority,
)
from fastgpu_jupyter.core.model.lifecycle import HOLDING_CAPACITY, LeaseState
from fastgpu_jupyter.core.placement import capacity_index
from fastgpu_jupyter.core.scheduling import queue_report, rank, scheduler
from fastgpu_jupyter.core.scheduling.scheduler import Scheduler
from fastgpu_jupyter.errors import InvalidRequest, NoSuchDevice
from fastgpu_jupyter.units import GIB
from tests.core.world import World, holder, mig_spec, spec
from tests.refusals import refused

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True, params=["small pool", "large pool"])
def _pool_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test as in a small pool and as in a large one, which reserves and reconsiders less often."""
    if request.param == "large pool":
        monkeypatch.setattr(capacity_index, "REFERENCE_HOSTS_MAX", 0)
        monkeypatch.setattr(scheduler, "RESERVE_EVERY", 0)


def end(world: World, name: str) -> None:
    world.do(c.ReleaseLease(name))
    world.drained(name)


def order(world: World) -> list[str]:
    return [lease.id for lease, _, _ in queue_report.positions(world.state)]


def held_by(world: World) -> dict[str, int]:
    held: dict[str, int] = {}
    for lease in world.state.leases.values():
        if lease.state in HOLDING_CAPACITY:
            held[lease.tenant] = held.get(lease.tenant, 0) + 1
    return held


def test_higher_priority_is_served_first() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.ask("low", priority=Priority.LOW)
    world.ask("normal")
    world.ask("high", priority=Priority.HIGH)
    assert order(world) == ["high", "normal", "low"]
    end(world, "a")
    assert world.states()["high"] == "preparing"


def test_tenant_with_less_usage_is_served_first() -> None:
    world = World(spec("gpu"))
    world.active("a", tenant="ann")
    world.now_ms += HOUR_MS
    world.ask("ann-again", tenant="ann")
    world.ask("bob-first", tenant="bob")
    assert order(world) == ["bob-first", "ann-again"]
    end(world, "a")
    assert world.states()["bob-first"] == "preparing"


def test_usage_halves_in_each_half_life() -> None:
    world = World(spec("gpu"), spec("gpu2", index=1))
    world.active("a", tenant="ann")
    world.now_ms += HOUR_MS
    end(world, "a")
    world.now_ms += HALF_LIFE_MS
    world.active("b", tenant="bob")
    world.now_ms += HOUR_MS
    end(world, "b")
    ann, bob = (fair_share_key(world.state, name, world.now_ms).tenant for name in ("ann", "bob"))
    # Ann's hour was one half-life and one hour before Bob's.
    assert bob / ann == pytest.approx(2 ** (1 + HOUR_MS / HALF_LIFE_MS))


def test_usage_epoch_that_moves_changes_no_order() -> None:
    world = World(spec("gpu"))
    world.active("a", tenant="ann")
    world.now_ms += HOUR_MS
    end(world, "a")
    world.active("b", tenant="bob")
    world.now_ms += 2 * HOUR_MS
    end(world, "b")
    before = (
        fair_share_key(world.state, "bob", world.now_ms).tenant
        / fair_share_key(world.state, "ann", world.now_ms).tenant
    )
    world.now_ms += 300 * HALF_LIFE_MS
    world.active("c", tenant="eve")
    assert world.state.usage_epoch_ms == world.now_ms
    after = (
        fair_share_key(world.state, "bob", world.now_ms).tenant
        / fair_share_key(world.state, "ann", world.now_ms).tenant
    )
    assert after == pytest.approx(before)


@pytest.mark.slow
def test_weight_is_a_share_of_the_pool() -> None:
    world = World(*(spec(f"gpu{number}", index=number) for number in range(6)))
    world.do(c.SetTenant("bob", 200, None))
    for number in range(6):
        world.ask(f"ann-{number}", tenant="ann")
    for number in range(12):
        world.ask(f"ann-more-{number}", tenant="ann")
        world.ask(f"bob-{number}", tenant="bob")
    drawn = random.Random(1)
    served = {"ann": 0, "bob": 0}
    # Both tenants always have waiting requests; leases last equally long on average.
    for round_ in range(300):
        world.now_ms += 600_000
        holding = [lease.id for lease in world.state.leases.values() if lease.state in HOLDING_CAPACITY]
        name = drawn.choice(holding)
        tenant = world.state.leases[name].tenant
        end(world, name)
        world.ask(f"{tenant}-{round_}-again", tenant=tenant)
        if round_ > 100:
            for who, count in held_by(world).items():
                served[who] += count
    assert served["bob"] / served["ann"] == pytest.approx(2, rel=0.1)


def test_burst_of_one_tenant_shares_what_becomes_free() -> None:
    world = World(*(spec(f"gpu{number}", index=number) for number in range(4)))
    for number in range(4):
        world.active(f"old-{number}", tenant="eve")
    for number in range(4):
        world.ask(f"ann-{number}", tenant="ann")
    for number in range(4):
        world.ask(f"bob-{number}", tenant="bob")
    for number in range(4):
        end(world, f"old-{number}")
    assert held_by(world) == {"ann": 2, "bob": 2}


def test_positions_are_the_order_of_the_grants() -> None:
    world = World(*(spec(f"gpu{number}", index=number) for number in range(7)))
    for number in range(7):
        world.active(f"old-{number}", tenant="eve")
    for number in range(3):
        world.ask(f"ann-{number}", tenant="ann")
        world.ask(f"bob-{number}", tenant="bob")
    world.ask("urgent", tenant="ann", priority=Priority.HIGH)
    foreseen, came = order(world), []
    for number in range(7):
        end(world, f"old-{number}")
        came += [name for name, state in world.states().items() if state == "preparing" and name not in came]
    assert came == foreseen
    assert came[0] == "urgent"


def test_small_requests_do_not_starve_a_whole_device_request() -> None:
    world = World(spec("gpu0", index=0), spec("gpu1", index=1))
    for number in range(8):
        world.active(f"small-{number}", "quarter")
    world.ask("whole", tenant="bob")
    releases, number = 0, 8
    while world.states()["whole"] == "waiting":
        # Small requests come back at once: without a reservation no device would ever become empty.
        name = next(i for i, state in world.states().items() if i.startswith("small") and state == "active")
        end(world, name)
        lease = world.ask(f"small-{number}", "quarter")
        if lease.state is LeaseState.PREPARING:
            assert lease.logical_gpu is not None
            world.do(c.PrepareSucceeded(lease.id, lease.logical_gpu.generation))
        releases, number = releases + 1, number + 1
        assert releases <= 8
    assert world.states()["whole"] == "preparing"


def test_small_requests_backfill_where_they_do_not_delay_a_large_one() -> None:
    world = World(spec("gpu0", index=0), spec("gpu1", index=1))
    world.active("a", "half")
    world.active("b", "full")
    world.ask("whole")
    assert world.ask("small", "half").state is LeaseState.WAITING
    assert [reason for _, _, reason in queue_report.positions(world.state)] == [
        PendingReason.CAPACITY,
        PendingReason.BEHIND,
    ]
    end(world, "b")
    # gpu0 was reserved for the whole one, which took gpu1 because that became free first.
    assert world.states() == {"a": "active", "b": "ended", "whole": "preparing", "small": "preparing"}


def test_several_devices_are_granted_together() -> None:
    world = World(*(spec(f"gpu{number}", index=number) for number in range(3)))
    world.active("a")
    world.active("b")
    gang = world.ask("gang", "2xa100")
    assert gang.state is LeaseState.WAITING
    assert world.ask("single").state is LeaseState.WAITING
    end(world, "a")
    assert gang.logical_gpu is not None
    assert set(gang.logical_gpu.device_ids) == {"gpu0", "gpu2"}
    assert gang.logical_gpu.rate_micro_per_hour == 2 * 3_600_000
    end(world, "gang")
    assert world.states()["single"] == "preparing"


def test_lease_of_several_devices_that_vanish_is_lost_once() -> None:
    world = World(spec("gpu0"), spec("gpu1", index=1))
    gang = world.active("gang", "2xany")
    world.lose("gpu0", "gpu1")
    assert (gang.state, gang.end_reason) == (LeaseState.DRAINING, EndReason.DEVICE_LOST)
    world.drained("gang")
    assert world.state.devices == {}


def test_request_for_more_devices_than_exist_is_refused() -> None:
    with refused(NoSuchDevice, match="has 1 such device,"):
        World(spec("gpu")).ask("a", "2xany")


def test_request_for_a_missing_model_is_refused_with_the_present_ones() -> None:
    with refused(NoSuchDevice, match=r"'h100'; it has A100-80GB \(80 GiB\)"):
        World(spec("gpu")).ask("a", "h100")


@pytest.mark.parametrize(("many", "policy"), [(20, Policy()), (2, Policy(quantum_ms=60_000))])
def test_overdue_request_is_served_first(many: int, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "AGING_GRANTS", many)
    world = World(spec("gpu"))
    world.do(c.SetPolicy(policy))  # with turns, two waiting requests make it twenty as well
    world.active("running", tenant="bob")
    world.ask("patient", priority=Priority.LOW)
    for number in range(30):
        world.ask(f"urgent-{number}", tenant="bob", priority=Priority.HIGH)
        running = next(name for name, state in world.states().items() if state in {"active", "preparing"})
        if running == "patient":
            break
        end(world, running)
    assert world.states()["patient"] == "preparing"
    assert 18 <= number <= 21
    assert AGING_GRANTS == 1000


def test_devices_that_appear_after_a_grant_are_used() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.ask("b")
    end(world, "a")
    assert world.states()["b"] == "preparing"  # and nothing has happened since
    world.do(c.SetDevices((spec("gpu"), spec("gpu2", index=1))))
    world.ask("c")
    assert world.states()["c"] == "preparing"


def test_tenant_at_its_limit_waits_for_quota() -> None:
    world = World(*(spec(f"gpu{number}", index=number) for number in range(3)))
    world.do(c.SetTenant("ann", 100, 1500))
    world.active("a", tenant="ann")
    world.ask("b", tenant="ann")
    world.ask("half", "half", tenant="ann")
    # The smaller one does not go first either: it would use up what the first one waits for.
    assert world.states() == {"a": "active", "b": "waiting", "half": "waiting"}
    assert [reason for _, _, reason in queue_report.positions(world.state)] == [
        PendingReason.QUOTA,
        PendingReason.BEHIND,
    ]
    assert world.ask("bobs", tenant="bob").state is LeaseState.PREPARING
    end(world, "a")
    assert world.states()["b"] == "preparing"


def test_request_beyond_a_lowered_limit_does_not_block_smaller_ones() -> None:
    world = World(spec("gpu0"), spec("gpu1", index=1))
    world.active("a", tenant="bob")
    world.active("b", tenant="bob")
    world.ask("full", tenant="ann")
    world.ask("half", "half", tenant="ann")
    world.do(c.SetTenant("ann", 100, 500))
    end(world, "a")
    assert world.states() == {"a": "ended", "b": "active", "full": "waiting", "half": "preparing"}


def test_request_blocked_by_its_own_tenant_preempts_no_lease() -> None:
    world = World(spec("gpu0", parkable=True), spec("gpu1", index=1, parkable=True))
    world.do(c.SetTenant("ann", 100, 1500))
    world.active("a", tenant="ann")
    world.active("b", tenant="bob")
    world.ask("full", tenant="ann", priority=Priority.HIGH)
    world.ask("half", "half", tenant="ann", priority=Priority.HIGH)
    assert world.states() == {"a": "active", "b": "active", "full": "waiting", "half": "waiting"}


def test_request_beyond_the_limit_is_refused() -> None:
    world = World(spec("gpu"))
    world.do(c.SetTenant("ann", 100, 500))
    with refused(InvalidRequest, match=r"is 1 GPUs, and ann may hold at most 0\.5"):
        world.ask("a")


def test_raised_limit_serves_a_waiting_request() -> None:
    world = World(spec("gpu0"), spec("gpu1", index=1))
    world.do(c.SetTenant("ann", 100, 1000))
    world.active("a")
    world.ask("b")
    world.do(c.SetTenant("ann", 100, None))
    assert world.states()["b"] == "preparing"


def test_request_that_waited_its_longest_wait_ends() -> None:
    world = World(spec("gpu"))
    world.active("a")
    lease = world.ask("b", wait_ms_max=60_000)
    world.now_ms += 59_999
    world.do(c.Tick())
    assert lease.state is LeaseState.WAITING
    world.now_ms += 1
    world.do(c.Tick())
    assert (lease.state, lease.end_reason) == (LeaseState.ENDED, EndReason.EXPIRED)


def test_drained_device_keeps_its_leases_and_gets_no_new_ones() -> None:
    world = World(spec("gpu"))
    world.active("a", "half")
    world.do(c.DrainDevice("gpu", drained=True))
    assert world.ask("b", "half").state is LeaseState.WAITING
    assert [reason for _, _, reason in queue_report.positions(world.state)] == [PendingReason.DRAINED]
    assert world.states()["a"] == "active"
    world.do(c.DrainDevice("gpu", drained=False))
    assert world.states()["b"] == "preparing"


@pytest.mark.slow
@pytest.mark.parametrize("hosts", [1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_scheduler_decides_as_a_new_one_of_the_same_state(seed: int, hosts: int) -> None:
    """At any moment, a new scheduler of the same state would grant nothing more."""
    drawn = random.Random(seed)
    world = World()
    specs = [spec(f"gpu{number}", index=number, host_id=f"host{number % hosts}") for number in range(4 * hosts)]
    world.do(c.SetDevices(tuple(specs), tuple(HostSpec(f"host{n}", 16_000, 64 * GIB) for n in range(hosts))))
    for number in range(150 * hosts):
        world.now_ms += drawn.randrange(100_000)
        waiting = [lease.id for lease in world.state.leases.values() if lease.state is not LeaseState.ENDED]
        if drawn.random() < 0.55 or not waiting:
            world.ask(
                f"lease-{number}",
                drawn.choice(["full", "half", "quarter", "2xany"]),
                tenant=drawn.choice(["ann", "bob", "eve"]),
                priority=drawn.choice(list(Priority)),
                cpu_milli=drawn.choice([0, 0, 3000, 9000]),
            )
        else:
            name = drawn.choice(waiting)
            world.do(c.ReleaseLease(name))
            if world.states()[name] == "draining":
                world.drained(name)
        world.do(c.Tick())  # so that ranks which only time has changed, and reservations, are reconsidered
        assert Scheduler(world.state).next_grant(world.now_ms) is None


def test_request_beyond_its_limit_reserves_nothing() -> None:
    world = World(spec("x"), spec("y", index=1), spec("z", index=2))
    world.active("a1", "2xany", tenant="ann")
    world.ask("a2", "2xany", tenant="ann")
    behind = world.ask("b", "half", tenant="bob", priority=Priority.LOW)
    assert behind.state is LeaseState.WAITING  # what is free is reserved for Ann's
    world.do(c.SetTenant("ann", 100, 2500))
    assert world.state_of(behind.id) is LeaseState.PREPARING


def test_capacity_reserved_for_a_higher_priority_is_the_reason() -> None:
    world = World(spec("gpu0"), spec("gpu1", index=1))
    world.active("a", "half")
    world.active("b")
    world.ask("urgent", "2xany", priority=Priority.HIGH)
    world.ask("as-urgent", "half", priority=Priority.HIGH)
    world.ask("usual", "half")
    reasons = {lease.id: reason for lease, _, reason in queue_report.positions(world.state)}
    assert reasons["urgent"] is PendingReason.CAPACITY
    assert (reasons["as-urgent"], reasons["usual"]) == (PendingReason.BEHIND, PendingReason.PRIORITY)


def test_request_of_higher_rank_takes_reserved_capacity() -> None:
    world = World(*(spec(f"gpu{number}", index=number) for number in range(2)))
    world.active("a")
    world.active("b", "half")
    world.ask("whole")
    assert world.ask("half", "half").state is LeaseState.WAITING
    assert world.ask("urgent", "half", priority=Priority.HIGH).state is LeaseState.PREPARING


def test_backfill_reservation_includes_processors_of_the_host() -> None:
    """Small requests that need processors do not starve one that needs many of them."""
    world = World()
    host = HostSpec("host", 16_000, 64 * GIB)
    specs = [replace(spec(f"gpu{number}", index=number), host_id="host") for number in range(4)]
    world.do(c.SetDevices(tuple(specs), (host,)))

    def ask(name: str, cpu_milli: int) -> LeaseState:
        request = LeaseRequest("quarter", None, None, None, cpu_milli=cpu_milli)
        world.do(c.RequestLease(name, "ann", request, holder(1), "0" * 64))
        return world.state.leases[name].state

    assert ask("first", 8000) is LeaseState.PREPARING
    assert ask("many", 12_000) is LeaseState.WAITING
    assert ask("few", 4000) is LeaseState.WAITING
    assert ask("none", 0) is LeaseState.PREPARING
    world.do(c.ReleaseLease("first"))
    world.drained("first")
    assert world.states()["many"] == "preparing"


def test_request_after_a_device_was_removed_while_none_waited_gets_another() -> None:
    world = World(spec("x"), mig_spec("removed"))
    world.active("a", profile="full")
    world.do(c.ReleaseLease("a"))
    world.drained("a")
    world.do(c.SetDevices((world.state.devices["x"].spec,)))
    assert "removed" not in world.state.devices
    gpu = world.active("b", profile="half").logical_gpu
    assert gpu is not None
    assert gpu.device_id == "x"
