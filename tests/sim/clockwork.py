"""An event loop whose time is played, and threads that are not there: one seed, one order of everything.

What it promises: nothing here reads a clock or starts a thread. Time goes on only where nobody has anything to do,
and a job that the program hands to a thread runs at an instant drawn from the seed, in the order of its thread.
What it must not do: change the order of what the program itself put in order.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Crash(BaseException):
    """The process ends here and now: no handler of the program may see it."""


class Time:
    """Seconds since the story began; shared by all lives of the program."""

    def __init__(self) -> None:
        self.now_s = 1000.0


class Loop(asyncio.BaseEventLoop):
    """Runs one life of the program, step by step."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._played = time
        self._selector = self
        self.crashed = False
        self.readers: dict[Any, Callable[[], object]] = {}
        self.set_exception_handler(self._report)
        self.complaints: list[str] = []

    def _report(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    # -- what BaseEventLoop asks of a loop --------------------------------------------------------------------------

    def time(self) -> float:
        return self._played.now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Nobody has anything to do: time goes on to the next timer."""
        if timeout:
            self._played.now_s += timeout
        return []

    def _process_events(self, event_list: Any) -> None:
        """There are none: readers are called by whoever makes them ready."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if self.crashed:  # what a destroyed coroutine still wants is of no interest
            return asyncio.Handle(callback, args, self)
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def add_reader(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        self.readers[fd] = lambda: callback(*args)

    def remove_reader(self, fd: Any) -> bool:
        return self.readers.pop(fd, None) is not None

    def fire(self, fd: int) -> None:
        """The descriptor is readable; whoever reads it, if anybody still does, is called."""
        if fd in self.readers:
            self.readers[fd]()

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        executor = executor or Thread(1, "other")
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    # -- what the story does with it --------------------------------------------------------------------------------

    def run(self, for_s: float, steps_max: int) -> int:
        """Go on for so long, or for so many rounds if that is less; how many rounds are left."""
        until_s = self._played.now_s + for_s
        asyncio._set_running_loop(self)
        try:
            while not self.crashed:
                timers: Any = self._scheduled  # type: ignore[attr-defined]
                idle = not self._ready  # type: ignore[attr-defined]
                if idle and (not timers or timers[0].when() > until_s):
                    self._played.now_s = until_s
                    return steps_max
                if not steps_max:
                    return 0
                steps_max -= 1
                self._run_once()  # type: ignore[attr-defined]
        finally:
            asyncio._set_running_loop(None)
        self.close()
        return 0

    def crash(self) -> None:
        """The end, without a word to anybody."""
        self.crashed = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(RuntimeError, ValueError):  # one that is running now ends by itself
                task.get_coro().close()
        for handle in self._ready:  # type: ignore[attr-defined]
            handle.cancel()
        self.readers.clear()
        if asyncio._get_running_loop() is not self:
            self.close()


class Thread(concurrent.futures.Executor):
    """A thread that the loop plays: its jobs run one after the other, each after a drawn while."""

    #: How long the next job of the thread of that name takes to begin; set by the story.
    delay_s: Callable[[str], float] = staticmethod(lambda _: 0.0)

    def __init__(self, _: int, name: str) -> None:
        self._name = name
        self._jobs: deque[tuple[concurrent.futures.Future[Any], Callable[[], Any]]] = deque()
        self._loop: Any = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        self._loop = asyncio.get_running_loop()
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._jobs.append((future, lambda: fn(*args, **kwargs)))
        if len(self._jobs) == 1:
            self._wait()
        return future

    def _wait(self) -> None:
        self._loop.call_later(Thread.delay_s(self._name), self._run_next)

    def _run_next(self) -> None:
        if not self._jobs:
            return
        try:
            self._run(*self._jobs[0])
        except Crash:
            self._loop.crash()
            return
        self._jobs.popleft()
        if self._jobs:
            self._wait()

    def _run(self, future: concurrent.futures.Future[Any], job: Callable[[], Any]) -> None:
        if future.set_running_or_notify_cancel():
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 (what a thread does with any)
                future.set_exception(error)
            else:
                future.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        try:
            while self._jobs:
                future, job = self._jobs.popleft()
                if cancel_futures:
                    future.cancel()
                else:
                    self._run(future, job)
        except Crash:
            self._loop.crash()
            raise
