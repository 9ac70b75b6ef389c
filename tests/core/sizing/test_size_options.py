"""The sizes that requests and leases can have: which there are, and what choosing one does."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant, Isolation, LeaseRequest, State
from fastgpu_jupyter.core.model.size import SizeUnit
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
from fastgpu_jupyter.core.sizing.options import SizeChoices, SizeReport
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.units import GIB
from tests.core.world import World, holder, mig_spec, spec, text


def report(world: World) -> SizeReport:
    return SizeReport(world.state, QueueReport(world.state), world.pool)


def for_request(
    world: World, size: str = "full", unit: SizeUnit = SizeUnit.SHARE, tenant: str = "ann", **more: Any
) -> SizeChoices:
    like = LeaseRequest(size, None, "kernel", None, **more)
    return report(world).for_request(tenant, like, unit, world.at)


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


def test_option_for_which_idle_leases_of_the_device_are_parked_says_so() -> None:
    world = World(spec("a", parkable=True))
    world.active("x", "half")
    world.active("y", "half")
    assert effects(for_lease(world, "x"))["full"] == "unavailable"
    world.do(c.ReportActivity("y", busy=False))
    assert effects(for_lease(world, "x"))["full"] == "after_parking"
    world.do(c.ResizeLease("x", "full"))
    found = for_lease(world, "x")
    assert (str(found.applied), str(found.requested)) == ("half", "full")
    assert effects(found)["full"] == "after_parking"


def test_options_of_leases_that_cannot_be_resized_are_unavailable_with_the_reason() -> None:
    world = World(spec("a", parkable=True))
    world.ask("x", "half")
    assert set(effects(for_lease(world, "x")).values()) == {"now", "unavailable"}, "it has the size that it has"
    assert reason(for_lease(world, "x"), "full") == "A lease that is preparing cannot be resized."
    world.prepared("x")
    world.do(c.ReleaseLease("x"))
    world.drained("x")
    assert reason(for_lease(world, "x"), "full") == "A lease that is ended cannot be resized."


def test_options_of_a_parked_lease_are_what_a_resume_with_that_size_gives() -> None:
    world = World(spec("a", parkable=True))
    world.active("x", "half")
    world.do(c.ParkLease("x"))
    world.parked("x", 30 * GIB)
    world.active("y", "half", tenant="bob")
    assert effects(for_lease(world, "x")) == {
        "eighth": "unavailable", "quarter": "unavailable", "half": "now", "full": "queued"
    }  # fmt: skip


def test_options_count_no_device_that_is_out_of_service_as_free() -> None:
    world = World(spec("a"), spec("b", index=1))
    world.do(c.DrainDevice("a", drained=True))
    assert effects(for_request(world))["2xany"] == "queued"
    assert "being emptied by an administrator" in reason(for_request(world), "2xany")
    world.do(c.ReportNoAnswer())
    assert set(effects(for_request(world)).values()) == {"queued"}
    assert "missing" in reason(for_request(world), "half") or "emptied" in reason(for_request(world), "half")


def test_options_beyond_the_quota_are_unavailable_and_those_that_must_wait_for_it_queued() -> None:
    world = World(spec("a"))
    world.do(c.SetTenant("ann", 100, 500))
    assert effects(for_request(world)) == {"eighth": "now", "quarter": "now", "half": "now", "full": "unavailable"}
    world.active("x", "quarter")
    found = for_request(world)
    assert effects(found) == {"eighth": "now", "quarter": "now", "half": "queued", "full": "unavailable"}
    assert "holds all that it may have" in reason(found, "half")
    assert effects(for_lease(world, "x")) == {"eighth": "now", "quarter": "now", "half": "now", "full": "unavailable"}


def test_options_of_a_mixed_pool_have_no_rate_that_depends_on_the_device() -> None:
    world = World(spec("a"), replace(spec("b", 40 * GIB, index=1, model="L40S"), rate_micro_per_hour=2_000_000))
    world.active("x", "any>=70GiB", tenant="bob")
    world.active("y", "l40s", tenant="bob")
    (half,) = (choice for choice in for_request(world).choices if str(choice.size) == "half")
    assert (half.effect.value, half.model, half.rate_micro_per_hour) == ("queued", None, None)
    assert half.memory_bytes == 20 * GIB, "so much is certain"
    found = for_request(world, "l40s")
    assert [str(choice.size) for choice in found.choices] == ["l40s:1/8", "l40s:1/4", "l40s:1/2", "l40s"]
    assert {choice.model for choice in found.choices} == {"L40S"}


def test_options_are_at_most_sixteen_and_have_the_smallest_and_the_largest() -> None:
    devices = [spec(f"d{number}", index=number) for number in range(48)]
    world = World(*devices, *(mig_spec(f"m{number}", index=100 + number) for number in range(2)))
    found = for_request(world)
    assert len(found.choices) <= 16
    assert (found.choices[0].memory_bytes // GIB, str(found.choices[-1].size)) == (9, "48xany")
    world.active("x", "any:3/8")
    assert "any:3/8" in effects(for_lease(world, "x"))


def test_options_of_an_empty_pool_are_none() -> None:
    assert for_request(World()).choices == []


def test_options_are_all_unavailable_while_no_request_is_accepted() -> None:
    world = World(spec("a"))
    like, closed = LeaseRequest("full", None, "kernel", None), Message.of_text("The disk is full.")
    found = report(world).for_request("ann", like, SizeUnit.SHARE, world.at, closed=closed)
    assert set(effects(found).values()) == {"unavailable"}
    assert reason(found, "half") == "The disk is full."


def test_report_answers_again_after_an_event_or_a_second_and_not_before() -> None:
    world = World(spec("a", parkable=True))
    one, like = report(world), LeaseRequest("full", None, "kernel", None)

    def full() -> str:
        return effects(one.for_request("ann", like, SizeUnit.SHARE, world.at))["full"]

    found = one.for_request("ann", like, SizeUnit.SHARE, world.at)
    assert one.for_request("ann", like, SizeUnit.SHARE, world.at) is found
    one.update(world.do(c.RequestLease("x", "bob", LeaseRequest("full", None, None, None), holder(1), "")))
    world.prepared("x")
    one.update(world.do(c.ReportActivity("x", busy=False)))
    assert full() == "queued"
    world.now_ms += world.state.policy.idle_ms or 0
    assert full() == "after_parking", "time makes leases idle, without an event"


def _full_pool(devices: int, waiting: int) -> tuple[SizeReport, Pool]:
    """A pool whose devices are leased whole, with so many requests of 50 tenants that wait."""
    pool, at = Pool(State()), Instant(0, 10**12)
    pool.execute(c.StartPool("boot", 0), at)
    specs = [spec(f"d{number}", index=number % 8, host_id=f"h{number // 8}") for number in range(devices)]
    pool.execute(c.SetDevices(tuple(specs)), at)
    for number in range(devices + waiting):
        request = LeaseRequest("full" if number < devices else ["half", "2xany"][number % 2], None, "kernel", None)
        pool.execute(c.RequestLease(f"l{number}", f"t{number % 50}", request, holder(1), ""), at)
    return SizeReport(pool.state, QueueReport(pool.state), pool), pool


@pytest.mark.slow
def test_options_cost_hardly_more_in_a_large_pool() -> None:
    def measure(devices: int, waiting: int) -> float:
        one, pool = _full_pool(devices, waiting)
        at, took_s = pool.state.last, []
        for number in range(15):
            like = LeaseRequest("full", None, "kernel", f"{number}.ipynb")  # no answer is remembered
            began_s = time.perf_counter()
            found = one.for_request("t1", like, SizeUnit.MEMORY, at)
            took_s.append(time.perf_counter() - began_s)
            assert {choice.effect.value for choice in found.choices} == {"queued"}
        return sorted(took_s)[7]

    assert measure(4000, 800) < 10 * measure(40, 8)
