"""The submissions that are due: each job is submitted once, whatever was killed and whatever did not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ...core.model import commands as c
from ...core.model.lifecycle import LeaseState
from ...errors import Conflict, EngineUnavailable, InvalidRequest, Message
from ..protocols import CommandSink
from .agent import source
from .allocation import want_of
from .board import Watched
from .engine import AgentSpec, Engine
from .engine_thread import EngineThread
from .rendezvous import Rendezvous

log = logging.getLogger("fastgpu.pool")
#: For how long an engine must not list a job that may have been submitted, before it is submitted again: a call that
#: was killed may still be on its way.
SETTLE_S = 5.0
#: Submissions in one step; then other calls have their turn.
BATCH = 16


@dataclass(slots=True)
class _Submission:
    lease_id: str
    uncertain: bool  #: the engine may have the job
    absent_since_s: float | None = None  #: since when the engine does not list it, on the event loop's clock
    fault: Message | None = None  #: why the last attempt failed


class Submissions:
    """The jobs to submit, by name.

    ``leases`` are those that are not over, by the names of their jobs; ``list_jobs`` returns the jobs of this pool in
    the engine; ``abandon`` is called with the job of a lease that ended while it was submitted.
    """

    def __init__(
        self,
        engine: Engine,
        thread: EngineThread,
        rendezvous: Rendezvous,
        commands: CommandSink,
        *,
        leases: Mapping[str, Watched],
        list_jobs: Callable[[], Awaitable[dict[str, str]]],
        abandon: Callable[[str, str], None],
        settle_s: float = SETTLE_S,
    ) -> None:
        self._engine, self._thread, self._rendezvous, self._commands = engine, thread, rendezvous, commands
        self._leases, self._list_jobs, self._abandon = leases, list_jobs, abandon
        self._settle_s = settle_s
        self._due: dict[str, _Submission] = {}
        self._tried: set[str] = set()

    def add(self, lease_id: str, name: str, *, certain: bool) -> None:
        """Submit a job soon; not ``certain`` that the engine does not have it where an earlier process may have."""
        if name not in self._due:
            self._due[name] = _Submission(lease_id, uncertain=not certain or name in self._tried)

    def may_exist(self, name: str) -> bool:
        """Return whether the engine may have a job of that name of which the lease does not know."""
        return name in self._tried or (name in self._due and self._due[name].uncertain)

    def fault_of(self, name: str) -> Message | None:
        """Return why the last attempt to submit a job failed, ``None`` where there was none; it is tried again."""
        return self._due[name].fault if name in self._due else None

    def forget(self, name: str) -> None:
        """Forget a job that is over."""
        self._due.pop(name, None)
        self._tried.discard(name)

    def due_in_s(self) -> float | None:
        """Return after which time there is something to do; ``None`` where there is nothing."""
        now_s = asyncio.get_running_loop().time()
        waits = [
            0.0 if one.absent_since_s is None else max(0.0, one.absent_since_s + self._settle_s - now_s)
            for one in self._due.values()
        ]
        return min(waits, default=None)

    async def step(self) -> None:
        """Submit what is due. Raises :class:`EngineUnavailable`."""
        now_s = asyncio.get_running_loop().time()
        due = [
            (name, one)
            for name, one in self._due.items()
            if one.absent_since_s is None or one.absent_since_s + self._settle_s <= now_s  # as in due_in_s
        ][:BATCH]
        listed = await self._list_jobs() if any(one.uncertain for _, one in due) else {}
        for name, one in due:
            if name in self._due:
                await self._submit(name, one, listed)

    async def _submit(self, name: str, one: _Submission, listed: dict[str, str]) -> None:
        lease = self._leases.get(name)
        if one.uncertain and name in listed:
            await self._record(name, one.lease_id, listed[name])
            return
        if lease is None or lease.state is not LeaseState.WAITING or lease.job.job_id is not None:
            # It has ended, or its agent has reported the job.
            self._due.pop(name, None)
            return
        if one.uncertain and one.absent_since_s is None:
            one.absent_since_s = asyncio.get_running_loop().time()
            return
        agent = AgentSpec(source(), self._rendezvous.expect(name))
        self._tried.add(name)
        one.uncertain, one.absent_since_s = True, None
        try:
            job_id = await self._thread.call(self._engine.submit, want_of(lease.request), agent, name)
        except InvalidRequest as refusal:
            self.forget(name)
            self._rendezvous.forget(name)
            await self._commands.submit_until_durable(c.ClusterJobRefused(one.lease_id, name, refusal.message))
            return
        except EngineUnavailable as unavailable:
            one.fault = unavailable.message
            raise
        await self._record(name, one.lease_id, job_id)

    async def _record(self, name: str, lease_id: str, job_id: str) -> None:
        """Record the id of a job; that of a lease which has ended is cancelled."""
        try:
            await self._commands.submit_until_durable(c.ClusterJobSubmitted(lease_id, name, job_id))
        except Conflict as conflict:
            log.warning("Lease %s has another job under that name already: %s", lease_id, conflict)
            self._abandon(name, job_id)
        self._due.pop(name, None)
        lease = self._leases.get(name)
        if lease is None or lease.state is LeaseState.DRAINING:
            self._abandon(name, job_id)
