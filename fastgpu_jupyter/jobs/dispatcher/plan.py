"""What the dispatcher does next: a function of the jobs, their leases, the idle workers and the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ...core.model.lifecycle import LIVE, WITHOUT_CAPACITY, LeaseState
from ..model import JobState
from .record import JobRecord
from .table import JobTable

#: A lease in one of these states can be given to a runner: the runner resumes a parked one.
_USABLE = frozenset({LeaseState.ACTIVE, LeaseState.PARKING, LeaseState.PARKED})
#: A lease in one of these has capacity and is about to become active.
_BECOMING_USABLE = frozenset({LeaseState.PREPARING, LeaseState.RESUMING})


class DispatchLimits(NamedTuple):
    """How many leases may wait, and how many jobs may run, at a time."""

    requests_max: int
    runners_max: int


class Assignment(NamedTuple):
    """A queued function call, and the job whose runner keeps a worker for it."""

    job_id: int
    kept_by: int


class DispatchPlan(NamedTuple):
    """What to do, each in its order."""

    assign: list[Assignment]
    start: list[int]  #: jobs whose lease is granted
    withdraw: list[int]  #: jobs whose request is not among the first ones any more
    request: list[int]  #: jobs to request a lease for


def next_steps(
    table: JobTable,
    leases: Mapping[int, LeaseState],
    idle_workers: Mapping[str, Collection[int]],
    limits: DispatchLimits,
    held_back: Collection[int] = (),
) -> DispatchPlan:
    """Return what to do next.

    ``leases``: the state of the lease that a queued job has, by job. ``idle_workers``: the jobs whose runners keep an
    idle worker, by :attr:`JobRecord.worker`. ``held_back``: jobs whose request was refused for now.

    The first jobs of the order have a request in the pool; a granted lease is never given back for the order.
    """
    return _Planner(table, leases, idle_workers, limits, held_back).plan()


class _Planner:
    """One pass over the queued jobs, in their order."""

    def __init__(
        self,
        table: JobTable,
        leases: Mapping[int, LeaseState],
        idle_workers: Mapping[str, Collection[int]],
        limits: DispatchLimits,
        held_back: Collection[int],
    ) -> None:
        self._table, self._leases, self._limits, self._held_back = table, leases, limits, held_back
        self._idle = {worker: sorted(kept_by) for worker, kept_by in idle_workers.items()}
        running = table.running()
        self._of_executor = Counter(job.executor for job in running if job.executor)
        self._runs, self._requests = len(running), 0
        self._plan = DispatchPlan([], [], [], [])

    def plan(self) -> DispatchPlan:
        leases_left = sum(map(self._is_queued, self._leases))
        for job in self._table.queued():
            if not leases_left and self._is_full():
                break  # no job after this one can get anything, or has anything to give back
            lease = self._leases.get(job.id)
            leases_left -= lease is not None
            if not is_ready(self._table, job) or self._executor_is_full(job):
                self._withdraw(job, lease, LIVE)
            elif job.worker and self._idle.get(job.worker):
                self._plan.assign.append(Assignment(job.id, self._idle[job.worker].pop(0)))
                self._withdraw(job, lease, LIVE)
                self._count(job, runs=1)
            elif self._runs + self._requests >= self._limits.runners_max:
                self._withdraw(job, lease, WITHOUT_CAPACITY)
            elif lease in _USABLE:
                self._plan.start.append(job.id)
                self._count(job, runs=1)
            elif lease in _BECOMING_USABLE or self._requests < self._limits.requests_max:
                if lease is None and job.id not in self._held_back:
                    self._plan.request.append(job.id)
                self._count(job, requests=1)
            else:
                self._withdraw(job, lease, WITHOUT_CAPACITY)
        # A job may have been cancelled, or found in the cache, while its lease waited.
        self._plan.withdraw.extend(job_id for job_id in self._leases if not self._is_queued(job_id))
        return self._plan

    def _is_queued(self, job_id: int) -> bool:
        job = self._table.get(job_id)
        return job is not None and job.state is JobState.QUEUED

    def _is_full(self) -> bool:
        """Return whether no more jobs can be requested, started or given to a worker."""
        free = self._requests < self._limits.requests_max and self._runs + self._requests < self._limits.runners_max
        return not free and not any(self._idle.values())

    def _withdraw(self, job: JobRecord, lease: LeaseState | None, states: Collection[LeaseState]) -> None:
        if lease in states:
            self._plan.withdraw.append(job.id)

    def _count(self, job: JobRecord, runs: int = 0, requests: int = 0) -> None:
        self._runs += runs
        self._requests += requests
        if job.executor:
            self._of_executor[job.executor] += 1

    def _executor_is_full(self, job: JobRecord) -> bool:
        limit = job.workers_max if job.executor else None
        return limit is not None and self._of_executor[job.executor or ""] >= limit


def is_ready(table: JobTable, job: JobRecord) -> bool:
    """Return whether a queued job waits for nothing but a lease."""
    return (
        job.state is JobState.QUEUED
        and not table.unfinished_predecessors(job)
        and (job.key is None or table.computes_key_of(job) is None)
    )
