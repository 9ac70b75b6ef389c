"""The processes that make CUDA's checkpoint calls (:mod:`.checkpoint_worker`), each call with a deadline.

None of these calls can be interrupted, and some hang for good: any call on a process of a group that communicates by
NCCL, for instance, while another process of that group is locked. A worker whose call does not return in time is
killed, and the next call is made by a new one. A worker that is stuck in the driver and does not even end by that is
left alone.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ....errors import HostFault
from . import checkpoint_worker
from .env import VISIBLE_DEVICES

log = logging.getLogger("fastgpu.pool")
#: How long a worker may take to start and to initialize CUDA, which wakes GPUs that sleep.
START_S = 60.0
#: How long a killed worker may take to end; one that does not is stuck in the driver.
KILL_S = 5.0
EXTRA = "pip install 'fastgpu-jupyter[park]'"
_MISSING = {
    checkpoint_worker.NO_PACKAGE: f"Parking needs NVIDIA's Python package cuda-bindings: {EXTRA}.",
    checkpoint_worker.OLD_PACKAGE: f"This version of cuda-bindings is too old to park: {EXTRA} --upgrade.",
}
_READ_BYTES = 1 << 16


class Refused(HostFault):
    """CUDA refused one step, and everything is where it was."""


class NoAnswer(HostFault):
    """A call of CUDA did not return in time, or its process ended; what it has done is unknown."""


class Worker:
    """One process that makes calls, for one caller at a time.

    Raises :class:`HostFault` with what is missing where CUDA cannot park here.
    """

    def __init__(self, start_s: float) -> None:
        argv = [sys.executable, "-P", "-m", checkpoint_worker.__name__]
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
            )
        except OSError as error:
            raise HostFault(f"The process that parks memory cannot be started ({error.strerror}).") from error
        self._received = b""
        try:
            first = self._receive(time.monotonic() + start_s, "cuInit")
        except HostFault:
            self.end()
            raise
        if "missing" in first:
            self.end()
            raise HostFault(_MISSING[first["missing"]])
        if "refused" in first:
            self.end()
            raise _refusal(first)

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the worker can make another call."""
        return self._process.poll() is None

    def call(self, name: str, pid: int, timeout_s: float, **arguments: Any) -> Any:
        """Return what the call returns.

        Raises :class:`Refused` where CUDA answers with an error, and :class:`NoAnswer` where the call has not returned
        within ``timeout_s``; then the worker must be ended.
        """
        line = json.dumps({"call": name, "pid": pid, **arguments}) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as error:
            raise _died(name) from error
        found = self._receive(time.monotonic() + timeout_s, name)
        if "refused" in found:
            raise _refusal(found)
        return found["value"]

    def end(self) -> None:
        """Kill the worker. One that is stuck in the driver is left alone, and reported in the log."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)
        if self.is_alive:
            log.error("Process %d, which moves GPU memory, does not end though it was killed.", self.pid)

    def _receive(self, deadline_s: float, name: str) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()  # unlike select, for descriptors above 1,024 too
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._received:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not poll.poll(1000 * left_s):
                raise NoAnswer(f"CUDA did not return from the call {name!r} in time.")
            more = os.read(descriptor, _READ_BYTES)
            if not more:
                raise _died(name)
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        found: Mapping[str, Any] = json.loads(line)
        return found


class CheckpointCalls:
    """The calls of one move. A call that is not answered ends its worker, and the next call starts another one."""

    def __init__(self, worker: Worker | None, start_s: float) -> None:
        self._start_s = start_s
        self.worker = worker  #: it has no call in progress

    def __call__(self, name: str, pid: int, timeout_s: float, **arguments: Any) -> Any:
        """Return what a call of :class:`.checkpoint_worker.Calls` returns.

        Raises :class:`Refused` where CUDA answers with an error, :class:`NoAnswer` where it does not return within
        ``timeout_s``, and :class:`HostFault` where no process can make the call.
        """
        worker, self.worker = self.worker, None
        if worker is None:
            worker = Worker(self._start_s)
        try:
            found = worker.call(name, pid, timeout_s, **arguments)
        except Refused:
            self.worker = worker
            raise
        except BaseException:
            worker.end()
            raise
        self.worker = worker
        return found


class CheckpointProcesses:
    """All workers of a pool manager. Safe to use from several threads: each move has a worker of its own.

    One worker without work is kept, so that the next move does not wait for a process to start.
    """

    def __init__(self, start_s: float = START_S) -> None:
        self._start_s = start_s
        self._idle: Worker | None = None
        self._lock = threading.Lock()

    def probe(self) -> None:
        """Start a worker and keep it. Raises :class:`HostFault` with the reason why CUDA cannot park here."""
        self._keep(self._take() or Worker(self._start_s))

    @contextmanager
    def calls(self) -> Iterator[CheckpointCalls]:
        """Yield the calls of one move."""
        calls = CheckpointCalls(self._take(), self._start_s)
        try:
            yield calls
        finally:
            if calls.worker is not None:
                self._keep(calls.worker)

    def close(self) -> None:
        """End the worker without work; it would keep the driver from being unloaded and GPUs from being reset."""
        worker = self._take()
        if worker is not None:
            worker.end()

    def _take(self) -> Worker | None:
        with self._lock:
            worker, self._idle = self._idle, None
        if worker is not None and not worker.is_alive:
            worker.end()
            return None
        return worker

    def _keep(self, worker: Worker) -> None:
        with self._lock:
            kept = self._idle is None
            if kept:
                self._idle = worker
        if not kept:
            worker.end()


def _refusal(found: Mapping[str, Any]) -> Refused:
    return Refused(f"CUDA refused {found['refused']}: {found['error']}.")


def _died(name: str) -> NoAnswer:
    return NoAnswer(f"The process that made the call {name!r} of CUDA has ended.")


def _environment() -> dict[str, str]:
    """Return the environment of a worker: it belongs to no lease, and sees every GPU, as a restore requires."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != VISIBLE_DEVICES and not name.startswith("FASTGPU_LEASE")
    }
