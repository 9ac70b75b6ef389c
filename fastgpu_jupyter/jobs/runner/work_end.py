"""What came of the work of a job: by its exit status, by what the work process says, or by why it was ended."""

from __future__ import annotations

import errno
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import Message, ReceivedMessage
from ...messages import view_of
from ...wire.job_states import JobState
from ...wire.lease_view import value_of
from .ending import WITHOUT_LEASE, Why
from .signals import shell_status

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView
    from ...wire.schemas.jobs import JobBody, JobFailure

#: End reasons of a lease by which a job is lost, and not failed: it may well succeed on another device.
_LOST = ("device_lost", "holder_died", "resume_failed", "prepare_failed")


class WorkEnd(NamedTuple):
    """The end of the work, with the parts of its result before they are stored."""

    state: JobState
    exit_status: int | None = None
    error: JobFailure | None = None
    parts: Mapping[str, Any] = {}  #: what the work process said of its result
    opened: list[Any] | None = None
    result: str | None = None  #: the digest of its manifest, once it is stored
    keep: bool = False  #: the work process can run another call


def failure(name: str, message: Message) -> JobFailure:
    """Return an error with the English sentence of a message."""
    return {"name": name, "text": view_of(message)["text"], "traceback": []}


def failed(name: str, message: Message) -> WorkEnd:
    """Return the end of work that could not be done."""
    return WorkEnd(JobState.FAILED, error=failure(name, message))


def end_by_status(status: int, *, has_channel: bool) -> WorkEnd:
    """Return what an exit status, or the negative number of a signal, means.

    A work process with a channel that ended without a word there has failed whatever its status is.
    """
    if status < 0:
        return WorkEnd(JobState.FAILED, shell_status(status), _died(status))
    if has_channel:
        return failed("WorkProcess", Message.of("jobs.work_ended", status=status))
    if status == 0:
        return WorkEnd(JobState.DONE, 0)
    return WorkEnd(JobState.FAILED, status, failure("ExitStatus", Message.of("jobs.exit_status", status=status)))


def _died(status: int) -> JobFailure:
    known = {one.value: one.name for one in signal.Signals}
    name = known.get(-status, str(-status))
    if -status == signal.SIGKILL:
        return failure(name, Message.of("jobs.killed"))
    return failure(name, Message.of("jobs.ended_by_signal", signal=name))


def end_by_message(message: Mapping[str, Any]) -> WorkEnd:
    """Return what the work process says of its end."""
    state = JobState.DONE if message.get("state") == JobState.DONE.value else JobState.FAILED
    parts = {name: message[name] for name in ("values", "outputs", "notebook") if message.get(name)}
    keep = message.get("keep") is True
    return WorkEnd(state, None, message.get("error"), parts, message.get("opened"), keep=keep)


def end_by_reason(why: Why, said: WorkEnd | None, status: int) -> WorkEnd:
    """Return the end of work that was ended for a reason; what it had said of its result is kept."""
    return WorkEnd(why.state, shell_status(status), why.error, result=said.result if said else None)


def why_of_lease(view: LeaseView) -> Why:
    """Return why the work ends with its lease, and whether it failed by that or is lost."""
    said = view["end_reason"]
    is_lost = said is None or value_of(said) in _LOST
    reason = ReceivedMessage.from_view(said) if said else Message.of("run.end_unknown")
    error = failure("LeaseLost" if is_lost else "LeaseEnded", Message.of("jobs.ended_with_lease", reason=reason))
    return Why(JobState.LOST if is_lost else JobState.FAILED, error, WITHOUT_LEASE)


def end_not_started(program: str, message: Mapping[str, Any], body: JobBody) -> WorkEnd:
    """Return the end of work whose process the guard could not start."""
    folder, number = body["environment"]["cwd"], message["failed"]
    if not Path(folder).is_dir():
        return failed("FileNotFoundError", Message.of("jobs.no_folder", folder=folder))
    if number == errno.ENOENT:
        return failed("FileNotFoundError", Message.of("jobs.not_found", command=program))
    if number == errno.EACCES:
        return failed("PermissionError", Message.of("jobs.not_executable", command=program))
    return failed("OSError", Message.of("jobs.not_started", command=program, reason=message["reason"]))


def end_not_kept(end: WorkEnd, name: str, reason: str) -> WorkEnd:
    """Return the end of work whose result could not be stored; an error that it had before is the one to show."""
    error = end.error or failure(name, Message.of("jobs.result_not_kept", reason=Message.of_text(reason)))
    state = JobState.FAILED if end.state is JobState.DONE else end.state
    return end._replace(state=state, error=error, parts={}, result=None)
