"""Standby kernels: processes that have imported what a kernel needs, kept ready for the next starts.

A standby kernel is a child of this server like any kernel, started by the same function with the same command. A launch
that would start the same process takes one over (:meth:`StandbyKernels.take`); everything else is a cold start.
:mod:`.standby_process` has what is done with one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from traitlets import Bool, Float, Int
from traitlets.config import LoggingConfigurable

from ..messages import render
from ..text import printable
from ..wire.process_identity import start_time
from ..wire.standby_status import refused_sentence
from .launches import launches
from .preload_refusals import PreloadRefused, refusals
from .standby_budget import StandbyBudget, StandbyRules, Waiting, at_low_priority
from .standby_process import LaunchDetails, NotTaken, StandbyProcess, server_attributes
from .standby_status_file import StandbyStatusFile
from .start_counters import counters
from .start_match import Miss, MissReason, Start, never_matches
from .threads import in_thread

#: The standby kernels of a multi-kernel manager. A program that runs one kernel has none.
_of: weakref.WeakKeyDictionary[Any, StandbyKernels] = weakref.WeakKeyDictionary()

#: The most starts for which standby kernels are kept ready at a time; the least recently used one is given up.
STARTS_MAX = 3
#: Between the last launch and the start of a standby kernel, which needs a processor for half a second.
REFILL_AFTER_S = 1.5
#: Between two looks at the standby kernels.
CHECK_S = 10.0


def of(kernels: Any) -> StandbyKernels | None:
    """Return the standby kernels of a multi-kernel manager; None where all its starts are cold."""
    try:
        return _of.get(kernels)
    except TypeError:  # no object to which a weak reference is possible, such as None
        return None


class StandbyKernels(LoggingConfigurable):
    """Standby kernels for the starts in recent use. All methods are for the event loop that called :meth:`start`."""

    count = Int(
        1,
        min=0,
        max=8,
        help="How many standby kernels are kept ready for each kernelspec in recent use. 0: every start is cold.",
    ).tag(config=True)

    age_max_s = Float(3600.0, min=1, help="Seconds after which a standby kernel is replaced by a new one.").tag(
        config=True
    )
    server_idle_s = Float(
        1800.0, min=1, help="Seconds without use of the Jupyter server after which it has no standby kernels."
    ).tag(config=True)
    wait_for_quiet = Bool(
        True,
        help="Start standby kernels only when few processes wait for a processor and no kernel is starting, and at a "
        "low priority.",
    ).tag(config=True)

    def __init__(self, kernels: Any, *, idle_s: Callable[[], float] = lambda: 0.0, **kwargs: Any) -> None:
        """``idle_s`` returns for how many seconds the server has not been used."""
        super().__init__(**kwargs)
        rules = StandbyRules(self.age_max_s, self.server_idle_s, self.wait_for_quiet)
        self.budget = StandbyBudget(self.log, rules=rules, idle_s=idle_s, launches=lambda: len(launches))
        self._pid = os.getpid()
        self._ready: list[StandbyProcess] = []
        #: The starts in recent use, the latest last.
        self._recent: list[Start] = []
        #: Those of them of which there was no launch yet.
        self._expected: list[Start] = []
        self._launched_at = -REFILL_AFTER_S
        self._status = StandbyStatusFile()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        _of[kernels] = self

    def start(self) -> None:
        """Begin to keep standby kernels ready, in the background."""
        self._task = asyncio.create_task(self._keep_ready())

    async def stop(self) -> None:
        """End all standby kernels; the launches after this are cold."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._end(self._ready)
        await in_thread(self._status.remove)

    def expect(self, starts: Sequence[Start]) -> None:
        """Make standby kernels ready for ``starts``, the most likely last, as if there had been launches of them."""
        known = {recent.kernelspec for recent in self._recent}
        self._expected = [start for start in starts if start.kernelspec not in known]
        self._recent = [*self._expected, *self._recent][-STARTS_MAX:]
        self._changed.set()

    @property
    def waiting(self) -> Sequence[StandbyProcess]:
        """Return the standby kernels that a launch can take."""
        return tuple(self._ready)

    # ---- launches ------------------------------------------------------------------------------------------------

    async def take(self, start: Start, details: LaunchDetails) -> StandbyProcess | None:
        """Return a standby kernel that has begun to be the kernel of a launch, or None for a cold start."""
        taken, miss = await self._take(start, details)
        if miss is not None:
            self.count_launch(start, miss)
        return taken

    def count_launch(self, start: Start, miss: Miss | None) -> None:
        """Count a launch, which was a cold start if it has a miss."""
        if miss is None:
            counters.hit(start.kernelspec)
        else:
            counters.miss(start.kernelspec, miss)
            self.log.debug("FastGPU: a cold start of %s: %s %s", start.kernelspec, miss.reason, miss.what)

    async def _take(self, start: Start, details: LaunchDetails) -> tuple[StandbyProcess | None, Miss | None]:
        if self.count == 0 or self._pid != os.getpid():
            return None, Miss(MissReason.OFF)
        if self._task is None or self._task.get_loop() is not asyncio.get_running_loop():
            return None, Miss(MissReason.OFF)
        if details.others:
            return None, Miss(MissReason.COMMAND, details.others[0])
        miss = self._why_none(start)
        for standby in [standby for standby in self._ready if standby.start.kernelspec == start.kernelspec]:
            if not _same(standby.start, start):
                found = await in_thread(standby.difference, start, details.folder)
                miss = miss if found is None else found
                continue
            if standby not in self._ready:
                continue  # another launch has it
            self._ready.remove(standby)
            try:
                await in_thread(standby.hand_over, start, details)
                self.budget.was_used(start.kernelspec)
                return standby, None
            except NotTaken as error:
                miss = error.miss
            except Exception:
                self.log.exception("FastGPU: a standby kernel of %s was not used", start.kernelspec)
                miss = Miss(MissReason.UNKNOWN)
            except BaseException:
                asyncio.get_running_loop().run_in_executor(None, standby.end)  # the launch is given up
                raise
            await self._end([standby])
        return None, miss

    def _why_none(self, start: Start) -> Miss:
        if not self._is_recent(start):
            return Miss(MissReason.FIRST_USE)
        refusal = self.budget.refusals.get(start.kernelspec)
        return Miss(MissReason.NONE_READY) if refusal is None else Miss(MissReason.BUDGET, refusal.code)

    def note_launch(self, start: Start) -> None:
        """Note that ``start`` is in use, so that a standby kernel for it is made ready again."""
        others = [recent for recent in self._recent if not _same(recent, start) and not self._was_wrong(recent, start)]
        self._recent = [*others, start][-STARTS_MAX:]
        self._expected = [one for one in self._expected if one.kernelspec != start.kernelspec]
        self._launched_at = time.monotonic()
        self._changed.set()
        self._status.used = start

    def _was_wrong(self, recent: Start, start: Start) -> bool:
        """Whether ``start`` is what was expected as ``recent``."""
        return recent.kernelspec == start.kernelspec and any(_same(recent, one) for one in self._expected)

    # ---- background ----------------------------------------------------------------------------------------------

    async def _keep_ready(self) -> None:
        """End what is of no use any more, and start what is missing, one after the other."""
        while True:
            with contextlib.suppress(TimeoutError):
                # Not wait_for, which in Python 3.11 ignores a cancellation that comes with the event.
                async with asyncio.timeout(CHECK_S):
                    await self._changed.wait()
            self._changed.clear()
            await self._end_useless()
            counters.waiting, counters.memory_bytes = len(self._ready), self.budget.memory_bytes
            await in_thread(self._status.update, len(self._ready))
            for start in self._missing():
                await self._wait_after_launch()
                if (refusal := await self.budget.allowed(start.kernelspec)) is not None:
                    self.log.debug("FastGPU: no standby kernel for %s yet: %s", start.kernelspec, render(refusal))
                    continue
                await self._prepare(start)
                self._changed.set()  # look again at once, without the kernels that were taken meanwhile
                break

    async def _end_useless(self) -> None:
        """End the standby kernels that no launch will take, and those that may not stay; report the others."""
        for standby in self._ready:
            if standby.has_ended:
                self.budget.died(standby.start.kernelspec, MissReason.DIED)
        attributes = server_attributes()
        useful = [one for one in self._ready if await self._is_useful(one, attributes)]
        reported = [
            Waiting(one.pid, started, one.start.kernelspec, None, one.since)
            for one in useful
            if (started := start_time(one.pid)) is not None
        ]
        stay = await self.budget.report(reported)
        await self._end([one for one in self._ready if one not in useful or one.pid not in stay])

    async def _is_useful(self, standby: StandbyProcess, attributes: tuple[object, ...]) -> bool:
        if standby.server_attributes != attributes or standby.has_ended or not self._is_recent(standby.start):
            return False
        assert standby.observed is not None
        return await in_thread(never_matches, standby.start, standby.observed) is None

    def _is_recent(self, start: Start) -> bool:
        return any(_same(recent, start) for recent in self._recent)

    def _missing(self) -> Sequence[Start]:
        """Return the starts that have too few standby kernels now, the most recently used one first."""
        return [
            start
            for start in reversed(self._recent)
            if sum(_same(standby.start, start) for standby in self._ready) < self.count
        ]

    async def _wait_after_launch(self) -> None:
        while (left_s := self._launched_at + REFILL_AFTER_S - time.monotonic()) > 0:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(left_s)

    async def _prepare(self, start: Start) -> None:
        standby = StandbyProcess(start)
        try:
            await in_thread(standby.begin)
            async with at_low_priority(standby.pid) if self.wait_for_quiet else contextlib.nullcontext():
                await in_thread(standby.wait_until_ready)
        except NotTaken as error:
            self.log.info("FastGPU: no standby kernels for %s: %s %s", start.kernelspec, *error.miss)
            self._recent = [recent for recent in self._recent if not _same(recent, start)]  # until the next launch
            self.budget.died(start.kernelspec, error.miss.reason)
            await self._end([standby])
        except PreloadRefused as error:
            refusals.add(start.kernelspec, error.refusal)
            self.log.warning("FastGPU: %s", printable(render(refused_sentence(start.kernelspec, error.refusal))))
            allowed = start._replace(preload=refusals.allowed(start.kernelspec, start.preload))
            self._recent = [allowed if _same(recent, start) else recent for recent in self._recent]
            await self._end([standby])
        except (OSError, EOFError, ValueError) as error:
            self.budget.died(start.kernelspec, repr(error))
            await self._end([standby])
        except BaseException:
            standby.end()
            raise
        else:
            self._ready.append(standby)

    async def _end(self, ended: list[StandbyProcess]) -> None:
        self._ready = [standby for standby in self._ready if standby not in ended]
        for standby in ended:
            await in_thread(standby.end)


def _same(one: Start, other: Start) -> bool:
    """Return whether two starts start the same process; what hides the devices is set again at the hand-over."""
    return one.process == other.process
