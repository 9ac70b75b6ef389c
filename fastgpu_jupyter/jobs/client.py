"""The client of the dispatcher that kernels, the command line, the Jupyter server and the executor use.

It blocks, is safe to call from several threads, and survives the end of a dispatcher: each call that finds none starts
one and is sent again. A second submission of one body is the same job, so that no job is submitted twice that way.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import DispatcherUnreachable, Message, VersionMismatch
from . import places
from .frames import INTERFACE, FrameSocket, error_of
from .model import ENDED, JobState
from .start import start_dispatcher

if TYPE_CHECKING:
    from ..wire.schemas.jobs import (
        JobBody,
        JobExplanation,
        JobLog,
        JobsEvent,
        JobsUsage,
        JobView,
        PruneReport,
    )

#: The longest time of a call that does not wait for a job.
TIMEOUT_S = 30.0
#: The dispatcher sends something on a followed connection at least that often.
SILENCE_MAX_S = 30.0
#: The longest time of one ``wait`` that is sent; a longer one is several.
_WAIT_S = 20.0
_ATTEMPTS = 3
_POLL_S = 0.02
#: Connections that are kept open for the next calls.
_KEPT_MAX = 8
_BROKEN = (OSError, EOFError)


def ensure_dispatcher(timeout_s: float = 15.0) -> JobsClient:
    """Return a client of a dispatcher that answers; start the user's dispatcher if none runs.

    Raises :class:`~fastgpu_jupyter.errors.DispatcherUnreachable`, or the error for which it does not start.
    """
    client = JobsClient(start_timeout_s=timeout_s)
    client.ping()
    return client


def running_dispatcher() -> JobsClient | None:
    """Return a client of the user's dispatcher if one runs; start none."""
    client = JobsClient(starts=False)
    try:
        client.ping()
    except DispatcherUnreachable:
        return None
    return client


def has_unfinished_jobs() -> bool:
    """Return whether this user's store may have jobs that are not over, without starting a dispatcher."""
    from .dispatcher.store import may_have_unfinished

    return may_have_unfinished(places.jobs_dir())


