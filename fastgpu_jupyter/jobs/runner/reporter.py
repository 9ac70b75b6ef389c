"""The connection of a runner to its dispatcher, which may be replaced at any time.

A thread sends what is new, at most a few times a second, and takes what the dispatcher pushes. The truth about a job is
in its files: a report that is lost is found there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DispatcherUnreachable, FastGPUError
from .. import places
from ..frames import FrameSocket, error_of
from ..start import start_dispatcher

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView

#: The shortest time between two reports, and how long the connection takes to be tried again, in seconds.
REPORT_S = 0.25
_PAUSE_FIRST_S, _PAUSE_MOST_S = 0.2, 5.0
_TIMEOUT_S = 10.0
#: How often a dispatcher is started, and the outcome reported to it, before its file has to be enough.
_LAST_ATTEMPTS = 3


def lease_report(view: LeaseView) -> dict[str, Any]:
    """Return what is reported of a lease: the dispatcher follows it as well, and may be new."""
    queue = view["queue"]
    return {
        "state": view["state"],
        "position": queue["position"] if queue else None,
        "estimate_ms": queue["estimate_ms"] if queue else None,
        "reason": queue["reason"] if queue else None,
    }


class DispatcherReporter(threading.Thread):
    """Reports about one attempt of a job; :meth:`events` returns what the dispatcher pushed."""

    def __init__(self, job_id: int, attempt: int, path: Path | None = None) -> None:
        super().__init__(name="fastgpu-reporter", daemon=True)
        self._path = path or places.socket_path()
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pushed: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._job_id, self._attempt = job_id, attempt
        self._known: dict[str, Any] = {}  #: everything that was reported of this attempt
        self._unsent: dict[str, Any] = {}
        self._ended = False
        self._connection: FrameSocket | None = None
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Any] = {}  #: that a thread waits for: None until it is there
        #: Called at once, in the thread that receives, with a call for a kept work process.
        self.take_run: Callable[[dict[str, Any]], None] = lambda _event: None

    def fileno(self) -> int:
        """Return the descriptor that is readable while there are events."""
        return self._reader

    def events(self) -> list[dict[str, Any]]:
        """Return what the dispatcher has pushed since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._pushed.get_nowait())
        return found

    def report(self, **fields: Any) -> None:
        """Report what of ``fields`` is new."""
        with self._changed:
            new = {name: value for name, value in fields.items() if self._known.get(name) != value}
            self._known |= new
            self._unsent |= new
            if new:
                self._changed.notify()

    def run(self) -> None:
        """Stay connected until the job has ended."""
        pause_s = _PAUSE_FIRST_S
        while not self._ended:
            try:
                connection = self._connect()
            except (OSError, EOFError, ValueError, FastGPUError):
                with self._changed:
                    self._changed.wait_for(lambda: self._ended, pause_s)
                pause_s = min(pause_s * 2, _PAUSE_MOST_S)
                continue
            pause_s = _PAUSE_FIRST_S
            receiver = threading.Thread(target=self._receive, args=[connection], daemon=True)
            receiver.start()
            self._connection = connection
            self._send_changes(connection, receiver)
            with self._changed:
                self._connection = None
                self._changed.notify_all()
            connection.close()
            self._push({"event": "disconnected"})

    def keep_worker(self, worker: str) -> bool:
        """Report that a call has ended and that its work process waits for the next one; return False if none can."""
        connection = self._connection
        if connection is None:
            return False
        try:
            with self._sending:
                self._send_last_report(connection)
                self._send(connection, "ended", job_id=self._job_id)
                self._send(connection, "idle", job_id=self._job_id, worker=worker)
        except (OSError, FastGPUError):
            return False
        return True

    def retire_worker(self) -> bool:
        """Report that the kept work process is about to end; return False where it was given a call meanwhile."""
        connection = self._connection
        if connection is None:
            return True
        try:
            with self._sending, self._changed:
                number = self._send(connection, "retire", job_id=self._job_id)
                self._answers[number] = None
        except (OSError, FastGPUError):
            return True
        with self._changed:
            self._changed.wait_for(lambda: self._answers[number] or self._connection is not connection, _TIMEOUT_S)
            answer = self._answers.pop(number)
        return answer is None or bool(answer.get("retired", True))

    def begin(self, job_id: int, attempt: int) -> None:
        """Report about the next call from now on."""
        with self._changed:
            self._job_id, self._attempt = job_id, attempt
            self._known, self._unsent = {}, {}

    def finish(self) -> bool:
        """Report the end to a dispatcher, which is started if none runs; return whether it knows the job.

        The outcome is in its file.
        """
        with self._changed:
            self._ended = True
            self._changed.notify()
        for _ in range(_LAST_ATTEMPTS):
            try:
                connection = self._connect()
                try:
                    self._send_last_report(connection)
                    self._call(connection, "ended", job_id=self._job_id)
                finally:
                    connection.close()
            except (OSError, EOFError, ValueError, DispatcherUnreachable):
                with contextlib.suppress(FastGPUError):
                    start_dispatcher(_TIMEOUT_S)
            except FastGPUError:
                return False  # it knows no such job
            else:
                return True
        return False

    def _connect(self) -> FrameSocket:
        """Return a connection on which the dispatcher knows this runner."""
        connection = FrameSocket(self._path, _TIMEOUT_S)
        try:
            connection.receive()  # that it serves
            answer = self._call(connection, "hello", job_id=self._job_id, attempt=self._attempt)
        except BaseException:
            connection.close()
            raise
        if isinstance(answer, Mapping) and answer.get("cancelling"):
            self._push({"event": "cancel"})
        with self._changed:
            self._unsent = dict(self._known)
        return connection

    def _send_last_report(self, connection: FrameSocket) -> None:
        with self._changed:
            report, self._unsent = self._unsent, {}
        if report:
            self._send(connection, "report", job_id=self._job_id, **report)

    def _send(self, connection: FrameSocket, call: str, **arguments: Any) -> int:
        number = next(self._numbers)
        connection.send({"id": number, "call": call, "arguments": arguments})
        return number

    def _call(self, connection: FrameSocket, call: str, **arguments: Any) -> Any:
        number = self._send(connection, call, **arguments)
        while True:
            frame = connection.receive()
            if "event" in frame:
                self._push(frame)
            elif frame.get("id") == number:
                if "refusal" in frame:
                    raise error_of(frame["refusal"])
                return frame.get("answer")

    def _push(self, event: dict[str, Any]) -> None:
        self._pushed.put(event)
        with contextlib.suppress(OSError):
            os.write(self._writer, b"x")

    def _receive(self, connection: FrameSocket) -> None:
        """Take what the dispatcher pushes until the connection ends; answers to reports say nothing."""
        with contextlib.suppress(OSError, EOFError, ValueError):
            connection.set_timeout(None)
            while True:
                frame = connection.receive()
                if frame.get("event") == "run":
                    self.take_run(frame)
                if "event" in frame:
                    self._push(frame)
                    continue
                with self._changed:  # in which a call is sent and its answer is expected
                    if frame.get("id") in self._answers:
                        self._answers[frame["id"]] = frame.get("answer") or {}
                        self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _send_changes(self, connection: FrameSocket, receiver: threading.Thread) -> None:
        """Send reports while the dispatcher is there and the job has not ended."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unsent or self._ended or not receiver.is_alive(), timeout=5.0)
                if self._ended or not receiver.is_alive():
                    return
                report, self._unsent, job_id = self._unsent, {}, self._job_id
            try:
                if report:
                    with self._sending:
                        self._send(connection, "report", job_id=job_id, **report)
            except (OSError, FastGPUError):
                return
            time.sleep(REPORT_S)
