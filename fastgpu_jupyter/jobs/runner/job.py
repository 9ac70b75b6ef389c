"""The runner of one job: it holds the lease, and supervises the work process until the outcome is recorded."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.model.lifecycle import LeaseState
from ...errors import CallerError, FastGPUError, HostFault, Message
from ...messages import view_of
from ...wire.job_states import JobKind, JobState
from ...wire.spawn import ensure_pool
from .. import places
from ..client import ensure_dispatcher
from ..lease_environment import as_descendant, with_grant
from ..progress import PROGRESS_VARIABLE
from . import hand_over
from .ending import Ending, Why
from .guard import Channel, Guard
from .held_lease import HeldLease
from .kept_worker import KeptWorker
from .pipes import Pipes
from .remote_work import ALLOCATION_END_S, command_here, may_have_lost_allocation
from .reporter import REPORT_S, DispatcherReporter, lease_report
from .result import ResultWriter
from .work import command_of, run_message
from .work_end import (
    WorkEnd,
    end_by_message,
    end_by_reason,
    end_by_status,
    end_not_started,
    failed,
    failure,
    why_of_lease,
)
from .work_output import WorkOutput

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView, MessageView
    from ...wire.schemas.jobs import HandOver, JobOutcome

#: The exit status of a runner that did not begin the work, which the dispatcher queues again.
NOT_BEGUN = 75
_BIND_S, _BIND_PAUSE_S = 60.0, 0.2
#: How long to wait for anything while nothing is due.
_IDLE_S = 60.0


class JobRunner:
    """One attempt of a job, in a process that has forked its guard.

    A work process that can run another call is kept, with the lease: :meth:`next_call` returns the runner of that call.
    """

    def __init__(
        self, start: HandOver, folder: Path, guard: Guard, pipes: Pipes, kept: KeptWorker | None = None
    ) -> None:
        self._start, self._folder, self._guard, self._pipes = start, folder, guard, pipes
        self._body = start["body"]
        self._output = WorkOutput(folder, pipes.output, start["limits"]["log_bytes_max"])
        self._reporter = kept.reporter if kept else DispatcherReporter(start["id"], start["attempt"])
        self._ending = Ending(self._send_signal)
        self._notes: dict[str, MessageView] = {}
        self._channel: Channel | None = None
        self._kept = kept
        self._end: WorkEnd | None = None  #: as the work process says
        self._writer = kept.writer if kept else self._new_writer()
        self._computed_s, self._looked_s = 0.0, time.monotonic()
        self._reported_s = time.monotonic() if kept else 0.0  # a short call is reported with its end
        self._started_at: int | None = None

    def run(self) -> int:
        """Run the attempt, and return the exit status of this process."""
        lease = self._bind()
        if lease is None:
            return self._not_begun()
        self._lease = lease
        lease.compute()
        lease.follow()
        self._reporter.start()
        if not self._is_granted():
            return self._not_begun()
        self._finish(WorkEnd(JobState.CANCELLED) if self._ending.why is not None else self._work())
        return 0

    def next_call(self) -> JobRunner | None:
        """Return the runner of the next call of the work process, None where it is not kept or gets none."""
        if self._kept is None:
            return None
        start = self._kept.wait(self._start["limits"]["worker_idle_ms"] / 1000)
        if start is None:
            return None
        folder = places.job_folder(start["id"], self._folder.parent)
        return JobRunner(start, folder, self._guard, self._pipes, self._kept)

    def run_call(self) -> None:
        """Supervise the call that the kept work process was sent."""
        assert self._kept is not None
        self._lease, self._channel = self._kept.lease, self._kept.channel
        self._started_at = int(time.time() * 1000)
        with contextlib.suppress(OSError):  # the disk is full: the outcome may be lost, and by that the job
            hand_over.reserve(self._folder, synced=False)
        self._kept.begin(self._start)
        self._finish(self._supervise(self._body["environment"]["interpreter"]))

    # ---- before the work -----------------------------------------------------------------------------------------

    def _not_begun(self) -> int:
        """Let a dispatcher queue the job again: the one that held the lease may have ended with it."""
        with contextlib.suppress(FastGPUError):
            ensure_dispatcher()
        return NOT_BEGUN

    def _bind(self) -> HeldLease | None:
        """Make this process the holder of the lease; None if the lease has ended."""
        given = self._start["lease"]
        token, deadline_s = given["token"] or "", time.monotonic() + _BIND_S
        while True:
            try:
                return HeldLease(ensure_pool().bind(given["id"], token), token)
            except CallerError:
                return None
            except FastGPUError:
                if time.monotonic() > deadline_s:
                    return None
                time.sleep(_BIND_PAUSE_S)

    def _is_granted(self) -> bool:
        """Wait until the lease is active, or the job is cancelled; return False if the lease ends first."""
        while self._lease.view["state"] != LeaseState.ACTIVE and self._ending.why is None:
            if self._lease.is_over:
                return False
            select.select([self._lease.fileno(), self._reporter.fileno()], [], [], None)
            self._lease.changes()
            self._reporter.report(lease=lease_report(self._lease.view))
            self._take_events()
        return True

    # ---- the work ------------------------------------------------------------------------------------------------

    def _work(self) -> WorkEnd:
        """Run the work process to its end, and return what came of it."""
        try:
            hand_over.reserve(self._folder)
            hand_over.note_begin(self._folder, self._start["attempt"])
        except OSError as error:
            return failed("StoreFault", Message.of("jobs.folder_full", reason=error.strerror or str(error)))
        self._started_at = int(time.time() * 1000)
        pipes, theirs = self._pipes, self._pipes.channel_of_work
        command, cwd = command_of(self._body), self._body["environment"]["cwd"]
        try:
            argv = command_here(command, theirs.fileno(), self._lease.view, self._folder, cwd)
        except HostFault as fault:
            return failed("HostFault", fault.message)
        if command.has_channel:
            self._channel = Channel(pipes.channel)
            self._channel.send(run=run_message(self._start, self._folder))
        self._guard.start(
            argv,
            self._environment(),
            cwd,
            own_session=True,
            descriptors={0: pipes.nothing, 1: pipes.output_writer, 2: pipes.output_writer},
            pass_descriptors=[theirs.fileno()] if command.has_channel else [],
            marker=(places.MARK_VARIABLE, self._start["mark"]),
        )
        os.close(pipes.output_writer)
        theirs.close()
        return self._supervise(command.argv[0])

    def _environment(self) -> dict[str, str]:
        own = {
            **self._body["environment"]["variables"],
            places.MARK_VARIABLE: self._start["mark"],
            PROGRESS_VARIABLE: str(self._output.socket_path),
        }
        return as_descendant(self._lease.view, with_grant(self._lease.view, own, self._start["socket"]))

    def _supervise(self, program: str) -> WorkEnd:
        """Return what came of the work process, once nothing of it computes any more."""
        status = 0
        while True:
            messages = self._wait()
            if self._end is not None and self._end.keep and not messages:
                return self._end
            for message in messages:
                if "failed" in message:
                    return end_not_started(program, message, self._body)
                status = int(message.get("ended", status))
                if "left" in message:
                    self._note_left(message)
                    self._output.drain()
                    if self._channel is not None and not self._channel.closed:
                        self._read_channel(self._channel)
                    self._note_lost_allocation(status)
                    if self._ending.why is not None:
                        return end_by_reason(self._ending.why, self._end, status)
                    end = self._end or end_by_status(status, has_channel=self._channel is not None)
                    return end._replace(keep=False)

    def _wait(self) -> list[dict[str, Any]]:
        """Return messages of the guard; wait for whatever comes, and act on it."""
        guard, channel = self._guard.channel.fileno(), self._channel
        sources = [guard, self._lease.fileno(), self._reporter.fileno(), *self._output.descriptors()]
        if channel is not None and not channel.closed:
            sources.append(channel.fileno())
        readable, _, _ = select.select(sources, [], [], self._timeout_s())
        self._count_time()
        self._output.read()
        if channel is not None and not channel.closed and channel.fileno() in readable:
            self._read_channel(channel)
        for change in self._lease.changes():
            if not isinstance(change, FastGPUError):
                self._note_lease(change)
        self._take_events()
        self._ending.step(time.monotonic())
        self._report()
        return self._guard.messages() if guard in readable else []

    def _timeout_s(self) -> float:
        """Return how long to wait at most: for the next signal, the time limit, or the next report."""
        limits = [_IDLE_S, self._ending.due_in_s(time.monotonic())]
        if (timeout_ms := self._body.get("timeout_ms")) is not None and self._ending.why is None:
            limits.append(max(0.0, timeout_ms / 1000 - self._computed_s))
        if (since_s := time.monotonic() - self._reported_s) < 2 * REPORT_S:
            limits.append(max(0.0, REPORT_S - since_s))
        return min(limit for limit in limits if limit is not None)

    def _count_time(self) -> None:
        """Count the time in which the work had its GPU; end the work when that is its limit."""
        now_s = time.monotonic()
        if self._lease.view["state"] == LeaseState.ACTIVE:
            self._computed_s += now_s - self._looked_s
        self._looked_s = now_s
        timeout_ms = self._body.get("timeout_ms")
        if timeout_ms is not None and self._computed_s * 1000 >= timeout_ms:
            error = failure("Timeout", Message.of("jobs.timeout", timeout_ms=timeout_ms))
            self._ending.begin(Why(JobState.FAILED, error), now_s)

    def _send_signal(self, signum: signal.Signals) -> None:
        if signum == signal.SIGKILL:
            self._guard.kill()
        else:
            self._guard.signal(signum, group=True)
            self._guard.signal(signal.SIGCONT, group=True)  # one that is stopped acts on nothing else

    def _read_channel(self, channel: Channel) -> None:
        """Take the word of the work process, and keep its result while it is there to protect its parts."""
        for message in channel.receive():
            if message.get("event") == "ended" and self._end is None:
                self._output.read()
                self._output.drain()
                end = end_by_message(message)
                keep = end.keep and self._ending.why is None and self._body["kind"] == JobKind.FUNCTION
                self._end = self._keep_result(end._replace(keep=keep))
                if not keep:
                    channel.close()

    # ---- what is reported ----------------------------------------------------------------------------------------

    def _take_events(self) -> None:
        cancels = [event for event in self._reporter.events() if event.get("event") == "cancel"]
        if any(event.get("job_id", self._start["id"]) == self._start["id"] for event in cancels):
            self._ending.begin(Why(JobState.CANCELLED, None), time.monotonic())

    def _note_lease(self, view: LeaseView) -> None:
        if self._lease.is_over:
            self._ending.begin(why_of_lease(view), time.monotonic())
        stays = self._lease.stays_parked
        self._set_note("parked", Message.of("jobs.parked_for_good", lease=view["id"]) if stays else None)

    def _note_lost_allocation(self, status: int) -> None:
        """Take the end of the lease for the reason where the work ended without a word, and the lease ends, too."""
        if self._end is None and self._ending.why is None and may_have_lost_allocation(self._lease.view, status):
            for change in self._lease.changes_until_end(ALLOCATION_END_S):
                if not isinstance(change, FastGPUError):
                    self._note_lease(change)

    def _note_left(self, message: dict[str, Any]) -> None:
        """Note the processes that a command left behind, or that nothing can end."""
        if message["remain"]:
            self._set_note("left", Message.of("run.remain", count=message["remain"]))
        elif message["left"] and self._ending.why is None and not message.get("guard_killed") and self._channel is None:
            self._set_note("left", Message.of("run.left", count=message["left"]))

    def _set_note(self, name: str, message: Message | None) -> None:
        self._notes.pop(name, None)
        if message is not None:
            self._notes[name] = view_of(message)

    def _report(self) -> None:
        if time.monotonic() - self._reported_s < REPORT_S:
            return
        self._reported_s = time.monotonic()
        self._output.log.flush()
        self._reporter.report(
            lease=lease_report(self._lease.view),
            progress=self._output.progress,
            log_tail=self._output.log.tail,
            log_bytes=self._output.log.size,
            notes=list(self._notes.values()),
        )

    # ---- the end -------------------------------------------------------------------------------------------------

    def _keep_result(self, end: WorkEnd) -> WorkEnd:
        """Return the end with the digest of the result; as failed where the result cannot be stored."""
        gpu = self._lease.view["gpu"]
        return self._writer.keep(
            self._body,
            end,
            gpu=None if gpu is None else {name: gpu.get(name) for name in ("model", "device_ids", "simulated")},
            cost_micro=None if self._is_call else self._lease.cost_micro(),
        )

    def _finish(self, end: WorkEnd) -> None:
        """Release the lease or keep it with the work process, keep the result and the log, and record the outcome."""
        if not end.keep:
            self._lease.release()
        if self._channel is None:
            end = self._keep_result(end)
        self._set_note("log", self._output.close())
        self._notes.pop("parked", None)
        outcome: JobOutcome = {
            "state": end.state.value,
            "attempt": self._start["attempt"],
            "exit_status": end.exit_status,
            "error": end.error,
            "result": end.result,
            "opened": end.opened,
            "started_at": self._started_at,
            "ended_at": int(time.time() * 1000),
            # A lease that is kept is of several jobs, and the dispatcher knows what it had cost before.
            "cost_micro": None if end.keep or self._kept else self._lease.view["money"]["cost_micro"],
            "lease_id": self._lease.lease_id,
            "notes": list(self._notes.values()),
        }
        hand_over.write_outcome(self._folder, outcome, synced=not self._is_call)
        log = self._output.log
        self._reporter.report(progress=self._output.progress, log_tail=log.tail, log_bytes=log.size)
        if not (end.keep and self._keep_worker()):
            self._end_work()
        if self._kept is None:
            self._writer.close()

    def _new_writer(self) -> ResultWriter:
        store, limit = places.results_folder(self._folder.parent), self._start["limits"]["result_bytes_max"]
        return ResultWriter(store, limit, synced=not self._is_call)

    @property
    def _is_call(self) -> bool:
        """Whether the job is a call, of which nothing is synced to the disk: that would take longer than most calls."""
        return self._body["kind"] == JobKind.FUNCTION

    def _keep_worker(self) -> bool:
        """Keep the work process for the next call; return False where no dispatcher knows of it."""
        assert self._channel is not None
        self._kept = self._kept or KeptWorker(
            self._guard,
            self._lease,
            self._reporter,
            self._channel,
            writer=self._writer,
            jobs=self._folder.parent,
        )
        return self._reporter.keep_worker(str(self._body["program"]["worker"]))

    def _end_work(self) -> None:
        """End what is left of the work process, and report that the outcome is written."""
        if self._kept is not None:
            self._kept.end()
            self._kept = None
        self._reporter.finish()
