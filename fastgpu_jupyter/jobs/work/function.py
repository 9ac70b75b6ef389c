"""The work process of calls: ``python -P -m fastgpu_jupyter.jobs.work.function DESCRIPTOR``.

Its runner sends it one call after the other through a socket, of which ``DESCRIPTOR`` is this process's end, and gets
the outcome of each. All have the same lease and the same recorded environment. Between two calls the process has again
the working folder, the environment variables and ``sys.path`` that it was started with, and local modules whose files
have changed are imported again. It ends with its runner, and after a call that left child processes behind.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle

from ...errors import InvalidRequest, Message
from ..call_failures import DamagedCall, RemoteError, UnpicklableResult, UnreadableCall
from ..call_file import PROTOCOL, FunctionCall, local_modules, read_call
from ..call_result import EXCEPTION, VALUE
from ..places import MARK_VARIABLE
from ..progress import PROGRESS_VARIABLE, watch_tqdm
from ..results import ResultStore
from ..results.values import type_name
from .audit import watch
from .seeding import seed_generators

#: Longer texts of errors are cut for the view of the job; the exception itself has all of it.
ERROR_CHARS_MAX = 2000
#: The results of so many calls are protected from eviction, whether or not they are in a manifest.
CALLS_PROTECTED = 64


class _Ended(NamedTuple):
    """What came of a call: its value, or the exception that it raised."""

    value: Any = None
    exception: BaseException | None = None
    keep: bool = True


class CallWorker:
    """Runs calls, one at a time, as they come from ``channel``."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lines = channel.makefile("rb")
        self._store: ResultStore | None = None
        self._calls = 0
        self._folder = Path.cwd()
        self._variables = dict(os.environ)
        self._path = list(sys.path)
        self._seen: dict[str, tuple[int, int]] = {}

    def serve(self) -> None:
        """Run calls until the runner closes the channel, or until the process should not be used again."""
        self._send(event="ready")
        for line in self._lines:
            ended = self._run(json.loads(line)["run"])
            self._send(event="ended", **ended)
            if not ended["keep"]:
                return
            self._restore()

    def _send(self, **message: Any) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _run(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        os.environ[MARK_VARIABLE] = wanted["mark"]
        os.environ[PROGRESS_VARIABLE] = wanted["progress"]
        self._forget_changed_modules()
        payload, opened, declared = Path(wanted["payload"]), None, wanted["declared"]
        if declared is None:
            ended = self._read_and_call(wanted, payload)
        else:
            log = Path(wanted["folder"], "opened.log")
            with watch(declared, ignored=[str(payload), wanted["store"]], log=log) as watched:
                ended = self._read_and_call(wanted, payload)
            opened = watched.end()
        answer = _report(self._store_at(Path(wanted["store"]), synced=declared is not None), ended)
        # A key knows nothing of what earlier calls changed in the process: a call that is cached has one of its own.
        keep = ended.keep and declared is None and not _has_children()
        del ended
        self._note_modules()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the call may have replaced or closed it
                stream.flush()
        return {"job": wanted["job"], "opened": opened, **answer, "keep": keep}

    def _read_and_call(self, wanted: Mapping[str, Any], payload: Path) -> _Ended:
        program = wanted["program"]
        try:
            call = read_call(payload / program["call"], program["sha256"])
        except BaseException as error:  # noqa: BLE001 (what unpickling raises)
            return _Ended(exception=_not_read(error), keep=not isinstance(error, KeyboardInterrupt))
        self._send(event="started", job=wanted["job"])
        seeding = seed_generators()
        try:
            return _call(call)
        finally:
            if seeding is not None:
                seeding.remove()

    def _store_at(self, folder: Path, *, synced: bool) -> ResultStore:
        """Return the store of results; those of earlier calls are in manifests by now and need no protection."""
        if self._store is None:
            # A sync would take longer than most calls. After a loss of power the checksum tells what is lost.
            self._store = ResultStore(folder, synced=synced)
        self._calls += 1
        if self._calls % CALLS_PROTECTED == 0:
            self._store.release()
        return self._store

    def _restore(self) -> None:
        """Undo what a call changed in the process, while it waits for the next one."""
        os.chdir(self._folder)
        if os.environ != self._variables:
            os.environ.clear()
            os.environ.update(self._variables)
        sys.path[:] = self._path

    def _note_modules(self) -> None:
        """Note the files of local modules that the call imported."""
        for module in local_modules():
            if module.__name__ not in self._seen and (stamp := _stamp(module)):
                self._seen[module.__name__] = stamp

    def _forget_changed_modules(self) -> None:
        """Let local modules whose files have changed be imported again."""
        if any(_stamp(sys.modules.get(name)) != stamp for name, stamp in self._seen.items()):
            for name in self._seen:  # all of them: one may have names of another
                sys.modules.pop(name, None)
            self._seen.clear()


def _not_read(error: BaseException) -> BaseException:
    """Return the exception of a call whose function or arguments could not be made again here."""
    if isinstance(error, DamagedCall | KeyboardInterrupt):
        return error
    reason = f"{type(error).__name__}: {error}"
    unread = UnreadableCall(Message.of("call.not_unpickled", reason=reason, interpreter=sys.executable))
    unread.__cause__ = error
    return unread


def _call(call: FunctionCall) -> _Ended:
    try:
        return _Ended(value=call.function(*call.args, **call.kwargs))
    except KeyboardInterrupt as error:
        return _Ended(exception=_without_own_frames(error), keep=False)
    except BaseException as error:  # noqa: BLE001 (SystemExit, too, is an exception of the call)
        return _Ended(exception=_without_own_frames(error))


def _without_own_frames(error: BaseException) -> BaseException:
    """Return the exception with a traceback that begins at the user's function."""
    return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)


