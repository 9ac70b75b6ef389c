"""Devices in MIG mode: the partition that serves a size, its cost, refusals, and leases on a device that changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    Enforcement,
    ExistingPartition,
    Isolation,
    Lease,
    LogicalGPU,
    Mechanism,
    Partition,
    PendingReason,
    Requirements,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.size import parse_size
from fastgpu_jupyter.core.placement import capacity_index, mechanisms, mig_partitions
from fastgpu_jupyter.core.pool import replay
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import InvalidRequest, Message, NeedsRestart, NoSuchDevice
from fastgpu_jupyter.pool.journal.codec import decode, encode
from fastgpu_jupyter.units import GIB, MIB
from tests.core.placement import naive_placement
from tests.core.world import World, mig_spec, spec, text
from tests.refusals import refused


def part_of(lease: Lease) -> Partition:
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.partition is not None
    return lease.logical_gpu.partition


def places(world: World) -> dict[str, tuple[str, int]]:
    held = ((lease.id, lease.logical_gpu) for lease in world.state.leases.values())
    return {name: (gpu.partition.profile, gpu.partition.start) for name, gpu in held if gpu and gpu.partition}


@pytest.mark.parametrize(
    ("size", "profile", "memory_mib", "rate"),
    [
        ("eighth", "1g.10gb", 9728, 511_200),
        ("9GiB", "1g.10gb", 9728, 511_200),
        (
            "10GiB",
            "1g.20gb",
            19968,
            900_000,
        ),  # the driver needs a little of each, so the small one has less than 10 GiB
        ("quarter", "1g.20gb", 19968, 900_000),
        ("a100:1/3", "3g.40gb", 40192, 1_800_000),
        ("half", "3g.40gb", 40192, 1_800_000),
        ("2g.20gb", "2g.20gb", 19968, 1_026_000),
        ("A100:4G.40GB", "4g.40gb", 40192, 2_055_600),
        ("60GiB", "7g.80gb", 80640, 3_600_000),
        ("full", "7g.80gb", 80640, 3_600_000),
        ("1g.10gb+me", "1g.10gb+me", 9728, 511_200),
    ],
)
def test_size_is_served_by_the_smallest_sufficient_partition(
    size: str, profile: str, memory_mib: int, rate: int
) -> None:
    lease = World(mig_spec("gpu")).active("a", size)
    gpu = lease.logical_gpu
    assert gpu is not None
    assert (part_of(lease).profile, gpu.memory_bytes, gpu.rate_micro_per_hour) == (profile, memory_mib * MIB, rate)
    assert (gpu.mechanism, gpu.enforcement, gpu.whole) == (Mechanism.MIG, Enforcement.HARDWARE, False)
    assert "the hardware keeps apart" in text(mechanisms.reason(gpu))


def test_small_partitions_leave_room_for_the_largest() -> None:
    world = World(mig_spec("gpu"))
    for name in "abc":
        world.active(name, "1g.10gb")
    assert sorted(start for _, start in places(world).values()) == [4, 5, 6]
    assert part_of(world.active("large", "4g.40gb")).start == 0


def test_mixture_of_sizes_fills_a_device_and_one_more_waits() -> None:
    world = World(mig_spec("gpu"))
    for name, size in (("a", "half"), ("b", "quarter"), ("c", "1g.10gb"), ("d", "1g.10gb")):
        assert world.active(name, size).state is LeaseState.ACTIVE
    waits = world.ask("waits", "1g.10gb")
    ((_, _, reason),) = queue_report.positions(world.state)
    assert (waits.state, reason) == (LeaseState.WAITING, PendingReason.CAPACITY)
    world.do(c.ReleaseLease("c"))
    assert waits.state is LeaseState.WAITING, "what drains is not free"
    gone = places(world)["c"]
    world.drained("c")
    assert places(world)["waits"] == gone


def test_whole_gpu_is_placed_outside_mig_mode_first() -> None:
    world = World(mig_spec("mig", index=0), spec("plain", index=1))
    assert world.active("first", "full").logical_gpu.device_id == "plain"  # type: ignore[union-attr]
    second = world.active("second", "full")
    assert part_of(second).profile == "7g.80gb"
    assert world.state.tenants["ann"].held_milli == 2000
    assert world.ask("third", "eighth").state is LeaseState.WAITING


def test_part_is_placed_in_mig_mode_first() -> None:
    world = World(spec("plain", index=0), mig_spec("mig", index=1))
    assert part_of(world.active("a", "half")).profile == "3g.40gb"


def test_part_is_placed_on_the_fullest_device_in_mig_mode() -> None:
    world = World(mig_spec("one", index=0), mig_spec("two", index=1))
    world.active("a", "half")
    world.active("b", "1g.10gb")
    held = {lease.logical_gpu.device_id for lease in world.state.leases.values() if lease.logical_gpu}
    assert held == {"one"}
    assert part_of(world.active("c", "full")).profile == "7g.80gb"


@pytest.mark.parametrize(
    ("size", "more", "why"),
    [
        ("2xa100", {}, "one partition at most"),
        ("1g.12gb", {}, "1g.10gb, 1g.10gb\\+me, 1g.20gb"),
        ("79GiB", {}, "no partition of the A100-SXM4-80GB serves it"),
        ("half", {"parkable": True}, "cannot be parked"),
        ("half", {"resizable": True}, "does not change while its kernel runs"),
        ("full", {"resizable": True}, "does not change while its kernel runs"),
    ],
)
def test_request_that_no_partition_serves_is_refused_with_the_reason(size: str, more: dict[str, Any], why: str) -> None:
    world = World(mig_spec("gpu", index=0), mig_spec("other", index=1))
    with refused(NoSuchDevice, match=why):
        world.ask("a", size, **more)


def test_partition_requested_without_mig_mode_is_refused() -> None:
    with refused(NoSuchDevice, match="not divided by MIG"):
        World(spec("gpu")).ask("a", "1g.10gb")


def test_partition_is_enforced_by_hardware_and_keeps_its_size() -> None:
    world = World(mig_spec("gpu"))
    world.active("a", "half", isolation=Isolation.HARDWARE)
    with refused(NeedsRestart, match="does not change while its kernel runs"):
        world.do(c.ResizeLease("a", "quarter"))


def test_partitions_of_one_device_are_never_billed_as_more_than_the_device() -> None:
    world = World(mig_spec("gpu"))
    world.do(c.SetTenant("ann", 100, 1000))
    for number in range(7):
        world.active(f"lease-{number}", "1g.10gb")
    assert world.state.tenants["ann"].held_milli == 994


# -- existing partitions ----------------------------------------------------------------------------------------------


def test_existing_partition_is_leased_as_it_is() -> None:
    world = World(
        mig_spec("gpu", existing_partitions=(ExistingPartition("2g.20gb", 4), ExistingPartition("1g.10gb", 3)))
    )
    assert part_of(world.active("a", "2g.20gb")) == Partition("2g.20gb", 4, 285, preexisting=True)
    assert part_of(world.active("b", "1g.10gb")) == Partition("1g.10gb", 3, 142, preexisting=True)
    made = part_of(world.active("c", "1g.10gb"))
    assert not made.preexisting
    assert made.start not in (3, 4, 5)


def test_existing_partitions_only_serve_by_the_smallest_sufficient_one() -> None:
    world = World(
        mig_spec("gpu", existing_partitions=(ExistingPartition("3g.40gb", 0), ExistingPartition("3g.40gb", 4)))
    )
    assert part_of(world.active("a", "eighth")).profile == "3g.40gb"
    with refused(NoSuchDevice, match="no partition of the A100-SXM4-80GB serves it"):
        world.ask("b", "full")


def test_existing_partition_that_is_unusable_is_never_leased() -> None:
    world = World(mig_spec("gpu", existing_partitions=(ExistingPartition("3g.40gb", 0, usable=False),)))
    assert part_of(world.active("a", "half")).start == 4
    assert world.ask("b", "half").state is LeaseState.WAITING


def test_partition_made_by_an_administrator_is_avoided() -> None:
    world = World(mig_spec("gpu"))
    world.active("a", "1g.10gb")
    world.do(c.SetDevices((mig_spec("gpu", existing_partitions=(ExistingPartition("3g.40gb", 0),)),)))
    starts = {part_of(world.active(name, "1g.10gb")).start for name in "bc"}
    assert starts == {4, 5}


# -- changes of the device --------------------------------------------------------------------------------------------


def test_lease_whose_partition_was_destroyed_ends_with_the_reason() -> None:
    world = World(mig_spec("gpu"))
    lease = world.active("a", "half")
    assert lease.logical_gpu is not None
    generation = lease.logical_gpu.generation
    assert world.do(c.LogicalGPULost("a", generation - 1, Message.of_text("of an earlier grant"))) == []
    world.do(c.LogicalGPULost("a", generation, Message.of_text("It was destroyed.")))
    world.drained("a")
    assert (lease.state, lease.end_reason, text(lease.end_detail)) == (
        LeaseState.ENDED, "device_lost", "It was destroyed.",
    )  # fmt: skip
    assert world.do(c.LogicalGPULost("a", generation, Message.of_text("again"))) == []


@pytest.mark.parametrize("divided_first", [True, False])
def test_mig_mode_switched_under_leases_ends_them(divided_first: bool) -> None:
    plain, mig = spec("gpu"), mig_spec("gpu")
    before, after = (mig, plain) if divided_first else (plain, mig)
    world = World(before)
    lease = world.active("a", "half")
    waits = world.ask("waits", "full")
    world.do(c.SetDevices((after,)))
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, "device_lost")
    assert "MIG mode" in text(lease.end_detail)
    world.do(c.SetDevices((after,)))
    assert waits.state is LeaseState.WAITING, "nothing is granted of what was"
    world.drained("a")
    world.do(c.SetDevices((after,)))
    assert waits.logical_gpu is not None
    assert (waits.logical_gpu.partition is None) == divided_first


def test_profiles_that_the_driver_changes_hold_once_the_device_is_empty() -> None:
    world = World(mig_spec("gpu"))
    world.active("a", "half")
    fewer = replace(mig_spec("gpu"), profiles=tuple(one for one in mig_spec("gpu").profiles if one.length < 4))
    world.do(c.SetDevices((fewer,)))
    assert world.state.devices["gpu"].spec.profiles == mig_spec("gpu").profiles
    world.do(c.ReleaseLease("a"))
    world.drained("a")
    world.do(c.SetDevices((fewer,)))
    assert world.state.devices["gpu"].spec.profiles == fewer.profiles


def test_partitions_are_restored_from_the_journal() -> None:
    world = World(mig_spec("gpu", existing_partitions=(ExistingPartition("1g.10gb", 0),)))
    world.active("a", "half")
    world.active("b", "1g.10gb")
    read = State()
    for at, events in world.history:
        record = decode(encode(at, events))
        replay(read, record.events, record.at)
    assert read == world.state


# -- invariants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (Partition("1g.10gb", 6, 142), "slot 6 is in the partitions of"),
        (Partition("1g.10gb", 3, 142), None),
        (Partition("9g.10gb", 3, 142), "which has no such partition"),
        (None, "something else than a partition"),
    ],
)
def test_invariants_find_leases_with_overlapping_partitions(second: Partition | None, found: str | None) -> None:
    world = World(mig_spec("gpu"))
    first = world.active("a", "half")
    gpu = LogicalGPU(
        "gpu", GIB, whole=False, mechanism=Mechanism.MIG, enforcement=Enforcement.HARDWARE,
        rate_micro_per_hour=0, generation=2, partition=second,
    )  # fmt: skip
    asked = e.LeaseRequested("b", "bob", replace(first.request, profile="1g.10gb"), first.holder, "0" * 64)
    replay(world.state, [asked, e.LeaseGranted("b", gpu)], world.at)
    said = list(violations(world.state))
    assert any(found in one for one in said) if found else said == []


# -- random histories -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    few=st.booleans(),
    existing_partitions=st.sampled_from(
        [(), (ExistingPartition("2g.20gb", 2),), (ExistingPartition("3g.40gb", 4, usable=False),)]
    ),
)
def test_histories_never_overlap_and_never_refuse_where_a_start_is_free(
    data: st.DataObject, few: bool, existing_partitions: tuple[ExistingPartition, ...]
) -> None:
    before = capacity_index.REFERENCE_HOSTS_MAX
    capacity_index.REFERENCE_HOSTS_MAX = before if few else 0
    try:
        _history(
            data,
            World(
                mig_spec("one", host_id="x"),
                mig_spec("two", index=1, host_id="y", existing_partitions=existing_partitions),
            ),
        )
    finally:
        capacity_index.REFERENCE_HOSTS_MAX = before


SIZES = ("eighth", "quarter", "half", "full", "1g.10gb", "2g.20gb", "1g.10gb+me", "4g.40gb", "9GiB", "30GiB")


def _history(data: st.DataObject, world: World) -> None:
    for number in range(data.draw(st.integers(1, 30))):
        holding = [lease.id for lease in world.state.leases.values() if lease.state is LeaseState.PREPARING]
        if bool(holding) and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(holding))
            world.do(c.ReleaseLease(name))
            world.drained(name)
        else:
            size = data.draw(st.sampled_from(SIZES))
            free = naive_placement.find_devices(world.state, Requirements(parse_size(size)))
            alone = not world.state.queue
            lease = world.ask(f"lease-{number}", size)
            if alone:
                assert (lease.logical_gpu is None) == (free is None), size
        world.pass_time(1000)  # reservations are reconsidered
        first = next((lease for lease, _, _ in queue_report.positions(world.state)), None)
        if first is not None:
            assert naive_placement.find_devices(world.state, first.requirements) is None


def test_profiles_with_room_are_those_that_find_partition_finds() -> None:
    world = World(mig_spec("gpu"))
    world.active("a", "half")
    device = world.state.devices["gpu"]
    for size in SIZES:
        profile = mig_partitions.profile_for(device.spec, parse_size(size))
        assert profile is not None
        assert (mig_partitions.find_partition(device, parse_size(size)) is not None) == (
            profile.name in mig_partitions.profiles_with_room(device)
        )


@pytest.mark.parametrize("text", ["1g.10gb", "h100:2g.20gb", "1g.24gb+me.all", "a100|h100:1g.10gb+me", "1g.10gb-me"])
def test_parse_size_accepts_partition_names(text: str) -> None:
    size = parse_size(text.upper())
    assert str(size) == text
    assert not size.whole


@pytest.mark.parametrize("text", ["1g.10g", "2x1g.10gb", "1g.10gb:1/2", "h100:1g.", "2xh100:1g.10gb"])
def test_parse_size_points_at_the_wrong_character_of_a_partition_name(text: str) -> None:
    with refused(InvalidRequest, match="at character"):
        parse_size(text)
