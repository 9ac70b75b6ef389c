"""Run blocking calls in threads, also while the interpreter ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Return the result of ``function``, run in a thread, or in this thread when there are no more threads.

    Programs such as ``jupyter run`` shut their kernel down in a function that runs when the interpreter ends.
    """
    try:
        future = asyncio.get_running_loop().run_in_executor(None, partial(function, *arguments))
    except RuntimeError:
        return function(*arguments)
    return await future
