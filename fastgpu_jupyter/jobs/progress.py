"""How far a job is: ``fastgpu_jupyter.progress``, and the bars of tqdm.

Any process of a job reports by a datagram to its runner, without waiting for it. Outside of a job nothing happens.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ..wire import unixsocket

#: The variable with the path of the runner's socket.
PROGRESS_VARIABLE = "FASTGPU_PROGRESS"
#: Who reports: a runner shows the first of these that has reported.
BY_CALL, BY_TQDM, BY_CELLS = "call", "tqdm", "cells"
#: The shortest time between two reports, except of the last step, in seconds. The newest one is sent in any case.
_PAUSE_S = 0.1
_TEXT_CHARS_MAX = 200
#: Beyond this a number is none of JSON's.
_NUMBER_MAX = 2**53 - 1


def progress(done: float, total: float | None = None, unit: str | None = None, text: str = "") -> None:
    """Show how far the job is: ``progress(3, 10, "epochs", "loss 0.31")``; outside of a job this does nothing.

    It takes no time that matters: at most ten reports a second are sent, the newest at last, and none is waited for.
    """
    _reporter.report(done, total, unit, text, BY_CALL)


def report_cells(done: int, total: int) -> None:
    """Show how many cells of a notebook have run, unless they report something themselves."""
    _reporter.report(done, total, "cells", "", BY_CELLS)


def watch_tqdm() -> None:
    """Report the bars of tqdm in this process, now and once it is imported."""
    if PROGRESS_VARIABLE not in os.environ:
        return
    if "tqdm.std" in sys.modules:
        _patch_tqdm("tqdm.std")
        return
    from ..compat.import_hook import ImportHook

    ImportHook({"tqdm.std"}, _patch_tqdm).install()


def _patch_tqdm(module: str) -> None:
    from ..compat.tqdm import after_each_refresh

    after_each_refresh(
        sys.modules[module], lambda done, total, unit, text: _reporter.report(done, total, unit, text, BY_TQDM)
    )


class _Reporter:
    """The socket of this process to its runner. A step that comes too soon after another one is sent a little later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: tuple[str, int, socket.socket] | None = None
        self._sent: dict[str, tuple[float, bool]] = {}
        self._pending: dict[str, dict[str, Any]] = {}
        self._timer: threading.Timer | None = None

    def report(self, done: float, total: float | None, unit: str | None, text: str, by: str) -> None:
        """Send a step, or keep it for later."""
        if not os.environ.get(PROGRESS_VARIABLE):
            return
        numbers = _number(done), None if total is None else _number(total)
        is_last = numbers[1] is not None and numbers[0] >= numbers[1]
        step = {"done": numbers[0], "total": numbers[1], "unit": unit, "text": text[:_TEXT_CHARS_MAX], "by": by}
        with self._lock:
            sent_s, was_last = self._sent.get(by, (-_PAUSE_S, False))
            if time.monotonic() - sent_s < _PAUSE_S and (was_last or not is_last):
                self._pending[by] = step
                self._start_timer()
            else:
                self._pending.pop(by, None)
                self._send(step, is_last=is_last)

    def flush(self) -> None:
        """Send the steps that were kept."""
        with self._lock:
            self._timer = None
            for step in self._pending.values():
                self._send(step, is_last=False)
            self._pending.clear()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(_PAUSE_S, self.flush)
            self._timer.daemon = True
            with contextlib.suppress(RuntimeError):  # the interpreter ends, and has no more threads
                self._timer.start()

    def _send(self, step: dict[str, Any], *, is_last: bool) -> None:
        self._sent[step["by"]] = time.monotonic(), is_last
        with contextlib.suppress(OSError, ValueError):  # the runner has ended, or reads too slowly
            if path := os.environ.get(PROGRESS_VARIABLE):
                self._connected(path).send(json.dumps(step).encode())

    def close(self) -> None:
        """Close the socket to the runner; another report opens it again."""
        if self._socket is not None:
            self._socket[2].close()
            self._socket = None

    def _connected(self, path: str) -> socket.socket:
        if self._socket is None or self._socket[:2] != (path, os.getpid()):
            self.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                with unixsocket.short_address(Path(path)) as address:
                    sock.connect(address)
            except OSError:
                sock.close()
                raise
            self._socket = path, os.getpid(), sock
        return self._socket[2]


def _number(value: float) -> int:
    """Return a count as a whole number. Raises :class:`TypeError` where it is none."""
    return max(-_NUMBER_MAX, min(_NUMBER_MAX, int(value)))


_reporter = _Reporter()


def _forget() -> None:
    """Begin again in a forked process, in which no timer runs, and another thread may have held the lock."""
    global _reporter  # noqa: PLW0603 (one for each process)
    _reporter = _Reporter()


def _flush() -> None:
    """Send what is left when this process ends."""
    _reporter.flush()


os.register_at_fork(after_in_child=_forget)
atexit.register(_flush)
