"""Wait in a test until a condition holds: with pauses between two looks, and with a sentence at the deadline.

Loops that look again without a pause make more requests than the pool manager accepts of one user, and take processor
time from what they wait for. Where the product has an event for it (the event stream, an exit status, a reply), a test
waits for that instead.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, overload

T = TypeVar("T")
#: A guard against waiting for ever. No test asserts by it that something is quick. A deliberately broken build, which
#: is known to make a test wait until then, is run with less.
DEADLINE_S = float(os.environ.get("FASTGPU_TEST_DEADLINE_S", "60"))
#: The first pauses are short, because most conditions hold soon; the later ones leave the processors to the others.
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.03
_GROWTH = 1.2


def wait_until(condition: Callable[[], T | None], what: str | Callable[[], str], timeout_s: float = DEADLINE_S) -> T:
    """Return the first true value of ``condition``.

    Raises ``AssertionError`` with ``what`` where there is none within ``timeout_s``.
    """
    for pause_s in _pauses(what, timeout_s):
        value = condition()
        if value:
            return value
        time.sleep(pause_s)
    raise AssertionError  # not reached: the pauses end with an error


@overload
async def async_wait_until(
    condition: Callable[[], Awaitable[T | None]], what: str | Callable[[], str], timeout_s: float = DEADLINE_S
) -> T: ...
@overload
async def async_wait_until(
    condition: Callable[[], T | None], what: str | Callable[[], str], timeout_s: float = DEADLINE_S
) -> T: ...
async def async_wait_until(
    condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = DEADLINE_S
) -> Any:
    """Return the first true value of ``condition``, which may be a coroutine function; the loop runs on meanwhile.

    Raises ``AssertionError`` with ``what`` where there is none within ``timeout_s``.
    """
    for pause_s in _pauses(what, timeout_s):
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(pause_s)
    raise AssertionError  # not reached: the pauses end with an error


def _pauses(what: str | Callable[[], str], timeout_s: float) -> Iterator[float]:
    """Yield pauses in seconds until the deadline, and one more so that the condition is looked at after it."""
    deadline = time.monotonic() + timeout_s
    pause_s, last = FIRST_PAUSE_S, False
    while not last:
        last = time.monotonic() > deadline
        yield 0.0 if last else pause_s
        pause_s = min(pause_s * _GROWTH, LONGEST_PAUSE_S)
    raise AssertionError(f"Not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")
