"""A dispatcher in this process whose jobs begin and end when a test says so."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastgpu_jupyter.errors import FastGPUError, NotFound
from fastgpu_jupyter.jobs import calls
from fastgpu_jupyter.jobs.call_file import FunctionCall, read_call
from fastgpu_jupyter.jobs.call_result import EXCEPTION, VALUE
from fastgpu_jupyter.jobs.places import results_folder
from fastgpu_jupyter.jobs.results import Manifest, ResultStore, StoredValue


class Followed:
    """An open stream of events."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        for event in events:
            self._events.put(event)

    def push(self, **event: Any) -> None:
        """Send an event."""
        self._events.put({"jobs": [], "gone": [], "queue": None, "reset": False, **event})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._events.get, None)

    def close(self) -> None:
        """End it."""
        self._events.put(None)


class FakeDispatcher:
    """Serves as the client, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[int, dict[str, Any]] = {}
        self.bodies: dict[int, dict[str, Any]] = {}
        self.refusal: FastGPUError | None = None
        self._ids = itertools.count(1)
        self._followed: list[Followed] = []
        self._lock = threading.RLock()
        self.follows = threading.Semaphore(0)  #: released each time a stream is opened
        self._store: ResultStore | None = None

    @property
    def store(self) -> ResultStore:
        """The user's store of results."""
        self._store = self._store or ResultStore(results_folder(), synced=False)
        return self._store

    # -- the client ----------------------------------------------------------------------------------------------------

    def new_draft(self) -> Path:
        """Return a new folder."""
        draft = self.folder / f"draft-{next(self._ids)}"
        draft.mkdir()
        return draft

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        """Queue a job."""
        if self.refusal is not None:
            raise self.refusal
        with self._lock:
            job_id = len(self.jobs) + 1
            self.bodies[job_id] = body
            self.jobs[job_id] = {
                "id": job_id,
                "state": "queued",
                "result": None,
                "error": None,
                "exit_status": None,
                "timeout_ms": body["timeout_ms"],
                "notes": [],
            }
            return dict(self.jobs[job_id])

    def job(self, job_id: int) -> dict[str, Any]:
        """Return a job."""
        if job_id not in self.jobs:
            raise NotFound("no such job")
        return dict(self.jobs[job_id])

    def cancel(self, job_id: int, *, queued_only: bool = False) -> dict[str, Any]:
        """Cancel a queued job."""
        if self.jobs[job_id]["state"] == "queued":
            self.change(job_id, state="cancelled")
        elif not queued_only:
            raise AssertionError
        return self.job(job_id)

    def follow(self, executor: str) -> Followed:
        """Return a stream of the jobs of an executor."""
        with self._lock:
            views = [self.job(n) for n, body in self.bodies.items() if body["program"]["executor"] == executor]
            followed = Followed([{"jobs": views, "gone": [], "queue": None, "reset": True}])
            self._followed.append(followed)
        self.follows.release()
        return followed

    def close(self) -> None:
        """Close the connections, of which there are none."""

    # -- the test ------------------------------------------------------------------------------------------------------

    def change(self, job_id: int, **fields: Any) -> None:
        """Change a job, and send that."""
        with self._lock:
            self.jobs[job_id].update(fields)
            for followed in self._followed:
                followed.push(jobs=[self.job(job_id)])

    def push(self, **event: Any) -> None:
        """Send an event to all."""
        with self._lock:
            for followed in self._followed:
                followed.push(**event)

    def break_streams(self) -> None:
        """End all streams."""
        with self._lock:
            for followed in self._followed:
                followed.close()
            self._followed.clear()

    def call(self, job_id: int) -> FunctionCall:
        """The call of a job."""
        body = self.bodies[job_id]
        return read_call(self.folder / body["draft"] / body["program"]["call"], body["program"]["sha256"])

    def finish(self, job_id: int) -> None:
        """Run the call of a job here, and end the job."""
        call = self.call(job_id)
        state, name, error = "done", VALUE, None
        try:
            value = call.function(*call.args, **call.kwargs)
        except Exception as raised:  # noqa: BLE001 (what a test raises)
            state, name, value = "failed", EXCEPTION, (raised.with_traceback(None), "the remote traceback")
            error = {"name": type(raised).__name__, "text": str(raised)}
        stored = self.store.put_value(value)
        manifest = Manifest("function", {name: StoredValue(stored.digest, stored.bytes, type(value).__name__)})
        self.change(job_id, state=state, result={"digest": self.store.put_manifest(manifest)}, error=error)


def use(patch: Any, folder: Path) -> FakeDispatcher:
    """Let executors of this process use a new fake dispatcher."""
    fake = FakeDispatcher(folder)
    patch.setattr(calls, "ensure_dispatcher", lambda: fake)
    return fake
