"""The event stream: each subscriber has a bounded queue of its own, and one that does not read is cut.

Messages are made once per tenant, not once per subscriber. A subscriber that was cut connects again and begins with
a new snapshot, so that it cannot miss anything for good.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from ...core.model import Instant, State
from ...errors import LimitReached
from ..runtime import Changes, Runtime
from ..views import Viewer

#: Messages that may wait for one subscriber; a reader that is further behind is gone or stuck.
BACKLOG_MAX = 256
SUBSCRIBERS_MAX = 1000
KEEPALIVE_S = 10.0


class Subscriber:
    """One reader of the stream: all of a tenant's messages, or those of one lease."""

    def __init__(self, viewer: Viewer, lease_id: str | None) -> None:
        self.viewer = viewer
        self.lease_id = lease_id
        self.cut = False
        self._messages: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG_MAX)

    def put(self, message: bytes) -> None:
        """Queue ``message``, or mark the subscriber as cut where it does not keep up."""
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self.cut = True

    async def get(self) -> bytes:
        """The next message, or a keepalive where there is none for a while."""
        try:
            return await asyncio.wait_for(self._messages.get(), KEEPALIVE_S)
        except asyncio.TimeoutError:
            return line({"type": "keepalive"})


MessageMaker = Callable[[State, Instant, Viewer, "str | None", "Changes | None"], dict[str, Any]]


class Publisher:
    """Brings what the runtime tells to all subscribers."""

    def __init__(self, runtime: Runtime, changed: MessageMaker, usage: MessageMaker) -> None:
        self._runtime = runtime
        self._changed = changed
        self._usage = usage
        self._subscribers: set[Subscriber] = set()
        self._pending: set[asyncio.Task[None]] = set()
        self.seq = 0
        runtime.follow(self._on_changes, self._on_sample)

    def __len__(self) -> int:
        return len(self._subscribers)

    async def subscribe(self, viewer: Viewer, lease_id: str | None) -> Subscriber:
        """A subscriber whose first message is a snapshot and which misses nothing after it."""
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            raise LimitReached("Too many readers follow this pool; close some and try again.")
        subscriber = Subscriber(viewer, lease_id)

        def begin(state: State, at: Instant) -> None:
            subscriber.put(line({"type": "snapshot", **self._changed(state, at, viewer, lease_id, None)}))
            self._subscribers.add(subscriber)

        await self._runtime.read(begin)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Send it nothing more."""
        self._subscribers.discard(subscriber)

    def _on_changes(self, changes: Changes) -> None:
        self.seq += 1
        self._publish("changed", self._changed, changes)

    def _on_sample(self) -> None:
        self._publish("usage", self._usage, None)

    def _publish(self, kind: str, make: MessageMaker, changes: Changes | None) -> None:
        if not self._subscribers:
            return
        task = asyncio.get_running_loop().create_task(self._deliver(kind, make, changes))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _deliver(self, kind: str, make: MessageMaker, changes: Changes | None) -> None:
        groups: defaultdict[tuple[Viewer, str | None], list[Subscriber]] = defaultdict(list)
        for subscriber in self._subscribers:
            groups[subscriber.viewer, subscriber.lease_id].append(subscriber)

        def deliver(state: State, at: Instant) -> None:
            for (viewer, lease_id), subscribers in groups.items():
                message = line({"type": kind, **make(state, at, viewer, lease_id, changes)})
                for subscriber in subscribers:
                    subscriber.put(message)

        await self._runtime.read(deliver)


def line(message: dict[str, Any]) -> bytes:
    """One message of the stream as it is sent."""
    return msgspec.json.encode(message) + b"\n"