class JobsClient:
    """Calls to the dispatcher that serves ``path``.

    Every method raises the :class:`~fastgpu_jupyter.errors.FastGPUError` that the dispatcher raised, or
    :class:`~fastgpu_jupyter.errors.DispatcherUnreachable` if none answers.
    """

    def __init__(self, path: Path | None = None, *, starts: bool = True, start_timeout_s: float = 15.0) -> None:
        """``starts``: a dispatcher is started where none runs."""
        self.path = path or places.socket_path()
        self._starts, self._start_timeout_s = starts and path is None, start_timeout_s
        self._kept: list[FrameSocket] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    # -- calls ---------------------------------------------------------------------------------------------------------

    def ping(self) -> dict[str, Any]:
        """Return the process number and the version of the dispatcher."""
        return cast("dict[str, Any]", self._call("ping"))

    def new_draft(self) -> Path:
        """Return a new empty folder for the files of a job, to be named in its body by :attr:`Path.name`."""
        path = places.drafts_folder() / secrets.token_hex(16)
        try:
            path.mkdir(mode=0o700)
        except FileNotFoundError:
            path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.mkdir(mode=0o700)
        return path

    def submit(self, body: JobBody) -> JobView:
        """Submit a job, and return it once it is kept: nothing but the loss of the disk loses it then."""
        known = {**body, "submission": body.get("submission") or secrets.token_hex(16)}
        draft = body.get("draft")
        if draft and body["kind"] != "function":
            _sync(places.drafts_folder() / draft)
        return cast("JobView", self._call("submit", body=known))

    def jobs(self, states: Sequence[str] | None = None, limit: int = 1000) -> list[JobView]:
        """Return the newest jobs, newest first; only those in ``states`` where given."""
        found: list[JobView] = []
        before: int | None = None
        while len(found) < limit:
            chosen = list(states) if states is not None else None
            page = self._call("jobs", states=chosen, limit=limit - len(found), before=before)
            found += page["jobs"]
            if not page["more"]:
                break
            before = found[-1]["id"]
        return found

    def job(self, job_id: int) -> JobView:
        """Return the job with that id."""
        return cast("JobView", self._call("job", id=job_id))

    def wait(self, job_id: int, timeout_s: float | None = None) -> JobView:
        """Return the job as soon as it is over, or as it is after ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _WAIT_S if deadline is None else max(0.0, min(_WAIT_S, deadline - time.monotonic()))
            view = cast("JobView", self._call("wait", timeout_s=left_s + TIMEOUT_S, id=job_id, wait_s=left_s))
            if JobState(view["state"]) in ENDED or (deadline is not None and time.monotonic() >= deadline):
                return view

    def cancel(self, job_id: int, *, queued_only: bool = False) -> JobView:
        """Cancel a job; harmless where it is over. A running job ends soon after, or goes on with ``queued_only``."""
        return cast("JobView", self._call("cancel", id=job_id, queued_only=queued_only))

    def rerun(self, job_id: int, refresh: bool = False, submission: str | None = None) -> JobView:
        """Submit a job again, as a new one; with ``refresh`` it is computed also where its result is cached.

        ``submission``: a number in hexadecimal, drawn by the caller; a second call with it returns the same new job.
        """
        submission = submission or secrets.token_hex(16)
        return cast("JobView", self._call("rerun", id=job_id, refresh=refresh, submission=submission))

    def log(self, job_id: int, offset: int = 0, limit: int = 65_536) -> JobLog:
        """Return a part of a job's log from byte ``offset`` on; a negative offset counts from the end."""
        return cast("JobLog", self._call("log", id=job_id, offset=offset, limit=limit))

    def explain(self, job_id: int) -> JobExplanation:
        """Return why a job was, or was not, computed."""
        return cast("JobExplanation", self._call("explain", id=job_id))

    def prune(self, older_ms: int | None = None, bytes_max: int | None = None) -> PruneReport:
        """Remove jobs that ended longer ago than ``older_ms``, and results beyond ``bytes_max``, and say how many."""
        return cast("PruneReport", self._call("prune", older_ms=older_ms, bytes_max=bytes_max))

    def usage(self) -> JobsUsage:
        """Return how much disk the jobs and their results take."""
        return cast("JobsUsage", self._call("usage"))

    def stop(self) -> None:
        """End the dispatcher: running jobs go on, and queued ones wait for the next dispatcher."""
        with contextlib.suppress(DispatcherUnreachable):
            self._call("stop")

    def follow(self, executor: str | None = None) -> JobStream:
        """Return an iterator of the jobs, then of each change; only of the jobs of one ``executor`` where given."""
        return JobStream(self._connected, executor, goes_on=self._starts)

    def close(self) -> None:
        """Close the connections that are kept for later calls."""
        with self._lock:
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()

    # -- connections ---------------------------------------------------------------------------------------------------

    def _call(self, name: str, timeout_s: float = TIMEOUT_S, **arguments: Any) -> Any:
        """Return the answer of a call. Every call may be sent twice: a dispatcher may end before it answers."""
        for attempt in range(_ATTEMPTS):
            kept = self._take_kept()
            connection = kept or self._connected()
            try:
                connection.set_timeout(timeout_s)
                connection.send({"id": 1, "call": name, "arguments": arguments})
                frame = connection.receive()
            except TimeoutError as error:
                connection.close()
                raise DispatcherUnreachable(Message.of("jobs.dispatcher_silent", seconds=round(timeout_s))) from error
            except _BROKEN as error:
                connection.close()
                if attempt == _ATTEMPTS - 1:
                    raise DispatcherUnreachable(Message.of("jobs.dispatcher_ended")) from error
                continue
            except BaseException:
                connection.close()  # with an answer under way that no later call must read
                raise
            self._keep(connection)
            if "refusal" in frame:
                raise error_of(frame["refusal"])
            return frame["answer"]
        raise AssertionError  # not reached: the last attempt returns or raises

    def _take_kept(self) -> FrameSocket | None:
        with self._lock:
            if self._pid != os.getpid():  # forked: the connections are the parent's
                self._pid, self._kept = os.getpid(), []
            return self._kept.pop() if self._kept else None

    def _keep(self, connection: FrameSocket) -> None:
        with self._lock:
            if len(self._kept) < _KEPT_MAX:
                self._kept.append(connection)
                return
        connection.close()

    def _connected(self) -> FrameSocket:
        """Return a new connection to a dispatcher of this interface."""
        for _ in range(_ATTEMPTS):
            connection = self._open()
            try:
                greeting = connection.receive()
            except _BROKEN:
                connection.close()
                continue  # it ended meanwhile
            if greeting.get("interface") == INTERFACE:
                return connection
            if "refusal" in greeting:
                connection.close()
                raise error_of(greeting["refusal"])
            self._replace(connection, greeting)
        raise DispatcherUnreachable(Message.of("jobs.dispatcher_ended"))

    def _open(self) -> FrameSocket:
        try:
            return FrameSocket(self.path, TIMEOUT_S)
        except _BROKEN as error:
            if not self._starts:
                raise self._unreachable(error) from error
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            # The dispatcher of another caller may have the lock and be about to serve, or be about to end.
            start_dispatcher(self._start_timeout_s)
            try:
                return FrameSocket(self.path, TIMEOUT_S)
            except _BROKEN as error:
                if time.monotonic() > deadline:
                    raise self._unreachable(error) from error
            time.sleep(_POLL_S)

    def _unreachable(self, error: Exception) -> DispatcherUnreachable:
        reason = f"{type(error).__name__}: {error}"
        return DispatcherUnreachable(Message.of("jobs.no_dispatcher", path=str(self.path), reason=reason))

    def _replace(self, connection: FrameSocket, greeting: Mapping[str, Any]) -> None:
        """End a dispatcher of an older version, so that one of this version takes its place; refuse a newer one."""
        with contextlib.closing(connection):
            theirs = greeting.get("interface")
            if not (self._starts and isinstance(theirs, int) and theirs < INTERFACE):
                raise VersionMismatch(Message.of("jobs.other_version", version=str(greeting.get("version"))[:64]))
            with contextlib.suppress(*_BROKEN):
                connection.send({"id": 1, "call": "stop", "arguments": {}})
                while connection.receive():
                    pass


