"""One subscriber of the event stream, with a bounded queue of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from .views.context import AccessScope

#: Limits of the queue of one subscriber. A reader that is further behind has stopped reading.
BACKLOG_MAX = 256
BACKLOG_BYTES_MAX = 8 * 2**20
#: A reader that gets nothing for some seconds takes the pool manager for one that does not answer.
KEEPALIVE_S = 2.0


class StreamSubscriber:
    """A reader of the messages about everything within ``access``, or about one lease."""

    def __init__(self, access: AccessScope, lease_id: str | None, on_end: Callable[[], None]) -> None:
        self.access = access
        self.lease_id = lease_id
        self.ended: str | None = None  #: why nothing more is sent: ``left`` or ``behind``
        self._on_end = on_end
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._wake_up: asyncio.Future[None] | None = None  #: set while :meth:`next` waits

    def put(self, message: bytes) -> None:
        """Queue ``message``; end the subscriber if its queue is full."""
        if self.ended:
            return
        full = self._messages and self._bytes + len(message) > BACKLOG_BYTES_MAX
        if full or len(self._messages) >= BACKLOG_MAX:
            self.end("behind")
            return
        self._messages.append(message)
        self._bytes += len(message)
        _complete(self._wake_up)

    def end(self, reason: str) -> None:
        """Send nothing more, and drop the queued messages."""
        if self.ended is None:
            self.ended = reason
            self._messages.clear()
            _complete(self._wake_up)
            self._on_end()

    async def next(self) -> bytes | None:
        """Return the next message, a keepalive if there is none for a while, None at the end."""
        if not self._messages and not self.ended:
            await self._wait()
        if self.ended:
            return None
        if not self._messages:
            return encode_message({"type": "keepalive"})
        message = self._messages.popleft()
        self._bytes -= len(message)
        return message

    async def _wait(self) -> None:
        """Wait for a message or the time of a keepalive, without the task that ``wait_for`` makes each time."""
        loop = asyncio.get_running_loop()
        self._wake_up = loop.create_future()
        silence = loop.call_later(KEEPALIVE_S, _complete, self._wake_up)
        try:
            await self._wake_up
        finally:
            silence.cancel()


def encode_message(message: dict[str, Any]) -> bytes:
    """Return a message of the stream as it is sent: one line of JSON."""
    return msgspec.json.encode(message) + b"\n"


def _complete(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
