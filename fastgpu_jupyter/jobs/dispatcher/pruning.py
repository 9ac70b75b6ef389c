"""What is removed, and when: old jobs beyond a number, results beyond a size, drafts that no client submitted.

What to remove is a function of the jobs and the time; the removal itself runs in a thread, because it reads and deletes
many files.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ...errors import FastGPUError, Message
from ...messages import text_of
from .. import places
from . import transitions
from .engine import JobEngine
from .kept_results import KeptResults, Removed
from .record import JobRecord

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobsUsage, PruneReport

log = logging.getLogger("fastgpu.jobs")
#: How often room is made by itself, at most.
TIDY_S = 60.0
#: A job that has ended is kept at least so long, unless there are :data:`SURPLUS_MAX` more than are to be kept: the
#: program that submitted it may not have its result yet.
KEPT_LEAST_MS = 3_600_000
SURPLUS_MAX = 10_000
#: Entries of the cache; of more, those that were not used for longest are removed.
CACHED_MAX = 10_000
#: A draft of that age was given up.
DRAFT_MAX_S = 24 * 3600


def surplus(jobs: Iterable[JobRecord], kept_max: int, now_ms: int) -> list[int]:
    """Return the jobs that are over and beyond the number to keep, the oldest first."""
    over = sorted((job.ended_at or 0, job.id) for job in jobs if job.over)
    count = max(0, len(over) - kept_max)
    settled = [job_id for ended_at, job_id in over[:count] if ended_at < now_ms - KEPT_LEAST_MS]
    return settled if count - len(settled) <= SURPLUS_MAX else [job_id for _, job_id in over[: count - SURPLUS_MAX]]


def older_than(jobs: Iterable[JobRecord], at_ms: int) -> list[int]:
    """Return the jobs that ended before an instant."""
    return [job.id for job in jobs if job.over and (job.ended_at or 0) < at_ms]


class Pruning:
    """The removal of what is not to be kept."""

    def __init__(self, engine: JobEngine, results: KeptResults) -> None:
        self._engine, self._results = engine, results
        self._tidied_s = float("-inf")
        self._task: asyncio.Task[None] | None = None
        engine.ended.append(lambda _: self.tidy_soon())

    def tidy_soon(self) -> None:
        """Make room in the background, unless that was done a moment ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._tidied_s >= TIDY_S and (self._task is None or self._task.done()):
            self._tidied_s = now_s
            self._task = asyncio.get_running_loop().create_task(self._tidy())

    async def _tidy(self) -> None:
        engine, settings = self._engine, self._engine.settings
        try:
            jobs = surplus(engine.table.all(), settings.kept_max, engine.now_ms())
            forgotten = engine.store.forget_cached_beyond(CACHED_MAX)
            await self._remove(jobs, forgotten, settings.result_bytes_max)
            await asyncio.to_thread(_remove_drafts, places.drafts_folder(engine.folder))
        except FastGPUError as error:
            log.warning("No room could be made: %s", text_of(error))
        except OSError as error:
            log.warning("No room could be made: %s", error)

    async def prune(self, older_ms: int | None, bytes_max: int | None) -> PruneReport:
        """Remove jobs that ended longer ago than ``older_ms`` with their results, and results beyond ``bytes_max``."""
        engine = self._engine
        before_ms = 0 if older_ms is None else engine.now_ms() - older_ms
        jobs = older_than(engine.table.all(), before_ms) if older_ms is not None else []
        job_bytes = await asyncio.to_thread(_bytes_of, [places.job_folder(one, engine.folder) for one in jobs])
        removed = await self._remove(jobs, engine.store.forget_cached(before_ms), bytes_max)
        return {"jobs": len(jobs), "results": len(removed.digests), "freed_bytes": job_bytes + removed.freed_bytes}

    async def _remove(self, job_ids: list[int], forgotten: Collection[str], bytes_max: int | None) -> Removed:
        """Remove jobs, and those of their and the ``forgotten`` results that no job and no entry of the cache needs."""
        engine = self._engine
        job_ids = [one for one in job_ids if one in engine.table]  # another call may have removed some meanwhile
        mine = {str(engine.table[one].result["digest"]) for one in job_ids if engine.table[one].result}  # type: ignore[index]
        engine.remove(job_ids)
        await asyncio.to_thread(_remove_folders, [places.job_folder(one, engine.folder) for one in job_ids])
        needed = {str(job.result["digest"]) for job in engine.table.all() if job.result} | engine.store.cached_digests()
        removed = await asyncio.to_thread(self._results.remove, (mine | {*forgotten}) - needed, bytes_max)
        self._note_gone(removed.digests)
        return removed

    def _note_gone(self, digests: Collection[str]) -> None:
        """Say of jobs that are kept that their result is not."""
        engine = self._engine
        engine.store.forget_results(digests)
        gone = [job for job in engine.table.all() if job.result and job.result["digest"] in digests]
        without = [transitions.with_note(replace(job, result=None), Message.of("jobs.result_removed")) for job in gone]
        if without:
            engine.try_commit(without)

    async def usage(self) -> JobsUsage:
        """Return how much disk jobs and results take."""
        engine = self._engine
        queued, running = engine.table.counts()
        folders = [places.job_folder(job.id, engine.folder) for job in engine.table.all()]
        job_bytes = await asyncio.to_thread(_bytes_of, folders)
        try:
            kept = await asyncio.to_thread(self._results.usage)
        except FastGPUError as error:
            log.warning("The results cannot be counted: %s", text_of(error))
            kept = None
        return {
            "jobs": len(engine.table),
            "queued": queued,
            "running": running,
            "job_bytes": job_bytes,
            "result_bytes": kept.bytes if kept else None,
            "results": kept.results if kept else None,
            "cached": len(engine.store.cached_digests()),
        }

    def close(self) -> None:
        """Stop what runs in the background."""
        if self._task is not None:
            self._task.cancel()


def _bytes_of(folders: Iterable[Path]) -> int:
    total = 0
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                with suppress(OSError):
                    total += Path(path, name).lstat().st_size
    return total


def _remove_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_drafts(folder: Path) -> None:
    for draft in folder.iterdir():
        with suppress(OSError):
            if draft.lstat().st_mtime < time.time() - DRAFT_MAX_S:
                shutil.rmtree(draft, ignore_errors=True)
