"""The thread that makes all calls of an engine, one at a time: one that hangs must not block the event loop.

An engine that does not answer is asked again after a pause that grows, and meanwhile nothing changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from ...errors import EngineUnavailable, FastGPUError, HostFault, Message
from ..monitors.metrics import EngineReading

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: How long an engine may take for one answer; adapters have a shorter limit of their own.
ANSWER_S = 30.0
#: The pause after the first call that was not answered, and the longest one.
RETRY_S, RETRY_S_MAX = 2.0, 60.0


class EngineThread:
    """One thread for calls of an engine's methods, for use from the event loop.

    ``on_change`` is called when the engine stops answering, and when it answers again.
    """

    def __init__(
        self, new_thread: Callable[[int, str], Executor], wall_ms: Callable[[], int], on_change: Callable[[], None]
    ) -> None:
        self._thread = new_thread(1, "engine")
        self._wall_ms = wall_ms
        self._on_change = on_change
        self._turn = asyncio.Lock()
        self._hanging: asyncio.Future[Any] | None = None  #: a call that was given up, or whose caller was cancelled
        self._failures = 0
        self._retry_at_s = 0.0
        #: Since when the engine does not answer, on the wall clock; ``None`` while it does.
        self.unanswered_since: int | None = None
        #: Why it does not, in its own words.
        self.reason: Message | None = None
        #: How many calls there were, by method, and how many of them were not answered.
        self.calls: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()

    def reading(self) -> EngineReading:
        """Return the calls so far, for metrics."""
        return EngineReading(self.calls, self.unanswered, self.unanswered_since is None)

    def pause_s(self) -> float:
        """Return for how long the engine should not be asked, because it does not answer."""
        return max(0.0, self._retry_at_s - asyncio.get_running_loop().time()) if self._failures else 0.0

    async def call(self, method: Callable[..., T], *args: Any) -> T:
        """Return what ``method`` returns in the thread. Raises what it raises.

        Raises :class:`EngineUnavailable` where it does not answer within :data:`ANSWER_S`, and while an earlier call
        hangs.
        """
        async with self._turn:
            name, began_ms = method.__name__, self._wall_ms()
            self.calls[name] += 1
            try:
                answer = await self._answer(method, *args)
            except HostFault as error:
                fault = error if isinstance(error, EngineUnavailable) else EngineUnavailable(error.message)
                self._note_silence(name, began_ms, fault)
                raise fault from error
            except FastGPUError:  # a refusal is an answer
                self._note_answer()
                raise
            self._note_answer()
            return answer

    async def _answer(self, method: Callable[..., T], *args: Any) -> T:
        if self._hanging is not None:
            await asyncio.wait({self._hanging}, timeout=ANSWER_S if self.unanswered_since is None else 0)
            if not self._hanging.done():
                raise EngineUnavailable(Message.of("cluster.engine_hangs", seconds=round(ANSWER_S)))
        call = asyncio.get_running_loop().run_in_executor(self._thread, method, *args)
        self._hanging = call
        call.add_done_callback(_take_error)
        done, _ = await asyncio.wait({call}, timeout=ANSWER_S)
        if not done:
            raise EngineUnavailable(Message.of("cluster.engine_hangs", seconds=round(ANSWER_S)))
        self._hanging = None
        return call.result()

    def _note_silence(self, name: str, began_ms: int, fault: EngineUnavailable) -> None:
        self.unanswered[name] += 1
        self._failures += 1
        pause_s = min(RETRY_S * 2 ** min(self._failures - 1, 10), RETRY_S_MAX)
        self._retry_at_s = asyncio.get_running_loop().time() + pause_s
        changed, self.reason = self.reason != fault.message, fault.message
        if self.unanswered_since is None:
            self.unanswered_since = began_ms
            log.warning("The engine does not answer; nothing changes until it does. The call was %s: %s", name, fault)
        if changed:
            self._on_change()

    def _note_answer(self) -> None:
        self._failures = 0
        if self.unanswered_since is not None:
            self.unanswered_since = self.reason = None
            log.warning("The engine answers again.")
            self._on_change()

    def close(self) -> None:
        """Refuse further calls without waiting; a call that hangs must not keep the process from ending."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _take_error(call: asyncio.Future[Any]) -> None:
    """Take the error of a call for which nothing waits any more."""
    if not call.cancelled():
        call.exception()
