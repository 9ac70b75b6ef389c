"""Random histories with an engine: jobs start and end, reports are late or lost, and the pool manager is killed.

The engine here is the truth. What the pool may do with it is what the effects say; :meth:`Story.finish` lets everything
come to rest, and then no job is left without a lease and no lease without a job. ``FASTGPU_CLUSTER_STORIES`` sets how
many histories there are; each one follows from its number.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from enum import Enum

import pytest

from fastgpu_jupyter.core.accounting import calendar, ledger, meter
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import effects as fx
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    ClusterAllocation,
    ClusterDevice,
    EndReason,
    Enforcement,
    Instant,
    Lease,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.use import MeasuredUse, NotebookUse
from fastgpu_jupyter.core.pool import Pool, replay
from fastgpu_jupyter.errors import CallerError, Message
from tests.core.world import World, holder, spec

STORIES = int(os.environ.get("FASTGPU_CLUSTER_STORIES", "80"))
STEPS = 120
_SAYS = Message.of_text("by the engine")


class JobState(Enum):
    """What the engine knows of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    OVER = "over"


@dataclass
class Job:
    """A job of the engine."""

    name: str
    lease_id: str
    state: JobState = JobState.QUEUED
    over_at: Instant | None = None


class Story:
    """Users, servers, the engine, its agents and time do as they like, by chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(spec("near", parkable=True))
        self.jobs: dict[str, Job] = {}  #: of the engine, by id
        self.reports: list[c.Command] = []  #: on their way to the pool
        self.effects: list[fx.ClusterEffect] = []  #: to be done
        #: When leases were active, counted from outside, and up to when that cannot be taken back.
        self.spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self.closed_ms: Counter[str] = Counter()
        self.shortened = 0
        self.asked = 0

    def step(self) -> None:
        """Let one thing happen."""
        actions = {self.ask: 3, self.use: 3, self.pass_time: 3, self.call: 5, self.deliver: 6, self.go_on: 5}
        (action,) = self.random.choices([*actions, self.kill], [*actions.values(), 1])
        action()
        self.check()

    def _do(self, command: c.Command) -> None:
        try:
            events = self.world.do(command)
        except CallerError:
            return
        for event in events:
            if isinstance(event, e.LeaseTransferred):
                self.closed_ms[event.lease_id] = self.world.now_ms
        found = fx.effects(self.world.state, events)
        self.effects += [one for one in found if isinstance(one, fx.SubmitJob | fx.CancelJob)]

    # -- users, servers and time --------------------------------------------------------------------------------------

    def ask(self) -> None:
        self.asked += 1
        name, tenant = f"lease{self.asked}", self.random.choice(["ann", "bob"])
        if self.random.random() < 0.2:
            self.world.ask(name, "half", tenant=tenant)
            return
        keep_ms, wait_ms_max = self.random.choice([0, 60_000]), self.random.choice([None, None, 60_000])
        self.world.on_cluster(name, tenant=tenant, keep_ms=keep_ms, wait_ms_max=wait_ms_max)
        self.effects.append(fx.SubmitJob(name, self.world.job(name)))

    def use(self) -> None:
        """Let a user or a server do something with a lease, often with one that is active."""
        leases = list(self.world.state.leases.values())
        active = [lease for lease in leases if lease.state is LeaseState.ACTIVE]
        if not leases:
            return
        lease = self.random.choice(active if active and self.random.random() < 0.6 else leases)
        commands: list[c.Command] = [
            c.ReleaseLease(lease.id),
            c.HolderEnded(lease.id, lease.holder),
            c.HolderEnded(lease.id, holder(9999)),
            c.BindHolder(lease.id, holder(self.world.now_ms)),
            c.ReportActivity(lease.id, lease.busy is not True),
            c.TransferLease(lease.id, "bob"),
            c.RecordUse(lease.id, MeasuredUse(known_ms=1)),
        ]
        self._do(self.random.choice(commands))

    def pass_time(self) -> None:
        step_ms = self.random.randrange(90_000)
        self.world.wall_offset_ms += 86_400_000 * self.random.choice([40, *[0] * 11])
        begin_ms = self.world.now_ms
        self.world.now_ms += step_ms
        for lease in self.world.state.leases.values():
            if lease.state is LeaseState.ACTIVE:
                self.spans[lease.id].append((begin_ms, self.world.now_ms))
        if calendar.month_at(self.world.at.wall_ms) != self.world.state.month:  # the statement of the old one stands
            self.closed_ms = Counter(dict.fromkeys(self.world.state.leases, self.world.now_ms))
        self._do(c.Tick())

    # -- the engine and its agents ------------------------------------------------------------------------------------

    def call(self) -> None:
        """Let a call reach the engine."""
        if self.effects:
            effect = self.effects.pop(self.random.randrange(len(self.effects)))
            self._carry_out(effect, refuses=self.random.random() < 0.1)

    def deliver(self) -> None:
        """Let a report arrive, perhaps twice."""
        if self.reports:
            report = self.reports.pop(self.random.randrange(len(self.reports)))
            for _ in range(self.random.choice([1, 1, 2])):
                self._deliver(report)

    def go_on(self) -> None:
        """Start or end a job, or not, and report what is so then."""
        if self.jobs:
            job_id = self.random.choice(list(self.jobs)[-8:])
            self._go_on(job_id, self.random.randrange(10))

    def _go_on(self, job_id: str, odds: int) -> None:
        job = self.jobs[job_id]
        if odds == 0 and job.state is JobState.QUEUED:
            self.reports.append(c.ClusterJobRefused(job.lease_id, job.name, _SAYS))
        elif odds < (7 if job.state is JobState.QUEUED else 2) and job.state is not JobState.OVER:
            if job.state is JobState.QUEUED:
                job.state = JobState.RUNNING
            else:
                self._end(job)
        self._report(job_id)

    def _report(self, job_id: str) -> None:
        """Send what is so of a job at this time."""
        job = self.jobs[job_id]
        if job.state is JobState.RUNNING:
            device = ClusterDevice(f"n1:{job_id}", "h100", None, 7_000_003)
            allocation = ClusterAllocation("n1", (device,), 1000, Enforcement.HARDWARE)
            self.reports.append(c.ClusterGranted(job.lease_id, job.name, allocation))
        elif job.state is JobState.OVER:
            self.reports.append(self._ended(job))

    def _end(self, job: Job) -> None:
        if job.state is not JobState.OVER:
            job.state, job.over_at = JobState.OVER, self.world.at

    def _ended(self, job: Job) -> c.ClusterJobEnded:
        """Return the report of an end: with its time, without, or with a time by a clock that is wrong."""
        assert job.over_at is not None
        wall_ms = job.over_at.wall_ms
        ended_at_ms = self.random.choice([wall_ms, wall_ms, None, wall_ms + 7 * 86_400_000, 0])
        return c.ClusterJobEnded(job.lease_id, job.name, _SAYS, ended_at_ms)

    def _carry_out(self, effect: fx.ClusterEffect, refuses: bool = False) -> None:
        lease = self.world.state.leases.get(effect.lease_id)
        known = next((job_id for job_id, job in self.jobs.items() if job.name == effect.name), None)
        if isinstance(effect, fx.CancelJob):
            if known is not None:
                self._end(self.jobs[known])
            ended = c.ClusterJobEnded(effect.lease_id, effect.name, _SAYS)
            self.reports.append(ended if known is None else self._ended(self.jobs[known]))
        elif lease is not None and lease.state is LeaseState.WAITING:
            if refuses and known is None:
                self.reports.append(c.ClusterJobRefused(effect.lease_id, effect.name, _SAYS))
                return
            if known is None:
                known = str(len(self.jobs) + 1)
                self.jobs[known] = Job(effect.name, effect.lease_id)
            self.reports.append(c.ClusterJobSubmitted(effect.lease_id, effect.name, known))

    def _deliver(self, report: c.Command) -> None:
        if isinstance(report, c.ClusterJobEnded):
            report = self._bill_until_the_end(report)
        self._do(report)
        lease = self.world.state.leases.get(getattr(report, "lease_id", ""))
        if isinstance(report, c.ClusterJobSubmitted) and (lease is None or lease.state is LeaseState.ENDED):
            self._end(self.jobs[report.job_id])  # as the service does

    def _bill_until_the_end(self, report: c.ClusterJobEnded) -> c.ClusterJobEnded:
        """Forget the time for which a lease was active after its job had ended, and that is not closed."""
        lease = self.world.state.leases.get(report.lease_id)
        job = next((one for one in self.jobs.values() if one.name == report.name), None)
        if lease is None or job is None or job.over_at is None or report.ended_at_ms is None:
            return report
        if lease.state not in (LeaseState.ACTIVE, LeaseState.DRAINING):
            return report
        offset_ms = job.over_at.wall_ms - job.over_at.ms
        if report.ended_at_ms and offset_ms != self.world.wall_offset_ms:
            return replace(report, ended_at_ms=None)  # by a clock that was set, no time is known
        if report.ended_at_ms <= job.over_at.wall_ms:
            over_ms = job.over_at.ms if report.ended_at_ms else 0
            spans = self.spans[lease.id]
            self.spans[lease.id] = [
                (begin, end if end <= self.closed_ms[lease.id] else max(begin, min(end, over_ms)))
                for begin, end in spans
            ]
            self.shortened += spans != self.spans[lease.id]
        return report

    # -- the pool manager ---------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """Lose what is on its way, and recover from the journal alone; with the machine, sometimes."""
        state = State()
        for at, events in self.world.history:
            replay(state, events, at)
        assert state == self.world.state
        self.world.pool, self.world.state = Pool(state), state
        self.reports.clear()
        boot_id = f"boot-{len(self.world.history)}" if self.random.random() < 0.2 else state.boot_id
        self.world.do(c.StartPool(boot_id, self.world.now_ms))
        outstanding = fx.outstanding(state)
        self.effects = [one for one in outstanding if isinstance(one, fx.SubmitJob | fx.CancelJob)]

    # -- what must be so ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check that no name has two jobs, no local request waits for the engine, and each second is billed once."""
        names = Counter(job.name for job in self.jobs.values())
        assert max(names.values(), default=0) <= 1, "a name has two jobs"
        assert self.world.pool.advance(Instant(self.world.now_ms, 0), make_room=False) == []
        near = self.world.state.devices["near"]
        assert not any(self.world.state.leases[name].cluster_job for name in near.lease_ids)
        for lease in self.world.state.leases.values():
            expected_ms = sum(end - begin for begin, end in self.spans[lease.id])
            assert meter.active_ms(lease, self.world.now_ms) == expected_ms, lease

    def finish(self) -> None:
        """Let everything come to rest, and compare leases, jobs and bills."""
        self._come_to_rest()
        for lease in self.world.state.leases.values():
            if lease.cluster_job is not None:
                self._check_at_rest(lease)
        state, at = self.world.state, self.world.at
        by_lease: Counter[str] = Counter()
        for segment in ledger.segments(self.world.history, at):
            by_lease[segment.lease_id] += segment.numerator
        for lease in state.leases.values():
            assert meter.cost_numerator(lease, at.ms) == by_lease[lease.id]
            assert lease.recorded_active_ms <= meter.active_ms(lease, at.ms)
            days = [
                day
                for of in state.notebooks.values()
                for day in of.get(f"{lease.id}.ipynb", NotebookUse()).days.values()
            ]
            assert sum(day.active_ms for day in days) == lease.recorded_active_ms
            assert sum(day.cost_numerator for day in days) == lease.recorded_cost_numerator
        for one in ledger.statements(self.world.history, calendar.month_at(at.wall_ms), at):
            assert meter.spent_micro(state, one.tenant, at) == one.total_micro

    def _check_at_rest(self, lease: Lease) -> None:
        assert lease.state in (LeaseState.ACTIVE, LeaseState.ENDED), f"is {lease.state.value} at rest: {lease}"
        of_lease = [job.state for job in self.jobs.values() if job.lease_id == lease.id]
        running = of_lease == [JobState.RUNNING]
        assert running is (lease.state is LeaseState.ACTIVE), f"its job is {of_lease}: {lease}"

    def _come_to_rest(self) -> None:
        """Let each call and report arrive and each job start, and compare the engine's list with the leases."""
        for _ in range(4):
            while self.effects:
                self._carry_out(self.effects.pop())
            for job_id, job in self.jobs.items():
                lease = self.world.state.leases.get(job.lease_id)
                if lease is None or lease.state is LeaseState.ENDED:
                    self._end(job)  # listed by the engine, and of no lease
                elif job.state is JobState.QUEUED:
                    job.state = JobState.RUNNING
                self._report(job_id)
            while self.reports:
                self._deliver(self.reports.pop(0))


@pytest.mark.slow
def test_history_with_an_engine_leaves_no_lease_without_job_and_no_second_unbilled() -> None:
    ends: Counter[EndReason | None] = Counter()
    orphaned = shortened = 0
    for seed in range(STORIES):
        story = Story(seed)
        for _ in range(STEPS):
            story.step()
        story.finish()
        ends.update(lease.end_reason for lease in story.world.state.leases.values() if lease.cluster_job)
        events = (event for _, happened in story.world.history for event in happened)
        shortened += story.shortened
        orphaned += sum(isinstance(event, e.LeaseOrphaned) for event in events)
    # Histories in which nothing happens prove nothing.
    expected = (EndReason.ALLOCATION_LOST, EndReason.RELEASED, EndReason.HOLDER_DIED, EndReason.CANCELLED)
    assert min(ends[reason] for reason in expected) >= STORIES // 4, ends
    assert (orphaned >= STORIES // 4, shortened >= STORIES // 8) == (True, True)
