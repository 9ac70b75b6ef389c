"""Threads that may be stuck for ever without keeping the process from ending.

The standard library's pool of threads is waited for when the interpreter ends; a call into a driver that hangs would
make the pool manager one that cannot be stopped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as TooLate
from typing import Any, ParamSpec, TypeVar

from ...errors import HostFault

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """So many threads that carry out calls in the order in which they come."""

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._started = 0
        self._idle = 0
        self._closed = False
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn`` called."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"the threads {self._name!r} are closed")
            self._calls.append((future, lambda: fn(*args, **kwargs)))
            if len(self._calls) > self._idle and self._started < self._most:
                self._started += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
            self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._calls and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if not self._calls:
                    return
                future, call = self._calls.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 (whatever it is, the caller is told)
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del future, call  # what was answered is not kept until the next call

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 (see below)
        """Take no more calls. Never waits, whatever ``wait`` says."""
        with self._changed:
            self._closed = True
            while cancel_futures and self._calls:
                self._calls.popleft()[0].cancel()
            self._changed.notify_all()


def call_with_timeout(timeout_s: float, call: Callable[[], T], silence: str) -> T:
    """What ``call`` answers; raises :class:`HostFault` with ``silence`` where it does not in that time.

    It may still be under way then, in a thread that nobody waits for.
    """
    threads = DaemonThreads(1, "start")
    future = threads.submit(call)
    threads.shutdown()
    try:
        return future.result(timeout_s)
    except TooLate:
        if future.done():
            raise
        raise HostFault(silence) from None
