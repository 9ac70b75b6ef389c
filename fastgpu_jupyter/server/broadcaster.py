"""Broadcast the pool's event stream to any number of browsers over one connection to the pool manager.

The broadcaster reads the pool's stream in one thread, and only while there are subscribers. It keeps a copy of the
pool's state, so that a new subscriber gets its snapshot without a further connection. Every subscriber has a queue with
a limit; one that does not read is disconnected, and gets a new snapshot when it connects again. When the pool manager
does not answer, the subscribers get a message and the broadcaster connects again, with a growing pause. It then
requests only the changes that it missed, if the pool manager still has them; the subscribers get a snapshot in any
case, because a snapshot ends the state *unreachable*.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from ..core.model.lifecycle import LeaseState
from ..errors import FastGPUError, LimitReached, PoolUnreachable
from ..wire.client import EventStream
from ..wire.lease_view import with_reading
from .pool_connector import PoolConnector

Message = dict[str, Any]
PAUSE_FIRST_S = 0.2
PAUSE_MOST_S = 10.0
#: Ended leases that the mirror keeps, newest first.
ENDED_MAX = 500


class BrowserSubscriber:
    """One browser: the messages that it has not been sent yet."""

    def __init__(self, queue_limit: int) -> None:
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue(queue_limit)
        #: Did not read; the connection is to be closed.
        self.cut = False

    def put(self, message: Message) -> bool:
        """False where the queue is full: the subscriber is too slow."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.end()
            return False
        return True

    def end(self) -> None:
        """No more messages; those in the queue are dropped."""
        self.cut = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self, timeout_s: float) -> Message | None:
        """The next message; None at the end. Raises :class:`asyncio.TimeoutError` where none came in time."""
        if self.cut:
            return None
        return await asyncio.wait_for(self._queue.get(), timeout_s)


class PoolMirror:
    """What the pool's messages so far add up to."""

    def __init__(self) -> None:
        self._seq = 0
        self._pool: Message | None = None
        self._devices: dict[str, Message] = {}
        self._leases: dict[str, Message] = {}
        self._queue: list[Message] = []

    def take(self, message: Message) -> None:
        """Add a message of the pool."""
        kind = message.get("type")
        if kind == "snapshot":
            self._devices, self._leases = {}, {}
        if kind in ("snapshot", "changed"):
            self._seq = message.get("seq", self._seq)
            self._queue = message.get("queue", self._queue)
            self._pool = message.get("pool") or self._pool
        if kind in ("snapshot", "changed", "usage"):
            for known, views in ((self._devices, "devices"), (self._leases, "leases")):
                for view in message.get(views, ()):
                    if kind != "usage":
                        known[view["id"]] = view
                    elif view["id"] in known:
                        known[view["id"]] = with_reading(known[view["id"]], view)
            self._forget_old()

    def lease_state(self, lease_id: str) -> str | None:
        """The state in which a lease was last seen."""
        view = self._leases.get(lease_id)
        return None if view is None else view["state"]

    def snapshot(self) -> Message | None:
        """The message that a new subscriber starts with; None before the first one of the pool."""
        if self._pool is None:
            return None
        return {
            "type": "snapshot",
            "seq": self._seq,
            "pool": self._pool,
            "devices": list(self._devices.values()),
            "leases": list(self._leases.values()),
            "queue": self._queue,
        }

    def _forget_old(self) -> None:
        ended = [view for view in self._leases.values() if view["state"] == LeaseState.ENDED]
        ended.sort(key=lambda view: view["times"]["ended_at"] or 0)
        for view in ended[: max(0, len(ended) - ENDED_MAX)]:
            del self._leases[view["id"]]


