"""What becomes of a job."""

from __future__ import annotations

from typing import cast

import pytest

from fastgpu_jupyter.errors import InternalError
from fastgpu_jupyter.jobs.dispatcher import transitions
from fastgpu_jupyter.jobs.dispatcher.record import JobRecord
from fastgpu_jupyter.jobs.dispatcher.transitions import FALSE_STARTS_MAX, Facts
from fastgpu_jupyter.jobs.model import ENDED, TRANSITIONS, JobState, require_transition
from fastgpu_jupyter.wire.schemas.jobs import JobOutcome
from tests.jobs.dispatcher.records import record, running

KILLED = Facts(None, work_began=True, rebooted=False)


def code_of_note(job: JobRecord) -> str:
    return str(job.notes[-1]["code"])


def test_every_state_has_transitions_and_no_job_comes_back() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert all(TRANSITIONS[state] == {state} for state in ENDED)
    with pytest.raises(InternalError):
        require_transition(JobState.DONE, JobState.QUEUED)


def test_lost_attempt_is_repeated_as_often_as_was_asked_for() -> None:
    job = transitions.without_runner(running(1, retries=1), KILLED, None, 5)
    assert (job.state, code_of_note(job), job.losses) == (JobState.QUEUED, "jobs.lost_retry", 1)
    job = transitions.without_runner(running(1, retries=1, losses=1, attempt=2), KILLED, None, 6)
    assert (job.state, code_of_note(job), job.ended_at) == (JobState.LOST, "jobs.lost", 6)


def test_reboot_is_named_as_the_reason() -> None:
    rebooted = KILLED._replace(rebooted=True)
    assert code_of_note(transitions.without_runner(running(1), rebooted, None, 5)) == "jobs.lost_reboot"
    again = transitions.without_runner(running(1, retries=1), rebooted, None, 5)
    assert code_of_note(again) == "jobs.lost_reboot_retry"


def test_attempt_that_had_not_begun_costs_no_retry() -> None:
    facts = Facts(None, work_began=False, rebooted=False)
    job = running(1)
    for number in range(1, FALSE_STARTS_MAX):
        job = transitions.without_runner(running(1, false_starts=job.false_starts), facts, None, 5)
        assert (job.state, job.false_starts, job.losses) == (JobState.QUEUED, number, 0)
    job = transitions.without_runner(running(1, false_starts=job.false_starts), facts, None, 5)
    assert job.state is JobState.FAILED
    assert (
        transitions.without_runner(running(1, false_starts=2), facts._replace(rebooted=True), None, 5).state == "queued"
    )


def test_outcome_counts_more_than_how_the_runner_ended() -> None:
    outcome = cast("JobOutcome", {"state": "done", "attempt": 1, "exit_status": 0, "cost_micro": 7})
    facts = Facts(outcome, work_began=True, rebooted=True)
    job = transitions.without_runner(running(1, cancelling=True), facts, {"digest": "d"}, 5)
    assert (job.state, job.cost_micro, job.result, job.cancelling) == (JobState.DONE, 7, {"digest": "d"}, False)


def test_cancelled_job_whose_runner_was_killed_is_cancelled() -> None:
    assert transitions.without_runner(running(1, cancelling=True, retries=3), KILLED, None, 5).state == "cancelled"


def test_cancel_is_idempotent_in_every_state() -> None:
    for state in JobState:
        job = running(1) if state is JobState.RUNNING else record(1, state=state)
        once = transitions.cancelled(job, 5)
        assert transitions.cancelled(once, 9) == once
        if state in ENDED:
            assert once == job
    assert transitions.cancelled(record(1), 5).state is JobState.CANCELLED
    assert transitions.cancelled(running(1), 5).state is JobState.RUNNING


@pytest.mark.parametrize("state", sorted(ENDED))
def test_job_runs_only_after_jobs_that_are_done(state: JobState) -> None:
    job = transitions.after_predecessor(record(2, after=[1]), record(1, state=state), 5)
    assert job.state is (JobState.QUEUED if state is JobState.DONE else JobState.CANCELLED)
    if state is not JobState.DONE:
        assert code_of_note(job) == f"jobs.predecessor_{state}"
