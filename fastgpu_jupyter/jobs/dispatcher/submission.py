"""From the body that a client submits to a job, and from its draft to the folder of the job."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ...errors import InvalidRequest, LimitReached, Message, NotFound
from ...wire.private_files import sync_folder
from ...wire.schemas.common import PRIORITIES
from ...wire.schemas.jobs import CellProgram, CommandProgram, FunctionProgram, JobBody, NotebookProgram
from .. import places
from ..model import CacheOutcome, JobKind, JobState
from ..settings import RETENTIONS, Jobs
from .record import JobRecord
from .table import JobTable

_PROGRAMS: Mapping[JobKind, Any] = {
    JobKind.COMMAND: CommandProgram,
    JobKind.FUNCTION: FunctionProgram,
    JobKind.CELL: CellProgram,
    JobKind.NOTEBOOK: NotebookProgram,
}
#: Fields of programs that name a file of the draft.
_FILE_FIELDS = ("call", "inputs", "notebook")
#: Files of one draft.
FILES_MAX = 1000


def checked(body: Any) -> JobBody:
    """Return ``body`` if it is one. Raises :class:`InvalidRequest` with what is wrong."""
    try:
        found = msgspec.convert(body, JobBody)
        kind = _member(JobKind, found["kind"], "kind")
        msgspec.convert(found["program"], _PROGRAMS[kind])
    except msgspec.ValidationError as error:
        raise InvalidRequest(Message.of("jobs.body_invalid", reason=str(error))) from None
    options = found.get("options") or {}
    for name, choices in (("priority", PRIORITIES), ("retention", RETENTIONS)):
        given = options.get(name)
        if given is not None and given not in choices:
            raise InvalidRequest(Message.of("option.none_of", text=repr(str(given)[:40]), choices=tuple(choices)))
    return found


def _member(kinds: type[JobKind], text: str, field: str) -> JobKind:
    try:
        return kinds(text)
    except ValueError:
        raise msgspec.ValidationError(f"Invalid value {text[:40]!r} - at `$.{field}`") from None


def job_of(body: JobBody, job_id: int, settings: Jobs, now_ms: int) -> JobRecord:
    """Return the queued job for a body, with the defaults of its kind."""
    kind = JobKind(body["kind"])
    options = {name: value for name, value in (body.get("options") or {}).items() if value is not None}
    for name in ("priority", "retention"):
        options.setdefault(name, settings.of_kind(name, kind))
    program, cache, environment = body["program"], body.get("cache"), body["environment"]
    is_call = kind is JobKind.FUNCTION
    return JobRecord(
        id=job_id,
        kind=kind,
        name=body["name"],
        state=JobState.QUEUED,
        submission=str(body.get("submission")),
        size=body.get("size") or settings.of_kind("size", kind),
        options=options,
        interpreter=environment["interpreter"],
        cwd=environment["cwd"],
        variables=sorted(environment["variables"]),
        submitted_at=now_ms,
        after=sorted(set(body.get("after") or ())),
        timeout_ms=body.get("timeout_ms"),
        retries=body.get("retries") or 0,
        notebook=body.get("notebook"),
        kernel_id=body.get("kernel_id"),
        worker=program["worker"] if is_call else None,
        executor=program.get("executor") if is_call else None,
        workers_max=program.get("workers_max") if is_call else None,
        key=cache["key"] if cache else None,
        refresh=bool(cache and cache["refresh"]),
        cache=None if cache is None else _cache_at_first(cache["key"], cache["reason"]),
    )


def _cache_at_first(key: str | None, reason: Any) -> dict[str, Any]:
    outcome = None if key else CacheOutcome.NOT_CACHED.value
    return {"outcome": outcome, "message": reason, "computed_at": None, "saved_micro": None}


def require_room(table: JobTable, settings: Jobs) -> None:
    """Raise :class:`LimitReached` where so many jobs are queued that no more is accepted."""
    queued, _ = table.counts()
    if queued >= settings.queued_max:
        raise LimitReached(Message.of("jobs.too_many_queued", queued_max=settings.queued_max), 30)


def require_predecessors(table: JobTable, after: list[int]) -> None:
    """Raise unless each job of ``after`` is kept, and is done or may still be."""
    for other in after:
        predecessor = table.get(other)
        if predecessor is None:
            raise NotFound(Message.of("jobs.no_job", number=other))
        if predecessor.over and predecessor.state is not JobState.DONE:
            raise InvalidRequest(Message.of("jobs.follows_not_done", number=other, state=predecessor.state.value))


def require_draft(folder: Path, body: JobBody, bytes_max: int) -> Path | None:
    """Return the draft of a body, None without one.

    Raises :class:`InvalidRequest` where it lacks a file that the program names, or is too large.
    """
    named = [str(body["program"][field]) for field in _FILE_FIELDS if body["program"].get(field)]
    draft = body.get("draft")
    if not draft:
        if named:
            raise InvalidRequest(Message.of("jobs.draft_lacks", file=named[0]))
        return None
    path = places.drafts_folder(folder) / draft
    sizes: dict[str, int] = {}
    with suppress(OSError):
        if not path.is_symlink():
            for entry in os.scandir(path):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    sizes[entry.name] = status.st_size
    for name in named:
        if name not in sizes:
            raise InvalidRequest(Message.of("jobs.draft_lacks", file=name))
    if not path.is_dir():
        raise InvalidRequest(Message.of("jobs.draft_lacks", file=draft))
    if len(sizes) > FILES_MAX or sum(sizes.values()) > bytes_max:
        raise InvalidRequest(Message.of("jobs.draft_too_large", given_bytes=sum(sizes.values()), limit_bytes=bytes_max))
    return path


class JobFolder:
    """The folder of a new job, which takes the draft over, and gives it back where the job is not kept."""

    def __init__(self, folder: Path, job_id: int, draft: Path | None) -> None:
        self.path = places.job_folder(job_id, folder)
        self._draft = draft

    def make(self, *, synced: bool) -> None:
        """Make the folder. Raises :class:`OSError`; then the draft is where it was.

        An empty folder that a loss of power removes is made again when the job starts.
        """
        self.path.mkdir(mode=0o700)
        try:
            if self._draft is not None:
                self._draft.rename(self.path / places.PAYLOAD)
                if synced:
                    sync_folder(self.path)
                    sync_folder(self.path.parent)
        except OSError:
            self.undo()
            raise

    def undo(self) -> None:
        """Give the draft back and remove the folder."""
        with suppress(OSError):
            if self._draft is not None:
                (self.path / places.PAYLOAD).rename(self._draft)
        with suppress(OSError):
            self.path.rmdir()


def link_payload(folder: Path, job_id: int) -> str:
    """Return the name of a new draft with the files of a job, which share their content on the disk."""
    name = secrets.token_hex(16)
    draft = places.drafts_folder(folder) / name
    payload = places.payload_folder(job_id, folder)
    files = list(os.scandir(payload))
    draft.mkdir(mode=0o700, parents=True)
    for entry in files:
        os.link(entry.path, draft / entry.name, follow_symlinks=False)
    return name
