"""What came of a call: its value or its exception, read from the store of results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import FastGPUError, Message
from ..messages import sentences_of
from .call_failures import (
    CallCancelled,
    CallTimeout,
    RemoteError,
    RemoteTraceback,
    UnreadableResult,
    WorkerDied,
)

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobView
    from .results import ResultStore

#: The name of the error of a job that was ended because its time was over.
TIMEOUT = "Timeout"
#: The names of what a call leaves in its manifest.
VALUE, EXCEPTION = "return", "exception"


class CallResult(NamedTuple):
    """The value of a call, or the exception that it raised or that tells why there is no value."""

    value: Any = None
    exception: BaseException | None = None


def result_of(view: JobView, open_store: Callable[[], ResultStore]) -> CallResult:
    """Return the result of the call of a job that is over, read from the store that ``open_store`` returns."""
    stored, error = view["result"], view["error"]
    is_timeout = error is not None and error["name"] == TIMEOUT  # the exception of the call is that of its interrupt
    if stored is None or is_timeout or view["state"] not in ("done", "failed"):
        return CallResult(exception=_without_result(view))
    name = VALUE if view["state"] == "done" else EXCEPTION
    try:
        # Protection from eviction would take longer than reading most results, and what was used last goes last.
        store = open_store()
        found = store.value(store.manifest(stored["digest"], used=True).values[name].digest)
    except BaseException as error:  # noqa: BLE001 (what the classes of the value raise)
        return CallResult(exception=_unreadable(view, error))
    if name == VALUE:
        return CallResult(found)
    exception, traceback = found
    exception.__cause__ = RemoteTraceback(traceback)
    return CallResult(exception=exception)


def _without_result(view: JobView) -> BaseException:
    """Return the exception for a job that ended without its call."""
    job, error = view["id"], view["error"]
    if view["state"] == "cancelled":
        return CallCancelled(Message.of("call.cancelled", job=job))
    if view["state"] == "failed" and error is not None and error["name"] == TIMEOUT:
        return CallTimeout(Message.of("call.timeout", job=job, limit_ms=view["timeout_ms"] or 0))
    if view["state"] == "failed":
        return WorkerDied(Message.of("call.died", job=job, why=error["text"] if error else ""))
    return WorkerDied(Message.of("call.lost", job=job, why=sentences_of(view["notes"]) or ""))


def _unreadable(view: JobView, error: BaseException) -> BaseException:
    """Return the exception for a result, or an exception, that is kept and cannot be read here."""
    said = error.message if isinstance(error, FastGPUError) else Message.of_text(f"{type(error).__name__}: {error}")
    if view["state"] == "done":
        raised: BaseException = UnreadableResult(Message.of("call.unreadable", job=view["id"], reason=said))
    else:
        failed = view["error"] or {"name": "", "text": ""}
        raised = RemoteError(Message.of("call.exception", name=failed["name"], text=failed["text"]))
    raised.__cause__ = error
    return raised
