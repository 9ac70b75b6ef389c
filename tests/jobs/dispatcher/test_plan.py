"""What the dispatcher does next."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.jobs.dispatcher.plan import Assignment, DispatchLimits, DispatchPlan, next_steps
from fastgpu_jupyter.jobs.model import JobState
from tests.jobs.dispatcher.records import record, running, table

LIMITS = DispatchLimits(requests_max=2, runners_max=4)
NOTHING = DispatchPlan([], [], [], [])


def test_first_jobs_by_priority_and_id_are_requested() -> None:
    jobs = table(record(1), record(2), record(3, "high"), record(4, "normal"))
    assert next_steps(jobs, {}, {}, LIMITS) == NOTHING._replace(request=[3, 4])
    assert jobs.queue() == [3, 4, 1, 2]
    assert [jobs.jobs_before(jobs[job_id]) for job_id in (1, 2, 3, 4)] == [2, 3, 0, 1]


def test_request_that_is_not_among_the_first_any_more_is_withdrawn() -> None:
    jobs = table(record(1), record(2), record(3, "high"))
    waiting = {1: LeaseState.WAITING, 2: LeaseState.WAITING}
    assert next_steps(jobs, waiting, {}, LIMITS) == NOTHING._replace(withdraw=[2], request=[3])


@pytest.mark.parametrize("state", [LeaseState.ACTIVE, LeaseState.PARKING, LeaseState.PARKED])
def test_granted_lease_starts_its_job_and_is_not_withdrawn_for_the_order(state: LeaseState) -> None:
    jobs = table(record(1), record(2, "high"), record(3, "high"))
    leases = {1: state, 2: LeaseState.WAITING, 3: LeaseState.WAITING}
    assert next_steps(jobs, leases, {}, LIMITS) == NOTHING._replace(start=[1])
    preparing = {**leases, 1: LeaseState.PREPARING}
    assert next_steps(jobs, preparing, {}, LIMITS) == NOTHING


def test_no_more_jobs_than_the_limit_are_started_or_requested() -> None:
    jobs = table(*(running(job_id) for job_id in range(1, 4)), record(4), record(5))
    assert next_steps(jobs, {4: LeaseState.WAITING, 5: LeaseState.WAITING}, {}, LIMITS).withdraw == [5]
    assert next_steps(jobs, {}, {}, LIMITS).request == [4]


def test_job_that_waits_for_another_is_not_requested() -> None:
    jobs = table(record(1), record(2, after=[1]), record(3, after=[99]))
    assert next_steps(jobs, {}, {}, LIMITS).request == [1, 3]  # 99 is not kept any more, so it was done
    assert next_steps(jobs, {2: LeaseState.ACTIVE}, {}, LIMITS).withdraw == [2]


def test_one_job_computes_a_key_and_the_others_wait() -> None:
    jobs = table(record(1, key="k"), record(2, "high", key="k"), record(3, key="other"))
    assert next_steps(jobs, {}, {}, LIMITS).request == [2, 3]
    jobs = table(running(1, key="k"), record(2, "high", key="k"))
    assert next_steps(jobs, {}, {}, LIMITS) == NOTHING


def test_job_is_not_waited_for_that_waits_for_the_same_job() -> None:
    jobs = table(record(1, key="k"), record(2, "high", key="k", after=[1]))
    assert next_steps(jobs, {}, {}, LIMITS).request == [1]


def test_idle_worker_gets_the_first_call_that_fits_without_a_lease() -> None:
    jobs = table(record(1, worker="w"), record(2, worker="w"), record(3, worker="v"))
    plan = next_steps(jobs, {1: LeaseState.WAITING}, {"w": [7]}, LIMITS)
    assert plan == DispatchPlan([Assignment(1, 7)], [], [1], [2, 3])


def test_executor_has_no_more_calls_at_once_than_its_workers() -> None:
    calls = [record(job_id, executor="x", workers_max=2, worker="w") for job_id in range(2, 6)]
    jobs = table(running(1, executor="x", workers_max=2, worker="w"), *calls, record(6))
    assert next_steps(jobs, {}, {}, LIMITS).request == [2, 6]


def test_job_that_is_held_back_keeps_its_place_and_is_not_requested() -> None:
    jobs = table(record(1), record(2), record(3))
    assert next_steps(jobs, {}, {}, LIMITS, held_back={1}).request == [2]


def test_lease_of_a_job_that_is_over_is_withdrawn() -> None:
    jobs = table(record(1, state=JobState.CANCELLED), record(2))
    assert next_steps(jobs, {1: LeaseState.WAITING}, {}, LIMITS) == NOTHING._replace(withdraw=[1], request=[2])


def test_jobs_that_are_over_are_not_looked_at() -> None:
    jobs = table(record(1, state=JobState.DONE), record(2, state=JobState.LOST))
    assert next_steps(jobs, {}, {"w": [1]}, LIMITS) == NOTHING
