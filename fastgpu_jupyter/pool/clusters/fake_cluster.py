"""The nodes and the queue of a simulated cluster: jobs start in order as soon as they fit; no I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .engine import Want

MILLI = 1000


@dataclass(slots=True)
class FakeJob:
    """A job of the simulated cluster; times are on the wall clock."""

    id: str
    name: str
    gpus: int
    milli: int  #: thousandths of each of its GPUs
    models: list[str]
    time_limit_ms: int
    submitted_ms: int
    node: str | None = None
    indices: list[int] = field(default_factory=list)
    started_ms: int | None = None
    ended: str | None = None  #: the final state, in the words of Slurm
    ended_ms: int | None = None
    kill_ms: int | None = None  #: when its processes are killed that should have ended
    killed_as: str = "CANCELLED"  #: the final state of a job that is being ended
    pid: int | None = None
    start_time: int | None = None  #: of its process, against reuse of the number

    @property
    def ends_ms(self) -> int | None:
        """Return when its time limit ends it."""
        return None if self.started_ms is None else self.started_ms + self.time_limit_ms


@dataclass(slots=True)
class FakeNode:
    """A node: the model of its GPUs, and what of each is free, in thousandths."""

    name: str
    model: str
    free: list[int]

    def fits(self, job: FakeJob) -> list[int] | None:
        """Return the GPUs on which the job fits, ``None`` if it does not."""
        if job.models and not any(model in self.model.lower() for model in job.models):
            return None
        found = [index for index, milli in enumerate(self.free) if milli >= job.milli][: job.gpus]
        return found if len(found) == job.gpus else None


class FakeCluster:
    """Nodes, and jobs in the order of their submission."""

    def __init__(self, nodes: Sequence[FakeNode]) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.jobs: dict[str, FakeJob] = {}
        self.ids: dict[str, str] = {}  #: of the jobs that are not over, by name
        self.running: dict[str, FakeJob] = {}
        self.over: dict[str, None] = {}
        self._queued: dict[str, FakeJob] = {}
        self._changed = True  #: whether a job may fit that did not before

    def could_run(self, job: FakeJob) -> bool:
        """Return whether the job would fit on an empty cluster."""
        return any(FakeNode(one.name, one.model, [MILLI] * len(one.free)).fits(job) for one in self.nodes.values())

    def add(self, job: FakeJob) -> None:
        """Add a job; one that was started before takes its place."""
        self.jobs[job.id] = job
        if job.ended is not None:
            self.over[job.id] = None
            return
        self.ids[job.name] = job.id
        if job.node is not None:
            self._begin(job)
        else:
            self._queued[job.id] = job
            self._changed = True

    def positions(self) -> dict[str, int]:
        """Return the places of all jobs in the queue, from 1 on."""
        return {job_id: at for at, job_id in enumerate(self._queued, 1)}

    def start_what_fits(self, now_ms: int, submitted_before_ms: int) -> Iterator[FakeJob]:
        """Start the jobs that fit and were submitted by then, in order, and yield them."""
        if not self._changed:
            return
        self._changed = False
        refused: set[tuple[int, int, tuple[str, ...]]] = set()
        for job in list(self._queued.values()):
            kind = (job.gpus, job.milli, tuple(job.models))
            if kind in refused:
                continue
            if job.submitted_ms > submitted_before_ms:
                self._changed = True  # with time
                continue
            node, indices = next(
                ((node, found) for node in self.nodes.values() if (found := node.fits(job)) is not None), (None, [])
            )
            if node is None:
                refused.add(kind)
                continue
            del self._queued[job.id]
            job.node, job.indices, job.started_ms = node.name, indices, now_ms
            self._begin(job)
            yield job

    def end(self, job: FakeJob, state: str, now_ms: int) -> None:
        """End a job, and free what it has."""
        if job.ended is None:
            job.ended, job.ended_ms = state, now_ms
            self.over[job.id] = None
            if self.ids.get(job.name) == job.id:
                del self.ids[job.name]
            self._queued.pop(job.id, None)
            self.running.pop(job.id, None)
            if job.node is not None:
                self._take(job, job.milli)
                self._changed = True

    def requeue(self, job: FakeJob) -> None:
        """Free what a job has, and put it at the end of the queue."""
        self._take(job, job.milli)
        del self.running[job.id]
        job.node, job.indices, job.started_ms, job.pid, job.start_time = None, [], None, None, None
        self._queued[job.id], self._changed = job, True

    def forget(self, known_over_max: int) -> None:
        """Forget jobs that are over, the oldest first, until there are so many."""
        while len(self.over) > known_over_max:
            job_id = next(iter(self.over))
            del self.over[job_id], self.jobs[job_id]

    def _begin(self, job: FakeJob) -> None:
        self.running[job.id] = job
        self._take(job, -job.milli)

    def _take(self, job: FakeJob, milli: int) -> None:
        assert job.node is not None
        for index in job.indices:
            self.nodes[job.node].free[index] += milli


def job_of(want: Want, job_id: str, name: str, now_ms: int, time_limit_ms: int) -> FakeJob:
    """Return the job that serves ``want``."""
    numerator, denominator = want.fraction or (1, 1)
    if want.partition_profile is not None:
        numerator, denominator = int(want.partition_profile.partition("g.")[0]), 7
    milli = MILLI * numerator // denominator
    return FakeJob(job_id, name, want.gpus, milli, list(want.models), want.time_limit_ms or time_limit_ms, now_ms)
