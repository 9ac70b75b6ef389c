"""SIGINT in a kernel: it ends the waits of all its cells, whichever thread they wait in.

Python calls signal handlers in the main thread only, and a cell may wait in the thread of a subshell while the main
shell runs a cell, whose handlers are ipykernel's and the user's. Such a wait learns of the signal by the descriptor to
which Python writes the number of each signal, whatever the handler is.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Interrupts:
    """The waits that SIGINT ends. Safe to use from several threads, after :meth:`install`."""

    def __init__(self) -> None:
        #: The functions that stop the waits of subshells.
        self._stops: set[Callable[[], None]] = set()
        self._signals: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()

    def install(self) -> None:
        """Notice SIGINT from now on. Call while no cell runs; outside the main thread nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._signals, writer = socket.socketpair()
        writer.settimeout(0)  # a handler must not block
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        # ipykernel ignores the signal while the main shell is idle, and an ignored signal is not written.
        signal.signal(signal.SIGINT, _ignore)
        os.register_at_fork(after_in_child=_forget_descriptor)

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop``, from any thread, on SIGINT inside the block, in which a cell waits."""
        if threading.current_thread() is threading.main_thread():
            # The cell does not run: a KeyboardInterrupt would end the event loop.
            saved = signal.signal(signal.SIGINT, lambda _signum, _frame: stop())
            try:
                yield
            finally:
                signal.signal(signal.SIGINT, saved)
            return
        self._start_reader()
        self._stops.add(stop)
        try:
            yield
        finally:
            self._stops.discard(stop)

    def _start_reader(self) -> None:
        """Start the thread that reads signals; most kernels never need it."""
        with self._lock:
            if self._reader is not None or self._signals is None:
                return
            with suppress(BlockingIOError):
                while self._signals.recv(4096, socket.MSG_DONTWAIT):  # signals of the past
                    pass
            self._reader = threading.Thread(target=self._read, name="fastgpu-sigint", daemon=True)
            self._reader.start()

    def _read(self) -> None:
        assert self._signals is not None
        with self._signals:
            while numbers := self._signals.recv(4096):
                if signal.SIGINT in numbers:
                    for stop in list(self._stops):
                        stop()


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Handle SIGINT while no cell runs."""


def _forget_descriptor() -> None:
    """Leave the descriptor to the kernel in a process that it has forked."""
    with suppress(ValueError):  # not the main thread
        descriptor = signal.set_wakeup_fd(-1)
        if descriptor >= 0:
            os.close(descriptor)
