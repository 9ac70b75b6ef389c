"""How far a job is: ``fastgpu_jupyter.progress``, and the bars of tqdm.

Any process of a job reports by a datagram to its runner, without waiting for it. Outside of a job nothing happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

from ..wire import unixsocket

#: The variable with the path of the runner's socket.
PROGRESS_VARIABLE = "FASTGPU_PROGRESS"
#: Who reports: a runner shows the first of these that has reported.
BY_CALL, BY_TQDM, BY_CELLS = "call", "tqdm", "cells"
#: The shortest time between two reports, except of the last step, in seconds.
_PAUSE_S = 0.1
_TEXT_CHARS_MAX = 200
#: Beyond this a number is none of JSON's.
_NUMBER_MAX = 2**53 - 1


def progress(done: float, total: float | None = None, unit: str | None = None, text: str = "") -> None:
    """Show how far the job is: ``progress(3, 10, "epochs", "loss 0.31")``; outside of a job this does nothing.

    It takes no time that matters: at most ten reports a second are sent, and none is waited for.
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
    """The socket of this process to its runner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: tuple[str, int, socket.socket] | None = None
        self._sent: dict[str, tuple[float, bool]] = {}

    def report(self, done: float, total: float | None, unit: str | None, text: str, by: str) -> None:
        path = os.environ.get(PROGRESS_VARIABLE)
        if not path:
            return
        numbers = _number(done), None if total is None else _number(total)
        is_last = numbers[1] is not None and (numbers[0] or 0) >= numbers[1]
        now_s = time.monotonic()
        with self._lock:
            sent_s, was_last = self._sent.get(by, (-_PAUSE_S, False))
            if now_s - sent_s < _PAUSE_S and (was_last or not is_last):
                return
            self._sent[by] = now_s, is_last
            message = {"done": numbers[0], "total": numbers[1], "unit": unit, "text": text[:_TEXT_CHARS_MAX], "by": by}
            with contextlib.suppress(OSError, ValueError):  # the runner has ended, or reads too slowly
                self._connected(path).send(json.dumps(message).encode())

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
