"""The parts of the pool manager that run as long as it does, kept going in one place.

A bug in one of them must not end it for good, nor in silence: it is logged, counted, shown to everybody as the pool's
message while it lasts, and the part goes on after a pause that grows while it keeps failing. Leases, kernels and grants
go on meanwhile. A job that is done once cannot be tried again in this way: what a bug in it means, its owner says.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

log = logging.getLogger("fastgpu.pool")
#: How long a part that failed rests, at first and at most.
RETRY_S, RETRY_S_MAX = 1.0, 60.0
#: What each part does, as people are told.
TASKS = {
    "requests": "deciding what is asked for",
    "clock": "noting the time",
    "counters": "reading the counters of the devices",
    "devices": "looking which devices there are",
    "processes": "looking who is on the devices",
    "health": "looking how the devices are",
    "errors": "hearing of errors of the devices",
    "journal": "trying whether the journal can be written",
    "events": "telling what changes",
    "files": "closing device files to kernels",
    "groups": "removing control groups that nothing needs",
    "connections": "closing connections that are stuck",
    "idle": "ending once nobody needs the pool",
}


class Supervisor:
    """Runs them. ``changed`` is called when one begins to fail, and when it no longer does.

    ``lost`` is told of a bug in a job that is done once.
    """

    def __init__(self, changed: Callable[[], None], lost: Callable[[BaseException], None]) -> None:
        self._changed = changed
        self._lost = lost
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: dict[str, BaseException] = {}
        #: How often each failed.
        self.failures: Counter[str] = Counter()

    @property
    def failure_message(self) -> str | None:
        """What fails now, for people; ``None`` while nothing does."""
        if not self._failing:
            return None
        what = ", ".join(f"{TASKS[name]} ({type(bug).__name__})" for name, bug in self._failing.items())
        return (
            f"A bug of the pool manager disturbs {what}; it is tried again and again, and leases go on. "
            "Its log says more; please report it."
        )

    def run_forever(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        """Take ``step``, which is to pause by itself, again and again."""
        self._begin(self._run_forever(name, step))

    def run_once(self, job: Coroutine[Any, Any, None]) -> None:
        """Have a job done."""
        self._begin(job).add_done_callback(self._report_lost_job)

    async def attempt(self, name: str, step: Callable[[], Awaitable[object]]) -> bool:
        """Take one step of a part; whether it went well."""
        try:
            await step()
        except Exception as bug:  # noqa: BLE001 (whatever it is, it is told, and the part goes on)
            self.report_failure(name, bug)
            return False
        self.report_recovery(name)
        return True

    def report_failure(self, name: str, bug: BaseException) -> None:
        """Note that a part met a bug, which did not end it."""
        self.failures[name] += 1
        before, self._failing[name] = self._failing.get(name), bug
        count = self.failures[name]
        if before is None or type(before) is not type(bug):
            log.error("A bug of the pool manager in %s, which goes on: %r", TASKS[name], bug, exc_info=bug)
        elif count & (count - 1) == 0:  # one that comes again and again must not drown all else
            log.error("A bug of the pool manager in %s, now %d times: %r", TASKS[name], count, bug)
        if before is None:
            self._changed()

    def report_recovery(self, name: str) -> None:
        """Note that a part does its work."""
        if self._failing.pop(name, None) is not None:
            log.warning("%s goes well again.", TASKS[name].capitalize())
            self._changed()

    async def stop(self) -> None:
        """End all of them, and whatever is under way."""
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

    def _begin(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _report_lost_job(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (bug := task.exception()):
            self._lost(bug)


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Whether the event is set in that time.

    Not ``wait_for``: before Python 3.12 that can lose a cancellation that comes as the event is set.
    """
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=timeout_s)
    finally:
        waiting.cancel()
    return event.is_set()
