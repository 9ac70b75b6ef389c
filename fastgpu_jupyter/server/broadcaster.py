"""Broadcast the pool's event stream to any number of browsers over one connection to the pool manager.

The broadcaster reads the pool's stream in one thread, and only while there are subscribers. It keeps a copy of the
pool's state, so that a new subscriber gets its snapshot without a further connection. Every subscriber has a queue with
a limit; one that does not read is disconnected, and gets a new snapshot when it connects again. When the pool manager
does not answer, the subscribers get a message and the broadcaster connects again, with a growing pause. It then
requests only the changes that it missed, if the pool manager still has them; the subscribers get a snapshot in any
case, because a snapshot ends the state *unreachable*.

The messages about jobs come from another process, the dispatcher, over a connection of their own; neither waits for the
other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..errors import LimitReached, Message
from .jobs_mirror import JobsMirror
from .jobs_reader import JobsReader
from .pool_connector import PoolConnector
from .pool_mirror import PoolMirror, StreamMessage
from .stream_reader import StreamReader


class BrowserSubscriber:
    """One browser, and the messages that it has not been sent yet."""

    def __init__(self, queue_limit: int) -> None:
        self._queue: asyncio.Queue[StreamMessage | None] = asyncio.Queue(queue_limit)
        #: The stream has ended; the connection is to be closed.
        self.ended = False

    def put(self, message: StreamMessage) -> bool:
        """Queue a message; return False, and end the stream, if the queue is full because the browser does not read."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.end()
            return False
        return True

    def end(self) -> None:
        """End the stream and drop the queued messages."""
        self.ended = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self, timeout_s: float) -> StreamMessage | None:
        """Return the next message, None at the end. Raises :class:`TimeoutError` if there is none in time."""
        if self.ended:
            return None
        async with asyncio.timeout(timeout_s):
            return await self._queue.get()


class EventBroadcaster:
    """The subscribers of this server and the readers of both streams; for the thread of the event loop."""

    def __init__(
        self,
        connector: PoolConnector,
        *,
        subscribers_max: int,
        queue_limit: int,
        on_lease: Callable[[Any], None] | None = None,
        follow_jobs: bool = False,
    ) -> None:
        self._connector = connector
        self._subscribers_max = subscribers_max
        self._queue_limit = queue_limit
        #: Called with each lease whose state differs from the one known before.
        self._on_lease = on_lease
        self._subscribers: set[BrowserSubscriber] = set()
        self._mirror = PoolMirror()
        self._unreachable: StreamMessage | None = None
        self._reader: StreamReader | None = None
        self._follow_jobs = follow_jobs
        self._jobs = JobsMirror()
        self._jobs_reader: JobsReader | None = None

    @property
    def readers(self) -> int:
        """Return the number of connections to the pool manager: one while there are subscribers, else none."""
        return 0 if self._reader is None else 1

    def subscribe(self) -> BrowserSubscriber:
        """Return a new subscriber; its first message is a snapshot, as soon as there is one."""
        if len(self._subscribers) >= self._subscribers_max:
            raise LimitReached(Message.of("server.too_many_streams", count=self._subscribers_max))
        subscriber = BrowserSubscriber(self._queue_limit)
        self._subscribers.add(subscriber)
        if self._reader is None:
            self._mirror = PoolMirror()
            self._unreachable = None
            self._reader = StreamReader(self._connector, asyncio.get_running_loop(), self._receive)
            self._reader.start()
            if self._follow_jobs:
                self._jobs = JobsMirror()
                self._jobs_reader = JobsReader(asyncio.get_running_loop(), self._receive_jobs)
                self._jobs_reader.start()
        else:
            first = self._unreachable or self._mirror.snapshot()
            for message in [*([first] if first is not None else []), *self._jobs.messages()]:
                subscriber.put(message)
        return subscriber

    def unsubscribe(self, subscriber: BrowserSubscriber) -> None:
        """Remove ``subscriber``; without subscribers the connection to the pool manager ends."""
        self._subscribers.discard(subscriber)
        if not self._subscribers and self._reader is not None:
            self._reader.stop()
            self._reader = None
            if self._jobs_reader is not None:
                self._jobs_reader.stop()
                self._jobs_reader = None

    def close(self) -> None:
        """End all streams, because the server stops."""
        for subscriber in list(self._subscribers):
            subscriber.end()
            self.unsubscribe(subscriber)

    def _receive(self, reader: StreamReader, message: StreamMessage) -> None:
        if reader is not self._reader:
            return  # from a reader that was stopped
        if message["type"] == "unreachable":
            self._unreachable = message
        self._report_states(message)
        self._mirror.apply(message)
        if message["type"] in ("snapshot", "changed") and self._unreachable is not None:
            self._unreachable = None
            message = self._mirror.snapshot() or message
        self._send(message)

    def _receive_jobs(self, reader: JobsReader, message: StreamMessage) -> None:
        if reader is self._jobs_reader:
            self._jobs.apply(message)
            self._send(message)

    def _send(self, message: StreamMessage) -> None:
        for subscriber in list(self._subscribers):
            if not subscriber.put(message):
                self.unsubscribe(subscriber)

    def _report_states(self, message: StreamMessage) -> None:
        # A snapshot has states that are not new: only a change is an event.
        if self._on_lease is None or message["type"] != "changed":
            return
        for view in message.get("leases", ()):
            if self._mirror.lease_state(view["id"]) != view["state"]:
                self._on_lease(view)
