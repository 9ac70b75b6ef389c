"""Threads that may hang without keeping the process from ending.

The standard library's thread pool is waited for when the interpreter ends. With it, a call into a driver that hangs
would make a pool manager that cannot be stopped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as TooLate
from typing import Any, ParamSpec, TypeVar

from ...errors import HostFault, Message

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """A number of daemon threads that carry out calls in the order of their submission."""

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._started = 0
        self._idle = 0
        self._closed = False
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` in one of the threads, and return the future of its result."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"the threads {self._name!r} are closed")
            self._calls.append((future, lambda: fn(*args, **kwargs)))
            if len(self._calls) > self._idle and self._started < self._most:
                self._start_thread(future)
            self._changed.notify()
        return future

    def _start_thread(self, future: Future[Any]) -> None:
        """Start one more thread. Raises :class:`HostFault` where there is none for the newest call."""
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{self._started + 1}", daemon=True).start()
        except RuntimeError as error:
            if not self._started:  # else another thread does it later
                self._calls.pop()
                future.cancel()
                raise HostFault(f"The system starts no thread for {self._name} ({error}).") from error
        else:
            self._started += 1

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
                except BaseException as error:  # noqa: BLE001 (any error is the caller's)
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del future, call  # do not keep the result until the next call

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 (see below)
        """Refuse further calls. Never waits, whatever ``wait`` is."""
        with self._changed:
            self._closed = True
            while cancel_futures and self._calls:
                self._calls.popleft()[0].cancel()
            self._changed.notify_all()


def call_with_timeout(timeout_s: float, call: Callable[[], T], silence: str | Message) -> T:
    """Return what ``call`` returns. Raises :class:`HostFault` with ``silence`` if it takes longer than ``timeout_s``.

    The call may continue after that, in a daemon thread.
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
