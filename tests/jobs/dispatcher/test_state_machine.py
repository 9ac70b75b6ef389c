"""Any order of submissions, grants, ends, kills, cancels and restarts: no job is lost, runs twice or comes back."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.jobs.dispatcher import transitions
from fastgpu_jupyter.jobs.dispatcher.plan import DispatchLimits, is_ready, next_steps
from fastgpu_jupyter.jobs.dispatcher.record import Attempt, JobRecord
from fastgpu_jupyter.jobs.dispatcher.table import JobTable
from fastgpu_jupyter.jobs.dispatcher.transitions import Facts
from fastgpu_jupyter.jobs.model import JobState
from fastgpu_jupyter.wire.schemas.jobs import JobOutcome
from tests.jobs.dispatcher.records import record

LIMITS = DispatchLimits(requests_max=2, runners_max=3)


class Attempted:
    """An attempt of a job as it is on the machine: the runner, and what it has written."""

    def __init__(self, number: int, boot: int) -> None:
        self.number, self.boot = number, boot
        self.alive, self.began = True, False
        self.outcome: JobOutcome | None = None


class Jobs(RuleBasedStateMachine):
    """A user's jobs, with the store, the pool and the runners as plain data."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.boot = 0
        self.last_id = 0
        self.stored: dict[int, JobRecord] = {}
        self.table: JobTable | None = JobTable()
        self.leases: dict[int, LeaseState] = {}
        self.attempts: dict[int, Attempted] = {}
        self.begun: dict[int, int] = {}  #: how often the work of a job has begun
        self.ended: dict[int, JobState] = {}

    # -- the dispatcher ------------------------------------------------------------------------------------------------

    def commit(self, *jobs: JobRecord) -> None:
        """Store jobs with the consequences for those that follow them, as the engine does."""
        assert self.table is not None
        found = {job.id: job for job in jobs}
        pending = [job for job in jobs if job.over]
        while pending:
            predecessor = pending.pop()
            for follower in self.table.followers(predecessor.id):
                before = found.get(follower.id, follower)
                after = transitions.after_predecessor(before, predecessor, self.now)
                if after is not before:
                    found[after.id] = after
                    pending.append(after)
        for job in found.values():
            self.table.put(job)
            self.stored[job.id] = job
        self.plan()

    def plan(self) -> None:
        """Do what the plan says, until it says nothing."""
        assert self.table is not None
        steps = next_steps(self.table, self.leases, {}, LIMITS)
        for job_id in steps.withdraw:
            del self.leases[job_id]
        for job_id in steps.request:
            self.leases[job_id] = LeaseState.WAITING
        for job_id in steps.start:
            del self.leases[job_id]
            job = self.table[job_id]
            attempt = Attempt(boot_id=str(self.boot), lease_id=f"lease-{job_id}")
            previous = self.attempts.get(job_id)
            assert previous is None or not previous.alive, f"job {job_id} runs twice"
            self.attempts[job_id] = Attempted(job.attempt + 1, self.boot)
            self.commit(transitions.started(job, attempt, None, "USD", self.now))
            return

    def look(self, job: JobRecord) -> None:
        """Record what became of a running job, if its runner is gone or has written an outcome."""
        attempt = self.attempts[job.id]
        if attempt.alive and attempt.outcome is None:
            return
        attempt.alive = False
        facts = Facts(attempt.outcome, attempt.began, rebooted=attempt.boot != self.boot)
        self.commit(transitions.without_runner(job, facts, None, self.now))

    # -- what happens --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.table is not None)
    @rule(
        priority=st.sampled_from(["low", "normal", "high"]),
        retries=st.integers(0, 1),
        key=st.sampled_from([None, "k"]),
        follows=st.lists(st.integers(1, 6), max_size=2),
    )
    def submit(self, priority: str, retries: int, key: str | None, follows: list[int]) -> None:
        assert self.table is not None
        after = [one for one in follows if (job := self.table.get(one)) is not None and not job.over]
        self.last_id += 1
        self.commit(record(self.last_id, priority, retries=retries, key=key, after=sorted(set(after))))

    @precondition(lambda self: self.table is not None and self.leases)
    @rule(data=st.data(), begins=st.sampled_from([True, True, False]))
    def grant(self, data: st.DataObject, begins: bool) -> None:
        assert self.table is not None
        job_id = data.draw(st.sampled_from(sorted(self.leases)))
        self.leases[job_id] = LeaseState.ACTIVE
        self.plan()
        if begins and self.table[job_id].state is JobState.RUNNING:
            self.attempts[job_id].began = True
            self.begun[job_id] = self.begun.get(job_id, 0) + 1

    @precondition(lambda self: any(one.alive and one.began for one in self.attempts.values()))
    @rule(data=st.data(), state=st.sampled_from(["done", "failed"]))
    def end(self, data: st.DataObject, state: str) -> None:
        job_id = data.draw(st.sampled_from([one for one, how in self.attempts.items() if how.alive and how.began]))
        attempt = self.attempts[job_id]
        if self.stored[job_id].cancelling:
            state = "cancelled"
        attempt.outcome = cast("JobOutcome", {"state": state, "attempt": attempt.number})
        attempt.alive = False
        if self.table is not None:
            self.look(self.table[job_id])

    @precondition(lambda self: any(one.alive for one in self.attempts.values()))
    @rule(data=st.data())
    def kill_runner(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from([one for one, how in self.attempts.items() if how.alive]))
        self.attempts[job_id].alive = False
        if self.table is not None:
            self.look(self.table[job_id])

    @precondition(lambda self: self.table is not None and any(not job.over for job in self.stored.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        assert self.table is not None
        job_id = data.draw(st.sampled_from(sorted(self.stored)))
        self.commit(transitions.cancelled(self.table[job_id], self.now))

    @rule(reboots=st.booleans(), restarts=st.sampled_from([True, True, False]))
    def kill_dispatcher(self, reboots: bool, restarts: bool) -> None:
        self.table = None
        self.leases.clear()
        if reboots:
            self.boot += 1
            for attempt in self.attempts.values():
                attempt.alive = False
        if restarts:
            self.start_dispatcher()

    @precondition(lambda self: self.table is None)
    @rule()
    def start_dispatcher(self) -> None:
        self.table = JobTable(self.stored.values())
        for job in self.table.running():
            if self.table[job.id].state is JobState.RUNNING:
                self.look(self.table[job.id])
        self.plan()

    # -- what must always be true --------------------------------------------------------------------------------------

    @invariant()
    def no_acknowledged_job_is_lost(self) -> None:
        assert set(self.stored) == set(range(1, self.last_id + 1))

    @invariant()
    def states_at_the_end_never_change(self) -> None:
        for job in self.stored.values():
            if job.id in self.ended:
                assert job.state is self.ended[job.id]
            if job.over:
                self.ended[job.id] = job.state

    @invariant()
    def outcome_of_the_last_attempt_is_the_state(self) -> None:
        for job in self.stored.values():
            attempt = self.attempts.get(job.id)
            if attempt is not None and attempt.outcome is not None and self.table is not None:
                assert (job.state, job.attempt) == (attempt.outcome["state"], attempt.number)

    @invariant()
    def work_begins_no_more_often_than_retries_allow(self) -> None:
        for job_id, count in self.begun.items():
            assert count <= self.stored[job_id].retries + 1

    @invariant()
    def no_runner_works_for_a_job_that_does_not_run(self) -> None:
        for job_id, attempt in self.attempts.items():
            assert not attempt.alive or self.stored[job_id].state is JobState.RUNNING

    @invariant()
    def no_job_starts_before_those_that_it_follows_are_done(self) -> None:
        for job in self.stored.values():
            if job.attempt:
                assert all(self.stored[other].state is JobState.DONE for other in job.after)

    @invariant()
    def a_key_is_computed_once_at_a_time(self) -> None:
        running = [job.key for job in self.stored.values() if job.state is JobState.RUNNING and job.key]
        assert len(running) == len(set(running))

    @invariant()
    def leases_are_of_queued_jobs(self) -> None:
        assert all(self.stored[job_id].state is JobState.QUEUED for job_id in self.leases)

    @invariant()
    def requests_are_the_first_jobs_in_the_order(self) -> None:
        if self.table is None or len(self.table.running()) + len(self.leases) >= LIMITS.runners_max:
            return
        table = self.table
        others = [job for job in table.queued() if is_ready(table, job) and job.id not in self.leases]
        assert len(self.leases) == LIMITS.requests_max or not others
        order = ["high", "normal", "low"]
        first = max(((order.index(table[job_id].priority), job_id) for job_id in self.leases), default=(0, 0))
        assert all(first < (order.index(job.priority), job.id) for job in others), (first, others)

    def teardown(self) -> None:
        """All jobs come to an end once nothing is killed any more."""
        if self.table is None:
            self.start_dispatcher()
        assert self.table is not None
        for _ in range(10 * self.last_id + 10):
            for job_id in sorted(self.leases):
                if job_id in self.leases:
                    self.leases[job_id] = LeaseState.ACTIVE
                    self.plan()
            for job in self.table.running():
                attempt = self.attempts[job.id]
                attempt.outcome, attempt.alive = cast("JobOutcome", {"state": "done", "attempt": attempt.number}), False
                self.look(self.table[job.id])
            if all(job.over for job in self.stored.values()):
                return
        raise AssertionError(f"not over: {[job for job in self.stored.values() if not job.over]}")


TestJobs = pytest.mark.slow(Jobs.TestCase)
TestJobs.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
