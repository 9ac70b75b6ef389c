"""Devices that are missing: their leases keep their place, unbilled, until the devices are back or given up."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.accounting import ledger, meter
from fastgpu_jupyter.core.lease import device_health
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.lease.presence import GONE_AFTER_MS
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    LeaseState,
    Missing,
    MissingReason,
    PendingReason,
    Plan,
    Retention,
)
from fastgpu_jupyter.core.placement import eligibility
from fastgpu_jupyter.errors import Conflict, FastGPUError, Message
from tests.core.world import World, spec, text
from tests.refusals import refused

GPU, OTHER = spec("gpu", parkable=True), spec("other", index=1, model="T4-16GB")
NOT_LISTED, NO_ANSWER = MissingReason.NOT_LISTED, MissingReason.NO_ANSWER


def missing(world: World, name: str = "gpu") -> Missing | None:
    return world.state.devices[name].missing


def reason_of(world: World, name: str = "gpu") -> MissingReason | None:
    found = missing(world, name)
    return found.reason if found else None


UNKNOWN = [c.SetDevices(()), c.SetDevices((), silent=("gpu",)), c.ReportNoAnswer()]


@pytest.mark.parametrize(("report", "reason"), [*zip(UNKNOWN, (NOT_LISTED, NO_ANSWER, NO_ANSWER), strict=True)])
def test_lease_on_a_missing_device_keeps_its_place_unbilled(report: c.Command, reason: MissingReason) -> None:
    world = World(GPU)
    lease = world.active("a")
    version = lease.version
    world.now_ms += 1000
    world.do(report)
    assert (reason_of(world), lease.state, lease.logical_gpu is not None) == (reason, LeaseState.ACTIVE, True)
    assert lease.version > version, "its readers learn of it"
    world.now_ms += 30_000
    assert meter.active_ms(lease, world.now_ms) == 1000
    world.do(c.SetDevices((GPU,)))
    world.now_ms += 500
    assert (missing(world), meter.active_ms(lease, world.now_ms)) == (None, 1500)
    billed = [segment.duration_ms for segment in ledger.segments(world.history, world.at)]
    assert billed == [1000, 500], "the statement says the same"


@pytest.mark.parametrize("report", UNKNOWN)
def test_nothing_is_granted_on_a_missing_device(report: c.Command) -> None:
    world = World(GPU, OTHER)
    world.active("half", "a100:1/2")
    world.do(report)
    waits = world.ask("waits", "a100:1/2")
    assert waits.state is LeaseState.WAITING
    assert eligibility.pending_reason(world.state, waits.requirements) is PendingReason.MISSING
    world.do(c.SetDevices((GPU, OTHER)))
    assert world.state_of("waits") is LeaseState.PREPARING


def test_device_is_given_up_once_the_driver_has_answered_without_it_for_a_minute() -> None:
    world = World(GPU)
    lease = world.active("a")
    world.do(c.SetDevices(()))
    world.now_ms += GONE_AFTER_MS - 1
    world.do(c.SetDevices(()))
    assert lease.state is LeaseState.ACTIVE
    world.now_ms += 1
    world.do(c.SetDevices(()))
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.DEVICE_LOST)
    assert "without its GPU for 1 min" in text(lease.end_detail)
    world.drained("a")
    assert world.state.devices == {}


def test_minute_counts_only_while_the_driver_answers() -> None:
    world = World(GPU)
    lease = world.active("a")
    world.do(c.SetDevices(()))
    since = missing(world)
    world.now_ms += GONE_AFTER_MS - 1
    world.do(c.ReportNoAnswer())
    world.now_ms += 10 * GONE_AFTER_MS
    world.do(c.SetDevices(()))
    assert reason_of(world) is NOT_LISTED, "it begins again"
    world.now_ms += GONE_AFTER_MS - 1
    world.do(c.SetDevices(()))
    assert lease.state is LeaseState.ACTIVE
    assert since is not None
    assert world.state.devices["gpu"].missing is not None
    assert world.state.devices["gpu"].missing.since == since.since, "it was missing all the time"


def test_minute_begins_again_with_another_pool_manager() -> None:
    world = World(GPU)
    lease = world.active("a")
    world.do(c.SetDevices(()))
    world.now_ms += 100 * GONE_AFTER_MS
    world.do(c.StartPool(world.state.boot_id, world.now_ms))
    world.do(c.SetDevices(()))
    assert lease.state is LeaseState.ACTIVE, "no driver was asked meanwhile"


@pytest.mark.parametrize("report", UNKNOWN)
def test_administrator_gives_a_missing_device_up(report: c.Command) -> None:
    world = World(GPU)
    lease = world.active("a")
    with refused(Conflict, match="is there"):
        world.do(c.ForgetDevice("gpu"))
    world.do(report)
    world.do(c.ForgetDevice("gpu"))
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.DEVICE_LOST)
    assert "administrator" in text(lease.end_detail)


def test_device_without_leases_goes_at_once_when_the_driver_answers_without_it() -> None:
    world = World(GPU)
    world.do(c.ReportNoAnswer())
    assert reason_of(world) is NO_ANSWER
    world.do(c.SetDevices(()))
    assert world.state.devices == {}


def test_lease_of_two_devices_is_billed_once_both_are_there() -> None:
    other = spec("gpu-2", index=1, parkable=True)
    world = World(GPU, other)
    lease = world.active("two", "2xany")
    world.do(c.ReportNoAnswer())
    world.now_ms += 1000
    world.do(c.SetDevices((GPU,), silent=("gpu-2",)))
    world.now_ms += 1000
    assert meter.active_ms(lease, world.now_ms) == 0
    world.do(c.SetDevices((GPU, other)))
    world.now_ms += 1000
    assert meter.active_ms(lease, world.now_ms) == 1000


def test_reserved_lease_on_a_missing_device_is_not_billed() -> None:
    world = World(GPU)
    world.do(c.ReserveCapacity("kept", "ann", 500, None, Plan.MONTH, 20))
    lease = world.active("a")
    assert lease.covered_milli == 500
    world.do(c.ReportNoAnswer())
    assert (lease.billed_micro_per_hour, lease.covered_milli) == (0, 0)
    world.do(c.SetDevices((GPU,)))
    assert lease.covered_milli == 500


def test_lease_that_ends_on_a_missing_device_drains_until_that_is_known() -> None:
    world = World(GPU)
    lease = world.active("a")
    world.do(c.ReportNoAnswer())
    world.do(c.ReleaseLease("a"))
    assert lease.state is LeaseState.DRAINING
    assert "still has memory there" in text(device_health.message(world.state, lease))
    world.do(c.SetDevices((GPU,)))
    assert device_health.message(world.state, lease) is None


@pytest.mark.parametrize("command", [c.ParkLease("a"), c.ResizeLease("a", "half"), c.MigrateLease("a")])
def test_nothing_is_begun_on_a_missing_device(command: c.Command) -> None:
    world = World(GPU, spec("gpu-2", index=1, parkable=True))
    world.active("a")
    world.do(c.ReportNoAnswer())
    with pytest.raises(FastGPUError):
        world.do(command)


def test_idle_lease_on_a_missing_device_is_not_parked_for_another() -> None:
    world = World(GPU)
    lease = world.active("a")
    world.do(c.ReportActivity("a", busy=False))
    world.do(c.SetRetention("a", Retention.YIELD))
    world.do(c.ReportNoAnswer())
    world.ask("b", tenant="bob")
    world.pass_time(60_000)
    assert lease.state is LeaseState.ACTIVE


def test_failed_parking_on_a_missing_device_is_not_billed() -> None:
    world = World(GPU)
    lease = world.active("a")
    world.do(c.ParkLease("a"))
    world.do(c.ReportNoAnswer())
    assert lease.logical_gpu is not None
    world.do(c.ParkFailed("a", lease.logical_gpu.generation, Message.of_text("it does not answer")))
    assert (lease.state, lease.active_since_ms) == (LeaseState.ACTIVE, None)
    world.do(c.SetDevices((GPU,)))
    assert lease.active_since_ms == world.now_ms


def test_lease_says_what_is_missing_and_what_follows() -> None:
    world = World(GPU)
    lease = world.active("a")
    world.do(c.SetDevices(()))
    assert "not billed; it ends if the GPU is not back within 1 min" in text(device_health.message(world.state, lease))
    world.do(c.ReportNoAnswer())
    assert "not billed until it does" in text(device_health.message(world.state, lease))


def test_invariants_find_a_lease_that_is_billed_on_a_missing_device() -> None:
    world = World(GPU)
    world.active("a")
    world.state.devices["gpu"].missing = Missing(NO_ANSWER, world.at, world.now_ms)
    assert any("gpu, which is missing" in found for found in violations(world.state))
