"""A thread that follows a server by its streams of messages, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..errors import FastGPUError

PAUSE_MOST_S = 5.0


class _Closable(Protocol):
    def close(self) -> None:
        """End the stream, also while another thread reads it."""


S = TypeVar("S", bound=_Closable)


class StreamFollower(threading.Thread):
    """A thread that reads streams until :meth:`stop`, with pauses that grow while it hears nothing.

    A subclass reads one stream in :meth:`follow`, and reports in :meth:`lost` that there is none. Without a ``loop``,
    nothing is handed over.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop | None, pause_first_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self._loop = loop
        self._pause_first_s = pause_first_s
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._stream: _Closable | None = None
        self._heard = False

    def follow(self) -> float | None:
        """Read one stream to its end. Return the pause before the next in seconds, None where the server is lost."""
        raise NotImplementedError

    def lost(self, error: Exception | None) -> None:
        """Report that the server is lost; ``error`` is None where it ended the stream."""
        raise NotImplementedError

    def is_stopped(self) -> bool:
        """Return whether nothing is to be read any more."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the thread, also while it reads."""
        self._stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def run(self) -> None:
        """Read one stream after the other."""
        grown_s = self._pause_first_s
        while not self.is_stopped():
            self._heard, error = False, None
            try:
                pause_s = self.follow()
            except (FastGPUError, OSError, ValueError) as raised:
                pause_s, error = None, raised
            if self._heard or pause_s is not None:
                grown_s = self._pause_first_s
            if self.is_stopped():
                return
            if pause_s is None:
                self.lost(error)
                pause_s, grown_s = grown_s, min(2 * grown_s, PAUSE_MOST_S)
            self._stopped.wait(pause_s)

    def opened(self, stream: S) -> S:
        """Return ``stream``, which :meth:`stop` closes from now on."""
        with self._lock:
            self._stream = stream
        if self.is_stopped():
            stream.close()
        return stream

    def hand_over(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function`` in the thread of the event loop."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: its process has stopped serving
            self._loop.call_soon_threadsafe(function, *args)

    def heard(self) -> None:
        """Note that the stream has said something, so that the next pause is a short one."""
        self._heard = True
