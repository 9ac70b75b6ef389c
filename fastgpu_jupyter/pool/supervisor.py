"""The supervisor of the background tasks of the pool manager.

An error in a task must not end the task, nor stay unseen: it is logged, counted, and shown as the pool's message while
it lasts, and the task continues after a pause that grows with each failure. Leases, kernels and grants continue. A job
that runs once cannot be repeated in this way; its error goes to ``on_job_failure``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

log = logging.getLogger("fastgpu.pool")
#: The pause after the first failure of a task, and the longest one.
RETRY_S, RETRY_S_MAX = 1.0, 60.0
#: What each task does, in messages to users.
TASKS = {
    "requests": "deciding on requests",
    "clock": "recording the time",
    "counters": "reading the device counters",
    "devices": "listing the devices",
    "idleness": "finding leases that nothing uses",
    "use": "recording what notebooks need",
    "processes": "finding processes on the devices",
    "health": "checking device health",
    "errors": "receiving device errors",
    "journal": "checking whether the journal can be written",
    "events": "publishing changes",
    "files": "restricting device files",
    "groups": "removing unused control groups",
    "connections": "closing stuck connections",
    "idle": "checking whether the pool is idle",
    "cluster": "asking the cluster",
    "grants": "granting what the cluster allocated",
    "agents": "listening to agents",
    "agents_silence": "watching agents",
    "agents_connections": "limiting the connections of agents",
}


class Supervisor:
    """The owner of all background tasks of one pool manager.

    ``on_change`` is called when :attr:`failure_message` changes, ``on_job_failure`` with the error of a job that runs
    once.
    """

    def __init__(self, on_change: Callable[[], None], on_job_failure: Callable[[BaseException], None]) -> None:
        self._on_change = on_change
        self._on_job_failure = on_job_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: dict[str, BaseException] = {}
        #: The number of failures of each task.
        self.failures: Counter[str] = Counter()

    @property
    def failure_message(self) -> str | None:
        """A sentence about the tasks that fail now, or ``None``."""
        if not self._failing:
            return None
        what = ", ".join(f"{TASKS[name]} ({type(error).__name__})" for name, error in self._failing.items())
        return (
            f"The pool manager met an internal error in {what}. It tries again, and leases continue. "
            "Its log says more; please report it."
        )

    def run_forever(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        """Call ``step`` again and again; it pauses by itself."""
        self._start(self._run_forever(name, step))

    def run_once(self, job: Coroutine[Any, Any, None]) -> None:
        """Run ``job`` to its end, or until :meth:`stop`."""
        self._start(job).add_done_callback(self._report_job_failure)

    async def attempt(self, name: str, step: Callable[[], Awaitable[object]]) -> bool:
        """Call one step of task ``name`` and return whether it raised nothing."""
        try:
            await step()
        except Exception as error:  # noqa: BLE001 (any error is reported, and the task continues)
            self.report_failure(name, error)
            return False
        self.report_recovery(name)
        return True

    def report_failure(self, name: str, error: BaseException) -> None:
        """Record that task ``name`` met an error that did not end it."""
        self.failures[name] += 1
        before, self._failing[name] = self._failing.get(name), error
        count = self.failures[name]
        if before is None or type(before) is not type(error):
            log.error("Internal error in %s; it is tried again: %r", TASKS[name], error, exc_info=error)
        elif count & (count - 1) == 0:  # a repeated error must not fill the log
            log.error("Internal error in %s, now %d times: %r", TASKS[name], count, error)
        if before is None:
            self._on_change()

    def report_recovery(self, name: str) -> None:
        """Record that task ``name`` works."""
        if self._failing.pop(name, None) is not None:
            log.warning("Task recovered: %s.", TASKS[name])
            self._on_change()

    async def stop(self) -> None:
        """Cancel all tasks and jobs, and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_forever(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        failures = 0
        while True:
            failures = 0 if await self.attempt(name, step) else failures + 1
            if failures:
                await asyncio.sleep(min(RETRY_S * 2 ** min(failures - 1, 10), RETRY_S_MAX))

    def _start(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _report_job_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._on_job_failure(error)


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Return whether ``event`` is set within ``timeout_s``.

    ``asyncio.wait_for`` is not used: before Python 3.12 it can lose a cancellation that comes as the event is set.
    """
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=timeout_s)
    finally:
        waiting.cancel()
    return event.is_set()
