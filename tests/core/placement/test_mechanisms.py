"""The mechanism that serves a request: the first that meets all requirements, and never one that meets fewer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.effects import SetLimit, effects, outstanding
from fastgpu_jupyter.core.model.entities import (
    DeviceSpec,
    EndReason,
    Enforcement,
    Isolation,
    LimitScope,
    Mechanism,
    MechanismCapability,
    Plan,
    Requirements,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.size import parse_size
from fastgpu_jupyter.core.placement import mechanisms
from fastgpu_jupyter.errors import Conflict, Message, NeedsRestart, NoSuchDevice
from tests.core.world import World, holder, spec, text
from tests.refusals import refused

WHOLE = MechanismCapability(Mechanism.EXCLUSIVE, Enforcement.HARDWARE)
AGREED = MechanismCapability(Mechanism.SHARED, Enforcement.COOPERATIVE, resizable=True)
KEPT = MechanismCapability(Mechanism.SHARED, Enforcement.DRIVER, resizable=True)
TOGETHER = MechanismCapability(Mechanism.MPS, Enforcement.USERSPACE, LimitScope.PROCESS, parkable=False)
#: Like a partition of the hardware: isolated, but neither resizable nor parkable.
FIXED = MechanismCapability(Mechanism.SHARED, Enforcement.HARDWARE, parkable=False)


def gpu(*capabilities: MechanismCapability, parkable: bool = False) -> DeviceSpec:
    return replace(
        spec("gpu", parkable=parkable),
        mechanisms=tuple(capability.mechanism for capability in capabilities),
        capabilities=capabilities,
    )


@pytest.mark.parametrize(
    ("capabilities", "size", "required", "chosen"),
    [
        ((WHOLE, AGREED), "full", {}, WHOLE),
        ((WHOLE, AGREED), "half", {}, AGREED),
        ((WHOLE, AGREED), "full", {"isolation": Isolation.HARDWARE}, WHOLE),
        ((WHOLE, AGREED), "half", {"isolation": Isolation.LIMITED}, None),
        ((WHOLE, KEPT), "half", {"isolation": Isolation.LIMITED}, KEPT),
        ((WHOLE, KEPT), "half", {"isolation": Isolation.HARDWARE}, None),
        ((WHOLE, FIXED), "half", {"isolation": Isolation.HARDWARE}, FIXED),
        ((WHOLE,), "half", {}, None),
        ((WHOLE, AGREED), "half", {"resizable": True}, AGREED),
        ((WHOLE, FIXED), "half", {"resizable": True}, None),
        ((WHOLE, AGREED), "full", {"resizable": True}, WHOLE),
        ((WHOLE,), "full", {"resizable": True}, None),
        ((WHOLE, AGREED), "2xfull", {"resizable": True}, None),
        ((WHOLE, FIXED, AGREED), "half", {"resizable": True}, AGREED),
        ((WHOLE, FIXED, AGREED), "half", {}, FIXED),
        ((WHOLE, AGREED, FIXED), "half", {}, AGREED),
        ((WHOLE, FIXED, AGREED), "half", {"parkable": True}, AGREED),
        ((WHOLE, FIXED, KEPT), "half", {"isolation": Isolation.HARDWARE, "parkable": True}, None),
        ((WHOLE, TOGETHER, AGREED), "half", {}, TOGETHER),
        ((WHOLE, TOGETHER, AGREED), "full", {}, WHOLE),
        ((WHOLE, TOGETHER, AGREED), "half", {"parkable": True}, AGREED),
        ((WHOLE, TOGETHER, AGREED), "half", {"resizable": True}, AGREED),
        ((WHOLE, TOGETHER, AGREED), "half", {"isolation": Isolation.LIMITED}, None),
        ((WHOLE, TOGETHER, KEPT), "half", {"isolation": Isolation.LIMITED}, KEPT),
        ((WHOLE, TOGETHER, AGREED), "half", {"unpartitioned": True}, AGREED),
    ],
)
def test_choose_several_mechanisms_takes_the_first_that_meets_all_requirements(
    capabilities: tuple[MechanismCapability, ...],
    size: str,
    required: dict[str, object],
    chosen: MechanismCapability | None,
) -> None:
    device = gpu(*capabilities, parkable=True)
    requirements = Requirements(parse_size(size), **required)  # type: ignore[arg-type]
    assert mechanisms.choose(device, requirements) == chosen
    why = mechanisms.refusal(device, requirements)
    assert (why is None) == (chosen is not None)
    assert why is None or text(why).endswith(".")


def test_choose_parkable_on_a_device_that_cannot_park_finds_no_mechanism() -> None:
    requirements = Requirements(parse_size("full"), parkable=True)
    assert mechanisms.choose(gpu(WHOLE), requirements) is None
    assert "cannot be parked" in text(mechanisms.refusal(gpu(WHOLE), requirements))


def test_refusal_names_all_requirements_that_no_single_mechanism_meets() -> None:
    requirements = Requirements(parse_size("half"), isolation=Isolation.HARDWARE, parkable=True)
    why = mechanisms.refusal(gpu(WHOLE, FIXED, AGREED, parkable=True), requirements)
    assert "isolation=hardware and parkable" in text(why)


def test_request_that_no_mechanism_serves_is_refused_with_the_reason() -> None:
    world = World(gpu(WHOLE, AGREED))
    with refused(NoSuchDevice, match=r"apart from others only by agreement; ask for a whole one"):
        world.ask("a", "half", isolation=Isolation.LIMITED)


def test_capabilities_missing_in_an_older_journal_are_the_usual_ones() -> None:
    assert mechanisms.capabilities_of(spec("gpu", whole_only=True)) == (WHOLE,)
    assert mechanisms.capabilities_of(spec("gpu")) == (WHOLE, AGREED)


def test_reason_of_each_mechanism_is_known() -> None:
    world = World(gpu(WHOLE, KEPT))
    for size, words in (("full", "whole GPU"), ("half", "enforces memory limits")):
        lease = world.active(size, size)
        assert lease.logical_gpu is not None
        assert words in text(mechanisms.reason(lease.logical_gpu))
        world.do(c.ReleaseLease(size))
        world.drained(size)


def test_driver_limit_is_set_for_each_process_and_each_size() -> None:
    world = World(gpu(WHOLE, KEPT))

    def limits() -> list[SetLimit]:
        return [effect for effect in effects(world.state, world.history[-1][1]) if isinstance(effect, SetLimit)]

    lease = world.active("a", "half")
    assert [limit.logical_gpu for limit in limits()] == [lease.logical_gpu]
    world.do(c.BindHolder("a", holder(99)))
    assert [limit.holder.pid for limit in limits()] == [99]
    world.do(c.ResizeLease("a", "quarter"))
    assert [limit.logical_gpu.memory_bytes for limit in limits()] == [20 * 2**30]
    assert [effect for effect in outstanding(world.state) if isinstance(effect, SetLimit)] == limits()
    world.do(c.LimitSet("a", 1, Enforcement.DRIVER, "group"))
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.driver_handle == "group"
    assert world.do(c.LimitSet("a", 1, Enforcement.DRIVER, "group")) == []
    world.do(c.ResizeLease("a", "full"))
    assert [(limit.logical_gpu.driver_handle, limit.logical_gpu.whole) for limit in limits()] == [("group", True)], (
        "to be lifted"
    )
    world.do(c.LimitSet("a", 1, Enforcement.HARDWARE))
    assert not [effect for effect in outstanding(world.state) if isinstance(effect, SetLimit)]


def test_driver_limit_requested_before_a_resize_is_requested_again() -> None:
    world = World(gpu(WHOLE, KEPT))
    lease = world.active("a", "half")
    world.do(c.ResizeLease("a", "full"))  # before the first limit was set
    late = world.do(c.LimitSet("a", 1, Enforcement.DRIVER, "group", None, 40 * 2**30))
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.enforcement is Enforcement.HARDWARE
    (lifting,) = [effect for effect in effects(world.state, late) if isinstance(effect, SetLimit)]
    assert (lifting.logical_gpu.whole, lifting.logical_gpu.driver_handle) == (True, "group")
    lifted = world.do(c.LimitSet("a", 1, Enforcement.HARDWARE, "", None, 80 * 2**30))
    assert lease.logical_gpu.driver_handle == ""
    assert not [effect for effect in effects(world.state, lifted) if isinstance(effect, SetLimit)]


def test_driver_limit_that_is_not_enforced_is_reported() -> None:
    world = World(gpu(WHOLE, KEPT))
    lease = world.active("a", "half")
    world.do(c.LimitSet("a", 1, Enforcement.COOPERATIVE, "", Message.of_text("It shares its group.")))
    assert lease.logical_gpu is not None
    assert (lease.state, lease.logical_gpu.enforcement) == (LeaseState.ACTIVE, Enforcement.COOPERATIVE)
    assert text(lease.limit_detail) == "It shares its group."
    world.do(c.BindHolder("a", holder(99)))
    assert not [effect for effect in outstanding(world.state) if isinstance(effect, SetLimit)]


def test_driver_limit_that_is_required_and_not_enforced_ends_the_lease() -> None:
    world = World(gpu(WHOLE, KEPT))
    lease = world.active("a", "half", isolation=Isolation.LIMITED)
    world.do(c.LimitSet("a", 1, Enforcement.COOPERATIVE, "", Message.of_text("It shares its group.")))
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.PREPARE_FAILED)
    assert text(lease.end_detail) == "It shares its group."


def test_driver_limit_of_an_earlier_grant_changes_nothing() -> None:
    world = World(gpu(WHOLE, KEPT))
    world.active("a", "half")
    assert world.do(c.LimitSet("a", 7, Enforcement.NONE)) == []
    world.do(c.ReleaseLease("a"))
    assert world.do(c.LimitSet("a", 1, Enforcement.NONE)) == []


def test_resize_of_a_mechanism_that_cannot_is_refused() -> None:
    world = World(gpu(WHOLE, FIXED))
    world.active("a", "half")
    with refused(Conflict, match="does not change while its kernel runs"):
        world.do(c.ResizeLease("a", "quarter"))


def test_resize_of_a_whole_device_that_can_be_shared_leaves_a_part() -> None:
    world = World(gpu(WHOLE, AGREED))
    lease = world.active("a", "full")
    world.do(c.ResizeLease("a", "half"))
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.mechanism is Mechanism.SHARED
    world.active("b", "half")


# -- mps --------------------------------------------------------------------------------------------------------------


def test_mps_lease_has_its_users_uid_and_a_fixed_size() -> None:
    world = World(gpu(WHOLE, TOGETHER, AGREED, parkable=True))
    lease = world.active("a", "half")
    held = lease.logical_gpu
    assert held is not None
    assert (held.mechanism, held.scope, held.owner_uid) == (Mechanism.MPS, LimitScope.PROCESS, lease.holder.uid)
    assert "an error in one of them ends the others" in text(mechanisms.reason(held))
    for size in ("quarter", "full"):
        with refused(NeedsRestart, match="reads its limits when it starts"):
            world.do(c.ResizeLease("a", size))
    with refused(Conflict, match="so it cannot be transferred"):
        world.do(c.TransferLease("a", "bob"))
    assert world.do(c.TransferLease("a", "ann")) == []
    with refused(Conflict, match="cannot be moved to the host"):
        world.do(c.ParkLease("a"))
    assert lease.logical_gpu == held


def test_mps_is_not_chosen_for_a_resized_or_resumed_lease() -> None:
    world = World(gpu(WHOLE, AGREED, parkable=True))
    shared, parked = world.active("a", "half"), world.active("b", "quarter")
    world.do(c.ParkLease("b"))
    world.parked("b")
    world.do(c.SetDevices((gpu(WHOLE, TOGETHER, AGREED, parkable=True),)))  # it was switched on
    world.do(c.ResizeLease("a", "quarter"))
    world.do(c.ResumeLease("b"))
    world.resumed("b")
    for lease in (shared, parked):
        assert lease.logical_gpu is not None
        assert (lease.logical_gpu.mechanism, lease.logical_gpu.owner_uid) == (Mechanism.SHARED, None)


def test_mps_lease_is_not_parked_after_mps_is_no_longer_offered() -> None:
    world = World(gpu(WHOLE, TOGETHER, AGREED, parkable=True))
    world.active("a", "half")
    world.do(c.SetDevices((gpu(WHOLE, AGREED, parkable=True),)))  # it was switched off
    with refused(Conflict, match="cannot be moved to the host"):
        world.do(c.ParkLease("a"))


def test_reserved_capacity_is_not_borrowed_by_an_mps_lease_that_cannot_be_parked() -> None:
    world = World(gpu(WHOLE, TOGETHER, AGREED, parkable=True))
    world.do(c.ReserveCapacity("r", "ann", 1000, None, Plan.MONTH, 20))
    assert world.ask("a", "half", tenant="bob").state is LeaseState.WAITING
    borrowed = world.active("b", "half", tenant="bob", parkable=True)
    assert borrowed.logical_gpu is not None
    assert borrowed.logical_gpu.mechanism is Mechanism.SHARED
    own = world.active("c", "half")
    assert own.logical_gpu is not None
    assert own.logical_gpu.mechanism is Mechanism.MPS
