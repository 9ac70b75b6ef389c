"""The calls of the dispatcher's socket: a table of names, with what each takes and does."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from ... import __version__
from ...errors import InvalidRequest, Message
from ...wire.schemas.jobs import RunnerReport
from .. import places
from ..model import JobState
from .arguments import (
    Cancel,
    EndedCall,
    Follow,
    Hello,
    IdleWorker,
    List,
    Log,
    Nothing,
    OfJob,
    Prune,
    Report,
    Rerun,
    Submit,
    Wait,
)
from .engine import JobEngine
from .kept_workers import KeptWorkers
from .pruning import Pruning
from .record import JobRecord
from .runners import Runners
from .transitions import NOTES_MAX

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobExplanation, JobLog, JobsUsage, JobView, PruneReport

#: Bytes of the views in one answer, and of the part of a log.
ANSWER_BYTES_MAX = 512 * 1024
LOG_BYTES_MAX = 256 * 1024
WAIT_S_MAX = 60.0
#: The lines of a log that are shown with a job, and the characters of each.
TAIL_LINES_MAX, TAIL_CHARS_MAX = 3, 500


class CallerConnection(Protocol):
    """The connection that a call came from."""

    @property
    def peer_pid(self) -> int: ...  # noqa: D102
    def follow(self, executor: str | None) -> None: ...  # noqa: D102
    def push(self, frame: Mapping[str, Any]) -> None: ...  # noqa: D102


class JobCalls:
    """What clients may call: the methods in :data:`CALLS`."""

    def __init__(
        self,
        engine: JobEngine,
        runners: Runners,
        workers: KeptWorkers,
        pruning: Pruning,
        *,
        submit: Callable[[dict[str, Any]], Awaitable[JobRecord]],
        stop: Callable[[], None],
    ) -> None:
        self._engine, self._runners, self._workers, self._pruning = engine, runners, workers, pruning
        self._submit = submit
        self._stop = stop
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        engine.ended.append(self._wake)

    async def call(self, name: str, arguments: Any, caller: CallerConnection) -> Any:
        """Return the answer of a call. Raises :class:`FastGPUError` for a refusal."""
        found = CALLS.get(name)
        if found is None:
            raise InvalidRequest(Message.of("jobs.no_call", name=repr(name[:40])))
        try:
            checked = msgspec.convert(arguments, found.takes)
        except msgspec.ValidationError as error:
            raise InvalidRequest(Message.of("jobs.wrong_arguments", call=name, reason=str(error))) from None
        answer = found.does(self, checked, caller)
        return await answer if inspect.isawaitable(answer) else answer

    def ping(self, _: Nothing, __: CallerConnection) -> Mapping[str, Any]:
        """Return which process serves."""
        return {"pid": os.getpid(), "version": __version__, "store": self._engine.store.id}

    async def submit(self, given: Submit, _: CallerConnection) -> JobView:
        """Keep a job, and return it."""
        return self._engine.view(await self._submit(given.body))

    async def rerun(self, given: Rerun, _: CallerConnection) -> JobView:
        """Keep a job that runs what another one ran."""
        engine = self._engine
        known = engine.known({"submission": given.submission})
        if known is not None:
            return engine.view(known)
        body = engine.rerun_body(given.id, refresh=given.refresh, submission_id=given.submission)
        return engine.view(await self._submit({**body}))

    def jobs(self, given: List, _: CallerConnection) -> Mapping[str, Any]:
        """Return the newest jobs."""
        engine = self._engine
        states = None if given.states is None else set(given.states)
        if states is not None and not states <= set(JobState):
            raise InvalidRequest(Message.of("option.none_of", text=repr(min(states)), choices=tuple(JobState)))
        views: list[JobView] = []
        size = 0
        for job in reversed(engine.table.all()):
            if (given.before is not None and job.id >= given.before) or (
                states is not None and job.state not in states
            ):
                continue
            if len(views) >= given.limit:
                break
            view = engine.view(job)
            size += len(msgspec.json.encode(view))
            if views and size > ANSWER_BYTES_MAX:
                return {"jobs": views, "more": True}
            views.append(view)
        return {"jobs": views, "more": False}

    def job(self, given: OfJob, _: CallerConnection) -> JobView:
        """Return the job with that id."""
        return self._engine.view(self._engine.find(given.id))

    async def wait(self, given: Wait, _: CallerConnection) -> JobView:
        """Return a job when it is over, or after a time."""
        job = self._engine.find(given.id)
        if not job.over and given.wait_s > 0:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(given.id, []).append(future)
            try:
                await asyncio.wait_for(future, min(given.wait_s, WAIT_S_MAX))
            except TimeoutError:
                pass
            finally:
                waiting = self._waiting.get(given.id, [])
                if future in waiting:
                    waiting.remove(future)
                if not waiting:
                    self._waiting.pop(given.id, None)
        return self._engine.view(self._engine.find(given.id))

    def _wake(self, job: JobRecord) -> None:
        for future in self._waiting.pop(job.id, []):
            if not future.done():
                future.set_result(None)

    def cancel(self, given: Cancel, _: CallerConnection) -> JobView:
        """Cancel a job, and return it."""
        before = self._engine.find(given.id)
        job = self._engine.cancel(given.id, queued_only=given.queued_only)
        if job.cancelling and not before.cancelling:
            self._runners.cancel(job)
        return self._engine.view(job)

    def log(self, given: Log, _: CallerConnection) -> JobLog:
        """Return a part of what a job has printed."""
        job = self._engine.find(given.id)
        try:
            with places.log_file(job.id, self._engine.folder).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                offset = max(0, size + given.offset) if given.offset < 0 else min(given.offset, size)
                file.seek(offset)
                text = file.read(max(0, min(given.limit, LOG_BYTES_MAX)))
        except FileNotFoundError:
            return {"text": "", "offset": 0, "end": 0, "size": 0}
        text = text[: _whole_characters(text)] or text
        return {"text": text.decode(errors="replace"), "offset": offset, "end": offset + len(text), "size": size}

    def explain(self, given: OfJob, _: CallerConnection) -> JobExplanation:
        """Return why a job was, or was not, computed."""
        job = self._engine.find(given.id)
        cache = self._engine.store.body(job.id).get("cache")
        message = job.cache["message"] if job.cache else None
        return {
            "outcome": job.cache["outcome"] if job.cache else None,
            "messages": [message] if message else [],
            "key": job.key,
            "ingredients": cache["ingredients"] if cache else [],
        }

    async def prune(self, given: Prune, _: CallerConnection) -> PruneReport:
        """Remove old jobs and results."""
        return await self._pruning.prune(given.older_ms, given.bytes_max)

    async def usage(self, _: Nothing, __: CallerConnection) -> JobsUsage:
        """Return how much disk jobs and results take."""
        return await self._pruning.usage()

    def follow(self, given: Follow, caller: CallerConnection) -> Mapping[str, Any]:
        """Send the caller the jobs, and each change from then on."""
        caller.follow(given.executor)
        return {}

    def stop(self, _: Nothing, __: CallerConnection) -> Mapping[str, Any]:
        """End the dispatcher soon."""
        self._stop()
        return {}

    # -- of runners ----------------------------------------------------------------------------------------------------

    def hello(self, given: Hello, caller: CallerConnection) -> Mapping[str, Any]:
        """Note the connection of a runner."""
        job = self._runners.connected(given.job_id, given.attempt, caller.peer_pid, caller)
        return {"cancelling": job.cancelling}

    def report(self, given: Report, _: CallerConnection) -> Mapping[str, Any]:
        """Take over how far a job is."""
        job = self._engine.find(given.job_id)
        if not job.over and self._engine.live_of(job.id).see_report(_given_fields(given)):
            self._engine.seen([job.id])
        return {"cancelling": job.cancelling}

    def ended(self, given: EndedCall, _: CallerConnection) -> Mapping[str, Any]:
        """Record the outcome of a job."""
        self._runners.ended(given.job_id)
        return {}

    def idle(self, given: IdleWorker, caller: CallerConnection) -> Mapping[str, Any]:
        """Note a worker that is kept for the next call."""
        self._workers.idle(given.job_id, given.worker, caller)
        return {}

    def retire(self, given: EndedCall, caller: CallerConnection) -> Mapping[str, Any]:
        """Give a kept worker no more calls."""
        return {"retired": self._workers.retire(given.job_id, caller)}


def _given_fields(report: Report) -> RunnerReport:
    """Return the fields that a report has."""
    found: RunnerReport = {}
    if report.lease is not None:
        found["lease"] = report.lease
    if report.progress is not msgspec.UNSET:
        found["progress"] = report.progress
    if report.log_tail is not None:
        found["log_tail"] = [line[:TAIL_CHARS_MAX] for line in report.log_tail[-TAIL_LINES_MAX:]]
    if report.log_bytes is not None:
        found["log_bytes"] = report.log_bytes
    if report.notes is not None:
        found["notes"] = report.notes[-NOTES_MAX:]
    return found


def _whole_characters(text: bytes) -> int:
    """Return the length of ``text`` without the bytes of a character at its end that is cut."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(text) - back if needed > back else len(text)
    return len(text)


class Call(NamedTuple):
    """What a call takes, and the method that does it."""

    takes: type[msgspec.Struct]
    does: Callable[[JobCalls, Any, CallerConnection], Any]


CALLS: Mapping[str, Call] = {
    "ping": Call(Nothing, JobCalls.ping),
    "submit": Call(Submit, JobCalls.submit),
    "rerun": Call(Rerun, JobCalls.rerun),
    "jobs": Call(List, JobCalls.jobs),
    "job": Call(OfJob, JobCalls.job),
    "wait": Call(Wait, JobCalls.wait),
    "cancel": Call(Cancel, JobCalls.cancel),
    "log": Call(Log, JobCalls.log),
    "explain": Call(OfJob, JobCalls.explain),
    "prune": Call(Prune, JobCalls.prune),
    "usage": Call(Nothing, JobCalls.usage),
    "follow": Call(Follow, JobCalls.follow),
    "stop": Call(Nothing, JobCalls.stop),
    "hello": Call(Hello, JobCalls.hello),
    "report": Call(Report, JobCalls.report),
    "ended": Call(EndedCall, JobCalls.ended),
    "idle": Call(IdleWorker, JobCalls.idle),
    "retire": Call(EndedCall, JobCalls.retire),
}