class EventBroadcaster:
    """All methods but the reader's are for the event loop's thread."""

    def __init__(
        self,
        connector: PoolConnector,
        *,
        subscribers_max: int,
        queue_limit: int,
        on_lease: Callable[[Any], None] | None = None,
    ) -> None:
        self._connector = connector
        self._subscribers_max = subscribers_max
        self._queue_limit = queue_limit
        #: Called for each lease whose state differs from the one last seen.
        self._on_lease = on_lease
        self._subscribers: set[BrowserSubscriber] = set()
        self._mirror = PoolMirror()
        self._unreachable: Message | None = None
        self._reader: _Reader | None = None

    @property
    def readers(self) -> int:
        """Upstream connections: one while anybody subscribes, else none."""
        return 0 if self._reader is None else 1

    def subscribe(self) -> BrowserSubscriber:
        """A new subscriber; its first message is a snapshot, as soon as there is one."""
        if len(self._subscribers) >= self._subscribers_max:
            raise LimitReached(
                f"This Jupyter server already has {self._subscribers_max} open FastGPU event streams. "
                "Close a browser tab, or raise FastGPUExtension.event_streams_max."
            )
        subscriber = BrowserSubscriber(self._queue_limit)
        self._subscribers.add(subscriber)
        if self._reader is None:
            self._mirror = PoolMirror()
            self._unreachable = None
            self._reader = _Reader(self._connector, asyncio.get_running_loop(), self._take)
            self._reader.start()
        else:
            first = self._unreachable or self._mirror.snapshot()
            if first is not None:
                subscriber.put(first)
        return subscriber

    def unsubscribe(self, subscriber: BrowserSubscriber) -> None:
        """Forget ``subscriber``; the last one that leaves ends the upstream connection."""
        self._subscribers.discard(subscriber)
        if not self._subscribers and self._reader is not None:
            self._reader.stop()
            self._reader = None

    def close(self) -> None:
        """End all streams; the server stops."""
        for subscriber in list(self._subscribers):
            subscriber.end()
            self.unsubscribe(subscriber)

    def _take(self, reader: _Reader, message: Message) -> None:
        if reader is not self._reader:
            return  # of a reader that was told to stop
        if message["type"] == "unreachable":
            self._unreachable = message
        self._report(message)
        self._mirror.take(message)
        if message["type"] in ("snapshot", "changed") and self._unreachable is not None:
            self._unreachable = None
            message = self._mirror.snapshot() or message
        for subscriber in list(self._subscribers):
            if not subscriber.put(message):
                self.unsubscribe(subscriber)

    def _report(self, message: Message) -> None:
        # A snapshot is what was already so: only a change is an event.
        if self._on_lease is None or message["type"] != "changed":
            return
        for view in message.get("leases", ()):
            if self._mirror.lease_state(view["id"]) != view["state"]:
                self._on_lease(view)


class _Reader(threading.Thread):
    """Reads the pool's stream and hands each message to ``take`` in the event loop's thread."""

    def __init__(
        self, connector: PoolConnector, loop: asyncio.AbstractEventLoop, take: Callable[[_Reader, Message], None]
    ) -> None:
        super().__init__(name="fastgpu-events", daemon=True)
        self._connector = connector
        self._loop = loop
        self._take = take
        self._stopped = threading.Event()
        #: The number of the last message that told of changes; what came after it is asked for again.
        self._seq: int | None = None
        self._stream: EventStream | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End, also out of a blocked read."""
        self._stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def run(self) -> None:
        """Connect and read until stopped."""
        pause_s = PAUSE_FIRST_S
        while not self._stopped.is_set():
            why = "The pool manager ended; connecting again."
            try:
                for message in self._open():
                    pause_s = PAUSE_FIRST_S
                    self._seq = message.get("seq", self._seq)
                    self._hand_over(message)
            except PoolUnreachable as error:
                why = str(error)
            except (FastGPUError, OSError, ValueError) as error:
                why = f"The pool manager's events could not be read: {error}"
            if not self._stopped.is_set():
                self._hand_over({"type": "unreachable", "message": why})
                self._stopped.wait(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MOST_S)

    def _open(self) -> EventStream:
        stream = self._connector.connect().events(since=self._seq)
        with self._lock:
            self._stream = stream
        if self._stopped.is_set():
            stream.close()
        return stream

    def _hand_over(self, message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(self._take, self, message)
