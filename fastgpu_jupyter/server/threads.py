"""Run blocking calls in threads, also while the interpreter ends and in a process that was forked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
#: More launches, restarts and ends of kernels at a time wait for one of these threads.
THREADS_MAX = 32
#: How long the end of a call may go unnoticed by an event loop that another process shares, in seconds.
WAKE_S = 0.02


class CallThreads:
    """A number of threads of this process, started with the first call.

    They are not those of the event loop, which Jupyter and its other extensions need: a call may wait for a pool
    manager that does not answer. A process that is forked inherits executors which count threads that it does not
    have; a call that is given to those would never end.
    """

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._executor: ThreadPoolExecutor | None = None
        os.register_at_fork(after_in_child=self._forget)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``function`` in a thread. Raises :class:`RuntimeError` while the interpreter ends."""
        return self.executor().submit(function, *args, **kwargs)

    def executor(self) -> ThreadPoolExecutor:
        """Return the executor of this process."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads_max, thread_name_prefix="fastgpu")
        return self._executor

    def _forget(self) -> None:
        self._executor = None


_threads = CallThreads(THREADS_MAX)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Return the result of ``function``, run in a thread, or in this thread when there are no more threads.

    Programs such as ``jupyter run`` shut their kernel down in a function that runs when the interpreter ends.
    """
    try:
        future = _threads.submit(function, *arguments)
    except RuntimeError:
        return function(*arguments)
    call = asyncio.wrap_future(future)
    try:
        # A thread wakes the loop by a byte in a pipe. A process that is forked from one that has used its loop has the
        # same pipe, so that either of them may read the byte of the other one: the loop has to look by itself.
        while not call.done():
            await asyncio.wait({call}, timeout=WAKE_S)
    finally:
        call.cancel()  # without effect on a call that has ended
    return call.result()
