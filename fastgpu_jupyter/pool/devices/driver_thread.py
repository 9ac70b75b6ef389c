"""The thread that makes all calls of a driver, so that a driver that hangs never blocks the event loop.

A call that is not answered within :data:`ANSWER_S` is given up. Until the thread is free again every other call is
refused at once, because a second thread would hang as well. The driver is *unresponsive* during that time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar, cast

from ...errors import HostFault, Message
from ..host.threads import DaemonThreads

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: How long the driver may take for an answer; the slowest answer of a driver that works takes a second or two.
ANSWER_S = 10.0
#: The health reason of devices whose driver is unresponsive.
NO_ANSWER = Message.of("driver.no_answer")
#: Why calls are refused while an administrator resets a GPU or loads the driver again.
RELEASED = (
    "An administrator had the pool manager release the GPU driver; nothing is granted until it is used again "
    "(`jupyter fastgpu devices use`). Leases keep their places and are not billed."
)


class _Call:
    """A call of the driver, with what it returned or raised, and the future of its caller."""

    error: Exception | None = None
    result: Any = None

    def __init__(self, call: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self.call = call
        self.answer = answer


class DriverThread:
    """One thread for calls of a driver's methods, for use from the event loop."""

    def __init__(self, new_thread: Callable[[int, str], Executor] = DaemonThreads) -> None:
        self._thread = new_thread(1, "devices")
        self._lock = threading.Lock()
        self._calls: deque[_Call] = deque()
        self._is_working = False  #: the thread carries out calls; it and the queue only change under the lock
        self._carried_out: deque[_Call] = deque()  #: whose answers the event loop has not seen yet
        self._listeners: list[Callable[[], object]] = []
        self._unresponsive_message: str | None = None
        self._is_released = False

    @property
    def unresponsive_message(self) -> str | None:
        """Why calls are refused now, or ``None`` while the driver answers."""
        return self._unresponsive_message

    def subscribe(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` when the driver becomes unresponsive, and when it answers again."""
        self._listeners.append(listener)

    async def call(self, call: Callable[..., T], *args: Any) -> T:
        """Return what ``call`` returns in the thread. Raises :class:`HostFault` if it does not answer in time."""
        if self._unresponsive_message is not None:
            raise HostFault(self._unresponsive_message)
        loop = asyncio.get_running_loop()
        queued = _Call(partial(call, *args), loop.create_future())
        self._submit(queued, loop)
        timeout = loop.call_later(ANSWER_S, self._give_up, queued, getattr(call, "__name__", "a call"))
        try:
            return cast(T, await queued.answer)
        finally:
            timeout.cancel()

    def _submit(self, queued: _Call, loop: asyncio.AbstractEventLoop) -> None:
        """Queue a call for the thread. Many that come at once are carried out in one go, and wake it up once."""
        with self._lock:
            self._calls.append(queued)
            if self._is_working:
                return
            self._is_working = True
        try:
            self._thread.submit(self._work, loop)
        except BaseException:
            self._is_working = False
            self._calls.clear()
            raise

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Carry out the queued calls, in the thread."""
        while True:
            with self._lock:
                if not self._calls:
                    self._is_working = False
                    return
                queued = self._calls.popleft()
            if queued.answer.done():  # given up, or cancelled
                continue
            try:
                queued.result = queued.call()
            except Exception as error:  # noqa: BLE001 (any error is the caller's)
                queued.error = error
            self._carried_out.append(queued)
            if len(self._carried_out) == 1 and not loop.is_closed():
                loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        while self._carried_out:
            queued = self._carried_out.popleft()
            if queued.answer.done():
                continue
            if queued.error is not None:
                queued.answer.set_exception(queued.error)
            else:
                queued.answer.set_result(queued.result)

    def _give_up(self, queued: _Call, name: str) -> None:
        if not queued.answer.done():
            queued.answer.set_exception(HostFault(NO_ANSWER))
            self._note_timeout(name)

    async def release(self, close: Callable[[], object]) -> None:
        """Release the driver: call ``close`` in the thread, and refuse every other call until :meth:`regain`.

        Raises :class:`HostFault` if that does not end in time; calls are refused all the same.
        """
        self._is_released = True
        self._unresponsive_message = RELEASED
        log.warning(RELEASED)
        self._notify()
        closed = asyncio.get_running_loop().run_in_executor(self._thread, close)
        await asyncio.wait({closed}, timeout=ANSWER_S)
        if not closed.done():
            raise HostFault(NO_ANSWER)
        closed.result()

    def regain(self) -> None:
        """Allow calls again after :meth:`release`; harmless otherwise."""
        if self._is_released:
            self._is_released = False
            self._note_answer()

    def close(self) -> None:
        """Cancel queued calls without waiting; a call that hangs must not keep the process from ending."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for queued in self._calls:
                queued.answer.cancel()
            self._calls.clear()

    def _note_timeout(self, name: str) -> None:
        if self._unresponsive_message is not None:
            return
        self._unresponsive_message = (
            f"The GPU driver has not answered for {ANSWER_S:g} seconds, and nothing is granted on its GPUs until it "
            "does; running kernels go on. See `jupyter fastgpu doctor`."
        )
        log.error("%s The call was: %s.", self._unresponsive_message, name)
        loop = asyncio.get_running_loop()
        # The calls behind this one were cancelled with it, so this is the next thing that the thread does.
        free = self._thread.submit(int)
        free.add_done_callback(lambda done: self._when_free(loop, done))
        self._notify()

    def _when_free(self, loop: asyncio.AbstractEventLoop, done: Future[Any]) -> None:
        if not done.cancelled() and not loop.is_closed():
            loop.call_soon_threadsafe(self._note_answer)

    def _note_answer(self) -> None:
        if self._is_released:
            return
        self._unresponsive_message = None
        log.warning("The GPU driver answers again.")
        self._notify()

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()
