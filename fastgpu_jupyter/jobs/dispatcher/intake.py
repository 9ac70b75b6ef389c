"""The way of a submitted job: checked, accepted by the pool, stored."""

from __future__ import annotations

import asyncio
from typing import Any

from .engine import Engine
from .leases import Leases, shown_name
from .record import JobRecord


class Intake:
    """Submissions, each of which is one job however often it is sent."""

    def __init__(self, engine: Engine, leases: Leases) -> None:
        self._engine, self._leases = engine, leases
        self._under_way: dict[str, asyncio.Future[JobRecord]] = {}

    async def submit(self, given: dict[str, Any]) -> JobRecord:
        """Return the job of a submission. Raises a refusal; then nothing was kept."""
        known = self._engine.known(given)
        if known is not None:
            return known
        name = str(given.get("submission"))
        future = self._under_way.get(name)
        if future is None:
            future = self._under_way[name] = asyncio.ensure_future(self._new(given))
            future.add_done_callback(lambda done: self._forget(name, done))
        # A client that closes its connection meanwhile has submitted its job all the same.
        return await asyncio.shield(future)

    def _forget(self, name: str, done: asyncio.Future[JobRecord]) -> None:
        del self._under_way[name]
        if not done.cancelled():
            done.exception()  # it is the caller's, who may be gone

    async def _new(self, given: dict[str, Any]) -> JobRecord:
        engine, leases = self._engine, self._leases
        body = engine.check(given)
        engine.require_draft(body)
        job = engine.draft(body, engine.reserve_id())
        hold = None
        try:
            if not leases.has_accepted(job.size, job.options):
                hold = await leases.try_first(job.size, job.options, shown_name(job.id, job.name), job.notebook)
                body = engine.check(given)  # others were served meanwhile
            accepted = engine.accept(body, job)
        except BaseException:
            engine.give_back_id(job.id)
            if hold is not None:
                leases.release(str(hold.lease_id), hold.token)
            raise
        if hold is not None:
            leases.adopt(accepted, hold)
        return engine.table[accepted.id]
