"""Faults of devices: the leases that they concern, devices that leave service, leases that migrate."""

from __future__ import annotations

from typing import Any

import pytest

from fastgpu_jupyter.core.lease import device_health
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    DeviceFault,
    EndReason,
    FaultSeverity,
    Health,
    HostSpec,
    ParkReason,
    PendingReason,
    Retention,
    ScrubOutcome,
    ScrubResult,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.placement import eligibility
from fastgpu_jupyter.core.scheduling.queue_report import positions
from fastgpu_jupyter.errors import Message, NotFound
from fastgpu_jupyter.units import GIB
from tests.core.faults import BAD_MEMORY, MEMORY_ERRORS, OFF_THE_BUS, STOPPED, WRONG_ADDRESS
from tests.core.world import BOOT, World, holder, spec, text
from tests.refusals import refused


def shared(*, parkable: bool = True, devices: int = 2) -> World:
    return World(*(spec(f"gpu-{n}", index=n, parkable=parkable) for n in range(devices)))


def message_of(world: World, name: str) -> str:
    return text(device_health.message(world.state, world.state.leases[name]))


def test_report_fault_of_a_process_notifies_only_its_lease() -> None:
    world = shared(devices=1)
    world.active("a", "half")
    world.active("b", "half")
    world.do(c.ReportFault("gpu-0", WRONG_ADDRESS, ("a",), certain=True))
    assert message_of(world, "a").startswith("Your code ")
    assert "Xid 31." in message_of(world, "a")
    assert "restart the kernel" in message_of(world, "a")
    assert message_of(world, "b") == ""
    assert world.state.devices["gpu-0"].health is Health.HEALTHY
    assert world.states() == {"a": "active", "b": "active"}


@pytest.mark.parametrize("fault", [BAD_MEMORY, MEMORY_ERRORS, OFF_THE_BUS])
def test_report_fault_of_a_device_takes_it_out_of_service(fault: DeviceFault) -> None:
    world = shared(parkable=False)
    world.active("a")
    assert world.state.leases["a"].logical_gpu is not None
    there = world.state.leases["a"].logical_gpu.device_id
    world.do(c.ReportFault(there, fault))
    device = world.state.devices[there]
    assert device.health is not Health.HEALTHY
    assert f"({fault.code})" in text(device.health_reason)
    world.active("b")
    assert world.state.leases["b"].logical_gpu.device_id != there  # type: ignore[union-attr]
    world.ask("c")
    assert world.states()["c"] == "waiting"


def test_report_fault_of_a_device_that_is_minor_changes_nothing() -> None:
    world = shared()
    world.active("a")
    assert world.do(c.ReportFault("gpu-0", BAD_MEMORY._replace(severity=FaultSeverity.MINOR))) == []


@pytest.mark.parametrize(
    ("suspects", "certain", "who"),
    [
        ((), False, {"a": "perhaps", "b": "perhaps"}),
        (("b",), False, {"a": "", "b": "perhaps"}),
        (("b",), True, {"a": "", "b": "surely"}),
        (("gone",), True, {"a": "perhaps", "b": "perhaps"}),  # it ended meanwhile: the cause is unknown
    ],
)
def test_fault_marks_the_leases_that_may_have_caused_it(
    suspects: tuple[str, ...], certain: bool, who: dict[str, str]
) -> None:
    world = shared(devices=1)
    world.active("a", "half")
    world.active("b", "half")
    world.do(c.ReportFault("gpu-0", WRONG_ADDRESS, suspects, certain=certain))
    begins = {"Your": "surely", "A pr": "perhaps", "": ""}
    assert {name: begins[message_of(world, name)[:4]] for name in "ab"} == who


def test_who_has_the_device_alone_did_it() -> None:
    world = shared(devices=1)
    world.active("a")
    world.do(c.ReportFault("gpu-0", WRONG_ADDRESS))
    assert message_of(world, "a").startswith("Your code read or wrote outside its memory on the GPU: Xid 31.")


def test_fault_is_reported_once_per_process() -> None:
    world = shared(devices=1)
    lease = world.active("a")
    assert world.do(c.ReportFault("gpu-0", WRONG_ADDRESS))
    assert world.do(c.ReportFault("gpu-0", WRONG_ADDRESS)) == []
    world.do(c.BindHolder("a", holder(777)))
    assert (lease.fault, message_of(world, "a")) == (None, "")
    assert world.do(c.ReportFault("gpu-0", WRONG_ADDRESS))


