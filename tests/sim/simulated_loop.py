"""A simulated event loop and simulated threads: one seed gives one order of all events.

Nothing here reads a clock or starts a thread. Time goes on only when no callback is ready, and a job that the package
submits to a thread runs at an instant drawn from the seed, in the order of its thread. What the package itself puts in
order stays in order.
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
    """The end of the process of the pool manager; derived from ``BaseException`` so that no handler catches it."""


class SimulatedTime:
    """The clock of a simulation, in seconds; all processes of the pool manager share it."""

    def __init__(self) -> None:
        self.now_s = 1000.0


class SimulatedLoop(asyncio.BaseEventLoop):
    """The event loop of one process of the pool manager, which the simulation runs step by step."""

    def __init__(self, time: SimulatedTime) -> None:
        super().__init__()
        self._simulated_time = time
        self._selector = self
        self.crashed = False
        self.readers: dict[Any, Callable[[], object]] = {}
        self.set_exception_handler(self._report)
        self.complaints: list[str] = []

    def _report(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    # -- what BaseEventLoop needs of a loop --------------------------------------------------------------------------

    def time(self) -> float:
        return self._simulated_time.now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Let time go on to the next timer."""
        if timeout:
            self._simulated_time.now_s += timeout
        return []

    def _process_events(self, event_list: Any) -> None:
        """Do nothing: readers are called by :meth:`fire`."""

    def _write_to_self(self) -> None:
        """Do nothing: the loop never blocks."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if self.crashed:  # a destroyed coroutine may still call this
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
        """Call the reader of a descriptor that has become readable, if it has one."""
        if fd in self.readers:
            self.readers[fd]()

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        executor = executor or SimulatedThread(1, "other")
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    # -- what the simulation does with it ---------------------------------------------------------------------------

    def run(self, for_s: float, steps_max: int) -> int:
        """Run for so many seconds and rounds at most; return how many rounds are left."""
        until_s = self._simulated_time.now_s + for_s
        asyncio._set_running_loop(self)
        try:
            while not self.crashed:
                timers: Any = self._scheduled  # type: ignore[attr-defined]
                idle = not self._ready  # type: ignore[attr-defined]
                if idle and (not timers or timers[0].when() > until_s):
                    # A timer that was cancelled may have let time go on beyond that; it never goes back.
                    self._simulated_time.now_s = max(until_s, self._simulated_time.now_s)
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
        """End all tasks without running their handlers."""
        self.crashed = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(RuntimeError, ValueError):  # the task that is running now ends by itself
                task.get_coro().close()
        for handle in self._ready:  # type: ignore[attr-defined]
            handle.cancel()
        self.readers.clear()
        if asyncio._get_running_loop() is not self:
            self.close()


class SimulatedThread(concurrent.futures.Executor):
    """An executor whose jobs the loop runs one after the other, each after a drawn delay."""

    #: Delay in seconds before the next job of the thread of that name; set by the simulation.
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
        self._loop.call_later(SimulatedThread.delay_s(self._name), self._run_next)

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
