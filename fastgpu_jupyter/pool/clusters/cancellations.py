"""The jobs to end: released through their agents first, then cancelled until the engine says that they are over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...errors import FastGPUError
from ..protocols import TaskSupervisor
from .engine import Engine
from .engine_thread import EngineThread
from .rendezvous import Rendezvous

log = logging.getLogger("fastgpu.pool")
#: How long an agent may take to end its kernel and give its allocation back, before the engine is asked to end the job.
GRACE_S = 5.0
#: The pause before an engine that has not ended a job yet is asked again.
AGAIN_S = 15.0


@dataclass(slots=True)
class _Cancellation:
    name: str
    job_id: str | None
    next_s: float = 0.0  #: when something is to be done, on the event loop's clock
    released: bool = False
    absent_since_s: float | None = None  #: since when the engine lists no job of that name


class Cancellations:
    """The jobs to end. ``may_exist`` says whether the engine may have a job of that name of whose id nothing is known.

    A name may have two jobs, where a submission that was given up arrived after all: each is ended by itself, and an
    agent is released only for its own job.
    """

    def __init__(
        self,
        engine: Engine,
        thread: EngineThread,
        rendezvous: Rendezvous,
        supervisor: TaskSupervisor,
        *,
        list_jobs: Callable[[], Awaitable[dict[str, str]]],
        may_exist: Callable[[str], bool],
        settle_s: float,
    ) -> None:
        self._engine, self._thread, self._rendezvous, self._supervisor = engine, thread, rendezvous, supervisor
        self._list_jobs, self._may_exist, self._settle_s = list_jobs, may_exist, settle_s
        #: By name and id of the job; without an id while that is not known.
        self._due: dict[tuple[str, str | None], _Cancellation] = {}

    def add(self, name: str, job_id: str | None) -> None:
        """End a job; harmless where that is done already."""
        if job_id is not None:
            self._due.pop((name, None), None)  # this is its id
        self._due.setdefault((name, job_id), _Cancellation(name, job_id))

    def jobs(self) -> dict[str, str]:
        """Return the names of the jobs whose end is not seen yet, by id."""
        return {job_id: name for name, job_id in self._due if job_id is not None}

    def done(self, name: str, job_id: str | None) -> None:
        """Forget a job that is over."""
        self._due.pop((name, job_id), None)

    def due_in_s(self) -> float | None:
        """Return after which time there is something to do; ``None`` where there is nothing."""
        now_s = asyncio.get_running_loop().time()
        return min((max(0.0, one.next_s - now_s) for one in self._due.values()), default=None)

    async def step(self) -> None:
        """Do what is due. Raises :class:`EngineUnavailable`."""
        now_s = asyncio.get_running_loop().time()
        due = [one for one in self._due.values() if one.next_s <= now_s]
        unknown = any(one.job_id is None and self._may_exist(one.name) for one in due)
        listed = await self._list_jobs() if unknown else {}
        for one in due:
            if one.job_id is not None:
                await self._end(one, one.job_id)
            elif one.name in listed:
                self.add(one.name, listed[one.name])  # for the next step, which is due at once
            elif not self._may_exist(one.name) or self._settled(one):
                self.done(one.name, None)
                self._rendezvous.forget(one.name)

    def _settled(self, one: _Cancellation) -> bool:
        """Return whether the engine has listed no such job for so long that none is on its way."""
        now_s = asyncio.get_running_loop().time()
        if one.absent_since_s is None:
            one.absent_since_s = now_s
        one.next_s = now_s + self._settle_s
        return now_s - one.absent_since_s >= self._settle_s

    async def _end(self, one: _Cancellation, job_id: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if not one.released and self._rendezvous.is_connected(one.name, job_id):
            one.released, one.next_s = True, now_s + GRACE_S
            self._supervisor.run_once(self._release(one.name))
            return
        one.next_s = now_s + AGAIN_S
        await self._thread.call(self._engine.cancel, job_id)

    async def _release(self, name: str) -> None:
        try:
            await self._rendezvous.release(name)
        except FastGPUError as error:  # then the engine ends it
            log.info("The agent of %s was not released: %s", name, error)