class JobStream:
    """An iterator of events, which another thread may :meth:`close`. There is one every few seconds, even an empty one.

    The first event has ``reset``. Where a dispatcher ends, the stream goes on with the next one, whose first event has
    ``reset`` again; a client that starts none raises :class:`~fastgpu_jupyter.errors.DispatcherUnreachable` instead.
    """

    def __init__(self, connect: Callable[[], FrameSocket], executor: str | None, *, goes_on: bool) -> None:
        self._connect, self._executor, self._goes_on = connect, executor, goes_on
        self._lock = threading.Lock()
        self._connection: FrameSocket | None = None
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[JobsEvent]:
        while not self._closed.is_set():
            try:
                yield from self._events(self._open())
            except _BROKEN as error:
                if not (self._closed.is_set() or self._goes_on):
                    raise DispatcherUnreachable(Message.of("jobs.dispatcher_ended")) from error
            finally:
                self._disconnect()

    def _open(self) -> FrameSocket:
        connection = self._connect()
        with self._lock:
            self._connection = connection
        if self._closed.is_set():
            connection.close()
        return connection

    def _events(self, connection: FrameSocket) -> Iterator[JobsEvent]:
        connection.set_timeout(SILENCE_MAX_S)
        connection.send({"id": 0, "call": "follow", "arguments": {"executor": self._executor}})
        while True:
            frame = connection.receive()
            if "refusal" in frame:
                raise error_of(frame["refusal"])
            event = frame.pop("event", None)
            if event == "jobs":
                yield cast("JobsEvent", frame)
            elif event == "keepalive":
                yield {"jobs": [], "gone": [], "queue": None, "reset": False}

    def _disconnect(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """End the iteration; one that blocks in another thread returns at once."""
        self._closed.set()
        self._disconnect()


def _sync(draft: Path) -> None:
    """Write the files of a draft to the disk, so that an acknowledged job survives a loss of power."""
    if not draft.is_dir():
        return  # the dispatcher says what is wrong
    for path in [*draft.iterdir(), draft]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