def test_lease_on_a_suspect_device_has_a_message_with_the_next_step() -> None:
    world = shared(parkable=False)
    world.active("a")
    world.do(c.ReportFault("gpu-0", MEMORY_ERRORS))
    assert "memory errors that it could not correct (Xid 48)" in message_of(world, "a")
    assert "Save your work" in message_of(world, "a")


def test_who_waits_is_served_elsewhere_and_otherwise_knows_why_not() -> None:
    world = shared(devices=1)
    world.do(c.ReportFault("gpu-0", OFF_THE_BUS))
    world.ask("a")
    assert [(lease.id, reason) for lease, _, reason in positions(world.state)] == [("a", PendingReason.HEALTH)]
    world.do(c.RestoreDevice("gpu-0"))
    assert world.states() == {"a": "preparing"}


def test_what_was_on_a_device_that_is_gone_is_lost() -> None:
    world = shared()
    world.active("a")
    world.do(c.ReportFault("gpu-0", OFF_THE_BUS))
    lease = world.state.leases["a"]
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.DEVICE_LOST)
    assert world.do(c.ReportFault("gpu-0", OFF_THE_BUS)) == []  # the driver says it again and again


def test_a_look_that_finds_the_device_gone_says_the_same() -> None:
    world = shared()
    world.active("a")
    world.do(c.SetHealth("gpu-0", Health.FAULTY, Message.of_text("The GPU is lost."), lost=True))
    assert world.states() == {"a": "draining"}


def moved(world: World, name: str) -> None:
    """Its memory travels, and it is where it should be."""
    lease = world.state.leases[name]
    assert (lease.state, lease.park_reason) == (LeaseState.PARKING, ParkReason.HEALTH)
    world.parked(name, 7)
    world.resumed(name)
    assert lease.state is LeaseState.ACTIVE


def test_a_lease_that_can_park_leaves_a_suspect_device() -> None:
    world = shared()
    world.active("a")
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    moved(world, "a")
    assert world.state.leases["a"].logical_gpu.device_id == "gpu-1"  # type: ignore[union-attr]
    assert message_of(world, "a") == ""


def test_it_goes_before_everybody_else() -> None:
    world = shared()
    world.active("a")
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    world.ask("late", tenant="bob")  # takes the room that was there
    world.prepared("late")
    world.ask("later", tenant="cid")
    world.parked("a", 7)
    world.do(c.ReleaseLease("late"))
    world.drained("late")
    assert world.states() == {"a": "resuming", "late": "ended", "later": "waiting"}


def test_it_goes_as_soon_as_there_is_room() -> None:
    world = shared()
    world.active("a")
    world.active("b")
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    assert world.states() == {"a": "active", "b": "active"}  # parked, it would only stand still
    world.do(c.ReleaseLease("b"))
    world.drained("b")
    world.pass_time(5000)
    moved(world, "a")


def test_no_more_go_than_there_is_room_for() -> None:
    world = shared(devices=2)
    for name in "ab":
        world.active(name, "half")
    world.active("c", "half")
    assert [len(device.lease_ids) for device in world.state.devices.values()] == [2, 1]
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    assert sorted(world.states().values()) == ["active", "active", "parking"]


@pytest.mark.parametrize("more", [{"retention": Retention.HOLD}, {"parkable": False}])
def test_unparkable_lease_on_a_suspect_device_gets_a_message(more: dict[str, Any]) -> None:
    world = shared()
    world.active("a", **more)
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    world.pass_time(5000)
    assert world.states() == {"a": "active"}
    assert "Xid 63" in message_of(world, "a")


def test_memory_that_is_not_to_be_trusted_is_not_moved() -> None:
    world = shared()
    world.active("a")
    world.do(c.ReportFault("gpu-0", MEMORY_ERRORS))
    world.pass_time(5000)
    assert world.states() == {"a": "active"}


def test_a_lease_of_several_devices_goes_only_where_as_many_are_free() -> None:
    world = World(*(spec(f"gpu-{n}", index=n, parkable=True) for n in range(4)))
    world.active("pair", "2xa100")
    world.active("one")
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    assert world.states()["pair"] == "active"
    world.do(c.ReleaseLease("one"))
    world.drained("one")
    world.pass_time(5000)
    moved(world, "pair")


