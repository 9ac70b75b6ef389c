"""Changes of a tenant are counted by the day (UTC), and never those that must not be refused."""

from __future__ import annotations

from typing import get_args

import pytest

from fastgpu_jupyter.core.accounting import changes
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant, Retention
from tests.core.world import World, spec

#: Commands of callers that are never refused: they end a wait, give capacity back, or report what is so.
NEVER_REFUSED = {
    c.ReleaseLease, c.EndIdleLease, c.ParkLease, c.BindHolder, c.CancelReservation, c.ReportActivity,
    c.ReportLibraries, c.HolderEnded,
}  # fmt: skip
#: Commands that only the pool itself gives.
OF_THE_POOL = {
    c.ClusterGranted, c.ClusterJobEnded, c.ClusterJobRefused, c.ClusterJobSubmitted, c.ClusterTimeSet,
    c.CountChange, c.DrainSucceeded, c.LimitSet, c.LogicalGPULost, c.ParkFailed, c.ParkSucceeded, c.PrepareFailed,
    c.PrepareSucceeded, c.RecordUse, c.ReportFault, c.ReportGPUUse, c.ReportMemory, c.ReportNoAnswer,
    c.ReportScrubFailure, c.ReportUnownedMemory, c.ResumeFailed, c.ResumePostponed, c.ResumeSucceeded, c.SetDevices,
    c.SetHealth, c.SetPolicy, c.StartPool, c.Tick,
}  # fmt: skip


def test_every_command_is_counted_or_never_refused_or_the_pools_own() -> None:
    """A new command must be put into one of the groups."""
    counted = {c.RequestLease, *c.CHANGES_OF_A_LEASE, *c.ADMINISTRATIVE_CHANGES}
    groups = (counted, NEVER_REFUSED, OF_THE_POOL)
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert set().union(*groups) == set(get_args(c.Command))


def test_changes_are_counted_to_the_tenant_of_the_lease_and_administrators_together() -> None:
    world = World(spec("gpu"))
    world.active("a", tenant="ann")
    state = world.state
    assert changes.counted_tenant(state, c.SetRetention("a", Retention.HOLD)) == "ann"
    assert changes.counted_tenant(state, c.ResumeLease("a")) == "ann"
    assert changes.counted_tenant(state, c.SetTenant("ann", 1, None)) == changes.ADMINISTRATORS
    assert changes.counted_tenant(state, c.TransferLease("a", "bob")) == changes.ADMINISTRATORS
    assert changes.counted_tenant(state, c.ReleaseLease("a")) is None
    assert changes.counted_tenant(state, c.SetRetention("unknown", Retention.HOLD)) is None


def test_count_begins_again_with_the_day() -> None:
    world = World(spec("gpu"))
    for _ in range(3):
        world.do(c.CountChange("ann"))
    world.do(c.CountChange("bob"))
    at = world.at
    assert [changes.made_today(world.state, name, at) for name in ("ann", "bob", "cleo")] == [3, 1, 0]
    tomorrow = Instant(at.ms, changes.reset_wall_ms(at))
    assert changes.made_today(world.state, "ann", tomorrow._replace(wall_ms=tomorrow.wall_ms - 1)) == 3
    assert changes.made_today(world.state, "ann", tomorrow) == 0
    world.now_ms += tomorrow.wall_ms - at.wall_ms
    world.do(c.CountChange("bob"))
    assert world.state.changes == {"bob": 1}
    assert changes.reset_wall_ms(tomorrow) - tomorrow.wall_ms == changes.DAY_MS


@pytest.mark.parametrize("wall_ms", [0, 1, changes.DAY_MS - 1, changes.DAY_MS, 1_764_500_000_000])
def test_reset_is_the_next_midnight(wall_ms: int) -> None:
    at = Instant(0, wall_ms)
    assert 0 < changes.reset_wall_ms(at) - wall_ms <= changes.DAY_MS
    assert changes.reset_wall_ms(at) % changes.DAY_MS == 0
