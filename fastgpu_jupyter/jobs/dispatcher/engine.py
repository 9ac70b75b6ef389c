"""The jobs of a user while the dispatcher runs: each change is stored, then shown, then acted upon.

All of it runs in the thread of the event loop.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec.structs import replace

from ...errors import InvalidRequest, Message, NotFound, StoreFault
from ...messages import text_of
from ..model import JobState
from ..settings import Jobs
from . import submission, transitions
from .live import Live
from .publisher import Publisher
from .record import JobRecord
from .store import JobStore
from .submission import JobFolder
from .table import JobTable
from .views import view_of_job

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobBody, JobView

log = logging.getLogger("fastgpu.jobs")
#: Versions of views in one life of a dispatcher.
_VERSIONS = 2**24


def wall_ms() -> int:
    """Return the time in milliseconds of the wall clock."""
    return round(1000 * time.time())


class JobEngine:
    """The jobs in ``folder``, read from the store and written to it."""

    def __init__(self, folder: Path, settings: Jobs, store: JobStore, clock: Callable[[], int] = wall_ms) -> None:
        self.folder, self.settings, self.store, self.now_ms = folder, settings, store, clock
        self.table = JobTable(store.jobs())
        self.live: dict[int, Live] = {}
        #: What the leases of running jobs and kept workers have cost at their last reading.
        self.lease_costs: dict[str, int] = {}
        self.publisher = Publisher(self.table, lambda job: msgspec.json.encode(self.view(job)))
        #: The version of what was read from the store and has not changed since.
        self._version_of_store = self._version = store.number("starts") * _VERSIONS
        self._versions: dict[int, int] = {}
        #: What is called after each change that may let something be done.
        self.replan: Callable[[], None] = lambda: None
        #: What is called with each job that has become over.
        self.ended: list[Callable[[JobRecord], None]] = []
        self._last_id = max(store.number("last_id"), *self._folders(), 0)

    def _folders(self) -> list[int]:
        """Return the ids of the folders of jobs, after those of jobs that are not kept were removed.

        A job without a record was never acknowledged, or was removed. Where the whole store was lost, all stay.
        """
        ids = [int(name) for name in os.listdir(self.folder) if name.isdecimal()]  # noqa: PTH208 (names, not paths)
        if self.store.is_new:
            return ids
        for job_id in ids:
            if job_id not in self.table:
                shutil.rmtree(self.folder / str(job_id), ignore_errors=True)
        return []

    # -- what clients see ----------------------------------------------------------------------------------------------

    def view(self, job: JobRecord) -> JobView:
        """Return the view of a job."""
        version = self._versions.get(job.id, self._version_of_store)
        return view_of_job(job, self.live.get(job.id), self.table, version)

    def find(self, job_id: int) -> JobRecord:
        """Return the job with that id. Raises :class:`NotFound`."""
        job = self.table.get(job_id)
        if job is None:
            raise NotFound(Message.of("jobs.no_job", number=job_id))
        return job

    # -- changes -------------------------------------------------------------------------------------------------------

    def commit(self, jobs: Iterable[JobRecord], *, synced: bool = True) -> None:
        """Store jobs as they are from now on, with what follows from it for others; then show them.

        Raises :class:`StoreFault` where that cannot be written: then nothing has changed.
        """
        changed = self._with_consequences(list(jobs))
        self.store.put(changed, synced=synced)
        self._take_over(changed)

    def try_commit(self, jobs: Iterable[JobRecord], *, synced: bool = True) -> bool:
        """Store jobs as :meth:`commit` does; return False where that cannot be written, after it was logged."""
        try:
            self.commit(jobs, synced=synced)
        except StoreFault as error:
            log.warning("%s", text_of(error))
            return False
        return True

    def _with_consequences(self, jobs: list[JobRecord]) -> list[JobRecord]:
        """Return the jobs, and those that are cancelled because one that they are to follow was not done."""
        found = {job.id: job for job in jobs}
        pending = [job for job in jobs if job.over]
        while pending:
            predecessor = pending.pop()
            for follower in self.table.followers(predecessor.id):
                before = found.get(follower.id, follower)
                after = transitions.after_predecessor(before, predecessor, self.now_ms())
                if after is not before:
                    found[after.id] = after
                    pending.append(after)
        return list(found.values())

    def _take_over(self, changed: list[JobRecord]) -> None:
        for job in changed:
            before = self.table.get(job.id)
            self.table.put(job)
            self._raise_version(job.id)
            if job.over or (before is not None and before.attempt and job.state is JobState.QUEUED):
                self.live.pop(job.id, None)  # it was of an attempt that has ended
        self.publisher.changed(changed, at_once=True)
        for job in changed:
            if job.over:
                for callback in self.ended:
                    callback(job)
        self.replan()

    def _raise_version(self, job_id: int) -> None:
        self._version += 1
        self._versions[job_id] = self._version

    def seen(self, job_ids: Iterable[int]) -> None:
        """Show that what is known of jobs beside their record has changed."""
        jobs = [self.table[job_id] for job_id in job_ids if job_id in self.table]
        for job in jobs:
            self._raise_version(job.id)
        self.publisher.changed(jobs, at_once=False)

    def live_of(self, job_id: int) -> Live:
        """Return what is known of an unfinished job at the moment."""
        return self.live.setdefault(job_id, Live())

    def with_live(self, job: JobRecord) -> JobRecord:
        """Return a job with what is to be kept of what is known of it at the moment."""
        live = self.live.get(job.id)
        if live is None:
            return job
        return replace(
            job,
            progress=None if live.progress is None else dict(live.progress),
            log_tail=list(live.log_tail),
            log_bytes=live.log_bytes,
            cost_micro=live.cost_of(job),
            currency=job.currency or live.currency,
            notes=[*job.notes, *map(dict, live.notes)],
        )

    def cost_of_lease(self, lease_id: str) -> int:
        """Return what a lease of a kept worker has cost so far, as far as that is known."""
        return self.lease_costs.get(lease_id, 0)

    def gpu_of(self, job_id: int) -> tuple[dict[str, Any] | None, str | None]:
        """Return the devices and the currency of a job that ran."""
        job = self.table.get(job_id)
        return (None, None) if job is None else (job.gpu, job.currency)

    # -- submission ----------------------------------------------------------------------------------------------------

    def check(self, given: Any) -> JobBody:
        """Return a body that could be accepted now. Raises the refusal."""
        body = submission.checked(given)
        submission.require_room(self.table, self.settings)
        submission.require_predecessors(self.table, body.get("after") or [])
        return body

    def known(self, given: Any) -> JobRecord | None:
        """Return the job that a submission has made already."""
        text = given.get("submission") if isinstance(given, dict) else None
        return self.table.submitted_as(text) if isinstance(text, str) else None

    @property
    def next_id(self) -> int:
        """The id that :meth:`reserve_id` would return."""
        return self._last_id + 1

    def reserve_id(self) -> int:
        """Return the id of the next job, which no other one gets."""
        self._last_id += 1
        return self._last_id

    def give_back_id(self, job_id: int) -> None:
        """Note that a reserved id was not used; the next job gets it unless a later one is in use."""
        if job_id == self._last_id:
            self._last_id -= 1

    def draft(self, body: JobBody, job_id: int) -> JobRecord:
        """Return the job that a body would be."""
        return submission.job_of(body, job_id, self.settings, self.now_ms())

    def require_draft(self, body: JobBody) -> Path | None:
        """Return the draft of a body, None without one. Raises :class:`InvalidRequest` where it is not complete."""
        return submission.require_draft(self.folder, body, self.settings.payload_bytes_max)

    def remove(self, job_ids: list[int]) -> None:
        """Forget jobs that are over; the caller removes their folders."""
        self.store.remove(job_ids)
        for job_id in job_ids:
            self.table.remove(job_id)
            self._versions.pop(job_id, None)
        self.publisher.removed(job_ids)

    def accept(self, body: JobBody, job: JobRecord, then: Callable[[], None] = lambda: None) -> JobRecord:
        """Keep a job, do what is to be done first ``then``, show the job, and return it.

        Raises a refusal; then the draft of the job is where it was.
        """
        draft = self.require_draft(body)
        folder = JobFolder(self.folder, job.id, draft)
        synced = job.worker is None
        try:
            folder.make(synced=synced)
        except OSError as error:
            raise StoreFault(Message.of("jobs.not_kept", reason=error.strerror or str(error))) from error
        try:
            self.store.add(job, msgspec.json.encode(body), synced=synced)
        except BaseException:
            folder.undo()
            raise
        then()
        self._take_over([job])
        return self.table[job.id]

    # -- cancel --------------------------------------------------------------------------------------------------------

    def cancel(self, job_id: int, *, queued_only: bool = False) -> JobRecord:
        """Cancel a job, and return it as it is then; harmless where it is over."""
        job = self.find(job_id)
        if job.over or job.cancelling or (queued_only and job.state is not JobState.QUEUED):
            return job
        self.commit([transitions.cancelled(job, self.now_ms())], synced=job.worker is None)
        return self.table[job_id]

    def rerun_body(self, job_id: int, *, refresh: bool, submission_id: str | None) -> JobBody:
        """Return the body that submits a job again, with a draft of the same files."""
        body = cast("JobBody", {**self.store.body(self.find(job_id).id), "submission": submission_id, "after": []})
        cache = body.get("cache")
        if refresh and cache is not None:
            body["cache"] = {**cache, "refresh": True}
        if body.get("draft"):
            try:
                body["draft"] = submission.link_payload(self.folder, job_id)
            except OSError as error:
                raise InvalidRequest(
                    Message.of("jobs.payload_gone", number=job_id, reason=error.strerror or str(error))
                ) from error
        return body