def test_an_error_number_is_held_against_the_device_until_it_is_put_back() -> None:
    world = shared()
    world.do(c.ReportFault("gpu-0", MEMORY_ERRORS))
    world.do(c.SetHealth("gpu-0", Health.HEALTHY))
    assert world.state.devices["gpu-0"].health is Health.FAULTY
    world.do(c.RestoreDevice("gpu-0"))
    assert world.health_of("gpu-0") is Health.HEALTHY
    assert world.do(c.RestoreDevice("gpu-0")) == []
    world.do(c.SetHealth("gpu-0", Health.SUSPECT, Message.of_text("It should be reset.")))
    world.do(c.SetHealth("gpu-0", Health.HEALTHY))  # what was seen is no longer seen
    assert world.health_of("gpu-0") is Health.HEALTHY


def test_a_lesser_error_does_not_make_a_device_better() -> None:
    world = shared()
    world.do(c.ReportFault("gpu-0", MEMORY_ERRORS))
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    assert world.state.devices["gpu-0"].health is Health.FAULTY


def test_restart_of_the_machine_resets_device_health() -> None:
    world = shared()
    world.do(c.ReportFault("gpu-0", MEMORY_ERRORS))
    world.do(c.StartPool(BOOT, 5000))
    assert world.state.devices["gpu-0"].health is Health.FAULTY
    world.do(c.StartPool("boot-2", 10))
    assert world.health_of("gpu-0") is Health.HEALTHY


def test_process_broken_by_parking_needs_a_restart() -> None:
    world = shared()
    world.active("a")
    world.do(c.ParkLease("a"))
    gpu = world.state.leases["a"].logical_gpu
    assert gpu is not None
    world.do(c.ParkFailed("a", gpu.generation, Message.of_text("The driver says that it failed."), broken=True))
    assert world.states() == {"a": "active"}
    assert message_of(world, "a") == "The driver says that it failed. Restart the kernel."


def test_a_move_does_not_take_more_host_memory_than_there_is() -> None:
    world = shared()
    world.do(c.SetDevices((spec("gpu-0", parkable=True), spec("gpu-1", parkable=True)), (HostSpec("", 1000, GIB),)))
    world.state.policy = type(world.state.policy)(parked_bytes_max=0)
    world.active("a")
    world.do(c.ReportFault("gpu-0", BAD_MEMORY))
    assert world.states() == {"a": "active"}


def test_command_on_an_unknown_device_is_refused() -> None:
    for command in (c.ReportFault("nothing", WRONG_ADDRESS), c.RestoreDevice("nothing")):
        with refused(NotFound, match="nothing"):
            World().do(command)


def test_fault_message_is_in_the_journal() -> None:
    world = shared(devices=1)
    world.active("a")
    [event] = world.do(c.ReportFault("gpu-0", STOPPED))
    assert isinstance(event, e.LeaseFaulted)
    assert (event.lease_id, event.fault_code) == ("a", "Xid 43")


def test_device_with_pending_scrub_is_not_granted() -> None:
    world = shared()
    for name in ("gpu-0", "gpu-1"):
        world.do(c.ReportScrubFailure(name, Message.of_text("it hangs")))
    assert world.do(c.ReportScrubFailure("gpu-0", Message.of_text("it hangs"))) == []
    assert world.do(c.ReportScrubFailure("no such device", Message.of_text("it hangs"))) == []
    assert world.state.devices["gpu-0"].reported_health == Health.SUSPECT.value
    waiting = world.ask("waiting")
    assert waiting.state is LeaseState.WAITING
    assert eligibility.pending_reason(world.state, waiting.requirements) is PendingReason.HEALTH
    world.do(c.ReportScrubFailure("gpu-0", None))
    assert world.state_of(waiting.id) is LeaseState.PREPARING
    more = world.ask("more")
    assert more.state is LeaseState.WAITING
    world.do(c.DrainDevice("gpu-1", drained=False))  # an administrator goes on
    assert world.state_of(more.id) is LeaseState.PREPARING


def test_what_became_of_a_lease_s_memory_is_remembered_until_it_is_on_a_device_again() -> None:
    world = shared()
    lease = world.active("a")
    assert lease.logical_gpu is not None
    world.do(c.ParkLease("a"))
    zeros = ScrubResult(ScrubOutcome.OVERWRITTEN, 80 * GIB, Message.of_text("All of it."))
    world.do(c.ParkSucceeded("a", lease.logical_gpu.generation, GIB, zeros))
    assert (lease.scrub, lease.scrub_bytes, lease.scrub_detail) == zeros
    world.do(c.ResumeLease("a"))
    world.resumed("a")
    assert (lease.scrub, lease.scrub_bytes, lease.scrub_detail) == (None, None, None)
    world.do(c.ReleaseLease("a"))
    world.drained("a", zeros)
    assert (lease.scrub, lease.scrub_bytes, lease.scrub_detail) == zeros
