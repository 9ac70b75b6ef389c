"""The thread that reads the pool's event stream for the broadcaster."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from ..errors import FastGPUError, Message, PoolUnreachable, VersionMismatch
from ..messages import render
from ..wire.client import EventStream
from . import language
from .pool_connector import PoolConnector
from .pool_mirror import StreamMessage

PAUSE_FIRST_S = 0.2
PAUSE_MOST_S = 5.0


class StreamReader(threading.Thread):
    """A reader that hands each message to ``receive``, in the thread of the event loop, until :meth:`stop`.

    While the pool manager does not answer, ``receive`` gets a message of the type ``unreachable``, and the reader
    connects again with growing pauses.
    """

    def __init__(
        self,
        connector: PoolConnector,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[StreamReader, StreamMessage], None],
    ) -> None:
        super().__init__(name="fastgpu-events", daemon=True)
        self._connector = connector
        self._loop = loop
        self._receive = receive
        self._stopped = threading.Event()
        #: The number of the last message about changes; a new stream begins after it.
        self._seq: int | None = None
        #: When the last message came, in milliseconds of the wall clock.
        self._received_at: int | None = None
        self._stream: EventStream | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End the thread, also while it reads."""
        self._stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def run(self) -> None:
        """Connect and read until stopped."""
        pause_s = PAUSE_FIRST_S
        while not self._stopped.is_set():
            reason = Message.of("pool.ended")
            try:
                for message in self._open():
                    pause_s = PAUSE_FIRST_S
                    self._seq = message.get("seq", self._seq)
                    self._received_at = round(1000 * time.time())
                    self._hand_over(message)
            except (PoolUnreachable, VersionMismatch) as error:
                reason = error.message
            except FastGPUError as error:
                reason = Message.of("pool.events_unreadable", reason=error.message)
            except (OSError, ValueError) as error:
                reason = Message.of("pool.events_unreadable", reason=str(error))
            if not self._stopped.is_set():
                text = render(reason, language.of_user())
                self._hand_over({"type": "unreachable", "message": text, "since": self._received_at})
                self._stopped.wait(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MOST_S)

    def _open(self) -> EventStream:
        stream = self._connector.connect().events(since=self._seq)
        with self._lock:
            self._stream = stream
        if self._stopped.is_set():
            stream.close()
        return stream

    def _hand_over(self, message: StreamMessage) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(self._receive, self, message)
