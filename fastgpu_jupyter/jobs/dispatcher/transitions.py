"""What becomes of a job when something happened to it: functions of the job, the fact and the time.

Nothing here reads a clock or does I/O. A function returns the job as it is from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from ...errors import Message
from ...messages import view_of
from ..model import CacheOutcome, JobState
from .record import Attempt, JobRecord

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobOutcome

#: Starts in a row whose runner ended before the work began, after which a job fails.
FALSE_STARTS_MAX = 3
NOTES_MAX = 20


class Facts(NamedTuple):
    """What is known of an attempt whose runner does not run any more."""

    outcome: JobOutcome | None  #: of that attempt
    work_began: bool
    rebooted: bool  #: the machine was restarted since


def with_note(job: JobRecord, message: Message) -> JobRecord:
    """Return the job with one more note for its user."""
    return replace(job, notes=[*job.notes, dict(view_of(message))][-NOTES_MAX:])


def started(
    job: JobRecord, attempt: Attempt, gpu: Mapping[str, Any] | None, currency: str | None, now_ms: int
) -> JobRecord:
    """Return a queued job as its runner is started."""
    return replace(
        job,
        state=JobState.RUNNING,
        attempt=job.attempt + 1,
        started_at=now_ms,
        last_attempt=attempt,
        gpu=None if gpu is None else dict(gpu),
        currency=currency,
        cost_micro=None,
        progress=None,
    )


def cancelled(job: JobRecord, now_ms: int, why: Message | None = None) -> JobRecord:
    """Return a job as it is after a request to cancel it; one that is over stays as it is."""
    if job.state is JobState.RUNNING:
        return replace(job, cancelling=True)
    if job.over:
        return job
    job = replace(job, state=JobState.CANCELLED, cancelling=False, ended_at=now_ms)
    return job if why is None else with_note(job, why)


def refused(job: JobRecord, name: str, text: str, now_ms: int) -> JobRecord:
    """Return a queued job that can never run."""
    return replace(job, state=JobState.FAILED, ended_at=now_ms, error={"name": name, "text": text})


def found_in_cache(job: JobRecord, result: Mapping[str, Any], cache: Mapping[str, Any], now_ms: int) -> JobRecord:
    """Return a queued job whose result was computed before."""
    return replace(
        job,
        state=JobState.DONE,
        started_at=job.started_at or now_ms,
        ended_at=now_ms,
        result=dict(result),
        cache=dict(cache),
        cost_micro=0,
    )


def with_outcome(job: JobRecord, outcome: JobOutcome, result: Mapping[str, Any] | None, now_ms: int) -> JobRecord:
    """Return a running job as its runner says that it ended; ``result`` is what its manifest holds."""
    failure = outcome.get("error")
    cost_micro = outcome.get("cost_micro")
    return replace(
        job,
        state=JobState(outcome["state"]),
        cancelling=False,
        false_starts=0,
        started_at=outcome.get("started_at") or job.started_at,
        ended_at=outcome.get("ended_at") or now_ms,
        exit_status=outcome.get("exit_status"),
        error=None if failure is None else {"name": failure["name"], "text": failure["text"]},
        result=None if result is None else dict(result),
        cost_micro=job.cost_micro if cost_micro is None else cost_micro,
        notes=[*job.notes, *(dict(note) for note in outcome.get("notes", []) if note not in job.notes)][-NOTES_MAX:],
    )


def without_runner(job: JobRecord, facts: Facts, result: Mapping[str, Any] | None, now_ms: int) -> JobRecord:
    """Return a running job whose runner has ended: by its outcome, else cancelled, queued again, or lost."""
    if facts.outcome is not None:
        return with_outcome(job, facts.outcome, result, now_ms)
    if job.cancelling:
        return replace(job, state=JobState.CANCELLED, cancelling=False, ended_at=now_ms)
    if not facts.work_began:
        return _not_begun(job, facts, now_ms)
    lost = replace(job, losses=job.losses + 1, false_starts=0)
    if lost.losses <= job.retries:
        again = replace(lost, state=JobState.QUEUED, started_at=None, gpu=None)
        if facts.rebooted:
            return with_note(again, Message.of("jobs.lost_reboot_retry", attempt=job.attempt))
        return with_note(again, Message.of("jobs.lost_retry", attempt=job.attempt))
    lost = replace(lost, state=JobState.LOST, ended_at=now_ms)
    if facts.rebooted:
        return with_note(lost, Message.of("jobs.lost_reboot"))
    return with_note(lost, Message.of("jobs.lost"))


def _not_begun(job: JobRecord, facts: Facts, now_ms: int) -> JobRecord:
    """Return a job whose runner ended before the work: queued again, without the loss of a retry."""
    false_starts = 0 if facts.rebooted else job.false_starts + 1
    if false_starts >= FALSE_STARTS_MAX:
        failed = replace(job, state=JobState.FAILED, ended_at=now_ms, false_starts=false_starts)
        text = view_of(Message.of("jobs.runner_ends", starts=false_starts))["text"]
        return replace(failed, error={"name": "RunnerEnded", "text": text})
    return replace(job, state=JobState.QUEUED, started_at=None, gpu=None, false_starts=false_starts)


def after_predecessor(job: JobRecord, predecessor: JobRecord, now_ms: int) -> JobRecord:
    """Return a queued job when one that it is to follow is over: cancelled unless that one is done."""
    if predecessor.state is JobState.DONE or job.state is not JobState.QUEUED:
        return job
    return cancelled(job, now_ms, not_done(predecessor))


def not_done(predecessor: JobRecord) -> Message:
    """Return the sentence that a job does not run because one before it was not done."""
    number = predecessor.id
    if predecessor.state is JobState.FAILED:
        return Message.of("jobs.predecessor_failed", number=number)
    if predecessor.state is JobState.CANCELLED:
        return Message.of("jobs.predecessor_cancelled", number=number)
    return Message.of("jobs.predecessor_lost", number=number)


def not_cached(job: JobRecord, why: Message) -> JobRecord:
    """Return a job whose result is kept and not cached."""
    if job.cache is None:
        return job
    return replace(job, cache={**job.cache, "outcome": CacheOutcome.NOT_CACHED.value, "message": dict(view_of(why))})
