"""Run blocking calls in threads, also while the interpreter ends and in a process that was forked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
#: More calls at a time wait for one of these threads.
THREADS_MAX = 32


class _Threads:
    """The threads of this process, started with the first call.

    They are not those of the event loop: a process that is forked inherits loops whose executors count threads that it
    does not have, and a call that is given to those never ends.
    """

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        os.register_at_fork(after_in_child=self._forget)

    def executor(self) -> ThreadPoolExecutor:
        """Return the executor of this process."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="fastgpu")
        return self._executor

    def _forget(self) -> None:
        self._executor = None


_threads = _Threads()


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Return the result of ``function``, run in a thread, or in this thread when there are no more threads.

    Programs such as ``jupyter run`` shut their kernel down in a function that runs when the interpreter ends.
    """
    try:
        future = asyncio.get_running_loop().run_in_executor(_threads.executor(), partial(function, *arguments))
    except RuntimeError:
        return function(*arguments)
    return await future
