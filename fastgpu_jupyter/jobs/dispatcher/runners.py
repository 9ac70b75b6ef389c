"""The runners of running jobs: started, watched, taken over from a dispatcher that ended, and recorded when they end.

A runner lives while the lock of its folder is held. What it leaves behind when it is killed holds the lock as well,
until all processes of the job have ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...errors import FastGPUError, InvalidRequest, Message, NotFound, StoreFault
from ...messages import text_of
from ...wire import private_files
from ...wire.schemas.jobs import JobOutcome
from .. import places, processes
from ..model import JobState
from . import transitions
from .cached import CacheIndex
from .engine import JobEngine
from .hand_over import read_outcome, work_has_begun, write_hand_over
from .kept_results import KeptResults
from .leases import Hold, Leases
from .record import Attempt, JobRecord
from .transitions import Facts

log = logging.getLogger("fastgpu.jobs")
#: What starts a runner; the id of the job is the last argument.
COMMAND = (sys.executable, "-P", "-m", "fastgpu_jupyter.jobs.runner")
#: How often the locks of runners that this process did not start are looked at, and those of runners that have ended.
LOOK_S, LOOK_AGAIN_S = 1.0, 0.05
#: What a killed runner leaves behind is killed after so long, and a runner that does not end a cancelled job.
LEFTOVERS_S, CANCEL_S = 10.0, 60.0
#: A job whose runner cannot be started is tried again after that time.
RETRY_S = 5.0


class RunnerConnection(Protocol):
    """The connection of a runner."""

    def push(self, frame: dict[str, Any]) -> None: ...  # noqa: D102


@dataclass(eq=False)
class Runner:
    """A runner that lives, as far as is known."""

    job_id: int  #: the job in whose folder its lock is
    runs: int | None  #: the job that it runs; None while it keeps an idle worker
    lease_id: str
    token: str | None  #: None where another dispatcher requested the lease
    process: subprocess.Popen[bytes] | None = None
    pid: int | None = None
    connection: RunnerConnection | None = None
    worker: str | None = None  #: of the idle worker that it keeps
    exited_at_s: float | None = None
    unrecorded: bool = False  #: its end could not be written, because the disk is full


class Runners:
    """The runners of all running jobs, by the job whose folder has their lock."""

    def __init__(
        self, engine: JobEngine, leases: Leases, results: KeptResults, index: CacheIndex, boot_id: str
    ) -> None:
        self._engine, self._leases, self._results, self._index = engine, leases, results, index
        self.boot_id = boot_id
        self._runners: dict[int, Runner] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._runners)

    def all(self) -> Iterable[Runner]:
        """Return the runners that live, as far as is known."""
        return self._runners.values()

    def of_folder(self, job_id: int) -> Runner:
        """Return the runner whose lock is in the folder of a job."""
        return self._runners[job_id]

    # -- start ---------------------------------------------------------------------------------------------------------

    def start(self, job: JobRecord) -> None:
        """Start a runner for a job whose lease is granted; where that fails, the job waits and says why."""
        hold = self._leases.take(job.id)
        folder = places.job_folder(job.id, self._engine.folder)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = private_files.lock(folder / places.RUNNER_LOCK)
            if lock is None:
                self._put_off(job, hold, Message.of("jobs.earlier_attempt_ends"))
                return
            try:
                self._start(job, hold, lock)
            finally:
                os.close(lock)
        except (OSError, FastGPUError) as error:
            why = error.message if isinstance(error, FastGPUError) else _of_system(error)
            log.warning("Job %d is not started: %s", job.id, error)
            self._put_off(job, hold, why)

    def _put_off(self, job: JobRecord, hold: Hold, why: Message) -> None:
        """Give the lease back, because it costs, and try again later."""
        self._leases.forget(str(hold.lease_id))
        self._leases.release(str(hold.lease_id), hold.token)
        self._engine.live_of(job.id).forget_lease()
        if self._engine.table[job.id].state is JobState.QUEUED:
            self._leases.hold_back(job.id, RETRY_S, why)

    def _start(self, job: JobRecord, hold: Hold, lock: int) -> None:
        view = hold.view
        assert view is not None
        money, gpu = view["money"], view["gpu"]
        attempt = Attempt(boot_id=self.boot_id, lease_id=view["id"], cost_before_micro=0)
        shown = None if gpu is None else {name: gpu[name] for name in ("model", "device_ids", "simulated")}
        running = transitions.started(job, attempt, shown, money["currency"], self._engine.now_ms())
        write_hand_over(self._engine, running, hold.token)
        self._engine.commit([running])
        runner = self._runners[job.id] = Runner(job.id, job.id, view["id"], hold.token)
        try:
            with (places.job_folder(job.id, self._engine.folder) / places.RUNNER_LOG).open("ab") as output:
                runner.process = subprocess.Popen(
                    [*COMMAND, str(job.id)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        except OSError:
            log.exception("The runner of job %d cannot be started", job.id)
            self._exited(job.id)
            return
        runner.pid = runner.process.pid
        self._watch(runner)

    def _watch(self, runner: Runner) -> None:
        """Learn at once when a process that this one started ends."""
        assert runner.process is not None
        try:
            pidfd = os.pidfd_open(runner.process.pid)
        except OSError:
            self._look_soon(LOOK_AGAIN_S)
            return
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self._exited(runner.job_id)

        loop.add_reader(pidfd, ended)

    # -- recovery ------------------------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Watch the runners that an earlier dispatcher left, and record those that have ended."""
        for job in self._engine.table.running():
            last = job.last_attempt
            assert last is not None
            kept_by = last.kept_by or job.id
            self._runners[kept_by] = Runner(kept_by, job.id, last.lease_id, None)
            self._leases.follow(last.lease_id, job.id)
            self._look_at(self._runners[kept_by])
            if job.cancelling:
                asyncio.get_running_loop().call_later(CANCEL_S, self._kill_if_cancelling, job.id, job.attempt)
        self._look_soon(LOOK_S)

    def _look_soon(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        for runner in list(self._runners.values()):
            if runner.process is None or runner.exited_at_s is not None:
                self._look_at(runner)
        if any(runner.exited_at_s is not None and not runner.unrecorded for runner in self._runners.values()):
            self._look_soon(LOOK_AGAIN_S)
        elif any(runner.process is None or runner.unrecorded for runner in self._runners.values()):
            self._look_soon(LOOK_S)

    def _look_at(self, runner: Runner) -> None:
        """Record the end of a runner whose lock is free."""
        path = places.job_folder(runner.job_id, self._engine.folder) / places.RUNNER_LOCK
        try:
            lock = private_files.lock(path)
        except FileNotFoundError:
            lock = None  # the folder is gone: there is nothing that could run
            if path.parent.exists():
                return
        except OSError as error:
            log.warning("Whether the runner of job %d lives is not known: %s", runner.job_id, error)
            return
        else:
            if lock is None:
                self._kill_leftovers(runner)
                return
            os.close(lock)
        self._record_end(runner)

    def _kill_leftovers(self, runner: Runner) -> None:
        now = asyncio.get_running_loop().time()
        if runner.exited_at_s is not None and now > runner.exited_at_s + LEFTOVERS_S:
            runner.exited_at_s = now
            killed = processes.kill_processes_of(places.mark_of(self._engine.store.id, runner.job_id))
            log.warning("Killed %d processes that the runner of job %d left.", killed, runner.job_id)

    # -- end -----------------------------------------------------------------------------------------------------------

    def _exited(self, job_id: int) -> None:
        runner = self._runners.get(job_id)
        if runner is not None:
            if runner.process is not None:
                runner.process.poll()
            runner.exited_at_s = asyncio.get_running_loop().time()
            self._look_at(runner)
            if job_id in self._runners:
                self._look_soon(LOOK_AGAIN_S)

    def _record_end(self, runner: Runner) -> None:
        """Record what became of the job of a runner that is gone with all its processes."""
        job = self._engine.table.get(runner.runs) if runner.runs is not None else None
        if job is not None and job.state is JobState.RUNNING:
            try:
                self._record(job, runner_ended=True)
            except StoreFault as error:
                if not runner.unrecorded:
                    log.warning("The end of job %d is not recorded yet: %s", job.id, text_of(error))
                runner.unrecorded = True
                self._look_soon(LOOK_S)  # what happened stays on the disk until it can be recorded
                return
        del self._runners[runner.job_id]
        self._leases.forget(runner.lease_id)
        self._leases.release(runner.lease_id, runner.token)
        self._engine.replan()

    def _record(self, job: JobRecord, *, runner_ended: bool) -> bool:
        """Record how the attempt of a job ended; return False where it has not. Raises :class:`StoreFault`."""
        facts = self._facts(job)
        if facts.outcome is None:
            if not runner_ended:
                return False
            if facts.work_began:
                kept_by = job.last_attempt.kept_by if job.last_attempt else None
                for marked in {job.id, kept_by or job.id}:
                    processes.kill_processes_of(places.mark_of(self._engine.store.id, marked))
        result, why = self._describe(facts.outcome)
        job = transitions.without_runner(self._engine.with_live(job), facts, result, self._engine.now_ms())
        job = job if why is None else transitions.with_note(job, why)
        self._engine.commit([self._index.record(job, facts.outcome)], synced=job.worker is None)
        return True

    def _describe(self, outcome: JobOutcome | None) -> tuple[Mapping[str, Any] | None, Message | None]:
        """Return what the result of an attempt holds, and what its user should know of it."""
        digest = outcome.get("result") if outcome else None
        if not digest:
            return None, None
        try:
            return self._results.describe(digest), None
        except FastGPUError as error:
            return None, error.message
        except OSError as error:  # the disk is full: the result is there
            raise StoreFault(
                Message.of("jobs.store_fault", path=str(self._results.folder), reason=str(error))
            ) from error

    def _facts(self, job: JobRecord) -> Facts:
        assert job.last_attempt is not None
        folder = self._engine.folder
        rebooted = job.last_attempt.boot_id != self.boot_id
        return Facts(read_outcome(job, folder), work_has_begun(job, folder), rebooted)

    # -- what runners say ----------------------------------------------------------------------------------------------

    def connected(self, job_id: int, attempt: int, pid: int, connection: RunnerConnection) -> JobRecord:
        """Note the connection of a runner, and return its job. Raises :class:`NotFound` for one that is not known."""
        job = self._engine.find(job_id)
        runner = self._runner_of(job)
        if runner is None or job.attempt != attempt:
            raise NotFound(Message.of("jobs.no_job", number=job_id))
        runner.connection, runner.pid = connection, pid
        return job

    def _runner_of(self, job: JobRecord) -> Runner | None:
        last = job.last_attempt
        if job.state is not JobState.RUNNING or last is None:
            return None
        return self._runners.get(last.kept_by or job.id)

    def disconnected(self, connection: RunnerConnection) -> None:
        """Look whether a runner has ended, whose connection has."""
        for runner in self._runners.values():
            if runner.connection is connection:
                runner.connection, runner.worker = None, None
                if runner.process is None:
                    self._look_soon(LOOK_AGAIN_S)

    def ended(self, job_id: int) -> None:
        """Record the outcome that the runner of a job has written."""
        job = self._engine.find(job_id)
        if job.state is JobState.RUNNING and not self._record(job, runner_ended=False):
            raise InvalidRequest(Message.of("jobs.no_outcome", number=job_id))
        for runner in self._runners.values():
            if runner.runs == job_id:
                runner.runs = None

    # -- cancel --------------------------------------------------------------------------------------------------------

    def cancel(self, job: JobRecord) -> None:
        """Let the runner of a job end it; kill a runner that does not."""
        runner = self._runner_of(job)
        if runner is None:
            return
        if runner.connection is not None:
            runner.connection.push({"event": "cancel", "job_id": job.id})
        asyncio.get_running_loop().call_later(CANCEL_S, self._kill_if_cancelling, job.id, job.attempt)

    def _kill_if_cancelling(self, job_id: int, attempt: int) -> None:
        job = self._engine.table.get(job_id)
        if job is None or job.state is not JobState.RUNNING or job.attempt != attempt:
            return
        runner = self._runner_of(job)
        if runner is not None and runner.pid is not None:
            log.warning("The runner of job %d did not end it, and is killed.", job_id)
            _kill_runner(runner.pid, runner.job_id)

    def close(self) -> None:
        """Watch no longer; the runners go on."""
        if self._timer is not None:
            self._timer.cancel()


def _kill_runner(pid: int, job_id: int) -> None:
    """Kill the process with that number if it is a runner of that job."""
    with suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if str(job_id).encode() in arguments:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def _of_system(error: OSError) -> Message:
    return Message.of("jobs.not_started_yet", reason=error.strerror or str(error))
