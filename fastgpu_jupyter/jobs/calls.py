"""The calls of one executor that have not ended, and the thread that follows their jobs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from ..errors import FastGPUError, Message, NotFound
from ..messages import text_of
from . import keys, settings
from .call_failures import WorkerDied
from .call_file import FunctionCall, name_of, write_call
from .call_result import result_of
from .client import JobsClient, ensure_dispatcher
from .environment import recorded, require_no_secrets
from .failures import readable
from .future import Future
from .model import ENDED, JobKind, JobState
from .origin import Origin
from .places import results_folder
from .results import ResultStore
from .words import NAME_CHARS_MAX, JobOptions
from .work.seeding import SEED_VARIABLE

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobBody, JobsEvent, JobView
    from ..wire.schemas.requests import LeaseOptionsBody
    from .client import JobStream

#: The file of the draft that holds the call.
CALL_FILE = "call.pickle"
#: How long the thread waits before it asks for a dispatcher again where none answers.
AGAIN_S = 1.0

_log = logging.getLogger(__name__)
_all: weakref.WeakSet[ExecutorCalls] = weakref.WeakSet()


class ExecutorCalls:
    """Submits calls, and sets their futures when their jobs end.

    In a process that was forked, it connects again and follows the same jobs.
    """

    def __init__(self, workers_max: int | None) -> None:
        self._id, self._origin = secrets.token_hex(8), Origin.of_process()
        self._workers_max = workers_max
        self._pending: dict[int, Future[Any]] = {}
        self._is_shut_down = False
        self._cached_by_default: bool | None = None
        self._store: ResultStore | None = None
        self._start_over()
        _all.add(self)

    def _start_over(self) -> None:
        #: Held while a job is submitted, so that no change of it is seen before its future is known.
        self._lock = threading.RLock()  # a garbage collection may shut down while it is held
        self._client: JobsClient | None = None
        self._thread: threading.Thread | None = None
        self._followed: JobStream | None = None

    def submit(
        self, options: JobOptions, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        """Submit a call and return its future. Raises as :meth:`Executor.submit` does."""
        self._require_open()
        with readable():
            client = self.client()
            draft = client.new_draft()
            try:
                call = FunctionCall(function, args, kwargs)
                sha256 = write_call(draft / CALL_FILE, call)
                body = self._body(options, call, draft.name, sha256)
                with self._lock:
                    self._require_open()
                    view = client.submit(body)
                    future = self._pending[view["id"]] = Future[Any](self, view)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)  # it is still there where nothing was submitted
                raise
        self._apply([view])
        self.follow()
        return future

    def _require_open(self) -> None:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def client(self) -> JobsClient:
        """Return a client of the dispatcher, which is started if none runs."""
        if self._client is None:
            self._client = ensure_dispatcher()
        return self._client

    def _body(self, options: JobOptions, call: FunctionCall, draft: str, sha256: str) -> JobBody:
        require_no_secrets(os.environ, options.variables)
        environment = recorded(os.environ, options.variables)
        if options.seed is not None:
            environment["variables"][SEED_VARIABLE] = str(options.seed)
        cache = None if self._is_never_cached(options) else keys.of_function(call, options, environment)
        program = {
            "call": CALL_FILE,
            "sha256": sha256,
            "worker": _worker_key(environment, options, is_cached=cache is not None),
            "executor": self._id,
            "workers_max": self._workers_max,
        }
        return {
            "kind": "function",
            "name": (options.name or name_of(call.function))[:NAME_CHARS_MAX],
            "draft": draft,
            "program": program,
            "size": options.size,
            "options": cast("LeaseOptionsBody", options.lease),
            "timeout_ms": options.timeout_ms,
            "retries": options.retries,
            "after": options.after,
            "save": options.save,
            "environment": environment,
            "notebook": self._origin.notebook,
            "kernel_id": self._origin.kernel_id,
            "cache": cache,
        }

    def _is_never_cached(self, options: JobOptions) -> bool:
        """Return whether neither the options nor the settings, which are read once, ask for the cache."""
        if self._cached_by_default is None:
            self._cached_by_default = bool(settings.load().of_kind("cache", JobKind.FUNCTION))
        asked = options.cache or (options.cache is None and self._cached_by_default)
        return not (asked or options.refresh or options.key is not None)

    def cancel(self, job_id: int) -> bool:
        """Cancel a job that has not begun; return whether it is cancelled now."""
        return self.client().cancel(job_id, queued_only=True)["state"] == "cancelled"

    def shut_down(self) -> list[Future[Any]]:
        """Accept no more calls; return the futures of those that have not ended."""
        with self._lock:
            self._is_shut_down = True
            pending = list(self._pending.values())
            if not pending and self._followed is not None:
                self._followed.close()
        self._close_client()
        self.follow()
        return pending

    def _close_client(self) -> None:
        """Close the connections of an executor that was shut down and has no calls; a later use opens others."""
        if self._is_shut_down and not self._pending and self._client is not None:
            self._client.close()

    def join(self) -> None:
        """Wait until the thread has ended, unless it is the caller."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def follow(self) -> None:
        """Have a thread that follows the jobs, where there are any."""
        with self._lock:
            if self._pending and self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="fastgpu-calls", daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        self._follow_to_the_end()
        self._close_client()

    def _follow_to_the_end(self) -> None:
        while self._has_to_follow():
            try:
                with closing(self.client().follow(self._id)) as self._followed:
                    self._take(self._followed)
            except FastGPUError as error:
                _log.warning("The calls of an executor go on, and are followed again in a while: %s", text_of(error))
                time.sleep(AGAIN_S)

    def _take(self, followed: Iterable[JobsEvent]) -> None:
        """Set the futures as their jobs change, until there are none."""
        for event in followed:
            self._apply(event["jobs"])
            if event["reset"]:
                self._look_up(self._pending.keys() - {view["id"] for view in event["jobs"]})
            self._look_up(event["gone"])
            # An event without jobs is sent after a pause: then there may be no next call.
            if (self._is_shut_down or not event["jobs"]) and not self._has_to_follow():
                return

    def _has_to_follow(self) -> bool:
        """Return whether there are calls to follow; if not, another thread is started for the next one."""
        with self._lock:
            if not self._pending:
                self._thread = self._followed = None
            return self._thread is not None

    def _look_up(self, job_ids: Iterable[int]) -> None:
        """Set the futures of jobs that the dispatcher did not name: they are over, or removed."""
        for job_id in job_ids:
            try:
                self._apply([self.client().job(job_id)])
            except NotFound:
                with self._lock:
                    future = self._pending.pop(job_id, None)
                if future is not None:
                    future.set_exception(WorkerDied(Message.of("call.removed", job=job_id)))

    def _apply(self, views: Iterable[JobView]) -> None:
        for view in views:
            with self._lock:
                over = view["state"] in ENDED
                future = self._pending.pop(view["id"], None) if over else self._pending.get(view["id"])
            if future is None:
                continue  # of another process, or known to be over
            if over:
                self._end(future, view)
            elif view["state"] == JobState.RUNNING and not future.running():
                future.set_running_or_notify_cancel()

    def _end(self, future: Future[Any], view: JobView) -> None:
        """Set what came of the call."""
        if view["state"] == JobState.CANCELLED and not future.running():
            future.end_cancelled()
            return
        result = result_of(view, self._opened_store)
        if result.exception is not None:
            future.set_exception(result.exception)
        else:
            future.set_result(result.value)

    def _opened_store(self) -> ResultStore:
        self._store = self._store or ResultStore(results_folder())
        return self._store


def _worker_key(environment: Mapping[str, Any], options: JobOptions, *, is_cached: bool) -> str:
    """Return the name of the kept workers that may run a call: those of its environment, size and lease options.

    A call that is cached gets no worker that ran another one.
    """
    parts = (environment, options.size, options.lease, is_cached)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _after_fork() -> None:
    for calls in list(_all):
        calls._start_over()  # noqa: SLF001 (of this module)


os.register_at_fork(after_in_child=_after_fork)
