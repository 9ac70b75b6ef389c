"""The way of a submitted job: checked, accepted by the pool, stored."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, cast

from ...errors import StoreFault
from ...messages import text_of
from ..model import JobState
from .cached import CacheIndex
from .engine import JobEngine
from .kept_workers import KeptWorkers
from .leases import Leases, shown_name
from .record import JobRecord

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobBody

log = logging.getLogger("fastgpu.jobs")


class Intake:
    """Submissions, each of which is one job however often it is sent."""

    def __init__(self, engine: JobEngine, leases: Leases, workers: KeptWorkers, index: CacheIndex) -> None:
        self._engine, self._leases, self._workers, self._index = engine, leases, workers, index
        engine.ended.append(self._ended)
        self._under_way: dict[str, asyncio.Future[JobRecord]] = {}

    async def submit(self, given: dict[str, Any]) -> JobRecord:
        """Return the job of a submission. Raises a refusal; then nothing was kept."""
        known = self._engine.known(given)
        if known is not None:
            return known
        if given.get("submission") is None:
            given = {**given, "submission": secrets.token_hex(16)}
        name = str(given["submission"])
        future = self._under_way.get(name)
        if future is None:
            accepted = self._accept_now(given)
            if accepted is not None:
                return accepted
            future = self._under_way[name] = asyncio.ensure_future(self._new(given))
            future.add_done_callback(lambda done: self._forget(name, done))
        # A client that closes its connection meanwhile has submitted its job all the same.
        return await asyncio.shield(future)

    def _looked_up(self, job: JobRecord, body: JobBody) -> JobRecord:
        """Return a job that has a cache key as done, or with why its result is not in the cache."""
        cache = body.get("cache")
        if job.key is None or cache is None or job.over:
            return job
        ready = not self._engine.table.unfinished_predecessors(job)
        found = self._index.find(job, cache["ingredients"]) if ready else None
        if found is not None:
            return found
        waits = self._engine.table.computes_key_of(job) is not None
        return self._index.missed(job, cache["ingredients"], waits=waits)

    def _ended(self, job: JobRecord) -> None:
        """Look results up again for jobs that waited for the same one, or for this job."""
        engine = self._engine
        waiting = {one.id: one for one in (*engine.table.with_key(job.key), *engine.table.followers(job.id))}
        for one in waiting.values():
            if one.state is JobState.QUEUED and one.key is not None:
                try:
                    looked_up = self._looked_up(one, cast("JobBody", engine.store.body(one.id)))
                except StoreFault as error:  # the disk is full: the job is computed
                    log.warning("%s", text_of(error))
                    continue
                if looked_up != one:
                    engine.try_commit([looked_up])

    def _forget(self, name: str, done: asyncio.Future[JobRecord]) -> None:
        del self._under_way[name]
        if not done.cancelled():
            done.exception()  # it is the caller's, who may be gone

    def _accept_now(self, given: dict[str, Any]) -> JobRecord | None:
        """Return a new job whose size and options the pool has accepted before; None for others."""
        body = self._engine.check(given)
        job = self._looked_up(self._engine.draft(body, self._engine.next_id), body)
        if not job.over and not self._leases.has_accepted(job.size, job.options):
            return None
        self._engine.reserve_id()
        return self._accept(body, job)

    def _accept(self, body: JobBody, job: JobRecord) -> JobRecord:
        """Keep a job with a reserved id; a call that an idle worker can run begins at once."""
        try:
            kept_by = None if job.over else self._workers.idle_worker_for(job)
            if kept_by is None:
                return self._engine.accept(body, job)
            running = self._workers.started_by(job, kept_by)
            return self._engine.accept(body, running, lambda: self._workers.send_call(running, kept_by, body))
        except BaseException:
            self._engine.give_back_id(job.id)
            raise

    async def _new(self, given: dict[str, Any]) -> JobRecord:
        engine, leases = self._engine, self._leases
        body = engine.check(given)
        engine.require_draft(body)
        job = engine.draft(body, engine.reserve_id())
        try:
            hold = await leases.try_first(job.size, job.options, shown_name(job.id, job.name), job.notebook)
        except BaseException:
            engine.give_back_id(job.id)
            raise
        try:
            body = engine.check(given)  # others were served meanwhile
            accepted = self._accept(body, self._looked_up(job, body))
        except BaseException:
            if hold is not None:
                leases.release(str(hold.lease_id), hold.token)
            raise
        if hold is not None:
            if accepted.state is JobState.QUEUED:
                leases.adopt(accepted, hold)
            else:
                leases.release(str(hold.lease_id), hold.token)
        return engine.table[accepted.id]
