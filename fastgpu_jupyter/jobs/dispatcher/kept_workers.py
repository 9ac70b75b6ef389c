"""Workers that runners keep for the next function call: which are idle, which call each gets, and when they end.

A kept worker's runner has the lease and the lock of its first job; the later ones name that job as ``kept_by``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ...errors import Message, NotFound
from . import transitions
from .engine import JobEngine
from .hand_over import hand_over
from .leases import Leases
from .record import Attempt, JobRecord
from .runners import RunnerConnection, Runners

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobBody


class KeptWorkers:
    """The idle workers of the runners."""

    def __init__(self, engine: JobEngine, leases: Leases, runners: Runners) -> None:
        self._engine, self._leases, self._runners = engine, leases, runners

    def idle(self, job_id: int, worker: str, connection: RunnerConnection) -> None:
        """Note that a runner keeps a worker for the next call."""
        for runner in self._runners.all():
            if runner.connection is connection and runner.runs is None:
                runner.worker = worker
                self._engine.replan()
                return
        raise NotFound(Message.of("jobs.no_job", number=job_id))

    def retire(self, job_id: int, connection: RunnerConnection) -> bool:
        """Give a runner no more calls; return False where it has one. Raises :class:`NotFound` for an unknown one."""
        for runner in self._runners.all():
            if runner.connection is connection:
                runner.worker = None
                return runner.runs is None
        raise NotFound(Message.of("jobs.no_job", number=job_id))

    def idle_workers(self) -> dict[str, list[int]]:
        """Return the jobs whose runners keep an idle worker, by worker."""
        found: dict[str, list[int]] = {}
        for runner in self._runners.all():
            if runner.worker is not None and runner.connection is not None:
                found.setdefault(runner.worker, []).append(runner.job_id)
        return found

    def end_idle_workers(self) -> None:
        """Let idle workers end, whose leases others wait for."""
        for runner in self._runners.all():
            if runner.worker is not None and runner.connection is not None:
                runner.worker = None
                runner.connection.push({"event": "end_worker", "job_id": runner.job_id})

    def idle_worker_for(self, job: JobRecord) -> int | None:
        """Return the job whose runner keeps an idle worker that may run a job which is not queued yet.

        What is queued for that worker, and may run, has got it already: the worker would not be idle.
        """
        if job.worker is None or job.key is not None or self._leases.others_wait:
            return None
        if self._engine.table.unfinished_predecessors(job):
            return None
        if job.workers_max is not None:
            of_executor = sum(other.executor == job.executor for other in self._engine.table.running())
            if of_executor >= job.workers_max:
                return None
        return next(iter(self.idle_workers().get(job.worker, ())), None)

    def started_by(self, job: JobRecord, kept_by: int) -> JobRecord:
        """Return a job as an idle worker runs it."""
        lease_id = self._runners.of_folder(kept_by).lease_id
        before = self._engine.cost_of_lease(lease_id)
        attempt = Attempt(boot_id=self._runners.boot_id, lease_id=lease_id, cost_before_micro=before, kept_by=kept_by)
        gpu, currency = self._engine.gpu_of(kept_by)
        return transitions.started(job, attempt, gpu, currency, self._engine.now_ms())

    def send_call(self, running: JobRecord, kept_by: int, body: JobBody) -> None:
        """Send an idle worker a call that is stored as its own."""
        runner = self._runners.of_folder(kept_by)
        assert runner.connection is not None
        runner.runs, runner.worker = running.id, None
        runner.connection.push({"event": "run", **hand_over(self._engine, running, None, body)})
        self._leases.follow(runner.lease_id, running.id)

    def assign(self, job: JobRecord, kept_by: int) -> None:
        """Let an idle worker run a queued job."""
        running = self.started_by(job, kept_by)
        if self._engine.try_commit([running], synced=False):
            self.send_call(running, kept_by, cast("JobBody", self._engine.store.body(job.id)))
