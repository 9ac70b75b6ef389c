"""Device memory in use that no visible process has: it is not granted, and comes back with the baseline."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Health, ParkReason, PendingReason, ScrubOutcome, ScrubResult
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.placement import eligibility
from fastgpu_jupyter.units import GIB, MIB
from tests.core.world import World, spec, text

UNKNOWN = ScrubResult(ScrubOutcome.UNKNOWN)


@pytest.fixture
def world() -> World:
    """One device of 80 GiB."""
    return World(spec("gpu", parkable=True))


def report(world: World, unowned_bytes: int, explained_bytes: int = 0) -> None:
    known = world.state.devices["gpu"].unaccounted
    world.do(c.ReportUnownedMemory("gpu", unowned_bytes, explained_bytes, known.lease_id if known else None))


def end(world: World, name: str) -> None:
    world.do(c.ReleaseLease(name))
    world.drained(name, UNKNOWN)


def test_lease_that_ends_unknown_gives_its_device_to_no_lease_until_the_baseline(world: World) -> None:
    report(world, 300 * MIB)
    world.active("a")
    world.ask("b")
    end(world, "a")
    assert (world.state_of("a"), world.state.leases["a"].scrub) == (LeaseState.ENDED, ScrubOutcome.UNKNOWN)
    assert world.state_of("b") is LeaseState.WAITING
    device = world.state.devices["gpu"]
    assert (device.lease_ids, device.health, device.reported_health) == ({}, Health.HEALTHY, "suspect")
    assert "cannot be seen" in text(device.health_message)
    requirements = world.state.leases["b"].requirements
    assert eligibility.pending_reason(world.state, requirements) is PendingReason.HEALTH
    report(world, 60 * GIB)
    assert "60 GiB" in text(device.health_message)
    report(world, 2 * GIB)
    assert world.state_of("b") is LeaseState.WAITING, "less than a display takes, and more than the baseline"
    report(world, 500 * MIB)
    assert world.state_of("b") is LeaseState.PREPARING
    assert device.reported_health == Health.HEALTHY


def test_what_another_lease_may_use_does_not_explain_what_an_ended_one_left(world: World) -> None:
    world.active("a", "half")
    world.active("b", "half")
    world.ask("c", "half")
    end(world, "a")
    report(world, 30 * GIB, explained_bytes=40 * GIB)
    assert world.state_of("c") is LeaseState.WAITING
    report(world, 0)
    assert world.state_of("c") is LeaseState.PREPARING


def test_measurement_from_before_the_end_of_a_lease_does_not_put_its_device_back(world: World) -> None:
    world.active("a")
    end(world, "a")
    world.do(c.ReportUnownedMemory("gpu", 0))
    assert world.ask("b").state is LeaseState.WAITING
    world.do(c.ReportUnownedMemory("gpu", 0, left_by="a"))
    assert world.state_of("b") is LeaseState.PREPARING


def test_lease_parked_unknown_gives_its_device_to_no_lease(world: World) -> None:
    lease = world.active("a")
    world.do(c.ParkLease("a"))
    world.ask("b")
    assert lease.logical_gpu is not None
    world.do(c.ParkSucceeded("a", lease.logical_gpu.generation, 0, UNKNOWN))
    assert (world.state_of("a"), lease.park_reason) == (LeaseState.PARKED, ParkReason.REQUESTED)
    assert world.state_of("b") is LeaseState.WAITING


@pytest.mark.parametrize(("in_use_bytes", "granted"), [(7 * GIB, True), (9 * GIB, False)])
def test_unused_device_with_memory_in_use_is_granted_up_to_what_a_display_takes(
    world: World, in_use_bytes: int, granted: bool
) -> None:
    report(world, in_use_bytes)
    assert (world.ask("a").state is LeaseState.PREPARING) is granted


def test_memory_that_leases_may_have_is_accounted_for(world: World) -> None:
    report(world, 0)
    world.active("a", "half")
    report(world, 40 * GIB, explained_bytes=40 * GIB)
    assert world.state.devices["gpu"].unaccounted is None
    report(world, 41 * GIB, explained_bytes=40 * GIB)
    assert world.ask("b", "half").state is LeaseState.WAITING
    assert "41 GiB" in text(world.state.devices["gpu"].health_message)
    report(world, 10 * GIB, explained_bytes=40 * GIB)
    assert world.state_of("b") is LeaseState.PREPARING


def test_baseline_follows_an_unused_device_up_to_what_is_tolerated(world: World) -> None:
    device = world.state.devices["gpu"]
    for reported_bytes, baseline_bytes in ((2 * GIB, 2 * GIB), (2 * GIB + MIB, 2 * GIB), (4 * GIB, 4 * GIB)):
        report(world, reported_bytes)
        assert device.baseline_bytes == baseline_bytes
    for step in range(20):  # a process that takes more and more does not become the baseline
        report(world, 4 * GIB + step * 400 * MIB)
    assert device.baseline_bytes is not None
    assert device.baseline_bytes <= 8 * GIB
    assert device.unaccounted is not None
    report(world, 100 * MIB)
    assert device.baseline_bytes == 100 * MIB


def test_administrator_accepts_what_is_in_use_as_the_baseline(world: World) -> None:
    report(world, 20 * GIB)
    assert world.ask("a", "half").state is LeaseState.WAITING
    world.do(c.DrainDevice("gpu", drained=False))
    assert world.state_of("a") is LeaseState.PREPARING
    report(world, 20 * GIB)
    assert world.state.devices["gpu"].unaccounted is None
    report(world, 22 * GIB)
    assert world.state.devices["gpu"].unaccounted is not None


def test_report_that_changes_nothing_records_nothing(world: World) -> None:
    report(world, 60 * GIB)
    assert world.do(c.ReportUnownedMemory("gpu", 60 * GIB + 100 * MIB)) == []
    assert world.do(c.ReportUnownedMemory("no such device", GIB)) == []
    report(world, GIB)
    assert world.do(c.ReportUnownedMemory("gpu", GIB + MIB)) == []