def _report(store: ResultStore, ended: _Ended) -> dict[str, Any]:
    """Put the value or the exception of a call into the store, and return what the runner is sent about it."""
    error = ended.exception
    if error is None:
        try:
            return {"state": "done", "values": {VALUE: _stored(store, ended.value)}, "error": None}
        except InvalidRequest as unpicklable:
            error = UnpicklableResult(unpicklable.message)
            error.__cause__ = unpicklable.__cause__
        except Exception as other:  # noqa: BLE001 (the disk is full, for example)
            error = other
    lines = traceback.format_exception(error)
    failed = {"name": type_name(error), "text": _text(error)[:ERROR_CHARS_MAX], "traceback": lines}
    values = {}
    with suppress(OSError):  # the error is reported without it
        values[EXCEPTION] = _stored_exception(store, error, "".join(lines))
    return {"state": "failed", "values": values, "error": failed}


def _stored(store: ResultStore, value: Any) -> dict[str, Any]:
    stored = store.put_value(value)
    return {"digest": stored.digest, "bytes": stored.bytes, "type": type_name(value)}


def _stored_exception(store: ResultStore, error: BaseException, text: str) -> dict[str, Any]:
    """Store the exception with its traceback as text; one that cannot be pickled, as its text only."""
    plain = error.with_traceback(None)
    try:
        pickle.loads(cloudpickle.dumps(plain, PROTOCOL))  # noqa: S301 (of this process)
    except Exception:  # noqa: BLE001 (what a user's class raises)
        plain = RemoteError(Message.of("call.exception", name=type_name(error), text=_text(error)))
    return _stored(store, (plain, text))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (what a user's class raises)
        return ""


def _has_children() -> bool:
    """Return whether the call left processes behind, which would compute for the next job."""
    with suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False


def _stamp(module: ModuleType | None) -> tuple[int, int] | None:
    """Return size and time of the file of a module."""
    file = getattr(module, "__file__", None)
    with suppress(OSError, TypeError):
        status = os.stat(file)  # type: ignore[arg-type]  # noqa: PTH116 (None raises TypeError)
        return status.st_size, status.st_mtime_ns
    return None


def main() -> None:
    """Serve the runner at the other end of the descriptor in the arguments."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    watch_tqdm()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        channel.set_inheritable(False)
        gc.collect()
        gc.freeze()
        with suppress(BrokenPipeError, ConnectionResetError):  # the runner has ended
            CallWorker(channel).serve()


if __name__ == "__main__":
    main()
