"""The jobs in memory, with the order of those that are queued and what depends on what."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from ...wire.schemas.common import PRIORITIES
from ..model import JobState, require_transition
from .record import JobRecord

#: The order of a queued job: higher priority first, then the lower id.
Rank = tuple[int, int]


def rank_of(job: JobRecord) -> Rank:
    """Return the order of a job among the queued ones."""
    return -PRIORITIES.index(job.priority), job.id


class JobTable:
    """All jobs that are kept, by id."""

    def __init__(self, jobs: Iterable[JobRecord] = ()) -> None:
        self._jobs: dict[int, JobRecord] = {}
        self._queued: list[Rank] = []
        self._running: dict[int, None] = {}
        self._followers: dict[int, set[int]] = {}  #: unfinished jobs by a job that they are to follow
        self._submissions: dict[str, int] = {}
        self._by_key: dict[str, set[int]] = {}  #: unfinished jobs by cache key
        for job in jobs:
            self._add(job)

    def put(self, job: JobRecord) -> None:
        """Add or replace a job. Raises :class:`InternalError` where its state may not follow the one it had."""
        before = self._jobs.get(job.id)
        if before is not None:
            require_transition(before.state, job.state)
            self._drop_from_indexes(before)
        self._add(job)

    def remove(self, job_id: int) -> None:
        """Forget a job that is over."""
        job = self._jobs.pop(job_id)
        self._submissions.pop(job.submission, None)

    def _add(self, job: JobRecord) -> None:
        self._jobs[job.id] = job
        self._submissions[job.submission] = job.id
        if job.over:
            return
        if job.state is JobState.QUEUED:
            insort(self._queued, rank_of(job))
        else:
            self._running[job.id] = None
        for other in job.after:
            self._followers.setdefault(other, set()).add(job.id)
        if job.key is not None:
            self._by_key.setdefault(job.key, set()).add(job.id)

    def _drop_from_indexes(self, job: JobRecord) -> None:
        if job.over:
            return
        if job.state is JobState.QUEUED:
            del self._queued[bisect_left(self._queued, rank_of(job))]
        else:
            del self._running[job.id]
        for other in job.after:
            _discard(self._followers, other, job.id)
        if job.key is not None:
            _discard(self._by_key, job.key, job.id)

    # -- questions -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __getitem__(self, job_id: int) -> JobRecord:
        return self._jobs[job_id]

    def all(self) -> list[JobRecord]:
        """Return all jobs by id."""
        return [self._jobs[job_id] for job_id in sorted(self._jobs)]

    def get(self, job_id: int) -> JobRecord | None:
        """Return the job with that id if it is kept."""
        return self._jobs.get(job_id)

    def submitted_as(self, submission: str) -> JobRecord | None:
        """Return the job of a submission."""
        job_id = self._submissions.get(submission)
        return None if job_id is None else self._jobs[job_id]

    def queued(self) -> Iterator[JobRecord]:
        """Yield the queued jobs in their order."""
        return (self._jobs[job_id] for _, job_id in self._queued)

    def queue(self) -> list[int]:
        """Return the ids of the queued jobs in their order."""
        return [job_id for _, job_id in self._queued]

    def running(self) -> list[JobRecord]:
        """Return the running jobs."""
        return [self._jobs[job_id] for job_id in self._running]

    def jobs_before(self, job: JobRecord) -> int:
        """Return how many queued jobs come before a queued job."""
        return bisect_left(self._queued, rank_of(job))

    def counts(self) -> tuple[int, int]:
        """Return how many jobs are queued, and how many run."""
        return len(self._queued), len(self._running)

    def followers(self, job_id: int) -> list[JobRecord]:
        """Return the unfinished jobs that are to follow a job."""
        return [self._jobs[follower] for follower in sorted(self._followers.get(job_id, ()))]

    def unfinished_predecessors(self, job: JobRecord) -> list[int]:
        """Return the jobs that a job waits for; one that is not kept any more was done."""
        return [other for other in job.after if other in self._jobs and not self._jobs[other].over]

    def with_key(self, key: str | None) -> list[JobRecord]:
        """Return the unfinished jobs with a cache key."""
        return [self._jobs[job_id] for job_id in sorted(self._by_key.get(key or "", ()))]

    def computes_key_of(self, job: JobRecord) -> int | None:
        """Return the unfinished job that computes what ``job`` needs, None where ``job`` is to do it.

        It is the running one, else the first queued one that waits for no other job: a job must not wait for one that
        waits for it.
        """
        others = [other for other in self.with_key(job.key) if other.id != job.id]
        running = [other.id for other in others if other.id in self._running]
        if running:
            return min(running)
        ready = [rank_of(other) for other in others if not self.unfinished_predecessors(other)]
        first = min(ready, default=rank_of(job))
        return None if first >= rank_of(job) else first[1]


def _discard(index: dict[int, set[int]] | dict[str, set[int]], key: int | str, job_id: int) -> None:
    members = index[key]  # type: ignore[index]  # both kinds of index have keys of their own kind only
    members.discard(job_id)
    if not members:
        del index[key]  # type: ignore[arg-type]
