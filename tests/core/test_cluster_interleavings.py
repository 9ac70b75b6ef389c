"""Every order in which a lease of an engine can be reported about, released, orphaned, adopted and restarted.

The reports of an engine, of its agents and of holders come in any order, late, and more than once. From each situation
of a lease that can be reached, each of them is tried once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fastgpu_jupyter.core.accounting import ledger, meter
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import effects as fx
from fastgpu_jupyter.core.model.entities import ClusterAllocation, ClusterDevice, Enforcement, Lease, State
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import replay
from fastgpu_jupyter.errors import CallerError, Conflict, Message
from tests.core.world import World, holder

_SAYS = Message.of_text("by the engine")
_KEEP_MS = 5_000
_BEFORE_MS = 50  #: less than between two steps
_W, _A, _D, _E = LeaseState.WAITING, LeaseState.ACTIVE, LeaseState.DRAINING, LeaseState.ENDED
_NAME = "fgpu-01234567-far-1"


_ALLOCATION = ClusterAllocation("n1", (ClusterDevice("GPU-1", "h100", None, 7_000_003),), 1000, Enforcement.HARDWARE)


def _far(world: World) -> Lease:
    return world.state.leases["far"]


#: What can be reported or wanted, by name, with the number of the step.
STEPS: dict[str, Callable[[World, int], c.Command]] = {
    "submitted": lambda _, step: c.ClusterJobSubmitted("far", _NAME, "17"),
    "submitted again": lambda _, step: c.ClusterJobSubmitted("far", _NAME, "18"),
    "refused": lambda _, step: c.ClusterJobRefused("far", _NAME, _SAYS),
    "hello": lambda _, step: c.ClusterGranted("far", _NAME, _ALLOCATION),
    "time set": lambda _, step: c.ClusterTimeSet("far", _NAME, step),
    "job ended": lambda _, step: c.ClusterJobEnded("far", _NAME, _SAYS),
    "job ended before": lambda world, _: c.ClusterJobEnded("far", _NAME, _SAYS, world.at.wall_ms - _BEFORE_MS),
    "job ended at its start": lambda world, _: c.ClusterJobEnded("far", _NAME, _SAYS, 1),
    "job ends later": lambda world, _: c.ClusterJobEnded("far", _NAME, _SAYS, world.at.wall_ms + 3_600_000),
    "old job ended": lambda _, step: c.ClusterJobEnded("far", "fgpu-01234567-far-0", _SAYS),
    "released": lambda _, step: c.ReleaseLease("far"),
    "holder ended": lambda world, step: c.HolderEnded("far", _far(world).holder),
    "old holder ended": lambda _, step: c.HolderEnded("far", holder(999)),
    "adopted": lambda _, step: c.BindHolder("far", holder(100 + step)),
    "kept for long": lambda _, step: c.Tick(),
    "pool restarted": lambda world, step: c.StartPool(world.state.boot_id, 0),
    "machine restarted": lambda _, step: c.StartPool(f"after-{step}", 0),
    "drained here": lambda world, step: c.DrainSucceeded("far", world.state.generations),
}
_ENDS = ("job ended before", "job ended at its start", "job ends later")
#: The state after a step, where it is another one than before; orphaned leases end by time.
MOVES = {
    (_W, "refused"): _E, (_W, "hello"): _A, (_W, "job ended"): _E, (_W, "released"): _E, (_W, "holder ended"): _E,
    (_W, "machine restarted"): _E, (_A, "job ended"): _E, (_A, "released"): _D, (_D, "job ended"): _E,
}  # fmt: skip


@dataclass
class _Path:
    """The steps to a situation, and the state of the lease after each."""

    steps: tuple[str, ...] = ()
    world: World = field(default_factory=World)
    expected_ms: int = 0  #: for which the lease was active

    def lease(self) -> Lease:
        return _far(self.world)


def _walk(steps: tuple[str, ...], keep_ms: int) -> _Path:
    path = _Path(steps)
    path.world.on_cluster("far", keep_ms=keep_ms)
    for number, step in enumerate(steps):
        _take(path, step, number, keep_ms)
    return path


def _take(path: _Path, step: str, number: int, keep_ms: int) -> None:
    """Do the step after some time, and check what comes of it."""
    lease, before, orphaned = path.lease(), path.lease().state, path.lease().orphaned_since_ms is not None
    passed_ms = _KEEP_MS if step == "kept for long" else 101 + 7 * number
    path.world.now_ms += passed_ms
    path.expected_ms += passed_ms * (before is _A)
    if before is _A and step == "job ended before":
        path.expected_ms -= _BEFORE_MS
    if before in (_A, _D) and step == "job ended at its start":
        path.expected_ms = 0
    known = lease.cluster_job.job_id if lease.cluster_job else None
    try:
        path.world.do(STEPS[step](path.world, number))
    except Conflict:
        second = step.startswith("submitted") and before is not _E and known is not None
        assert second or (step == "adopted" and before in (_D, _E)), (path.steps, step)
    after = MOVES.get((before, "job ended" if step in _ENDS else step), before)
    if before is _A and step in ("holder ended", "machine restarted") and not keep_ms:
        after = _D
    if before is _A and step == "kept for long" and orphaned:
        after = _D
    assert lease.state is after, (path.steps, step)
    assert (lease.active_since_ms is not None) is (after is _A)
    ended = before is _A and step in ("holder ended", "machine restarted")
    kept = after is _A and (ended or (orphaned and step != "adopted"))
    assert (lease.orphaned_since_ms is not None) is kept, (path.steps, step)


def _situation(lease: Lease) -> tuple[object, ...]:
    job = lease.cluster_job
    assert job is not None
    return lease.state, job.job_id, lease.orphaned_since_ms is not None, lease.end_reason, lease.granted_at is not None


def _check(path: _Path) -> None:
    """Check bill, replay and what is to be done: submitted while no job is known, cancelled while it drains."""
    lease, world = path.lease(), path.world
    assert meter.active_ms(lease, world.now_ms) == path.expected_ms, path.steps
    numerator = sum(one.numerator for one in ledger.segments(world.history, world.at))
    assert numerator == meter.cost_numerator(lease, world.now_ms) == 7_000_003 * path.expected_ms, path.steps
    replayed = State()
    for at, events in world.history:
        replay(replayed, events, at)
    assert replayed == world.state, path.steps
    job = lease.cluster_job
    assert job is not None
    wanted: list[fx.Effect] = []
    if lease.state is _W and job.job_id is None:
        wanted.append(fx.SubmitJob("far", _NAME))
    if lease.state is _D:
        wanted.append(fx.CancelJob("far", _NAME, job.job_id))
    assert [one for one in fx.outstanding(world.state) if isinstance(one, fx.SubmitJob | fx.CancelJob)] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("keep_ms", [0, _KEEP_MS])
def test_any_order_of_reports_leads_to_one_state_and_one_bill(keep_ms: int) -> None:
    found: set[tuple[object, ...]] = set()
    ahead: deque[tuple[str, ...]] = deque([()])
    while ahead:
        steps = ahead.popleft()
        for step in STEPS:
            path = _walk((*steps, step), keep_ms)
            _check(path)
            situation = _situation(path.lease())
            if situation not in found:
                found.add(situation)
                ahead.append(path.steps)
    ended = {reason for state, _, _, reason, _ in found if state is _E}
    assert len(ended) == 5  # released, cancelled, refused, lost, without a holder
    assert len(found) >= 20


def test_effects_of_an_ended_request_cancel_its_job_unless_the_engine_ended_or_never_had_it() -> None:
    cancelled = {}
    for steps in (("released",), ("submitted", "released"), ("submitted", "refused"), ("refused",), ("job ended",)):
        path = _walk(steps[:-1], 0)
        with_job = path.world.do(STEPS[steps[-1]](path.world, 9))
        effects = fx.effects(path.world.state, with_job)
        cancelled[steps] = [one.job_id for one in effects if isinstance(one, fx.CancelJob)]
    assert list(cancelled.values()) == [[None], ["17"], ["17"], [], []]


def test_user_commands_that_an_engine_cannot_serve_change_nothing_in_any_situation() -> None:
    for steps in ((), ("hello",), ("hello", "released"), ("released",)):
        for command in (c.ParkLease("far"), c.ResizeLease("far", "half"), c.MigrateLease("far"), c.ResumeLease("far")):
            path = _walk(steps, 0)
            before = path.lease().version
            try:
                events = path.world.do(command)
            except CallerError:
                events = []
            assert events == []
            assert path.lease().version == before
