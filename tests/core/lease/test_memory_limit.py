"""A lease above its memory limit gets a warning, then is parked, then ended, each after the grace time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastgpu_jupyter.core.lease import memory_limit
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    Enforcement,
    Lease,
    Mechanism,
    MechanismCapability,
    OverLimit,
    ParkReason,
    Policy,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.units import GIB
from tests.core.world import World, spec, text

GRACE_MS = 30_000


def world(policy: OverLimit, *, parkable: bool = True) -> tuple[World, Lease]:
    made = World(spec("gpu", parkable=parkable))
    made.do(c.SetPolicy(Policy(over_limit=policy, over_limit_grace_ms=GRACE_MS)))
    lease = made.active("a", "half")
    made.do(c.ReportActivity("a", busy=False))
    return made, lease


def uses(made: World, gib: int, after_ms: int = 0) -> list[str]:
    made.now_ms += after_ms
    lease = made.state.leases["a"]
    assert lease.logical_gpu is not None
    events = made.do(c.ReportMemory("a", lease.logical_gpu.generation, gib * GIB))
    return [type(event).__name__ for event in events]


def test_what_it_has_it_may_use() -> None:
    made, lease = world(OverLimit.REVOKE)
    assert uses(made, 40) == []
    assert memory_limit.message(made.state, lease) is None


def test_lease_over_its_limit_is_reported_once_with_the_next_step() -> None:
    made, lease = world(OverLimit.PARK)
    assert uses(made, 45) == ["LeaseOverLimit"]
    assert uses(made, 46, GRACE_MS - 1) == []
    message = text(memory_limit.message(made.state, lease))
    assert "45 GiB" in message
    assert "40 GiB" in message
    assert "parked after 30 s" in message


def test_grace_time_restarts_once_the_lease_was_within_its_limit() -> None:
    made, lease = world(OverLimit.PARK)
    uses(made, 45)
    assert uses(made, 40, GRACE_MS) == ["LeaseWithinLimit"]
    assert memory_limit.message(made.state, lease) is None
    assert uses(made, 45) == ["LeaseOverLimit"]
    assert uses(made, 45, GRACE_MS - 1) == []
    assert uses(made, 45, 1) == ["LeaseParking"]


def test_a_policy_that_only_tells_only_tells() -> None:
    made, lease = world(OverLimit.WARN)
    uses(made, 45)
    assert uses(made, 45, 10 * GRACE_MS) == []
    assert text(memory_limit.message(made.state, lease)).endswith("larger size.")


def test_it_is_parked_and_stays_parked_until_it_is_wanted() -> None:
    made, lease = world(OverLimit.PARK)
    made.do(c.ReportActivity("a", busy=True))  # a cell runs: it would go on to use too much
    uses(made, 45)
    uses(made, 45, GRACE_MS)
    assert (lease.state, lease.park_reason) == (LeaseState.PARKING, ParkReason.OVER_LIMIT)
    made.parked("a")
    assert lease.state is LeaseState.PARKED
    made.do(c.ResumeLease("a"))
    made.resumed("a")
    assert uses(made, 45) == ["LeaseOverLimit"]
    assert uses(made, 45, GRACE_MS) == ["LeaseParking"], "and again"


@pytest.mark.parametrize("policy", [OverLimit.PARK, OverLimit.REVOKE])
def test_one_that_cannot_be_parked_goes_on_or_is_ended(policy: OverLimit) -> None:
    made, lease = world(policy, parkable=False)
    uses(made, 45)
    words = text(memory_limit.message(made.state, lease))
    assert ("ended after" in words) == (policy is OverLimit.REVOKE)
    uses(made, 45, GRACE_MS)
    if policy is OverLimit.PARK:
        assert lease.state is LeaseState.ACTIVE
        return
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.OVER_LIMIT)
    assert text(lease.end_detail) == "It used 45 GiB of its GPU, more than its limit of 40 GiB."


def test_where_parking_did_not_help_it_is_ended() -> None:
    made, lease = world(OverLimit.REVOKE)
    uses(made, 45)
    uses(made, 45, GRACE_MS)
    made.parked("a")
    made.do(c.ResumeLease("a"))
    made.resumed("a")
    uses(made, 45)
    assert "ended after" in text(memory_limit.message(made.state, lease))
    uses(made, 45, GRACE_MS)
    assert (lease.state, lease.end_reason) == (LeaseState.DRAINING, EndReason.OVER_LIMIT)


def test_a_larger_size_is_the_end_of_it() -> None:
    made, lease = world(OverLimit.REVOKE)
    uses(made, 45)
    made.do(c.ResizeLease("a", "full"))
    assert uses(made, 45, GRACE_MS) == ["LeaseWithinLimit"]
    assert lease.state is LeaseState.ACTIVE


def test_what_the_driver_keeps_is_not_watched() -> None:
    made, lease = world(OverLimit.REVOKE)
    made.do(c.LimitSet("a", 1, Enforcement.DRIVER, "group"))
    assert lease.logical_gpu is not None
    assert not memory_limit.is_watched(lease.logical_gpu)
    assert memory_limit.is_watched(replace(lease.logical_gpu, enforcement=Enforcement.COOPERATIVE))
    assert uses(made, 45) == []


def test_reports_of_an_earlier_grant_or_of_no_lease_change_nothing() -> None:
    made, _ = world(OverLimit.REVOKE)
    assert made.do(c.ReportMemory("a", 99, 80 * GIB)) == []
    assert made.do(c.ReportMemory("unknown", 1, 80 * GIB)) == []
    made.do(c.ReleaseLease("a"))
    assert uses(made, 45) == []


def test_limit_enforced_weaker_than_offered_is_reported() -> None:
    capability = MechanismCapability(Mechanism.SHARED, Enforcement.DRIVER, resizable=True)
    made = World(replace(spec("gpu"), capabilities=(capability,)))
    lease = made.active("a", "half")
    made.do(c.LimitSet("a", 1, Enforcement.COOPERATIVE, "", Message.of_text("It shares its group.")))
    assert text(memory_limit.message(made.state, lease)) == "It shares its group."
