"""A dispatcher that serves the jobs that a test gives it, in any state, and records what it is asked for."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from fastgpu_jupyter import __version__
from fastgpu_jupyter.errors import FastGPUError, Message, NotFound
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.frames import INTERFACE, decode, encode, length_of, refusal_of
from fastgpu_jupyter.messages import view_of
from fastgpu_jupyter.wire.job_states import ENDED, JobState
from fastgpu_jupyter.wire.schemas import JobView
from fastgpu_jupyter.wire.unixsocket import short_address

View = dict[str, Any]
MINUTE_MS = 60_000


def job_view(job_id: int, **changes: Any) -> JobView:
    """Return a job as a dispatcher sends it, by default a queued cell of digits.ipynb."""
    now = round(time.time() * 1000)
    view: View = {
        "id": job_id, "version": 1, "kind": "cell", "name": "train", "state": "queued", "cancelling": False,
        "size": "half", "priority": "low", "retention": "yield", "after": [], "timeout_ms": None, "retries": 0,
        "attempt": 1, "submitted_at": now - 10 * MINUTE_MS - job_id, "started_at": None, "ended_at": None,
        "lease_id": None, "lease_state": None, "position": None, "jobs_before": None, "estimate_ms": None,
        "reason": None, "notes": [], "gpu": None, "cost_micro": None, "rate_micro": None, "currency": "USD",
        "progress": None, "log_tail": [], "log_bytes": 0, "notebook": "work/digits.ipynb", "kernel_id": None,
        "environment": {"interpreter": "/usr/bin/python3", "cwd": "/home/ada", "variables": ["PATH"]},
        "exit_status": None, "error": None, "result": None, "cache": None,
    }  # fmt: skip
    return cast("JobView", {**view, **changes})


class ScriptedDispatcher:
    """A server on the socket of the user's dispatcher."""

    def __init__(self, *jobs: JobView) -> None:
        self.jobs: dict[int, View] = {job["id"]: cast("View", job) for job in jobs}
        self.logs: dict[int, bytes] = {}
        self.explanations: dict[int, View] = {}
        self.asked: list[tuple[str, View]] = []
        self._followers: list[socket.socket] = []
        self._lock = threading.RLock()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Serve."""
        path = places.socket_path()
        places.jobs_dir().mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._path: Path = path
        self._server = socket.socket(socket.AF_UNIX)
        with short_address(path) as address:
            self._server.bind(address)
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End, as if the process had ended."""
        self._path.unlink(missing_ok=True)
        self._server.close()
        self._followers.clear()
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def change(self, job_id: int, **changes: Any) -> None:
        """Change a job, or add one, and send it to the followers."""
        with self._lock:
            known = self.jobs.get(job_id) or cast("View", job_view(job_id))
            self.jobs[job_id] = {**known, **changes, "version": known["version"] + 1}
            self._push([job_id])

    def _push(self, changed: list[int], *, reset: bool = False, to: socket.socket | None = None) -> None:
        queue = sorted(one for one, view in self.jobs.items() if view["state"] == "queued")
        event = {
            "event": "jobs", "jobs": [self.jobs[one] for one in changed], "gone": [], "queue": queue, "reset": reset,
        }  # fmt: skip
        for follower in [to] if to else list(self._followers):
            with contextlib.suppress(OSError):
                follower.sendall(encode(event))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._sockets.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            connection.sendall(encode({"event": "serving", "interface": INTERFACE, "version": __version__}))
            for frame in _frames(connection):
                arguments = frame["arguments"]
                with self._lock:
                    self.asked.append((frame["call"], arguments))
                    try:
                        answer = {"answer": getattr(self, f"_{frame['call']}")(arguments)}
                    except FastGPUError as error:
                        answer = {"refusal": refusal_of(error, view_of(error.message))}
                    connection.sendall(encode({"id": frame["id"], **answer}))
                    if frame["call"] == "follow":
                        self._followers.append(connection)
                        self._push(sorted(self.jobs), reset=True, to=connection)

    def _ping(self, _: View) -> View:
        return {"pid": os.getpid(), "version": __version__}

    def _follow(self, _: View) -> View:
        return {}

    def _jobs(self, _: View) -> View:
        return {"jobs": [self.jobs[one] for one in sorted(self.jobs, reverse=True)], "more": False}

    def _job(self, given: View) -> View:
        if given["id"] not in self.jobs:
            raise NotFound(Message.of("jobs.no_job", number=given["id"]))
        return self.jobs[given["id"]]

    def _cancel(self, given: View) -> View:
        runs = self._job(given)["state"] == "running"
        self.change(given["id"], **({"cancelling": True} if runs else {"state": "cancelled"}))
        return self._job(given)

    def _rerun(self, given: View) -> View:
        new, old = max(self.jobs) + 1, self._job(given)
        self.jobs[new] = cast("View", job_view(new, name=old["name"], size=old["size"]))
        self._push([new])
        return self.jobs[new]

    def _log(self, given: View) -> View:
        log, offset = self.logs.get(given["id"], b""), given["offset"]
        start = max(0, len(log) + offset) if offset < 0 else min(offset, len(log))
        part = log[start : start + given["limit"]]
        return {"text": part.decode(), "offset": start, "end": start + len(part), "size": len(log)}

    def _explain(self, given: View) -> View:
        return self.explanations.get(given["id"], {"outcome": None, "messages": [], "key": None, "ingredients": []})

    def _usage(self, _: View) -> View:
        return {
            "jobs": len(self.jobs), "queued": 0, "running": 0, "job_bytes": 3 * 2**20, "result_bytes": 99 * 2**20,
            "results": 3, "cached": 1,
        }  # fmt: skip

    def _prune(self, _: View) -> View:
        gone = [one for one, view in self.jobs.items() if JobState(view["state"]) in ENDED]
        for one in gone:
            del self.jobs[one]
        self._push(sorted(self.jobs), reset=True)
        return {"jobs": len(gone), "results": len(gone), "freed_bytes": 102 * 2**20}


def _frames(connection: socket.socket) -> Iterator[View]:
    while True:
        head = _exactly(connection, struct.calcsize("!I"))
        yield decode(_exactly(connection, length_of(head)))


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(count - len(received))
        if not part:
            raise EOFError
        received += part
    return received
