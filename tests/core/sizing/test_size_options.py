"""The sizes that requests and leases can have: which there are, and what choosing one does."""

from __future__ import annotations

from typing import Any

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Isolation, LeaseRequest
from fastgpu_jupyter.core.model.size import SizeUnit
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
from fastgpu_jupyter.core.sizing.options import SizeChoices, SizeReport
from fastgpu_jupyter.units import GIB
from tests.core.world import World, holder, mig_spec, spec, text


def report(world: World) -> SizeReport:
    return SizeReport(world.state, QueueReport(world.state), world.pool)


def for_request(
    world: World, size: str = "full", unit: SizeUnit = SizeUnit.SHARE, tenant: str = "ann", **more: Any
) -> SizeChoices:
    like = LeaseRequest(size, None, "kernel", None, **more)
    return report(world).for_request(tenant, holder(1), like, unit, world.at)


def for_lease(world: World, name: str, used_bytes: int | None = None) -> SizeChoices:
    return report(world).for_lease(world.state.leases[name], SizeUnit.SHARE, used_bytes, world.at)


def effects(found: SizeChoices) -> dict[str, str]:
    return {str(choice.size): choice.effect.value for choice in found.choices}


def reason(found: SizeChoices, size: str) -> str:
    (choice,) = (choice for choice in found.choices if str(choice.size) == size)
    return text(choice.reason)


def test_options_of_free_devices_are_parts_and_numbers_of_devices_ordered_by_memory() -> None:
    found = for_request(World(spec("a"), spec("b", index=1)))
    assert effects(found) == dict.fromkeys(["eighth", "quarter", "half", "full", "2xany"], "now")
    assert [choice.memory_bytes // GIB for choice in found.choices] == [10, 20, 40, 80, 160]
    assert [choice.rate_micro_per_hour for choice in found.choices] == [
        450_000,
        900_000,
        1_800_000,
        3_600_000,
        7_200_000,
    ]
    assert [(one.model, one.devices) for one in found.models] == [("A100-80GB", 2)]


def test_options_by_memory_are_amounts_up_to_the_largest_device() -> None:
    found = for_request(World(spec("a", 24 * GIB)), unit=SizeUnit.MEMORY)
    assert list(effects(found)) == ["1GiB", "2GiB", "4GiB", "6GiB", "8GiB", "12GiB", "16GiB", "20GiB", "full"]


def test_options_of_a_divided_device_are_its_profiles() -> None:
    found = for_request(World(mig_spec("a")))
    profiles = ["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]
    assert [str(choice.size) for choice in found.choices if choice.size.partition] == profiles


def test_option_that_isolation_forbids_is_unavailable_with_the_reason() -> None:
    found = for_request(World(spec("a")), isolation=Isolation.HARDWARE)
    assert effects(found) == {
        "eighth": "unavailable", "quarter": "unavailable", "half": "unavailable", "full": "now"
    }  # fmt: skip
    assert "only by agreement" in reason(found, "half") or "only by software" in reason(found, "half")


def test_option_without_room_is_queued_with_its_position_and_reason() -> None:
    world = World(spec("a"))
    world.active("x", "half")
    world.ask("y", "full", tenant="bob")
    found = for_request(world)
    assert effects(found) == {"eighth": "queued", "quarter": "queued", "half": "queued", "full": "queued"}
    # What is free is reserved for the request that waits.
    assert reason(found, "half").startswith("Free capacity is reserved for earlier requests")
    assert reason(found, "full").startswith("Every GPU that could serve this is in use")
    assert {choice.position for choice in found.choices} == {2}


def test_option_that_idle_leases_are_parked_for_says_so() -> None:
    world = World(spec("a", parkable=True))
    world.active("x", "half", tenant="bob")
    world.do(c.ReportActivity("x", busy=False))
    assert effects(for_request(world))["full"] == "queued"
    world.pass_time(world.state.policy.idle_ms or 0)
    assert effects(for_request(world)) == {
        "eighth": "now", "quarter": "now", "half": "now", "full": "after_parking"
    }  # fmt: skip


def test_option_of_an_active_lease_below_the_memory_in_use_is_unavailable() -> None:
    world = World(spec("a"))
    world.active("x", "half")
    found = for_lease(world, "x", used_bytes=30 * GIB)
    assert effects(found) == {"eighth": "unavailable", "quarter": "unavailable", "half": "now", "full": "now"}
    assert (str(found.applied), str(found.requested)) == ("half", "half")


def test_option_of_a_waiting_lease_that_would_start_at_once_is_now() -> None:
    world = World(spec("a"))
    world.active("x", "half")
    world.ask("y", "full", tenant="bob")
    found = for_lease(world, "y")
    assert effects(found) == {"eighth": "now", "quarter": "now", "half": "now", "full": "queued"}
    assert found.applied is None
    world.do(c.ResizeLease("y", "half"))
    assert world.state_of("y") == "preparing"
