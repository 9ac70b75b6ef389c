"""The thread that reads the pool's event stream for the broadcaster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..errors import FastGPUError, Message, PoolUnreachable, VersionMismatch
from ..messages import render
from ..wire.stream_follower import StreamFollower
from . import language
from .pool_connector import PoolConnector
from .pool_mirror import StreamMessage

PAUSE_FIRST_S = 0.2


class StreamReader(StreamFollower):
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
        super().__init__("fastgpu-events", loop, PAUSE_FIRST_S)
        self._connector = connector
        self._receive = receive
        #: The number of the last message about changes; a new stream begins after it.
        self._seq: int | None = None
        #: When the last message came, in milliseconds of the wall clock.
        self._received_at: int | None = None

    def follow(self) -> None:
        """Hand each message of one stream over."""
        for message in self.opened(self._connector.connect().events(since=self._seq)):
            self.heard()
            self._seq = message.get("seq", self._seq)
            self._received_at = round(1000 * time.time())
            self.hand_over(self._receive, self, message)

    def lost(self, error: Exception | None) -> None:
        """Hand over that the pool manager does not answer, and why."""
        reason = Message.of("pool.ended")
        if isinstance(error, PoolUnreachable | VersionMismatch):
            reason = error.message
        elif error is not None:
            detail = error.message if isinstance(error, FastGPUError) else str(error)
            reason = Message.of("pool.events_unreadable", reason=detail)
        text = render(reason, language.of_user())
        self.hand_over(self._receive, self, {"type": "unreachable", "message": text, "since": self._received_at})
